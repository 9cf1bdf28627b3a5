"""``omr convert``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from class_maps import ConfigError
from converters.prepare.splits import SplitBy
from omr.console import note, print_json, progress, say, table
from omr.options import AsJson, Workers, n_processes

if TYPE_CHECKING:
    from converters.prepare.preparation import PreparationOptions


def convert(
    source: Annotated[
        Path, typer.Argument(help="DeepScoresV2 or engraved folder or JSON file, or COCO JSON.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    classes: Annotated[
        str, typer.Option(help="Class map: a name from `omr classes list`, or a .yaml file.")
    ] = "harmony",
    source_format: Annotated[
        str | None,
        typer.Option("--source", help="deepscoresv2, engraved or coco, instead of looking."),
    ] = None,
    annotation_set: Annotated[
        str | None, typer.Option(help="Read this set instead of the class map's.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="yolo, coco or parquet; may be repeated.", show_default="yolo"
        ),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Cut pages into tiles of this many pixels a side.", min=32)
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(help="Pixels that tiles share.", min=0, show_default="a fifth of the tile"),
    ] = None,
    min_visible: Annotated[
        float, typer.Option(help="A symbol belongs to tiles that show this share.", min=0.01, max=1)
    ] = 0.5,
    scale: Annotated[
        str, typer.Option(help="native, or staff-space:PX to bring every page to that staff space.")
    ] = "native",
    dedup_iou: Annotated[
        float, typer.Option(help="Symbols of a class with this IoU are one.", min=0.5, max=1)
    ] = 0.95,
    min_side: Annotated[
        float, typer.Option(help="Pixels given to boxes without width or height.", min=0.1)
    ] = 2.0,
    clip: Annotated[
        bool, typer.Option("--clip", help="Cut boxes at the page's border; else they are an error.")
    ] = False,
    val: Annotated[
        float, typer.Option(help="Share of the training pages to hold out.", min=0, max=0.99)
    ] = 0.0,
    split_by: Annotated[
        SplitBy, typer.Option(help="What is never divided between train and val.")
    ] = "work",
    seed: Annotated[int, typer.Option(help="Decides which works are held out.")] = 0,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Neither read nor write images.")
    ] = False,
    workers: Workers = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT, if omr made it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a data set into labels and images to train on, and account for every symbol.

    OUT gets images, labels, data.yaml (plain `yolo train` accepts it) and manifest.json: the
    sources with their hashes, the options, and what became of every symbol.

    Example: omr convert ds2_dense data --classes harmony --tile 640 --val 0.1
    """
    import class_maps
    from converters.conversion import ConversionOptions
    from converters.conversion import convert as run

    options = ConversionOptions(
        class_map=class_maps.load(classes),
        formats=tuple(dict.fromkeys(formats or ["yolo"])),
        annotation_set=annotation_set,
        preparation=_preparation(
            tile, overlap, min_visible, scale, dedup_iou=dedup_iou, min_side=min_side, clip=clip
        ),
        val=val,
        split_by=split_by,
        seed=seed,
        labels_only=labels_only,
    )
    summary = run(
        source,
        out,
        options,
        source_format=source_format,
        workers=n_processes(workers),
        force=force,
        track=lambda pages, total: progress(pages, "Converting", total),
    )
    show(summary, out)
    if as_json:
        print_json(summary)


def _preparation(
    tile: int | None,
    overlap: int | None,
    min_visible: float,
    scale: str,
    *,
    dedup_iou: float,
    min_side: float,
    clip: bool,
) -> "PreparationOptions":
    from converters.prepare.cleaning import CleaningOptions
    from converters.prepare.preparation import PreparationOptions
    from converters.prepare.tiles import TileOptions, usual_overlap

    if tile is None and overlap is not None:
        raise ConfigError("--overlap says how far tiles overlap; give --tile too")
    shared = usual_overlap(tile) if tile and overlap is None else overlap or 0
    if tile and shared >= tile:
        raise ConfigError(f"--overlap must be smaller than --tile, got {shared} of {tile}")
    return PreparationOptions(
        cleaning=CleaningOptions(dedup_iou=dedup_iou, min_side=min_side, clip=clip),
        staff_space=_staff_space(scale),
        tiles=TileOptions(size=tile, overlap=shared, min_visible=min_visible) if tile else None,
    )


def _staff_space(scale: str) -> float | None:
    if scale == "native":
        return None
    name, _, pixels = scale.partition(":")
    try:
        staff_space = float(pixels)
    except ValueError:
        staff_space = 0.0
    if name != "staff-space" or not 0 < staff_space < 1000:
        raise ConfigError(f"--scale must be native or staff-space:PX, got {scale!r}")
    return staff_space


def show(summary: dict[str, Any], out: Path) -> None:
    """Print what was read, written and dropped, as tables."""
    symbols = summary["symbols"]
    rows = [
        ("pages", summary["pages"]),
        ("images", summary["images"]),
        ("symbols read", symbols["read"]),
        ("  written", symbols["written"]),
        *((f"  dropped: {reason}", n) for reason, n in summary["dropped_by_reason"].items()),
        ("labels in all images", symbols["labels"]),
        ("  cut at a tile's border", symbols["cut"]),
        *((what, sum(by_class.values())) for what, by_class in summary["changed"].items()),
        *((f"one box, two classes: {k}", n) for k, n in summary["same_box_two_classes"].items()),
    ]
    table(f"Converted to {out}", ("", "count"), [row for row in rows if row[1]])
    present = [row for row in summary["classes"] if row["written"]]
    table(
        "Classes",
        ("class", "symbols", "labels"),
        [(row["name"], row["written"], row["labels"]) for row in present],
    )
    if absent := [row["name"] for row in summary["classes"] if not row["written"]]:
        say(f"without a symbol: {', '.join(absent)}")
    for warning in summary["warnings"]:
        note(warning)
