"""Renders single symbols of verovio's SVG by another program, eight times as large.

What resvg draws is the independent truth about where a symbol's ink ends.
"""

import copy
import io
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from lxml import etree
from numpy.typing import NDArray
from resvg import render, usvg

from converters.engraving import lettering
from converters.engraving.symbols import Symbol

Element: TypeAlias = Any

ZOOM = 8
MARGIN_PX = 4
IDENTITY = (1, 0, 0, 0, 1, 0)
"""Of resvg, row by row."""
FAINTEST = 12
"""Alpha, of 255, that counts as ink."""
SVG = "{http://www.w3.org/2000/svg}"


def ink_box(
    symbol: Symbol,
    box_xyxy: NDArray[np.float64],
    matrix: tuple[float, float, float, float, float, float] = (1, 0, 0, 1, 0, 0),
) -> NDArray[np.float64] | None:
    """Extent of a symbol's ink as resvg draws it, shape ``(4,)``, pixels; None without ink.

    Args:
        symbol: As it was read from verovio's SVG.
        box_xyxy: About where it is looked for.
        matrix: What the page is moved by, in the order of SVG.
    """
    x0, y0 = np.floor(box_xyxy[:2]) - MARGIN_PX
    width, height = np.ceil(box_xyxy[2:]) + MARGIN_PX - (x0, y0)
    view = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * ZOOM}" '
        f'height="{height * ZOOM}" viewBox="{x0} {y0} {width} {height}" color="black">'
        f'<g transform="matrix({" ".join(map(str, matrix))})">{_alone(symbol)}</g></svg>'
    )
    image = render(usvg.Tree.from_str(view, _options()), IDENTITY)
    pixels = cv2.imdecode(np.frombuffer(bytes(image), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("resvg gave no image")
    rows, columns = np.nonzero(pixels[..., 3] > FAINTEST)
    if not len(rows):
        return None
    ends = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / ZOOM
    return np.add(ends, (x0, y0, x0, y0))


def _alone(symbol: Symbol) -> str:
    """The page's SVG with nothing in it but one symbol."""
    root = symbol.shapes[0].element.getroottree().getroot()
    bare = etree.Element(f"{SVG}g", {"id": root.get("id")}, nsmap=root.nsmap)
    for child in root:
        if child.tag in (f"{SVG}defs", f"{SVG}style"):
            bare.append(copy.deepcopy(child))
    made: dict[Any, Any] = {root: bare}
    for element in dict.fromkeys(shape.element for shape in symbol.shapes):
        _parent(element, made).append(copy.deepcopy(element))
    return str(etree.tostring(bare).decode())


def _parent(element: Element, made: dict[Any, Any]) -> Element:
    """A copy of the element around this one, with the chain above it."""
    parent = element.getparent()
    if parent not in made:
        around = _parent(parent, made)
        if parent.tag == f"{SVG}svg":  # resvg does not draw an inner one well
            attributes = {"transform": _fitted(parent), "font-family": "Liberation Serif"}
            made[parent] = etree.SubElement(around, f"{SVG}g", attributes)
        else:
            made[parent] = etree.SubElement(around, parent.tag, parent.attrib)
    return made[parent]


def _fitted(inner: Element) -> str:
    """What ``viewBox`` does: as large as fits, in the middle."""
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
