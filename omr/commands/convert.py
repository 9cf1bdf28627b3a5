"""The command ``omr convert``."""

from pathlib import Path
from typing import Annotated

import typer

from converters.prepare.splits import SplitBy
from omr.console import print_json, progress, results
from omr.options import CLASS_MAP, AsJson, Workers, n_processes


def convert(
    source: Annotated[
        Path,
        typer.Argument(help="Data set: a DeepScoresV2, engraved or YOLO folder, or a JSON file."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    classes: Annotated[str, typer.Option(help=CLASS_MAP)] = "harmony",
    source_format: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="Format of SOURCE: deepscoresv2, engraved, coco or yolo.",
            show_default="detected",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the images that the JSON files name.",
            show_default="searched next to them",
        ),
    ] = None,
    annotation_set: Annotated[
        str | None,
        typer.Option(help="Annotation set to read.", show_default="as in the class map"),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Output format: yolo, coco or parquet; can be repeated, or a list: yolo,coco.",
            metavar="<name>",
            show_default="yolo",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Side length of square tiles in pixels.", min=32, show_default="whole pages"
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            help="Overlap of adjacent tiles in pixels.", min=0, show_default="a fifth of --tile"
        ),
    ] = None,
    min_visible: Annotated[
        float,
        typer.Option(
            help="Fraction of a symbol that must be visible in a tile for the tile to keep it.",
            min=0.01,
            max=1,
        ),
    ] = 0.5,
    scale: Annotated[
        str,
        typer.Option(
            help="Scale of the pages: native, or staff-space:PX, at which adjacent staff lines are "
            "PX pixels apart."
        ),
    ] = "native",
    dedup_iou: Annotated[
        float,
        typer.Option(
            help="Minimum IoU at which two symbols of the same class count as duplicates.",
            min=0.5,
            max=1,
        ),
    ] = 0.95,
    min_side: Annotated[
        float,
        typer.Option(
            help="Side length in pixels that replaces a zero width or height of a box.", min=0.1
        ),
    ] = 2.0,
    clip: Annotated[
        bool,
        typer.Option(
            "--clip", help="Clip boxes that extend beyond the page; by default, they are errors."
        ),
    ] = False,
    val: Annotated[
        float,
        typer.Option(
            help="Fraction of the training pages to hold out for validation.", min=0, max=0.99
        ),
    ] = 0.0,
    split_by: Annotated[
        SplitBy, typer.Option(help="Unit that is never split between train and val.")
    ] = "work",
    seed: Annotated[int, typer.Option(help="Random seed for the choice of held-out pages.")] = 0,
    labels_only: Annotated[
        bool,
        typer.Option(
            "--labels-only", help="Convert labels only; images are neither read nor written."
        ),
    ] = False,
    workers: Workers = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if omr created it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a data set to images and labels for training.

    OUT contains images, labels, data.yaml (which plain `yolo train` reads) and
    manifest.json, which records the options, hashes of the source, and the numbers
    of symbols written and dropped.

    Examples:
        omr convert ds2_dense data --classes harmony --tile 640 --val 0.1
        omr convert ds2_dense labels --format coco --labels-only
    """
    import class_maps
    from converters import conversion
    from converters.prepare.cleaning import CleaningOptions
    from converters.prepare.preparation import PreparationOptions
    from converters.prepare.scaling import parse_scale
    from converters.prepare.tiles import tile_options
    from omr.conversion_summary import print_summary

    preparation = PreparationOptions(
        cleaning=CleaningOptions(dedup_iou=dedup_iou, min_side=min_side, clip=clip),
        staff_space=parse_scale(scale),
        tiles=tile_options(tile, overlap, min_visible),
    )
    names = [name.strip() for value in formats or ["yolo"] for name in value.split(",")]
    options = conversion.ConversionOptions(
        class_map=class_maps.load(classes),
        formats=tuple(dict.fromkeys(names)),
        annotation_set=annotation_set,
        preparation=preparation,
        val=val,
        split_by=split_by,
        seed=seed,
        labels_only=labels_only,
    )
    summary = conversion.convert(
        source,
        out,
        options,
        source_format=source_format,
        images=images,
        workers=n_processes(workers),
        force=force,
        track=lambda pages, total: progress(pages, "Converting", total),
    )
    print_summary(summary, out, to=results(as_json=as_json))
    if as_json:
        print_json(summary)
