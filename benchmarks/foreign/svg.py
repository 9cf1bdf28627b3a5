"""Pages that LilyPond and MuseScore write as SVG, as filled outlines in page pixels.

Both engravers name the kind of a symbol in a ``class``: MuseScore on every shape, LilyPond on the
group around the shapes of a symbol. Text in a system font is skipped.

Shapes: N points.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from lxml import etree
from numpy.typing import NDArray
from PIL import Image

from converters.engraving import strokes, svg_paths
from converters.engraving.outlines import Points, outline
from converters.engraving.svg import Shape, SvgGroup
from converters.images import Pixels

WIDTH, HEIGHT = 2480, 3508
"""Size of A4 at 300 dpi in pixels."""
SERIF = "C059"
"""Typeface for LilyPond's ``serif``, the one that LilyPond uses in PDF files."""
_FINEST = 0.08
"""Pixels per path unit that keep the polygons of curves within 0.02 px of the curve."""
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_CALL = re.compile(r"(\w+)\(([^)]*)\)")

Element = Any
"""An lxml element; lxml has no type annotations."""
Matrix = NDArray[np.float64]
"""Affine map of the plane, shape ``(2, 3)``."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ForeignPage:
    """All ink of a page apart from text."""

    root: Element
    shapes: list[Shape]
    """Shapes in drawing order, in pixels of a page of :data:`WIDTH` by :data:`HEIGHT`."""
    scale: float
    """Pixels per unit of the SVG's view box."""


def read(text: str) -> ForeignPage:
    """Read a page.

    Args:
        text: SVG with a view box of the proportions of A4.
    """
    root = etree.fromstring(text.encode(), etree.XMLParser(huge_tree=True))
    x, y, width, height = map(float, root.get("viewBox").split())
    scale = min(WIDTH / width, HEIGHT / height)
    dx, dy = (WIDTH - width * scale) / 2, (HEIGHT - height * scale) / 2
    page = np.array([[scale, 0, dx - x * scale], [0, scale, dy - y * scale]])
    outside = SvgGroup(name="", id="", parent=None)
    return ForeignPage(root=root, shapes=list(_shapes(root, page, outside)), scale=scale)


def rasterise(page: ForeignPage) -> Pixels:
    """Draw a page with resvg, in grey levels of shape ``(HEIGHT, WIDTH)``, 255 for white."""
    from resvg import render, usvg

    page.root.set("width", str(WIDTH))
    page.root.set("height", str(HEIGHT))
    text = etree.tostring(page.root, encoding="unicode").replace('"serif"', f'"{SERIF}"')
    options = usvg.Options.default()
    options.load_system_fonts()
    png = bytes(render(usvg.Tree.from_str(text, options), (1, 0, 0, 0, 1, 0)))
    alpha = np.array(Image.open(BytesIO(png)))[:, :, 3]  # all ink is black
    return np.asarray(255 - alpha)


def _shapes(element: Element, matrix: Matrix, group: SvgGroup) -> Iterator[Shape]:
    for child in element:
        if not isinstance(child.tag, str):
            continue
        here = _after(matrix, child.get("transform", ""))
        name = child.get("class")
        inner = SvgGroup(name=name, id="", parent=group) if name else group
        kind = etree.QName(child).localname
        if kind == "g":
            yield from _shapes(child, here, inner)
            continue
        shape = _shape(kind, child, here, inner)
        if shape is not None:
            yield shape


def _shape(kind: str, element: Element, matrix: Matrix, group: SvgGroup) -> Shape | None:
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    middle = None
    has_edge = element.get("stroke", "none") != "none"
    width = float(element.get("stroke-width", "1")) * scale if has_edge else 0.0
    if kind == "path":
        contours = _path(element.get("d"), matrix, scale)
    elif kind == "rect":
        corners, middle, width = _rect(element)
        contours, middle, width = [_moved(matrix, corners)], _moved(matrix, middle), width * scale
    elif kind in ("line", "polyline", "polygon"):
        contours = [_moved(matrix, _points(element))]
        middle = contours[0]
    else:
        return None
    if kind == "line" or (kind == "polyline" and len(contours[0]) == 2):
        ends = element.get("stroke-linecap", "butt")
        if (contours[0] == contours[0][0]).all():
            return None  # the dot at a corner of a repeat ending
        ink = [strokes.polyline(contours[0], width, ends=ends)]
    else:
        ink = strokes.grown(contours, 0.0 if kind == "rect" else width / 2)
    if not ink:
        return None
    return Shape(
        kind=kind,
        outline=outline(ink),
        group=group,
        element=element,
        origin_xy=(float(matrix[0, 2]), float(matrix[1, 2])),
        scale=scale,
        path_xy=middle,
        width=width,
    )


def _path(data: str, matrix: Matrix, scale: float) -> list[Points]:
    """Convert path data to contours in pixels."""
    factor = max(1.0, scale / _FINEST)
    if factor > 1:
        data = _NUMBER.sub(lambda number: f" {float(number[0]) * factor:.6f}", data)
    return [_moved(matrix, points / factor) for points, _ in svg_paths.contours(data)]


def _rect(element: Element) -> tuple[Points, Points, float]:
    """Return the corners of a rectangle, its long centre line and its width across that line."""
    x, y, w, h = (float(element.get(key)) for key in ("x", "y", "width", "height"))
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])
    if h >= w:
        return corners, np.array([(x + w / 2, y), (x + w / 2, y + h)]), w
    return corners, np.array([(x, y + h / 2), (x + w, y + h / 2)]), h


def _points(element: Element) -> Points:
    if element.get("points") is None:
        return np.array([[float(element.get(f"{axis}{n}")) for axis in "xy"] for n in (1, 2)])
    return np.array(_NUMBER.findall(element.get("points")), np.float64).reshape(-1, 2)


def _moved(matrix: Matrix, points_xy: Points) -> Points:
    return np.asarray(points_xy @ matrix[:, :2].T + matrix[:, 2])


def _after(matrix: Matrix, transform: str) -> Matrix:
    """Compose a map with a ``transform`` attribute, which is applied first."""
    for name, arguments in _CALL.findall(transform):
        a = [float(n) for n in _NUMBER.findall(arguments)]
        if name == "translate":
            inner = np.array([[1, 0, a[0]], [0, 1, a[1] if len(a) > 1 else 0.0]])
        elif name == "scale":
            inner = np.array([[a[0], 0, 0], [0, a[-1], 0]])
        elif name == "matrix":
            inner = np.array(a).reshape(3, 2).T
        else:
            raise ValueError(f"unexpected transform: {transform}")
        matrix = matrix @ np.vstack([inner, (0, 0, 1)])
    return matrix
