"""Evaluation in depth: all measures of predictions for a set of pages or tiles.

Main path: :func:`evaluate_in_depth` → :func:`coco.report` → :func:`backends.run` at IoU .5 →
:class:`~eval.metrics.hits.Hits`, from which the modules beside this one compute their measures →
:class:`~eval.reports.evaluation.EvaluationReport`.

Shapes: C classes, P pages, R recalls, W weightings of the pages.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, with_nearest
from converters.page import Page
from eval.metrics.backends import Backend, EvaluatorInput, run
from eval.metrics.bootstrap import class_sizes, interval, mean_ap, mean_sizes, page_weights
from eval.metrics.calibration import calibration
from eval.metrics.coco import evaluator_input, report
from eval.metrics.errors import class_errors, confusion, error_types
from eval.metrics.hits import Hits, read_hits, weighted_ap
from eval.metrics.matching import pair_pages
from eval.metrics.operating_points import (
    best_points,
    chosen_points,
    class_thresholds,
    page_errors,
)
from eval.metrics.other_protocols import macro, other_protocols
from eval.metrics.slices import density_groups, head_slices, page_slices, size_slices
from eval.metrics.thin_classes import centre_recall, dilated_ap50
from eval.reports.detection import DetectionReport
from eval.reports.evaluation import ClassEvaluation, EvaluationReport, Interval, Slice


def evaluate_in_depth(
    truths: Iterable[Page],
    predictions: Iterable[Page],
    names: Sequence[str],
    *,
    unit: Literal["page", "tile"],
    chosen_threshold: float,
    page_groups: Mapping[str, Mapping[str, str]] | None = None,
    heads: Mapping[str, Sequence[str]] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    backend: Backend = "hotcoco",
) -> EvaluationReport:
    """Compute all measures of predictions against ground truth.

    The result does not depend on the order of pages, ground-truth symbols and predictions, even for
    equal scores.

    Args:
        truths: Pages with ground truth, one per image. Symbols are sliced by size on pages whose
            ``staff_space`` is known.
        predictions: Pages with scores from 0 to 1, one per image of ``truths``, possibly without
            symbols; pages are matched by ``image``.
        names: Class names, indexed by label.
        unit: Kind of images.
        chosen_threshold: Confidence from which predictions count for precision, recall, F1 and the
            confusion matrix, 0 to 1.
        page_groups: Value of each image in each dimension in which pages are sliced, such as
            ``{"a.png": {"font": "Bravura"}}``. The dimension ``density`` is added.
        heads: Names of the classes of each head of the network; None for one head.
        n_bootstrap: Samples from which confidence intervals are computed.
        seed: Seed of these samples.
        backend: Evaluator that matches symbols and computes the AP; errors and confusions are
            always found by hotcoco.

    Raises:
        ConfigError: ``names`` is empty, ``chosen_threshold`` or a score is out of range, a head
            has an unknown class, ground truth and predictions are not for the same images, contain
            an image more than once, or disagree about the size of an image.
        ValueError: A label is out of range, a prediction page has no scores, a coordinate or score
            is not finite, a box has a negative side, or ``n_bootstrap`` is below 1.
    """
    head_labels = _head_labels(heads or {}, names)
    pairs = pair_pages(truths, predictions, len(names))
    _check(pairs, names, chosen_threshold)
    matching = _match(pairs, len(names), backend)
    data, hits = matching.data, matching.hits
    detection = report(data, names, backend)
    class_intervals, intervals = _intervals(hits, page_weights(len(pairs), n_bootstrap, seed))
    best = best_points(hits)
    thresholds = class_thresholds(hits, best)
    classes = _classes(
        matching,
        name=names,
        ap50_interval=class_intervals,
        best=best,
        chosen=chosen_points(hits, chosen_threshold),
        errors=class_errors(data, thresholds, names),
    )
    return EvaluationReport(
        unit=unit,
        detection=detection,
        chosen_threshold=chosen_threshold,
        intervals=intervals,
        other=macro(tuple(row.other for row in classes)),
        classes=classes,
        errors=error_types(matching.analysis, data),
        slices=_slices(matching, pairs, page_groups or {}, detection, head_labels),
        calibration=calibration(hits, head_labels or {"": range(len(names))}),
        confusion=confusion(matching.analysis, data, names, chosen_threshold),
        thresholds=tuple(thresholds.tolist()),
        pages=page_errors(hits, thresholds, [str(truth.image) for truth, _ in pairs]),
        n_bootstrap=n_bootstrap,
        seed=seed,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Matching:
    """Predictions of all pages, matched with the ground truth at IoU .5."""

    data: EvaluatorInput
    backend: Backend
    """Evaluator that computes the AP."""
    evaluator: Any
    """``COCOeval`` of the backend."""
    analysis: Any
    """``COCOeval`` of hotcoco, which finds errors and confusions."""
    hits: Hits


def _match(pairs: Sequence[tuple[Page, Page]], n_classes: int, backend: Backend) -> _Matching:
    data = evaluator_input(pairs, n_classes)
    analysis = run(data, iou_thresholds=[0.5])
    evaluator = analysis if backend == "hotcoco" else run(data, backend, iou_thresholds=[0.5])
    return _Matching(
        data=data,
        backend=backend,
        evaluator=evaluator,
        analysis=analysis,
        hits=read_hits(evaluator, data),
    )


def _classes(matching: _Matching, **columns: Sequence[Any]) -> tuple[ClassEvaluation, ...]:
    """Return the measures of each class.

    Args:
        matching: Matched predictions, from which the other measures are computed.
        columns: Measures that were computed before, each of length C.
    """
    columns |= {
        "other": other_protocols(matching.data, matching.hits),
        "centre_recall": centre_recall(matching.data),
        "dilated_ap50": dilated_ap50(matching.data, matching.backend),
        "precisions": _precisions(matching.evaluator),
    }
    rows = zip(*columns.values(), strict=True)
    return tuple(ClassEvaluation(**dict(zip(columns, row, strict=True))) for row in rows)


def _head_labels(
    heads: Mapping[str, Sequence[str]], names: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Return the labels of each head's classes.

    Raises:
        ConfigError: A head has an unknown class.
    """
    label_of = {name: label for label, name in enumerate(names)}
    if unknown := {name for classes in heads.values() for name in classes} - label_of.keys():
        raise ConfigError(f"heads: unknown classes: {with_nearest(unknown, names)}")
    return {head: tuple(label_of[name] for name in classes) for head, classes in heads.items()}


def _check(
    pairs: Sequence[tuple[Page, Page]], names: Sequence[str], chosen_threshold: float
) -> None:
    """Check what the evaluators would not notice.

    Raises:
        ConfigError: ``names`` is empty, or the threshold or a score is out of range.
    """
    if not names:
        raise ConfigError("no classes to evaluate; expected at least one class name")
    if not 0 <= chosen_threshold <= 1:
        raise ConfigError(f"chosen threshold {chosen_threshold:g}: expected a number from 0 to 1")
    for _, prediction in pairs:
        scores = prediction.scores
        if scores is not None and len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
            raise ConfigError(
                f"{prediction.image}: scores from {scores.min():g} to {scores.max():g}; "
                "expected confidences from 0 to 1"
            )


def _intervals(
    hits: Hits, weights: NDArray[np.float64]
) -> tuple[list[Interval | None], dict[str, Interval | None]]:
    """Return the interval of the AP at IoU .5 of each class, and of each mean.

    Args:
        hits: Matched predictions.
        weights: Samples of the pages, shape ``(P, W)``.
    """
    ap = weighted_ap(hits, weights)  # (W, C)
    sizes = class_sizes(hits.n_truths)
    classes = [interval(values, size) for values, size in zip(ap.T, sizes, strict=True)]
    means, mean_size = mean_ap(ap, hits.n_truths, weights), mean_sizes(hits.n_truths)
    return classes, {name: interval(values, mean_size[name]) for name, values in means.items()}


def _precisions(evaluator: Any) -> list[tuple[float, ...] | None]:  # noqa: ANN401
    """Return the interpolated precision of each class, length R; None without ground truth."""
    curves = evaluator.eval["precision"][0, :, :, 0, 0].T  # (C, R)
    return [tuple(curve) if curve[0] >= 0 else None for curve in curves.tolist()]


def _slices(
    matching: _Matching,
    pairs: Sequence[tuple[Page, Page]],
    page_groups: Mapping[str, Mapping[str, str]],
    detection: DetectionReport,
    head_labels: Mapping[str, Sequence[int]],
) -> tuple[Slice, ...]:
    """Return the scores of some of the pages, then of some of the symbols."""
    data, hits = matching.data, matching.hits
    groups = [
        {**page_groups.get(str(truth.image), {}), "density": density}
        for (truth, _), density in zip(pairs, density_groups(data.truths), strict=True)
    ]
    return (
        *page_slices(hits, groups),
        *size_slices(data, [truth.staff_space for truth, _ in pairs], matching.backend),
        *head_slices([row.ap50 for row in detection.classes], hits.n_truths, head_labels),
    )
