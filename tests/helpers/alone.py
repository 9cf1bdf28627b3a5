"""Rendering of single symbols of verovio's SVG with resvg, at eight times the size.

It is the independent ground truth for the extent of a symbol's ink.
"""

import copy
import io
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from lxml import etree
from numpy.typing import NDArray
from resvg import render, usvg

from converters.engraving import lettering
from converters.engraving.outlines import Points
from converters.engraving.symbols import Symbol

Element: TypeAlias = Any

ZOOM = 8
MARGIN_PX = 4
IDENTITY = (1, 0, 0, 0, 1, 0)
"""Identity transform in the order of resvg, row by row."""
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
"""A pixel and its four neighbours."""
FAINTEST = 12
"""Largest alpha, of 255, that does not count as ink."""
SVG = "{http://www.w3.org/2000/svg}"


def ink_box(
    symbol: Symbol,
    box_xyxy: NDArray[np.float64],
    matrix: tuple[float, float, float, float, float, float] = (1, 0, 0, 1, 0, 0),
    warp: Callable[[Points], Points] = lambda points_xy: points_xy,
) -> NDArray[np.float64] | None:
    """Measure the extent of a symbol's ink with resvg, shape ``(4,)``, pixels; None without ink.

    Args:
        symbol: Symbol as read from verovio's SVG.
        box_xyxy: Approximate extent before the warp, pixels.
        matrix: Transform of the page, in the order of SVG.
        warp: Map of the points of the page, applied to the corners of the inked pixels.
    """
    x0, y0 = np.floor(box_xyxy[:2]) - MARGIN_PX
    width, height = np.ceil(box_xyxy[2:]) + MARGIN_PX - (x0, y0)
    view = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * ZOOM}" '
        f'height="{height * ZOOM}" viewBox="{x0} {y0} {width} {height}" color="black">'
        f'<g transform="matrix({" ".join(map(str, matrix))})">{_isolated(symbol)}</g></svg>'
    )
    image = render(usvg.Tree.from_str(view, _options()), IDENTITY)
    pixels = cv2.imdecode(np.frombuffer(bytes(image), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("resvg returned no image")
    ink = (pixels[..., 3] > FAINTEST).astype(np.uint8)
    # A warp takes borders to borders, so that the pixels inside do not affect the extent.
    inside = cv2.erode(ink, CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rows, columns = np.nonzero(ink - inside)
    if not len(rows):
        return None
    corners = [np.stack((columns + dx, rows + dy), axis=1) for dx in (0, 1) for dy in (0, 1)]
    points_xy = warp(np.concatenate(corners) / ZOOM + (x0, y0))
    return np.concatenate((points_xy.min(axis=0), points_xy.max(axis=0)))


def _isolated(symbol: Symbol) -> str:
    """Reduce the page's SVG to one symbol."""
    root = symbol.shapes[0].element.getroottree().getroot()
    bare = etree.Element(f"{SVG}g", {"id": root.get("id")}, nsmap=root.nsmap)
    for child in root:
        if child.tag in (f"{SVG}defs", f"{SVG}style"):
            bare.append(copy.deepcopy(child))
    copies: dict[Any, Any] = {root: bare}
    for element in dict.fromkeys(shape.element for shape in symbol.shapes):
        _parent(element, copies).append(copy.deepcopy(element))
    return str(etree.tostring(bare).decode())


def _parent(element: Element, copies: dict[Any, Any]) -> Element:
    """Copy the parent of an element, with its ancestors."""
    parent = element.getparent()
    if parent not in copies:
        around = _parent(parent, copies)
        if parent.tag == f"{SVG}svg":  # resvg does not draw nested ones correctly
            attributes = {"transform": _fitted(parent), "font-family": "Liberation Serif"}
            copies[parent] = etree.SubElement(around, f"{SVG}g", attributes)
        else:
            copies[parent] = etree.SubElement(around, parent.tag, parent.attrib)
    return copies[parent]


def _fitted(inner: Element) -> str:
    """Convert a ``viewBox`` to a transform: scaled to fit, centred."""
    outer = inner.getparent()
    width, height = (float(outer.get(side).removesuffix("px")) for side in ("width", "height"))
    x, y, w, h = map(float, inner.get("viewBox").split())
    scale = min(width / w, height / h)
    dx, dy = (width - w * scale) / 2 - x * scale, (height - h * scale) / 2 - y * scale
    return f"translate({dx} {dy}) scale({scale})"


@cache
def _options() -> Element:
    options = usvg.Options.default()
    for face in lettering._faces():
        data = io.BytesIO()
        face.flavor = None
        face.save(data)
        options.load_font_data(data.getvalue())
    return options
