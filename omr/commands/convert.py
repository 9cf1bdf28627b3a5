"""The command ``omr convert``."""

from omr import convert_options as given
from omr.console import print_json, progress, results, say
from omr.options import AsJson, Workers, n_processes, words_of


def convert(
    source: given.SourceData,
    out: given.Out,
    classes: given.Classes = "harmony",
    source_format: given.SourceFormat = None,
    image_folder: given.ImageFolder = None,
    annotation_set: given.AnnotationSet = None,
    formats: given.Formats = None,
    images: given.Images = "copy",
    tile: given.Tile = None,
    overlap: given.Overlap = None,
    min_visible: given.MinVisible = 0.5,
    blank_tiles: given.BlankTiles = 1.0,
    scale: given.Scale = "native",
    dedup_iou: given.DedupIou = 0.95,
    min_side: given.MinSide = 2.0,
    clip: given.Clip = False,
    val: given.Val = 0.0,
    split_by: given.HeldOutUnit = "work",
    seed: given.Seed = 0,
    labels_only: given.LabelsOnly = False,
    sheets: given.Sheets = True,
    backend: given.Backend = "loky",
    scheduler: given.Scheduler = "",
    shard: given.Shard = None,
    merge: given.Merge = False,
    workers: Workers = 0,
    force: given.Force = False,
    as_json: AsJson = False,
) -> None:
    """Convert data sets to images and labels for training.

    OUT contains images, labels, data.yaml (which plain `yolo train` reads),
    sheets.html, which shows symbols of every class, and manifest.json, which records
    the options, hashes of the source, and the numbers of symbols written and dropped.
    Several data sets are merged into one. A large conversion that was interrupted
    continues if the command is repeated.

    Examples:
        omr convert ds2_dense data --classes harmony --tile 640 --val 0.1
        omr convert ds2_dense engraved merged --val 0.1
        omr convert ds2_dense labels --format coco --labels-only
    """
    given.check_execution(backend, scheduler, shard, merge=merge)
    import class_maps
    from converters import conversion
    from converters.prepare.cleaning import CleaningOptions
    from converters.prepare.preparation import PreparationOptions
    from converters.prepare.scaling import parse_scale
    from converters.prepare.tiles import tile_options
    from omr.conversion_summary import print_shard, print_summary
    from omr.converted_sheets import ConvertedSheets, reason_for_none

    preparation = PreparationOptions(
        cleaning=CleaningOptions(dedup_iou=dedup_iou, min_side=min_side, clip=clip),
        staff_space=parse_scale(scale),
        tiles=tile_options(tile, overlap, min_visible, blank_tiles),
    )
    reason = reason_for_none(labels_only=labels_only, images=images)
    options = conversion.ConversionOptions(
        class_map=class_maps.load(classes),
        formats=words_of(formats, "yolo"),
        annotation_set=annotation_set,
        preparation=preparation,
        val=val,
        split_by=split_by,
        seed=seed,
        labels_only=labels_only,
        image_mode=images,
        candidates=ConvertedSheets.limits if sheets and not reason else None,
    )
    work: given.Work = {
        "source_format": source_format,
        "images": image_folder,
        "workers": n_processes(workers),
        "track": lambda pages, total: progress(pages, "Converting", total),
    }
    if shard:
        made = conversion.convert_shard(source, out, options, given.parse_shard(shard), **work)
        print_shard(shard, made, out, to=results(as_json=as_json))
        if as_json:
            print_json({"parts": made.n_parts, "parts_made_before": made.n_before})
        return
    writer = None
    if options.candidates:
        title, names = out.resolve().name, options.class_map.names
        writer = ConvertedSheets(names, title=title, workers=n_processes(workers))
    summary = conversion.convert(
        source,
        out,
        options,
        scheduler=scheduler,
        only_merge=merge,
        force=force,
        say=say,
        sheets=writer,
        **work,
    )
    print_summary(summary, out, to=results(as_json=as_json))
    if sheets:
        say(writer.summary(out) if writer else f"no contact sheets: {reason}")
    if as_json:
        print_json(summary)
