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
from eval.metrics.backends import Backend, Curves, run
from eval.metrics.batches import Batches, batches_of
from eval.metrics.bootstrap import class_sizes, interval, mean_ap, mean_sizes, page_weights
from eval.metrics.calibration import calibration
from eval.metrics.coco import report
from eval.metrics.errors import (
    BatchErrors,
    class_errors,
    classified,
    confusion,
    confusion_counts,
    error_types,
)
from eval.metrics.hits import HitCollector, Hits, Weights, read_hits, weighted_ap
from eval.metrics.matching import PagePairs, pair_pages
from eval.metrics.operating_points import (
    best_points,
    chosen_points,
    class_thresholds,
    page_errors,
)
from eval.metrics.other_protocols import macro, other_protocols
from eval.metrics.slices import (
    SizeMatches,
    density_groups,
    head_slices,
    page_slices,
    size_matches,
    size_slices,
)
from eval.metrics.thin_classes import centre_recall, dilated_ap50
from eval.reports.evaluation import ClassEvaluation, EvaluationReport, Interval


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
    _check(names, chosen_threshold)
    pairs = pair_pages(truths, predictions, len(names))
    staff_spaces = _staff_spaces(pairs)
    batches = batches_of(pairs, len(names))
    matching = _match(batches, staff_spaces, backend, chosen_threshold)
    hits = matching.hits
    detection, found = report(batches, names, backend)
    class_intervals, intervals = _intervals(hits, page_weights(len(pairs), n_bootstrap, seed))
    best = best_points(hits)
    thresholds = class_thresholds(hits, best)
    columns: dict[str, Sequence[Any]] = {
        "ap50_interval": class_intervals,
        "best": best,
        "chosen": chosen_points(hits, chosen_threshold),
        "errors": class_errors(batches, thresholds, names),
        "other": other_protocols(batches, hits),
        "centre_recall": centre_recall(batches, len(names)),
        "dilated_ap50": dilated_ap50(batches, len(names), backend),
        "precisions": _precisions(found),
    }
    rows = zip(names, *columns.values(), strict=True)
    classes = tuple(
        ClassEvaluation(name=name, **dict(zip(columns, row, strict=True))) for name, *row in rows
    )
    return EvaluationReport(
        unit=unit,
        detection=detection,
        chosen_threshold=chosen_threshold,
        intervals=intervals,
        other=macro(tuple(row.other for row in classes)),
        classes=classes,
        errors=error_types(matching.errors, hits),
        slices=(
            *page_slices(hits, _groups(pairs, page_groups or {})),
            *size_slices(matching.sizes),
            *head_slices([row.ap50 for row in detection.classes], hits.n_truths, head_labels),
        ),
        calibration=calibration(hits, head_labels or {"": range(len(names))}),
        confusion=confusion(matching.confusions, names, chosen_threshold),
        thresholds=tuple(thresholds.tolist()),
        pages=page_errors(hits, thresholds, list(map(str, pairs.images))),
        n_bootstrap=n_bootstrap,
        seed=seed,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Matching:
    """Predictions of all pages, matched with the ground truth at IoU .5."""

    hits: Hits
    errors: Sequence[BatchErrors]
    sizes: Sequence[tuple[SizeMatches, ...]]
    confusions: NDArray[np.int64]
    """Predicted classes by true class, shape ``(C + 1, C + 1)``."""


def _match(
    batches: Batches,
    staff_spaces: Sequence[float | None],
    backend: Backend,
    chosen_threshold: float,
) -> _Matching:
    """Match predictions with ground truth, once for all measures that need it.

    Args:
        batches: Symbols to compare.
        staff_spaces: Distance of the staff lines of each page in pixels; None if it is unknown.
        backend: Evaluator that computes the AP.
        chosen_threshold: Confidence from which predictions count in the confusion matrix.
    """
    collected, errors, sizes = HitCollector(), [], []
    confusions = np.zeros((batches.n_classes + 1, batches.n_classes + 1), np.int64)
    for data in batches:
        analysis = run(data, iou_thresholds=[0.5])
        confusions += confusion_counts(analysis, data, chosen_threshold)
        evaluator = analysis if backend == "hotcoco" else run(data, backend, iou_thresholds=[0.5])
        found = read_hits(evaluator, data)
        errors.append(classified(data, found))
        n_candidates = errors[-1].n_candidates
        sizes.append(size_matches(data, found, n_candidates, staff_spaces, backend))
        collected.add(data, found)
    return _Matching(hits=collected.hits(), errors=errors, sizes=sizes, confusions=confusions)


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


def _check(names: Sequence[str], chosen_threshold: float) -> None:
    """Check what the evaluators would not notice.

    Raises:
        ConfigError: ``names`` is empty, or the threshold is out of range.
    """
    if not names:
        raise ConfigError("no classes to evaluate; expected at least one class name")
    if not 0 <= chosen_threshold <= 1:
        raise ConfigError(f"chosen threshold {chosen_threshold:g}: expected a number from 0 to 1")


def _staff_spaces(pairs: PagePairs) -> list[float | None]:
    """Return the distance of the staff lines of each page in pixels; None if it is unknown.

    Raises:
        ConfigError: A score is out of range.
    """
    spaces = []
    for truth, prediction in pairs:
        scores = prediction.scores
        if scores is not None and len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
            raise ConfigError(
                f"{prediction.image}: scores from {scores.min():g} to {scores.max():g}; "
                "expected confidences from 0 to 1"
            )
        spaces.append(truth.staff_space)
    return spaces


def _groups(pairs: PagePairs, page_groups: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the value of each page in each dimension, with its density."""
    densities = density_groups(pairs.n_symbols[:, 0])
    return [
        {**page_groups.get(str(image), {}), "density": density}
        for image, density in zip(pairs.images, densities, strict=True)
    ]


def _intervals(
    hits: Hits, weights: Weights
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


def _precisions(found: Curves) -> list[tuple[float, ...] | None]:
    """Return the interpolated precision of each class, length R; None without ground truth."""
    return [tuple(curve) if curve[0] >= 0 else None for curve in found.precision[0].T.tolist()]
