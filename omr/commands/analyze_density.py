"""``omr analyze-density``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from omr.console import err

if TYPE_CHECKING:
    from training.density import DensityReport


def analyze_density(
    data: Annotated[Path, typer.Argument(help="Folder that omr convert wrote.", exists=True)],
    imgsz: Annotated[int, typer.Option(help="Side of the network input, pixels.", min=1)] = 640,
    batch: Annotated[int, typer.Option(help="Images a batch.", min=1)] = 16,
    split: Annotated[str, typer.Option(help="Split to analyze.")] = "train",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show how many symbols the images hold and how large they are in training.

    Example: omr analyze-density data/harmony --imgsz 640 --batch 16
    """
    from converters.yolo import open_dataset
    from training.density import analyze

    dataset = open_dataset(data)
    report = analyze(
        dataset.pages(split),
        dataset.names,
        imgsz=imgsz,
        batch=batch,
        symbols_of_pages=[page.symbols for page in dataset.tiled_pages(split).values()],
    )
    _show(report)
    if as_json:
        typer.echo(json.dumps(report.to_json() | {"split": split}, indent=1))


def _show(report: "DensityReport") -> None:
    err.print(_symbols_table(report))
    err.print(_classes_table(report))
    if report.batch_max is not None:
        largest = report.batch_max
        err.print(
            f"Fullest image of a batch of {report.batch}: {largest.expected:.0f} symbols expected, "
            f"more than {largest.p999} in one batch of a thousand.",
            highlight=False,
        )
    err.print(f"Suggested detections an image (max_det): {report.suggest.max_det}", highlight=False)


def _symbols_table(report: "DensityReport") -> Table:
    table = Table("", "mean", "P50", "P95", "P99", "max", title="Symbols")
    for what, spread in (("an image", report.symbols), ("a page", report.symbols_page)):
        if spread is not None:
            counts = (spread.p50, spread.p95, spread.p99, spread.max)
            table.add_row(what, f"{spread.mean:.1f}", *map(str, counts))
    return table


def _classes_table(report: "DensityReport") -> Table:
    table = Table(
        "class", "symbols", "share", "width px", "height px", "under 2 px",
        title=f"Classes, median sizes at {report.imgsz} px",
    )  # fmt: skip
    for row in report.classes:
        sizes = [
            "-" if value is None else pattern.format(value)
            for value, pattern in (
                (row.median_width_px, "{:.1f}"),
                (row.median_height_px, "{:.1f}"),
                (row.under_2px, "{:.1%}"),
            )
        ]
        table.add_row(escape(row.name), str(row.count), f"{row.share:.1%}", *sizes)
    return table
