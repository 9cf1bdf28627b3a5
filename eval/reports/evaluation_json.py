"""JSON of an evaluation, for other programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from eval.reports.confusion_matrix import confusions
from eval.reports.evaluation import Calibration, EvaluationReport, Interval, OperatingPoint
from eval.reports.evaluation_figures import ClassRow, class_rows
from eval.reports.evaluation_priorities import work_next


def evaluation_json(report: EvaluationReport, *, split: str) -> dict[str, Any]:
    """Return an evaluation as nested dicts, lists and numbers, with None for missing scores.

    Args:
        report: Report with all figures.
        split: Split that was evaluated.

    Raises:
        ValueError: The classes of the report are not in the order of its detection metrics.
    """
    detection, other = report.detection, report.other
    means = ("macro", "frequent_macro", "instance_weighted")
    return {
        "unit": report.unit,
        "split": split,
        "pages": detection.n_images,
        "truths": detection.n_truths,
        "predictions": detection.n_predictions,
        "zero_area_truths": detection.n_zero_area_truths,
        "max_det_per_class": detection.max_det_per_class,
        **{
            key: asdict(getattr(detection, key)) | _limits("ap50", report.intervals.get(key))
            for key in means
        },
        "voc2007": {"map50": other.voc2007},
        "voc2010": {"map50": other.voc2010},
        "ultralytics": {"map50": other.ultralytics},
        "bootstrap": {"samples": report.n_bootstrap, "seed": report.seed},
        "chosen_threshold": report.chosen_threshold,
        "work_next": asdict(work_next(report)),
        "tide": {
            "delta_ap": {error.name: error.delta_ap for error in report.errors},
            "count": {error.name: error.count for error in report.errors},
        },
        "calibration": _calibration(report.calibration),
        "classes": [_class(row) for row in class_rows(report)],
        "slices": [asdict(part) for part in report.slices],
        "confusions": [asdict(pair) for pair in confusions(report.confusion)],
        "confusion": asdict(report.confusion),
        "page_errors": [asdict(page) for page in report.pages],
    }


def _limits(key: str, interval: Interval | None) -> dict[str, float | None]:
    return {
        f"{key}_low": interval.low if interval else None,
        f"{key}_high": interval.high if interval else None,
    }


def _calibration(calibrations: Sequence[Calibration]) -> dict[str, Any]:
    """Return the error of each head, and their mean, weighted by the number of predictions."""
    known = [
        (head.ece, sum(one.n_predictions for one in head.bins))
        for head in calibrations
        if head.ece is not None
    ]
    n = sum(n for _, n in known)
    ece = sum(ece * n for ece, n in known) / n if n else None
    return {"ece": ece, "heads": [asdict(head) for head in calibrations]}


def _class(row: ClassRow) -> dict[str, Any]:
    metrics, detail, errors = row.metrics, row.detail, row.detail.errors
    return {
        "name": metrics.name,
        "truths": metrics.n_truths,
        "predictions": metrics.n_predictions,
        "ap": metrics.ap,
        "ap50": metrics.ap50,
        **_limits("ap50", detail.ap50_interval),
        "ap75": metrics.ap75,
        "recall50": metrics.recall50,
        **_point("best", detail.best),
        **_point("chosen", detail.chosen),
        "centre_recall": detail.centre_recall,
        "imprecise_symbols": errors.n_imprecise_symbols if metrics.n_truths else None,
        "imprecise_predictions": errors.n_imprecise_predictions if metrics.n_truths else None,
        "mistaken": dict(errors.mistaken) if metrics.n_truths else None,
        "dilated_ap50": detail.dilated_ap50,
        **asdict(detail.other),
        "precisions": detail.precisions,
    }


def _point(key: str, point: OperatingPoint | None) -> dict[str, float | None]:
    fields = ("threshold", "precision", "recall", "f1")
    return {f"{key}_{field}": getattr(point, field, None) for field in fields}
