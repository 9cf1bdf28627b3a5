"""Average precision of predicted symbols, computed by pycocotools.

Several averages over classes are common. On music they differ by up to 0.3, because most symbols
belong to a few classes (noteheads, stems). This module computes and names three of them:

* macro: all classes with truths have equal weight, as printed by COCO and Ultralytics.
* frequent macro: same mean, but only over classes with many truths, as rare ones vary by chance.
* instance weighted: classes are weighted by their number of truths.

Shapes: T IoU thresholds, R recall thresholds, C classes.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from converters.boxes import xyxy_to_xywh
from converters.page import Page
from eval.metrics.matching import pair_pages
from eval.reports.detection import FREQUENT, ClassMetrics, DetectionReport, MeanMetrics

MAX_CONF = 0.001
"""Highest confidence threshold that does not affect an AP.

A threshold of 0.25 cuts off the low-precision end of the curve: recall drops, and evaluators that
connect the end of the curve to (recall 1, precision 0) even report a higher AP.
"""

_AT_50, _AT_75 = 0, 5  # indices of IoU .5 and .75 in COCO's .5:.05:.95
_EVERY_AREA = [0.0, float("inf")]  # COCO's own "all" ends at 1e10 square pixels


def evaluate(
    truths: Iterable[Page],
    predictions: Iterable[Page],
    names: Sequence[str],
    *,
    max_det: int | None = None,
) -> DetectionReport:
    """Compute the metrics of predictions against ground truth.

    The result does not depend on the order of pages, truths and predictions, even for equal scores.

    Args:
        truths: Pages with ground truth, one per image.
        predictions: Pages with scores, one per image of ``truths``, possibly without symbols; pages
            are matched by ``image``.
        names: Class names, indexed by label.
        max_det: Number of best predictions to keep per image and class (not per image as in
            Ultralytics); None to keep all.

    Returns:
        Metrics per class and their means.

    Raises:
        ConfigError: Truths and predictions are not for the same images, contain an image more than
            once, or disagree about the size of an image.
        ValueError: A label is out of range, a prediction page has no scores, a coordinate or score
            is not finite, a box has a negative side, or ``max_det`` is below 1.

    Source: COCO detection metrics, https://cocodataset.org/#detection-eval.
    """
    pairs = pair_pages(truths, predictions, len(names))
    if max_det is None:
        max_det = max((len(page.labels) for page in chain.from_iterable(pairs)), default=0) or 1
    if max_det < 1:
        raise ValueError(f"max_det must be at least 1, got {max_det}")
    n_truths = _counts((truth for truth, _ in pairs), len(names))  # (C,)
    n_predictions = _counts((prediction for _, prediction in pairs), len(names))  # (C,)
    precision, recall = _coco_curves(pairs, len(names), max_det, n_truths)
    classes = _class_metrics(names, n_truths, n_predictions, precision, recall)
    return DetectionReport(
        n_images=len(pairs),
        n_truths=int(n_truths.sum()),
        n_predictions=int(n_predictions.sum()),
        n_zero_area_truths=sum(_n_zero_area(truth) for truth, _ in pairs),
        max_det_per_class=max_det,
        classes=classes,
        macro=_mean(classes, np.minimum(n_truths, 1)),
        frequent_macro=_mean(classes, (n_truths >= FREQUENT).astype(np.int64)),
        instance_weighted=_mean(classes, n_truths),
    )


def _counts(pages: Iterable[Page], n_classes: int) -> NDArray[np.int64]:
    """Count the symbols of each class, shape ``(C,)``."""
    counts = np.zeros(n_classes, dtype=np.int64)
    for page in pages:
        counts += np.bincount(page.labels, minlength=n_classes)
    return counts


def _n_zero_area(page: Page) -> int:
    sides = page.boxes_xyxy[:, 2:] - page.boxes_xyxy[:, :2]
    return int((sides == 0).any(axis=1).sum())


def _coco_curves(
    pairs: Sequence[tuple[Page, Page]], n_classes: int, max_det: int, n_truths: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Run COCOeval and check that it counted every truth.

    The curves are read from ``eval``, because ``summarize`` only supports a ``maxDets`` of 100.

    Returns:
        Interpolated precision, shape ``(T, R, C)``, and recall, shape ``(T, C)``; -1 for a class
        without truths.

    Raises:
        RuntimeError: COCOeval lost a truth.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # suppresses its progress output
        coco_eval = COCOeval(
            _coco((truth for truth, _ in pairs), n_classes),
            _coco((prediction for _, prediction in pairs), n_classes),
            "bbox",
        )
        coco_eval.params.maxDets = [max_det]
        coco_eval.params.areaRng = [_EVERY_AREA]
        coco_eval.params.areaRngLbl = ["all"]
        coco_eval.evaluate()
        coco_eval.accumulate()
    counted = np.zeros(n_classes, dtype=np.int64)
    for match in filter(None, coco_eval.evalImgs):
        counted[match["category_id"]] += len(match["gtIgnore"]) - int(sum(match["gtIgnore"]))
    if not np.array_equal(counted, n_truths):
        raise RuntimeError(
            f"the evaluator counted {counted.sum()} truths, but the data contain "
            f"{n_truths.sum()}; the metrics are not valid"
        )
    return coco_eval.eval["precision"][:, :, :, 0, 0], coco_eval.eval["recall"][:, :, 0, 0]


def _coco(pages: Iterable[Page], n_classes: int) -> COCO:
    """Convert pages to COCOeval's input, with image ids in the order of the pages."""
    annotations: list[dict[str, Any]] = []
    n_images = 0
    for page in pages:
        order = _canonical_order(page)
        scores = np.zeros(len(order)) if page.scores is None else page.scores[order]
        rows = zip(
            xyxy_to_xywh(page.boxes_xyxy[order]).tolist(),
            page.labels[order].tolist(),
            scores.tolist(),
            strict=True,
        )
        for box_xywh, label, score in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,  # COCOeval treats a match with id 0 as no match
                    "image_id": n_images,
                    "category_id": label,
                    "bbox": box_xywh,
                    "area": box_xywh[2] * box_xywh[3],
                    "iscrowd": 0,
                    "score": score,
                }
            )
        n_images += 1
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(n_images)],
        "annotations": annotations,
        "categories": [{"id": i} for i in range(n_classes)],
    }
    coco.createIndex()
    return coco


def _canonical_order(page: Page) -> NDArray[np.intp]:
    """Return an order by label and box: COCOeval breaks ties between equal scores by position."""
    return np.lexsort((*page.boxes_xyxy.T[::-1], page.labels))


def _class_metrics(
    names: Sequence[str],
    n_truths: NDArray[np.int64],
    n_predictions: NDArray[np.int64],
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
) -> tuple[ClassMetrics, ...]:
    columns = {
        "ap50": precision[_AT_50].mean(axis=0),  # (C,)
        "ap75": precision[_AT_75].mean(axis=0),  # (C,)
        "ap": precision.mean(axis=(0, 1)),  # (C,)
        "recall50": recall[_AT_50],  # (C,)
    }
    return tuple(
        ClassMetrics(
            name=name,
            n_truths=int(n_truths[i]),
            n_predictions=int(n_predictions[i]),
            **{key: float(column[i]) if n_truths[i] else None for key, column in columns.items()},
        )
        for i, name in enumerate(names)
    )


def _mean(classes: Sequence[ClassMetrics], weights: NDArray[np.int64]) -> MeanMetrics:
    """Average the class metrics with weights of shape ``(C,)``, 0 for classes without truths."""

    def mean(metric: str) -> float | None:
        if not weights.any():
            return None
        values = [getattr(row, metric) or 0.0 for row in classes]  # None only for weight 0
        return float(np.average(values, weights=weights))

    return MeanMetrics(
        ap50=mean("ap50"), ap75=mean("ap75"), ap=mean("ap"), recall50=mean("recall50")
    )
