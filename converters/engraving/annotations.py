"""Labels of an engraved page in the words of DeepScoresV2's JSON.

Shapes: N symbols.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from class_maps import Category, catalogue
from class_maps.catalogues import ENGRAVED
from converters.boxes import Boxes
from converters.engraving import raster
from converters.engraving.outlines import Outline
from converters.engraving.symbols import Symbol
from converters.images import Pixels

SOURCE = ENGRAVED
"""The source that class maps know these pages by, and its one annotation set."""
IDS_PER_PAGE = 100_000
"""Annotation ids a page: those of page k begin at k times as many."""
MAX_STICKING_OUT_PX = 10.0
"""A turned box whose bounds leave the upright one by more is given up for that one: readers take
the two for two formats if they differ much."""
_EPS_PX = 0.1
_MIDDLE_LINE = 4


def rows(
    symbols: Sequence[Symbol], boxes_xyxy: Boxes, image_id: int
) -> list[tuple[int, dict[str, Any]]]:
    """Id and annotation of each symbol of a page.

    Args:
        symbols: Those of the page.
        boxes_xyxy: Theirs, shape ``(N, 4)``.
        image_id: Of the page, from 1.
    """
    found = []
    for i, (symbol, box) in enumerate(zip(symbols, boxes_xyxy.tolist(), strict=True), 1):
        annotation = {
            "a_bbox": [round(side, 3) for side in box],
            "o_bbox": [round(x, 3) for x in turned_box(symbol.outline, box)],
            "cat_id": [str(_categories()[symbol.category].id)],
            "area": max(1, round(area(symbol.outline))),
            "img_id": str(image_id),
            "comments": _comments(symbol, i),
        }
        found.append((image_id * IDS_PER_PAGE + i, annotation))
    return found


def _comments(symbol: Symbol, instance: int) -> str:
    comments = f"instance:#{instance:06x};"
    if symbol.position is not None:
        comments += f"rel_position:{symbol.position - _MIDDLE_LINE};"
    if symbol.staff is not None:
        comments += f"staff:{symbol.staff};"
    return comments


def turned_box(outline: Outline, box_xyxy: Sequence[float]) -> list[float]:
    """Corners of the smallest rectangle around the ink, however turned.

    Returns:
        Four times x and y, from the bottom right corner against the clock, pixels.
    """
    x0, y0, x1, y1 = box_xyxy
    upright = [x1, y1, x1, y0, x0, y0, x0, y1]
    rectangle = cv2.minAreaRect((outline.points_xy - (x0, y0)).astype(np.float32))
    corners = [(x + x0, y + y0) for x, y in cv2.boxPoints(rectangle).tolist()]
    xs, ys = zip(*corners, strict=True)
    bounds = min(xs), min(ys), max(xs), max(ys)
    if max(abs(a - b) for a, b in zip(bounds, box_xyxy, strict=True)) > MAX_STICKING_OUT_PX:
        return upright
    first = max(range(4), key=lambda i: xs[i] + ys[i])  # the bottom right one
    (ax, ay), (bx, by), (cx, cy), _ = corners
    is_clockwise = (bx - ax) * (cy - by) - (by - ay) * (cx - bx) > 0
    step = -1 if is_clockwise else 1
    return [side for i in range(4) for side in corners[(first + step * i) % 4]]


def area(outline: Outline) -> float:
    """Ink in square pixels; where contours of one symbol overlap, it counts twice."""
    x, y = outline.points_xy.T
    ends = np.cumsum(outline.lengths)
    following = np.arange(1, len(x) + 1)
    following[ends - 1] = ends - outline.lengths
    return 0.5 * float(np.dot(x, y[following]) - np.dot(y, x[following]))


def rounded(boxes_xyxy: Boxes) -> NDArray[np.int64]:
    """Whole pixels that hold the ink: less than a tenth of a pixel of it is left out."""
    low, high = np.floor(boxes_xyxy[:, :2] + _EPS_PX), np.ceil(boxes_xyxy[:, 2:] - _EPS_PX)
    return np.concatenate((low, high), axis=1).astype(np.int64)


def segmentation(symbols: Sequence[Symbol], boxes_xyxy: Boxes, width: int, height: int) -> Pixels:
    """Paint every symbol in its category's grey, staves first, shape ``(height, width)``."""
    image = np.zeros((height, width), np.uint8)
    limits = np.clip(rounded(boxes_xyxy), 0, (width, height, width, height))
    for symbol, (x0, y0, x1, y1) in zip(symbols, limits.tolist(), strict=True):
        if x1 > x0 and y1 > y0:
            corner = np.array([x0, y0])
            here = replace(symbol.outline, points_xy=symbol.outline.points_xy - corner)
            ink = raster.rasterise([here], x1 - x0, y1 - y0) < 128
            image[y0:y1, x0:x1][ink] = _categories()[symbol.category].color
    return image


def vocabulary(source: str = SOURCE) -> dict[str, Any]:
    """The ``annotation_sets`` and ``categories`` of a file, in the words of ``source``."""
    known = catalogue(source)
    return {
        "annotation_sets": list(known.annotation_sets),
        "categories": {
            str(c.id): {"name": c.name, "annotation_set": c.annotation_set, "color": c.color}
            for c in known.categories
        },
    }


@cache
def _categories() -> dict[str, Category]:
    return {category.name: category for category in catalogue(SOURCE).categories}
