"""``omr analyze-density``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omr.console import print_json, say, table
from omr.options import AsJson

if TYPE_CHECKING:
    from training.density.report import DensityReport


def analyze_density(
    data: Annotated[Path, typer.Argument(help="Folder that omr convert wrote.", exists=True)],
    imgsz: Annotated[int, typer.Option(help="Side of the network input, pixels.", min=1)] = 640,
    batch: Annotated[int, typer.Option(help="Images a batch.", min=1)] = 16,
    split: Annotated[str, typer.Option(help="Split to analyze.")] = "train",
    as_json: AsJson = False,
) -> None:
    """Show how many symbols the images hold and how large they are in training.

    Example: omr analyze-density data --imgsz 640 --batch 16
    """
    from converters.yolo import open_dataset
    from training.density.report import analyze

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
        print_json(report.to_json() | {"split": split})


def _show(report: "DensityReport") -> None:
    spreads = (("an image", report.symbols), ("a page", report.symbols_page))
    table(
        "Symbols",
        ("", "mean", "P50", "P95", "P99", "max"),
        [(what, f"{s.mean:.1f}", s.p50, s.p95, s.p99, s.max) for what, s in spreads if s],
    )
    present = [row for row in report.classes if row.count]
    table(
        f"Classes, median sizes in pixels at {report.imgsz} px",
        ("class", "symbols", "share", "width", "height", "under 2 px"),
        [
            (
                row.name,
                row.count,
                f"{row.share:.1%}",
                f"{row.median_width_px:.1f}",
                f"{row.median_height_px:.1f}",
                f"{row.under_2px:.1%}",
            )
            for row in present
        ],
    )
    if absent := [row.name for row in report.classes if not row.count]:
        say(f"without a symbol: {', '.join(absent)}")
    if largest := report.batch_max:
        say(
            f"Fullest image of a batch of {report.batch}: {largest.expected:.0f} symbols expected, "
            f"more than {largest.p999} in one batch of a thousand."
        )
    say(f"Suggested detections an image (max_det): {report.suggest.max_det}")
