"""Sample reports of ``omr eval``: an ordinary one, one with many classes, an empty one."""

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from converters.images import Pixels
from converters.page import Page
from eval.reports.detection import FREQUENT, ClassMetrics, DetectionReport, MeanMetrics
from eval.reports.evaluation import (
    Calibration,
    CalibrationBin,
    ClassErrors,
    ClassEvaluation,
    Confusion,
    ErrorType,
    EvaluationReport,
    Interval,
    OperatingPoint,
    OtherProtocols,
    PageErrors,
    Slice,
)
from eval.reports.evaluation_page import EvaluationSubject
from eval.reports.page_overlays import MarkedPage

NONE = OtherProtocols(voc2007=None, voc2010=None, ultralytics=None)
SUBJECT = EvaluationSubject(
    weights="<best>.pt",
    data="data/a&b",
    split="val",
    protocol=[("hash", "0123abcd")],
    notes=["Note <1>."],
)
NAMES = (
    "noteheadBlack", "stem", "beam", "accidentalSharp", "accidentalQuarterToneSharpStein", "clefG",
    "tie",
)  # fmt: skip


def metrics(
    name: str, n: int, ap50: float | None, *, n_predictions: int | None = None, **scores: float
) -> ClassMetrics:
    """Return the metrics of a class whose AP75 and AP are derived from its AP50."""
    share = None if ap50 is None else ap50
    return ClassMetrics(
        name=name,
        n_truths=n,
        n_predictions=n if n_predictions is None else n_predictions,
        ap50=ap50,
        ap75=scores.get("ap75", None if share is None else share * 0.8),
        ap=scores.get("ap", None if share is None else share * 0.7),
        recall50=scores.get("recall50", share),
    )


def point(threshold: float, precision: float, recall: float) -> OperatingPoint:
    """Return an operating point with its F1."""
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return OperatingPoint(threshold=threshold, precision=precision, recall=recall, f1=f1)


def evaluation(
    row: ClassMetrics,
    *,
    best: OperatingPoint | None = None,
    interval: tuple[float, float] | None = None,
    centre_recall: float | None = None,
    dilated_ap50: float | None = None,
    imprecise: tuple[int, int] = (0, 0),
    mistaken: tuple[tuple[str, int], ...] = (),
) -> ClassEvaluation:
    """Return the other measures of a class, derived from its AP50.

    Args:
        row: COCO's metrics of the class.
        best: Operating point with the best F1.
        interval: Limits of the AP50.
        centre_recall: Share of symbols with a prediction at their centre.
        dilated_ap50: AP50 of extended boxes.
        imprecise: Numbers of imprecisely located symbols and predictions.
        mistaken: Numbers of predictions on symbols of other classes.
    """
    errors = ClassErrors(
        n_imprecise_symbols=imprecise[0], n_imprecise_predictions=imprecise[1], mistaken=mistaken
    )
    if row.ap50 is None:
        return ClassEvaluation(
            name=row.name, ap50_interval=None, best=None, chosen=None, other=NONE,
            centre_recall=None, errors=errors, dilated_ap50=None, precisions=None,
        )  # fmt: skip
    ap50 = row.ap50
    low, high = interval or (max(0.0, ap50 - 0.05), min(1.0, ap50 + 0.05))
    return ClassEvaluation(
        name=row.name,
        ap50_interval=Interval(low=low, high=high),
        best=best or point(0.41, ap50, ap50),
        chosen=point(0.25, ap50 * 0.9, ap50),
        other=OtherProtocols(voc2007=ap50 * 0.9, voc2010=ap50 * 0.98, ultralytics=ap50 * 0.99),
        centre_recall=row.recall50 if centre_recall is None else centre_recall,
        errors=errors,
        dilated_ap50=dilated_ap50,
        precisions=tuple(float(i <= 100 * ap50) for i in range(101)),
    )


def report_of(
    classes: list[tuple[ClassMetrics, ClassEvaluation]],
    *,
    confused: dict[tuple[str, str], int] | None = None,
    n_pages: int = 3,
    **changes: object,
) -> EvaluationReport:
    """Return a report whose means and counts follow from its classes.

    Args:
        classes: Both kinds of measures of each class.
        confused: Symbols by true and predicted class.
        n_pages: Number of pages, each with an equal number of truths if they are divisible.
        changes: Other fields of the report.
    """
    rows = [row for row, _ in classes]
    weights = np.array([row.n_truths for row in rows], dtype=np.int64)
    n_truths = int(weights.sum())
    detection = DetectionReport(
        n_images=n_pages,
        n_truths=n_truths,
        n_predictions=sum(row.n_predictions for row in rows),
        n_zero_area_truths=0,
        max_det_per_class=1000,
        classes=tuple(rows),
        macro=_mean(rows, np.minimum(weights, 1)),
        frequent_macro=_mean(rows, (weights >= FREQUENT).astype(np.int64)),
        instance_weighted=_mean(rows, weights),
    )
    interval = Interval(low=0.5, high=0.75) if n_truths else None
    report = EvaluationReport(
        unit="page",
        detection=detection,
        chosen_threshold=0.25,
        intervals=dict.fromkeys(("macro", "frequent_macro", "instance_weighted"), interval),
        other=OtherProtocols(voc2007=0.611, voc2010=0.622, ultralytics=0.633) if n_truths else NONE,
        classes=tuple(detail for _, detail in classes),
        errors=(),
        slices=(),
        calibration=(),
        confusion=_confusion(rows, confused or {}),
        thresholds=(0.5,) * len(rows),
        pages=tuple(_pages(n_truths, n_pages)),
        n_bootstrap=1000,
        seed=0,
    )
    return replace(report, **changes)  # type: ignore[arg-type]


def _mean(rows: list[ClassMetrics], weights: np.ndarray) -> MeanMetrics:
    def mean(key: str) -> float | None:
        if not weights.any():
            return None
        return float(np.average([getattr(row, key) or 0.0 for row in rows], weights=weights))

    return MeanMetrics(
        ap50=mean("ap50"), ap75=mean("ap75"), ap=mean("ap"), recall50=mean("recall50")
    )


def _confusion(rows: list[ClassMetrics], confused: dict[tuple[str, str], int]) -> Confusion:
    """Return a matrix in which all symbols that are not confused are predicted correctly."""
    names = [row.name for row in rows if row.n_truths or row.n_predictions] + ["background"]
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for i, row in enumerate(row for row in rows if row.name in names):
        counts[i, i] = row.n_truths
    for (truth, predicted), n in confused.items():
        i, j = names.index(truth), names.index(predicted)
        counts[i, j] += n
        if truth != "background":
            counts[i, i] -= n
    return Confusion(
        threshold=0.25, names=tuple(names), counts=tuple(tuple(row) for row in counts.tolist())
    )


def _pages(n_truths: int, n_pages: int) -> list[PageErrors]:
    pages = []
    for i in range(n_pages):
        n = n_truths // n_pages + (n_truths % n_pages if i == 0 else 0)
        missed = n // (4 + i)
        pages.append(
            PageErrors(
                image=f"<p>{i}.png",
                n_truths=n,
                n_found=n - missed,
                n_false=n_pages - i,
                n_missed=missed,
            )
        )
    return pages


def full() -> EvaluationReport:
    """Return a report in which every section has content; its numbers are invented."""
    scores = (0.98, 0.45, 0.8, 0.9, None, 1.0, 0.3)
    counts = (2400, 1800, 240, 120, 0, 60, 12)
    rows = [metrics(name, n, ap) for name, n, ap in zip(NAMES, counts, scores, strict=True)]
    rows[1] = replace(rows[1], recall50=0.55)
    rows[4] = replace(rows[4], n_predictions=7)
    classes = [(row, evaluation(row)) for row in rows]
    stem = evaluation(
        rows[1], best=point(0.31, 0.6, 0.53), centre_recall=0.97, dilated_ap50=0.93,
        imprecise=(300, 500),
    )  # fmt: skip
    classes[1] = rows[1], stem
    classes[6] = rows[6], evaluation(rows[6], interval=(0.05, 0.71))
    return report_of(
        classes,
        confused={
            ("stem", "beam"): 31, ("stem", "background"): 700, ("beam", "stem"): 5,
            ("background", "stem"): 420, ("background", "accidentalQuarterToneSharpStein"): 7,
        },
        errors=_errors(),
        slices=_slices(),
        calibration=_calibration(),
    )  # fmt: skip


def _errors() -> tuple[ErrorType, ...]:
    return tuple(
        ErrorType(name=name, count=count, delta_ap=delta)
        for name, count, delta in (
            ("class", 40, 0.011), ("localisation", 900, 0.0712), ("both", 3, 0.0), ("duplicate", 8, 0.001),
            ("background", 33, 0.004), ("missed", 120, 0.021),
        )
    )  # fmt: skip


def _slices() -> tuple[Slice, ...]:
    entries = [("font", "Bravura"), ("font", "<Leland>"), ("head", "thin"), ("head", "empty")]
    entries += [("writer", f"writer {i}") for i in range(20)]
    return tuple(
        Slice(
            dimension=dimension,
            value=value,
            n_pages=2,
            n_truths=0 if value == "empty" else 100 + i,
            macro_ap50=None if value == "empty" else 0.5 + i / 100,
            instance_weighted_ap50=None if value == "empty" else 0.6 + i / 100,
        )
        for i, (dimension, value) in enumerate(entries)
    )


def _calibration() -> tuple[Calibration, ...]:
    bins = tuple(
        CalibrationBin(confidence=c, precision=p, n_predictions=n)
        for c, p, n in ((0.1, 0.05, 40), (0.5, 0.61, 200), (0.95, 0.97, 3000))
    )
    return (
        Calibration(head="thin", ece=0.0312, bins=bins),
        Calibration(head="<others>", ece=None, bins=()),
    )


def crowded(n_classes: int = 136) -> EvaluationReport:
    """Return a report with many classes of long names, of which every second pair is confused."""
    rows = [
        metrics(f"<b>accidentalQuarterToneFlat{i}", 5 + 40 * (i % 3), (i % 20) / 19)
        for i in range(n_classes)
    ]
    confused = {(rows[i].name, rows[i + 1].name): 1 + i % 4 for i in range(0, n_classes - 1, 2)}
    return replace(
        full(),
        **{
            key: getattr(
                report_of([(row, evaluation(row)) for row in rows], confused=confused), key
            )
            for key in ("detection", "classes", "confusion", "pages")
        },
    )


def empty() -> EvaluationReport:
    """Return a report on no pages with no classes."""
    return report_of([], n_pages=0)


def marked_page(report: EvaluationReport, row: int, pixels: Pixels | None) -> MarkedPage:
    """Return a page of a report with one found and one missed symbol, and one false alarm."""
    boxes = np.array([[10.0, 10, 30, 40], [50, 10, 52, 60]])
    name = PurePosixPath(report.pages[row].image)
    truth = Page(image=name, width=100, height=80, boxes_xyxy=boxes, labels=np.array([0, 1]))
    prediction = replace(
        truth, boxes_xyxy=boxes + np.array([[0], [9]]) * [1, 0, 1, 0], scores=np.array([0.9, 0.655])
    )
    return MarkedPage(
        truth=truth,
        is_found=np.array([True, False]),
        prediction=prediction,
        is_right=np.array([True, False]),
        pixels=pixels,
    )
