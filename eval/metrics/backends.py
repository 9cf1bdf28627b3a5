"""Evaluators: hotcoco, and pycocotools as its reference.

Both compute COCO's metrics and share their interface. hotcoco takes arrays, so that its input is
built without a Python object per symbol, and adds an analysis of errors.

hotcoco (MIT licence): https://github.com/derekallman/hotcoco.
"""

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal, TypeAlias

import hotcoco
import numpy as np
from numpy.typing import NDArray
from pycocotools import coco, cocoeval

from converters.boxes import xyxy_to_xywh
from eval.metrics.symbol_table import SymbolTable

Backend: TypeAlias = Literal["hotcoco", "pycocotools"]
BACKENDS: tuple[Backend, ...] = ("hotcoco", "pycocotools")

MOST_AT_ONCE = 1_000_000
"""Symbols of ground truth and predictions that are compared at once, which is the fastest."""
EVERY_SIZE = ((0.0, float("inf")),)
"""Area range without limits; COCO's own "all" ends at 1e10 square pixels."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluatorInput:
    """Ground truth and predictions of the same pages."""

    truths: SymbolTable
    predictions: SymbolTable
    """Symbols with scores."""
    n_classes: int
    max_det: int
    """Number of best predictions to keep per page and class, at least 1."""
    first_page: int = 0
    """Index of the first page among all pages, of which these may be a part."""
    areas: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    """Areas of all truths and all predictions, in any unit; None for square pixels."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curves:
    """Precision and recall by T IoU thresholds, R recall thresholds and C classes."""

    precision: NDArray[np.float64]
    """Interpolated precision, shape ``(T, R, C)``; -1 for a class without ground truth."""
    recall: NDArray[np.float64]
    """Highest recall, shape ``(T, C)``; -1 for a class without ground truth."""


def curves(
    batches: Iterable[EvaluatorInput],
    backend: Backend = "hotcoco",
    iou_thresholds: Sequence[float] | None = None,
) -> Curves:
    """Compute the precision and recall of predictions.

    More than ``MOST_AT_ONCE`` symbols are compared by hotcoco one batch after the other, and only
    about 20 bytes per prediction are kept; pycocotools needs all of them at once.

    Args:
        batches: Symbols to compare, at least one batch; areas of predictions may not be used.
        backend: Evaluator.
        iou_thresholds: IoU thresholds; None for COCO's ten.
    """
    rest, first, n_symbols = iter(batches), [], 0
    for data in rest:
        first.append(data)
        n_symbols += len(data.truths.labels) + len(data.predictions.labels)
        if n_symbols > MOST_AT_ONCE and backend == "hotcoco":
            evaluator = _streamed(chain(first, rest), iou_thresholds)
            break
    else:
        evaluator = run(joined(first), backend, iou_thresholds=iou_thresholds)
    return Curves(
        precision=evaluator.eval["precision"][..., 0, 0], recall=evaluator.eval["recall"][..., 0, 0]
    )


def joined(batches: Sequence[EvaluatorInput]) -> EvaluatorInput:
    """Return the pages of batches, which follow each other, as one batch."""
    if len(batches) == 1:
        return batches[0]
    areas = [data.areas for data in batches if data.areas is not None]
    return replace(
        batches[0],
        truths=SymbolTable.joined([data.truths for data in batches]),
        predictions=SymbolTable.joined([data.predictions for data in batches]),
        areas=(np.concatenate([a for a, _ in areas]), np.concatenate([b for _, b in areas]))
        if areas
        else None,
    )


def run(
    data: EvaluatorInput,
    backend: Backend = "hotcoco",
    *,
    iou_thresholds: Sequence[float] | None = None,
    area_ranges: Sequence[tuple[float, float]] | None = None,
) -> Any:  # noqa: ANN401
    """Match predictions with ground truth, and compute precision and recall.

    Args:
        data: Symbols to compare.
        backend: Evaluator.
        iou_thresholds: IoU thresholds; None for COCO's ten.
        area_ranges: Smallest and largest area of the truths that count; predictions outside that
            find no truth are ignored. None for all sizes.

    Returns:
        ``COCOeval`` of the backend after ``accumulate``, with page indices as image ids, labels as
        category ids, and ids from 1 in the order of the tables.
    """
    truth_areas, prediction_areas = data.areas or (None, None)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        if backend == "hotcoco":
            evaluator = hotcoco.COCOeval(*_hotcoco_input(data, truth_areas, prediction_areas))
        else:
            evaluator = cocoeval.COCOeval(
                _coco_dataset(data.truths, data.n_classes, truth_areas),
                _coco_dataset(data.predictions, data.n_classes, prediction_areas),
                "bbox",
            )
        _set_params(evaluator.params, data.max_det, iou_thresholds, area_ranges)
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _set_params(
    params: Any,  # noqa: ANN401
    max_det: int,
    iou_thresholds: Sequence[float] | None,
    area_ranges: Sequence[tuple[float, float]] | None,
) -> None:
    limits = EVERY_SIZE if area_ranges is None else area_ranges
    if iou_thresholds is not None:
        params.iouThrs = list(iou_thresholds)
    # `summarize` supports no other limits than 100; curves are read from `eval` by index.
    params.maxDets = [max_det]
    params.areaRng = [list(pair) for pair in limits]
    params.areaRngLbl = ["all", *map(str, range(1, len(limits)))]


def _streamed(batches: Iterator[EvaluatorInput], iou_thresholds: Sequence[float] | None) -> Any:  # noqa: ANN401
    """Match one batch after the other; takes a third longer than one batch with all pages."""
    evaluator = None
    for data in batches:
        if evaluator is None:
            params = hotcoco.Params(iou_type="bbox")
            _set_params(params, data.max_det, iou_thresholds, None)
            evaluator = hotcoco.StreamingEval(_categories(data.n_classes), params=params)
        truth_areas = None if data.areas is None else data.areas[0]
        evaluator.update(
            [{"id": data.first_page + i} for i in range(data.truths.n_pages)],
            _annotations(data.truths, truth_areas, data.first_page),
            _result_rows(data.predictions, data.first_page),
        )
    assert evaluator is not None
    finished = evaluator.finalize()
    finished.accumulate()
    return finished


def _hotcoco_input(
    data: EvaluatorInput,
    truth_areas: NDArray[np.float64] | None,
    prediction_areas: NDArray[np.float64] | None,
) -> tuple[hotcoco.COCO, hotcoco.COCO, str]:
    truths, predictions = data.truths, data.predictions
    truth_coco = hotcoco.COCO.from_arrays(
        [{"id": i, "width": 1, "height": 1} for i in range(truths.n_pages)],
        _categories(data.n_classes),
        truths.pages,
        truths.labels,
        xyxy_to_xywh(truths.boxes_xyxy),
        area=truth_areas,
    )
    prediction_coco = truth_coco.loadRes(_result_rows(predictions))
    if prediction_areas is not None:
        ids = np.arange(1, len(predictions.pages) + 1)
        prediction_coco.update_anns(ids=ids, area=prediction_areas)
    return truth_coco, prediction_coco, "bbox"


def _categories(n_classes: int) -> list[dict[str, Any]]:
    return [{"id": i, "name": str(i)} for i in range(n_classes)]


def _result_rows(table: SymbolTable, first_page: int = 0) -> NDArray[np.float64]:
    """Return predictions as rows of page, box as xywh, score and label, shape ``(N, 7)``."""
    boxes_xywh = xyxy_to_xywh(table.boxes_xyxy)
    return np.column_stack((table.pages + first_page, boxes_xywh, _scores(table), table.labels))


def _coco_dataset(
    table: SymbolTable, n_classes: int, areas: NDArray[np.float64] | None
) -> coco.COCO:
    dataset = coco.COCO()
    dataset.dataset = {
        "images": [{"id": i} for i in range(table.n_pages)],
        "categories": _categories(n_classes),
        "annotations": _annotations(table, areas),
    }
    dataset.createIndex()
    return dataset


def _annotations(
    table: SymbolTable, areas: NDArray[np.float64] | None, first_page: int = 0
) -> list[dict[str, Any]]:
    """Return symbols as COCO's annotations."""
    boxes_xywh = xyxy_to_xywh(table.boxes_xyxy)
    columns = (
        (table.pages + first_page).tolist(),
        table.labels.tolist(),
        boxes_xywh.tolist(),
        (boxes_xywh[:, 2] * boxes_xywh[:, 3] if areas is None else areas).tolist(),
        _scores(table).tolist(),
    )
    return [
        {
            "id": i,  # from 1, because COCOeval treats a match with id 0 as no match
            "image_id": page,
            "category_id": label,
            "bbox": box_xywh,
            "area": area,
            "iscrowd": 0,
            "score": score,
        }
        for i, (page, label, box_xywh, area, score) in enumerate(
            zip(*columns, strict=True), start=1
        )
    ]


def _scores(table: SymbolTable) -> NDArray[np.float64]:
    return np.zeros(len(table.labels)) if table.scores is None else table.scores
