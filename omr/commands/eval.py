"""``omr eval``."""

from pathlib import Path
from typing import Annotated

import typer

from omr.console import loading_torch, note, print_json, progress, results, say_written
from omr.options import AsJson, Device, Trust, Weights
from omr.scoring_summary import print_summary


def evaluate(
    weights: Weights,
    data: Annotated[Path, typer.Argument(help="Data set written by `omr convert`.", exists=True)],
    imgsz: Annotated[
        int | None,
        typer.Option(
            help="Longer side of the network input in pixels.",
            min=1,
            show_default="as in training",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images per forward pass.", min=1)] = 16,
    device: Device = "",
    split: Annotated[str, typer.Option(help="Split to score: train, val or test.")] = "val",
    conf: Annotated[
        float,
        typer.Option(
            help="Confidence threshold; average precision also needs low-confidence predictions.",
            metavar="<float> [0<=x<=0.001]",
        ),
    ] = 0.001,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write report.json and contact_sheet.png to.", file_okay=False),
    ] = None,
    trust: Trust = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing report in --out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on a data set: COCO average precision per class.

    Examples:
        omr eval run/weights/best.pt data --out metrics
        omr eval run/weights/best.pt data --split train --json
    """
    with loading_torch(as_json=as_json):
        from omr.scoring import CONTACT_SHEET_FILE, REPORT_FILE, score_model

    result = score_model(
        weights,
        data,
        imgsz=imgsz,
        batch=batch,
        device=device,
        split=split,
        conf=conf,
        out=out,
        trust=trust,
        force=force,
        track=lambda pages, total: progress(pages, "Predicting", total),
    )
    for remark in result.skipped_files:
        note(remark)
    print_summary(result, to=results(as_json=as_json))
    if out is not None:
        say_written(out, REPORT_FILE, CONTACT_SHEET_FILE)
    if as_json:
        print_json(result.to_json())
