"""Average precision of predicted symbols, computed by pycocotools.

Several means of the classes' figures are in use, and on music they differ by up to 0.3, because a
few classes (noteheads, stems) hold most symbols. This module gives three and names them:

* macro: every class that has a truth counts the same; what COCO and Ultralytics print.
* frequent macro: the same of classes with many truths; that of a rare one is a matter of luck.
* instance weighted: every class counts by its number of truths.

Shapes: T IoU thresholds, R recall thresholds, C classes.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from class_maps import ConfigError
from converters.boxes import xyxy_to_xywh
from converters.page import Page

MAX_CONF = 0.001
"""Highest confidence cut that leaves an AP alone.

A cut at 0.25 takes the low-precision end off the curve: recall falls, and evaluators that join
the curve's end to (recall 1, precision 0) even report a higher AP than without it.
"""

FREQUENT = 30
"""Truths from which a class counts in the frequent macro mean."""

_AT_50, _AT_75 = 0, 5  # places of IoU .5 and .75 in COCO's .5:.05:.95
_EVERY_AREA = [0.0, float("inf")]  # COCO's own "all" ends at 1e10 square pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """The figures of one class; None where the class has no truth, which is not the same as 0."""

    name: str
    n_truths: int
    n_predictions: int
    ap50: float | None
    """COCO's 101-point mean of the interpolated precision at IoU .5."""
    ap75: float | None
    ap: float | None
    """Mean over IoU .5:.05:.95."""
    recall50: float | None
    """Share of the truths that any prediction reaches at IoU .5, whatever its score."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanScore:
    """One way of averaging the classes; None where no class has a truth."""

    ap50: float | None
    ap75: float | None
    ap: float | None
    recall50: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionReport:
    """What :func:`evaluate` found."""

    n_images: int
    n_truths: int
    n_predictions: int
    n_zero_area_truths: int
    """Truths without width or height: they count, but no prediction can ever reach them."""
    max_det_per_class: int
    """Predictions kept for each pair of image and class; high enough to cut none, unless asked."""
    classes: tuple[ClassScore, ...]
    """In the order of the class names."""
    macro: MeanScore
    """Every class that has a truth counts the same."""
    frequent_macro: MeanScore
    """Every class with at least :data:`FREQUENT` truths counts the same."""
    instance_weighted: MeanScore
    """Every class counts by its number of truths."""

    def to_json(self) -> dict[str, Any]:
        """Give nested dicts, lists and numbers; None stands for "no truth"."""
        return asdict(self) | {"classes": [asdict(score) for score in self.classes]}


def evaluate(
    truths: Iterable[Page],
    predictions: Iterable[Page],
    names: Sequence[str],
    *,
    max_det: int | None = None,
) -> DetectionReport:
    """Score predictions against ground truth.

    The order of pages, truths and predictions changes nothing, not even among equal scores.

    Args:
        truths: Pages with symbols; each image once.
        predictions: Pages with scores, one for each truth page, without symbols where none was
            found; pages are matched by ``image``.
        names: Class names; a label is a place in this list.
        max_det: Keep so many best predictions for each pair of image and class (not for each
            image as in Ultralytics); None keeps all.

    Returns:
        One score for each class, and the means.

    Raises:
        ConfigError: Truths and predictions do not hold the same images once each, or give one
            image two sizes.
        ValueError: A label is not in ``names``, a prediction page has no scores, a number is not
            finite, a box ends before it begins, or ``max_det`` is below 1.

    Source: COCO detection metrics, https://cocodataset.org/#detection-eval.
    """
    pairs = _paired(truths, predictions)
    for page in chain.from_iterable(pairs):
        _check(page, len(names))
    if max_det is None:
        max_det = max((len(page.labels) for page in chain.from_iterable(pairs)), default=0) or 1
    if max_det < 1:
        raise ValueError(f"max_det must be at least 1, got {max_det}")
    n_truths = _counts((truth for truth, _ in pairs), len(names))  # (C,)
    n_predictions = _counts((prediction for _, prediction in pairs), len(names))  # (C,)
    precision, recall = _coco_curves(pairs, len(names), max_det, n_truths)
    classes = _class_scores(names, n_truths, n_predictions, precision, recall)
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


def _paired(truths: Iterable[Page], predictions: Iterable[Page]) -> list[tuple[Page, Page]]:
    """Put each truth beside its prediction, in the order of the images' names."""
    truth_of = _by_image(truths, "truth")
    prediction_of = _by_image(predictions, "prediction")
    _refuse(truth_of.keys() - prediction_of.keys(), "images without a prediction page")
    _refuse(prediction_of.keys() - truth_of.keys(), "predictions for images not in the truth")
    pairs = [(truth_of[image], prediction_of[image]) for image in sorted(truth_of)]
    _refuse(
        {t.image for t, p in pairs if (t.width, t.height) != (p.width, p.height)},
        "truth and prediction give different sizes",
    )
    for _, prediction in pairs:
        if prediction.scores is None:
            raise ValueError(f"prediction page without scores: {prediction.image}")
    return pairs


def _by_image(pages: Iterable[Page], what: str) -> dict[PurePosixPath, Page]:
    page_of: dict[PurePosixPath, Page] = {}
    twice = set()
    for page in pages:
        if page.image in page_of:
            twice.add(page.image)
        page_of[page.image] = page
    _refuse(twice, f"images with more than one {what} page")
    return page_of


def _refuse(images: set[PurePosixPath], reason: str) -> None:
    """Raise where ``images`` is not empty; shows five and counts the rest."""
    if images:
        shown = [str(image) for image in sorted(images)[:5]]
        more = f" and {len(images) - len(shown)} more" if len(images) > len(shown) else ""
        raise ConfigError(f"{reason}: {', '.join(shown)}{more}")


def _check(page: Page, n_classes: int) -> None:
    page.check_labels(n_classes)
    numbers = [page.boxes_xyxy] if page.scores is None else [page.boxes_xyxy, page.scores]
    if not all(np.isfinite(array).all() for array in numbers):
        raise ValueError(f"box or score that is not a finite number: {page.image}")
    if (page.boxes_xyxy[:, 2:] < page.boxes_xyxy[:, :2]).any():
        raise ValueError(f"box that ends before it begins: {page.image}")


def _counts(pages: Iterable[Page], n_classes: int) -> NDArray[np.int64]:
    """Symbols of each class, shape ``(C,)``."""
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
    """Run COCOeval and check that it saw every truth.

    Returns:
        Interpolated precision, shape ``(T, R, C)``, and recall, shape ``(T, C)``; -1 for a class
        without truth. Read from ``eval`` directly, because ``summarize`` looks up a ``maxDets``
        of 100 by value and gives -1 where the list lacks it.

    Raises:
        RuntimeError: A truth was lost on the way.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its steps
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
            f"the evaluator counted {counted.sum()} truths, the data has {n_truths.sum()}; "
            "no figure of this run can be trusted"
        )
    return coco_eval.eval["precision"][:, :, :, 0, 0], coco_eval.eval["recall"][:, :, 0, 0]


def _coco(pages: Iterable[Page], n_classes: int) -> COCO:
    """Give ``pages`` the form that COCOeval reads, image ids in the pages' order."""
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
                    "id": len(annotations) + 1,  # COCOeval takes a match with id 0 for no match
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
    """Sort symbols by label and box: COCOeval breaks ties between equal scores by place."""
    return np.lexsort((*page.boxes_xyxy.T[::-1], page.labels))


def _class_scores(
    names: Sequence[str],
    n_truths: NDArray[np.int64],
    n_predictions: NDArray[np.int64],
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
) -> tuple[ClassScore, ...]:
    columns = {
        "ap50": precision[_AT_50].mean(axis=0),  # (C,)
        "ap75": precision[_AT_75].mean(axis=0),  # (C,)
        "ap": precision.mean(axis=(0, 1)),  # (C,)
        "recall50": recall[_AT_50],  # (C,)
    }
    return tuple(
        ClassScore(
            name=name,
            n_truths=int(n_truths[i]),
            n_predictions=int(n_predictions[i]),
            **{key: float(column[i]) if n_truths[i] else None for key, column in columns.items()},
        )
        for i, name in enumerate(names)
    )


def _mean(classes: Sequence[ClassScore], weights: NDArray[np.int64]) -> MeanScore:
    """Average the classes that have a truth; ``weights`` is 0 for the others, shape ``(C,)``."""

    def mean(figure: str) -> float | None:
        if not weights.any():
            return None
        values = [getattr(score, figure) or 0.0 for score in classes]  # None only where weight 0
        return float(np.average(values, weights=weights))

    return MeanScore(ap50=mean("ap50"), ap75=mean("ap75"), ap=mean("ap"), recall50=mean("recall50"))
