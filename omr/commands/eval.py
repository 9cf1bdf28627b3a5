"""``omr eval``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from class_maps import short_list
from eval.html.number_format import counted
from omr.console import (
    loading_torch,
    note,
    paragraph,
    print_json,
    progress,
    results,
    say,
    say_names,
    say_written,
    table,
)
from omr.options import AsJson, Device, Trust

if TYPE_CHECKING:
    from eval.reports.detection import ClassMetrics, MeanMetrics
    from omr.scoring import ScoringResult

MOST_NAMES = 8
"""Maximum number of class names per line."""


def evaluate(
    weights: Annotated[
        Path,
        typer.Argument(help="Checkpoint to score.", exists=True, dir_okay=False),
    ],
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
    _show(result, results(as_json=as_json))
    if out is not None:
        say_written(out, REPORT_FILE, CONTACT_SHEET_FILE)
    if as_json:
        print_json(result.to_json())


def _show(result: "ScoringResult", to: Console) -> None:
    from eval.reports.detection import FREQUENT

    report = result.report
    present = [row for row in report.classes if row.n_truths or row.n_predictions]
    totals = report.n_truths, report.n_predictions
    table(
        f"{result.split}: {counted(report.n_images, 'image', 'images')}",
        ("class", "ground truth", "predictions", "AP50", "AP50-95", "recall50"),
        [(row.name, row.n_truths, row.n_predictions, *_metrics(row)) for row in present],
        [
            ("macro mean", *totals, *_metrics(report.macro)),
            (f"macro mean, {FREQUENT}+ symbols", *totals, *_metrics(report.frequent_macro)),
            ("instance-weighted mean", *totals, *_metrics(report.instance_weighted)),
        ],
        to=to,
    )
    paragraph(
        "Macro: all classes with ground truth have the same weight. Instance-weighted: each class "
        "is weighted by its number of ground-truth symbols.",
        to=to,
    )
    absent = [row.name for row in report.classes if row not in present]
    say_names("neither ground truth nor predictions", absent, to=to)
    if classes := result.ignored_classes:
        paragraph(
            f"ignored {counted(result.ignored_predictions, 'prediction', 'predictions')} of "
            f"{counted(len(classes), 'class', 'classes')} that the data set does not have",
            to=to,
        )
    say(
        f"images that reached the limit of {result.max_det} detections: {result.images_at_max_det}",
        to=to,
    )
    if report.n_zero_area_truths:
        note(
            "ground-truth symbols of zero area, which no prediction can match: "
            f"{report.n_zero_area_truths}"
        )
    if missing := result.missing_classes:
        number = counted(len(missing), "class", "classes")
        verb = "is" if len(missing) == 1 else "are"
        note(
            f"{number} of the data set, without ground truth, {verb} not in the weights: "
            f"{short_list(missing, MOST_NAMES)}"
        )
    if result.differences:
        note(f"differs from the training: {'; '.join(result.differences)}")
    _show_trained_on(result, to)


def _show_trained_on(result: "ScoringResult", to: Console) -> None:
    overlap = result.overlap
    if n_seen := len(overlap.trained_on):
        same_images = n_seen == overlap.n_same_images
        is_exact = overlap.training_is_known and (same_images or overlap.pages_are_known)
        images = counted(result.report.n_images, "image", "images")
        note(
            f"the model was trained on {'' if same_images else 'the pages of '}"
            f"{'' if is_exact else 'at least '}{n_seen} of {images}, the first is "
            f"{overlap.trained_on[0]}: for these, the metrics show how well it memorised them, not "
            "how well it generalises"
        )
        return
    if not overlap.training_is_known:
        note(
            "unknown whether the model was trained on these images: its weights do not record all "
            "training images"
        )
        return
    unseen = "the model was not trained on these images"
    if overlap.pages_are_known:
        say(f"{unseen}, nor on other parts of their pages", to=to)
    else:
        say(
            f"{unseen}; unknown whether on other parts of their pages, because not all data sets "
            "record their pages",
            to=to,
        )


def _metrics(score: "ClassMetrics | MeanMetrics") -> list[str]:
    """Format the metrics of a table row; a dash where there is no ground truth."""
    return [
        "-" if metric is None else f"{metric:.3f}"
        for metric in (score.ap50, score.ap, score.recall50)
    ]
