"""Evaluators: hotcoco, and pycocotools as its reference.

Both compute COCO's metrics and share their interface. hotcoco takes arrays, so that its input is
built without a Python object per symbol, and adds an analysis of errors.

hotcoco (MIT licence): https://github.com/derekallman/hotcoco.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import hotcoco
import numpy as np
from numpy.typing import NDArray
from pycocotools import coco, cocoeval

from converters.boxes import xyxy_to_xywh
from eval.metrics.symbol_table import SymbolTable

Backend: TypeAlias = Literal["hotcoco", "pycocotools"]
BACKENDS: tuple[Backend, ...] = ("hotcoco", "pycocotools")

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


def run(
    data: EvaluatorInput,
    backend: Backend = "hotcoco",
    *,
    iou_thresholds: Sequence[float] | None = None,
    areas: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    area_ranges: Sequence[tuple[float, float]] | None = None,
) -> Any:  # noqa: ANN401
    """Match predictions with ground truth, and compute precision and recall.

    Args:
        data: Symbols to compare.
        backend: Evaluator.
        iou_thresholds: IoU thresholds; None for COCO's ten.
        areas: Areas of all truths and all predictions, in any unit; None for square pixels.
        area_ranges: Smallest and largest area of the truths that count; predictions outside that
            find no truth are ignored. None for all sizes.

    Returns:
        ``COCOeval`` of the backend after ``accumulate``, with page indices as image ids, labels as
        category ids, and ids from 1 in the order of the tables.
    """
    truth_areas, prediction_areas = areas or (None, None)
    limits = EVERY_SIZE if area_ranges is None else area_ranges
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        if backend == "hotcoco":
            evaluator = hotcoco.COCOeval(*_hotcoco_input(data, truth_areas, prediction_areas))
        else:
            evaluator = cocoeval.COCOeval(
                _coco_dataset(data.truths, data.n_classes, truth_areas),
                _coco_dataset(data.predictions, data.n_classes, prediction_areas),
                "bbox",
            )
        if iou_thresholds is not None:
            evaluator.params.iouThrs = list(iou_thresholds)
        # `summarize` supports no other limits than 100; curves are read from `eval` by index.
        evaluator.params.maxDets = [data.max_det]
        evaluator.params.areaRng = [list(pair) for pair in limits]
        evaluator.params.areaRngLbl = ["all", *map(str, range(1, len(limits)))]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _hotcoco_input(
    data: EvaluatorInput,
    truth_areas: NDArray[np.float64] | None,
    prediction_areas: NDArray[np.float64] | None,
) -> tuple[hotcoco.COCO, hotcoco.COCO, str]:
    truths, predictions = data.truths, data.predictions
    truth_coco = hotcoco.COCO.from_arrays(
        [{"id": i, "width": 1, "height": 1} for i in range(truths.n_pages)],
        [{"id": i, "name": str(i)} for i in range(data.n_classes)],
        truths.pages,
        truths.labels,
        xyxy_to_xywh(truths.boxes_xyxy),
        area=truth_areas,
    )
    boxes_xywh, scores = xyxy_to_xywh(predictions.boxes_xyxy), _scores(predictions)
    prediction_coco = truth_coco.loadRes(
        np.column_stack((predictions.pages, boxes_xywh, scores, predictions.labels))
    )
    if prediction_areas is not None:
        ids = np.arange(1, len(predictions.pages) + 1)
        prediction_coco.update_anns(ids=ids, area=prediction_areas)
    return truth_coco, prediction_coco, "bbox"


def _coco_dataset(
    table: SymbolTable, n_classes: int, areas: NDArray[np.float64] | None
) -> coco.COCO:
    boxes_xywh = xyxy_to_xywh(table.boxes_xyxy)
    columns = (
        table.pages.tolist(),
        table.labels.tolist(),
        boxes_xywh.tolist(),
        (boxes_xywh[:, 2] * boxes_xywh[:, 3] if areas is None else areas).tolist(),
        _scores(table).tolist(),
    )
    dataset = coco.COCO()
    dataset.dataset = {
        "images": [{"id": i} for i in range(table.n_pages)],
        "categories": [{"id": i} for i in range(n_classes)],
        "annotations": [
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
        ],
    }
    dataset.createIndex()
    return dataset


def _scores(table: SymbolTable) -> NDArray[np.float64]:
    return np.zeros(len(table.labels)) if table.scores is None else table.scores
