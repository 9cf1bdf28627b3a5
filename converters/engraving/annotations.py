"""Annotations of an engraved page, in the vocabulary of DeepScoresV2's JSON files.

Shapes: N symbols.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import cv2
import numpy as np

from class_maps import Category, catalogue
from class_maps.catalogues import ENGRAVED
from converters.boxes import Boxes, whole_pixels
from converters.engraving import raster
from converters.engraving.outlines import Outline
from converters.engraving.symbols import Symbol
from converters.images import Pixels

SOURCE = ENGRAVED
"""Name of the source in class maps, and of its only annotation set."""
IDS_PER_PAGE = 100_000
"""Number of annotation ids reserved per page: the ids of page k start at k times this number."""
MAX_OVERHANG_PX = 10.0
"""Largest distance between the bounds of a rotated box and the upright box. Beyond it, the upright
box is used for both, because readers would suspect that the two boxes have different formats."""


def rows(
    symbols: Sequence[Symbol], boxes_xyxy: Boxes, image_id: int
) -> list[tuple[int, dict[str, Any]]]:
    """Build the annotation of each symbol of a page.

    Args:
        symbols: Symbols of the page.
        boxes_xyxy: Bounding boxes of the symbols in pixels, shape ``(N, 4)``.
        image_id: Number of the page, from 1.

    Returns:
        Id and annotation of each symbol.
    """
    annotations = []
    for i, (symbol, box) in enumerate(zip(symbols, boxes_xyxy.tolist(), strict=True), 1):
        annotation = {
            "a_bbox": [round(side, 3) for side in box],
            "o_bbox": [round(x, 3) for x in rotated_box(symbol.outline, box)],
            "cat_id": [str(_categories()[symbol.category].id)],
            "area": max(1, round(area(symbol.outline))),
            "img_id": str(image_id),
            "comments": _comments(symbol, i),
        }
        annotations.append((image_id * IDS_PER_PAGE + i, annotation))
    return annotations


def _comments(symbol: Symbol, instance: int) -> str:
    comments = f"instance:#{instance:06x};"
    if symbol.position is not None:
        comments += f"rel_position:{symbol.position - symbol.middle};"
    if symbol.staff is not None:
        comments += f"staff:{symbol.staff};"
    return comments


def rotated_box(outline: Outline, box_xyxy: Sequence[float]) -> list[float]:
    """Compute the smallest rectangle around the ink, at any rotation.

    Args:
        outline: Ink of the symbol.
        box_xyxy: Bounding box of the ink in pixels.

    Returns:
        Four corners as ``x, y``, in pixels, from the bottom right one counter-clockwise.
    """
    x0, y0, x1, y1 = box_xyxy
    upright = [x1, y1, x1, y0, x0, y0, x0, y1]
    rectangle = cv2.minAreaRect((outline.points_xy - (x0, y0)).astype(np.float32))
    corners = [(x + x0, y + y0) for x, y in cv2.boxPoints(rectangle).tolist()]
    xs, ys = zip(*corners, strict=True)
    bounds = min(xs), min(ys), max(xs), max(ys)
    if max(abs(a - b) for a, b in zip(bounds, box_xyxy, strict=True)) > MAX_OVERHANG_PX:
        return upright
    first = max(range(4), key=lambda i: xs[i] + ys[i])  # the bottom right corner
    (ax, ay), (bx, by), (cx, cy), _ = corners
    is_clockwise = (bx - ax) * (cy - by) - (by - ay) * (cx - bx) > 0
    step = -1 if is_clockwise else 1
    return [side for i in range(4) for side in corners[(first + step * i) % 4]]


def area(outline: Outline) -> float:
    """Compute the inked area in square pixels; overlapping contours are counted repeatedly."""
    x, y = outline.points_xy.T
    ends = np.cumsum(outline.lengths)
    following = np.arange(1, len(x) + 1)
    following[ends - 1] = ends - outline.lengths
    return 0.5 * float(np.dot(x, y[following]) - np.dot(y, x[following]))


def segmentation(symbols: Sequence[Symbol], boxes_xyxy: Boxes, width: int, height: int) -> Pixels:
    """Paint every symbol in the grey of its category, staves first.

    The NumPy rasteriser is always used, so that masks do not depend on an optional package.

    Args:
        symbols: Symbols of the page, in painting order.
        boxes_xyxy: Bounding boxes of the symbols in pixels, shape ``(N, 4)``.
        width: Width of the page in pixels.
        height: Height of the page in pixels.

    Returns:
        Category colours, 0 outside of symbols, shape ``(height, width)``.
    """
    image = np.zeros((height, width), np.uint8)
    limits = np.clip(whole_pixels(boxes_xyxy), 0, (width, height, width, height))
    for symbol, (x0, y0, x1, y1) in zip(symbols, limits.tolist(), strict=True):
        if x1 > x0 and y1 > y0:
            corner = np.array([x0, y0])
            local = replace(symbol.outline, points_xy=symbol.outline.points_xy - corner)
            ink = raster.rasterise([local], x1 - x0, y1 - y0, rasteriser="numpy") < 128
            image[y0:y1, x0:x1][ink] = _categories()[symbol.category].color
    return image


def vocabulary(source: str = SOURCE) -> dict[str, Any]:
    """Build the ``annotation_sets`` and ``categories`` of a JSON file for ``source``."""
    source_catalogue = catalogue(source)
    return {
        "annotation_sets": list(source_catalogue.annotation_sets),
        "categories": {
            str(c.id): {"name": c.name, "annotation_set": c.annotation_set, "color": c.color}
            for c in source_catalogue.categories
        },
    }


@cache
def _categories() -> dict[str, Category]:
    return {category.name: category for category in catalogue(SOURCE).categories}
