"""``omr eval``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omr.console import note, print_json, progress, say, say_names, say_written, table
from omr.options import AsJson, Device, Trust

if TYPE_CHECKING:
    from eval.reports.detection import ClassMetrics, MeanMetrics
    from omr.scoring import ScoringResult


def evaluate(
    weights: Annotated[
        Path,
        typer.Argument(metavar="WEIGHTS", help="Checkpoint to score.", exists=True, dir_okay=False),
    ],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder written by omr convert.", exists=True)
    ],
    imgsz: Annotated[
        int | None,
        typer.Option(
            help="Longer side of the network input in pixels.",
            min=1,
            show_default="that of the training",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images per batch.", min=1)] = 16,
    device: Device = "",
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    conf: Annotated[
        float, typer.Option(help="Confidence threshold, at most 0.001.", min=0)
    ] = 0.001,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.json and contact_sheet.png.", file_okay=False),
    ] = None,
    trust: Trust = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a report in OUT.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on a data set: COCO average precision per class.

    Example: omr eval run/weights/best.pt data --out score
    """
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
    _show(result)
    if out is not None:
        say_written(out, REPORT_FILE, CONTACT_SHEET_FILE)
    if as_json:
        print_json(result.to_json())


def _show(result: "ScoringResult") -> None:
    from eval.reports.detection import FREQUENT

    report = result.report
    present = [row for row in report.classes if row.n_truths or row.n_predictions]
    totals = report.n_truths, report.n_predictions
    table(
        f"{result.split}: {report.n_images} images",
        ("class", "truths", "predictions", "AP50", "AP50-95", "recall50"),
        [(row.name, row.n_truths, row.n_predictions, *_metrics(row)) for row in present],
        [
            ("macro mean", *totals, *_metrics(report.macro)),
            (f"macro mean, {FREQUENT}+ truths", *totals, *_metrics(report.frequent_macro)),
            ("instance-weighted mean", *totals, *_metrics(report.instance_weighted)),
        ],
    )
    say("Macro: all classes with truths weigh the same. Instance-weighted: by number of truths.")
    say_names("no truths and no predictions", [r.name for r in report.classes if r not in present])
    if classes := result.classes_left_out:
        say(
            f"ignored {result.predictions_left_out} predictions of {len(classes)} classes that the "
            "data set does not have"
        )
    say(f"images that reached the limit of {result.max_det} detections: {result.images_at_max_det}")
    if report.n_zero_area_truths:
        note(f"truths of zero area, which no prediction can match: {report.n_zero_area_truths}")
    if result.differences:
        note(f"differs from the training: {'; '.join(result.differences)}")
    _show_trained_on(result)


def _show_trained_on(result: "ScoringResult") -> None:
    n_images = result.report.n_images
    if result.trained_on:
        note(
            f"{len(result.trained_on)} of {n_images} images were trained on, the first is "
            f"{result.trained_on[0]}: for these, the metrics show how well the model memorised "
            "them, not how well it generalises"
        )
    elif result.training_is_known:
        say(f"none of the {n_images} images was trained on")
    else:
        note(
            "unknown whether the images were trained on: the weights do not record all images of "
            "their training"
        )


def _metrics(score: "ClassMetrics | MeanMetrics") -> list[str]:
    """Format the metrics of a table row; a dash where there are no truths."""
    return [
        "-" if metric is None else f"{metric:.3f}"
        for metric in (score.ap50, score.ap, score.recall50)
    ]
