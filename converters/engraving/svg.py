"""Verovio's SVG as a list of filled outlines in page pixels.

Every drawing instruction becomes one :class:`Shape`. Placeholders that verovio draws for editors
are skipped.

Shapes: N points.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from lxml import etree

from converters.engraving import lettering, smufl, strokes, svg_paths
from converters.engraving.outlines import Outline, Points, outline
from converters.engraving.text_fonts import LIBERATION

Element: TypeAlias = Any
"""An lxml element; lxml has no type annotations."""

UNITS_PER_STAFF_SPACE = 180
"""Units of verovio's drawings per staff space."""
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_CALL = re.compile(r"(\w+)\(([^)]*)\)")
_LINE = re.compile(r"M(-?\d+) (-?\d+) L(-?\d+) (-?\d+)$")
_UNSEEN = {"placeholder", "bounding-box"}
_CIRCLE = np.array([(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 33)[:-1]])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SvgGroup:
    """A ``g`` element, which carries verovio's description of its contents."""

    name: str
    """First word of its class, such as ``note``."""
    id: str
    parent: "SvgGroup | None"
    number: str = ""
    """Number of a staff in the encoding, if verovio was configured to write it."""
    staff: str = ""
    """Number of the staff that a note or chord crosses to."""

    def up(self) -> "Iterator[SvgGroup]":
        """Yield this group and its ancestors."""
        group: SvgGroup | None = self
        while group is not None:
            yield group
            group = group.parent

    def within(self, *names: str) -> "SvgGroup | None":
        """Find the innermost group with one of these names, including this group."""
        return next((group for group in self.up() if group.name in names), None)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shape:
    """One drawing instruction."""

    kind: str
    """Kind of shape: glyph, line, polyline, polygon, curve, rect, ellipse or text."""
    outline: Outline
    group: SvgGroup
    element: Element
    """Element from which the shape was read."""
    code: str = ""
    """Code point of a glyph, such as ``E0A4``."""
    text: str = ""
    origin_xy: tuple[float, float] = (0.0, 0.0)
    """Origin of a glyph in pixels."""
    scale: float = 1.0
    """Pixels per unit of a glyph."""
    stretch: tuple[float, float] = (1.0, 1.0)
    """Horizontal and vertical scaling of a glyph relative to that of its font."""
    path_xy: Points | None = None
    """Centre line of a line or polyline in pixels, shape ``(N, 2)``."""
    width: float = 0.0
    """Width of a line or polyline in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawing:
    """All ink of one page."""

    width: int
    """Width of the page in pixels."""
    height: int
    """Height of the page in pixels."""
    font: str
    staff_space: float
    """Staff space of full-size staves in pixels."""
    shapes: list[Shape]
    """Shapes in drawing order."""
    missing: Counter[str] = field(default_factory=Counter)
    """Number of characters that are not drawn because the typeface lacks them."""


@dataclass(frozen=True, slots=True)
class _Matrix:
    """An affine map of the plane, with SVG's names for the coefficients."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0

    def __call__(self, points_xy: Points) -> Points:
        moved: Points = points_xy @ np.array([[self.a, self.b], [self.c, self.d]])
        moved += (self.e, self.f)
        return moved

    def point(self, x: float, y: float) -> tuple[float, float]:
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f

    def after(self, o: "_Matrix") -> "_Matrix":
        """Compose two maps; ``o`` is applied first."""
        return _Matrix(
            self.a * o.a + self.c * o.b,
            self.b * o.a + self.d * o.b,
            self.a * o.c + self.c * o.d,
            self.b * o.c + self.d * o.d,
            *self.point(o.e, o.f),
        )

    @property
    def scale(self) -> float:
        return math.sqrt(abs(self.a * self.d - self.b * self.c))


def read(text: str, font: str) -> Drawing:
    """Read a page.

    Args:
        text: SVG as written by verovio.
        font: Music font of the page, one of :data:`smufl.FONTS`.
    """
    root = etree.fromstring(text.encode(), etree.XMLParser(huge_tree=True))
    width, height = (float(root.get(side).removesuffix("px")) for side in ("width", "height"))
    inner = root.find(f"{_SVG}svg")
    x, y, w, h = map(float, inner.get("viewBox").split())
    scale = min(width / w, height / h)
    page = _Matrix(scale, 0, 0, scale, (width - w * scale) / 2, (height - h * scale) / 2)
    reader = _Reader(font, root.find(f"{_SVG}defs"), root.get("font-family", LIBERATION))
    outside = SvgGroup(name="", id="", parent=None)
    reader.walk(inner, page.after(_Matrix(e=-x, f=-y)), outside)
    return Drawing(
        width=round(width),
        height=round(height),
        font=font,
        staff_space=UNITS_PER_STAFF_SPACE * scale,
        shapes=reader.shapes,
        missing=reader.missing,
    )


class _Reader:
    """Collector of shapes from the elements of a page."""

    def __init__(self, font: str, defs: Element, text_font: str) -> None:
        self.font = font
        self.text_font = text_font
        self.shapes: list[Shape] = []
        self.missing: Counter[str] = Counter()
        self._glyphs = {g.get("id"): g for g in (() if defs is None else defs)}
        self._draw: dict[str, Callable[[Any, _Matrix, SvgGroup], None]] = {
            "use": self._use,
            "path": self._path,
            "polygon": self._polygon,
            "polyline": self._polyline,
            "rect": self._rect,
            "ellipse": self._ellipse,
            "text": self._text,
        }

    def walk(self, element: Element, matrix: _Matrix, group: SvgGroup) -> None:
        for child in element:
            if not isinstance(child.tag, str):
                continue
            moved = child.get("transform")
            here = matrix.after(_matrix(moved)) if moved else matrix
            draw = self._draw.get(child.tag.removeprefix(_SVG))
            if draw:
                draw(child, here, group)
            elif child.tag == f"{_SVG}g":
                classes = child.get("class", "").split()
                if _UNSEEN.isdisjoint(classes) and child.get("visibility") != "hidden":
                    name = classes[0] if classes else ""
                    inner = SvgGroup(
                        name=name,
                        id=child.get("id", ""),
                        parent=group,
                        number=child.get("data-n", ""),
                        staff=child.get("data-staff", ""),
                    )
                    self.walk(child, here, inner)

    def _add(
        self, kind: str, contours: list[Points], element: Element, group: SvgGroup, text: str = ""
    ) -> None:
        if contours:
            ink = outline(contours)
            self.shapes.append(
                Shape(kind=kind, outline=ink, element=element, group=group, text=text)
            )

    def _use(self, element: Element, matrix: _Matrix, group: SvgGroup) -> None:
        source = self._glyphs[element.get(_LINK)[1:]]
        data = " ".join(path.get("d") for path in source)
        if data:
            upright = _matrix(source[0].get("transform", "")).after(_Matrix(d=-1))
            ink = smufl.from_path(data)
            self._glyph(ink, source.get("id")[:4], element, matrix, group, upright)

    def _glyph(
        self,
        ink: Outline,
        code: str,
        element: Element,
        matrix: _Matrix,
        group: SvgGroup,
        stretch: _Matrix = _Matrix(),
    ) -> None:
        self.shapes.append(
            Shape(
                kind="glyph",
                outline=ink.moved(matrix.after(stretch)),
                group=group,
                element=element,
                code=code,
                origin_xy=(matrix.e, matrix.f),
                scale=matrix.scale,
                stretch=(stretch.a, stretch.d),
            )
        )

    def _path(self, element: Element, matrix: _Matrix, group: SvgGroup) -> None:
        data = element.get("d")
        if line := _LINE.match(data):
            x0, y0, x1, y1 = map(float, line.groups())
            middle = np.array([matrix.point(x0, y0), matrix.point(x1, y1)])
            self._stroke("line", middle, element, matrix, group)
            return
        for points, closed in svg_paths.contours(data):
            if element.get("fill") == "none" and not closed:
                self._stroke("polyline", matrix(points), element, matrix, group)
            else:
                self._filled("curve", points, element, matrix, group)

    def _stroke(
        self,
        kind: str,
        middle: Points,
        element: Element,
        matrix: _Matrix,
        group: SvgGroup,
    ) -> None:
        """Add an open stroke; as in SVG, a width of 0 is drawn as a hairline of one unit."""
        width = float(element.get("stroke-width") or 1) * matrix.scale
        ends = element.get("stroke-linecap", "butt")
        if len(middle) < 2 or not (middle != middle[0]).any():
            return
        if dashes := element.get("stroke-dasharray"):
            lengths = [float(n) * matrix.scale for n in _NUMBER.findall(dashes)]
            contours = strokes.dashed(middle, width, lengths, ends=ends)
        else:
            contours = [strokes.polyline(middle, width, ends=ends)]
        if contours:
            self.shapes.append(
                Shape(
                    kind=kind,
                    outline=outline(contours),
                    element=element,
                    group=group,
                    path_xy=middle,
                    width=width,
                )
            )

    def _filled(
        self,
        kind: str,
        points: Points,
        element: Element,
        matrix: _Matrix,
        group: SvgGroup,
    ) -> None:
        """Add a filled shape, whose edge is stroked too."""
        width = float(element.get("stroke-width") or 1) * matrix.scale
        self._add(kind, strokes.grown([matrix(points)], width / 2), element, group)

    def _polygon(self, element: Element, matrix: _Matrix, group: SvgGroup) -> None:
        self._filled("polygon", _points(element), element, matrix, group)

    def _polyline(self, element: Element, matrix: _Matrix, group: SvgGroup) -> None:
        points = _points(element)
        if element.get("fill") == "none" or len(points) == 2:
            self._stroke("polyline", matrix(points), element, matrix, group)
        else:
            self._filled("polygon", points, element, matrix, group)

    def _rect(self, element: Element, matrix: _Matrix, group: SvgGroup) -> None:
        x, y, w, h = (float(element.get(key) or 0) for key in ("x", "y", "width", "height"))
        half = float(element.get("stroke-width") or 1) / 2
        outer, inner = (matrix(_corners(x - d, y - d, x + w + d, y + h + d)) for d in (half, -half))
        self._add("rect", [outer, inner[::-1]] if _is_hollow(element) else [outer], element, group)

    def _ellipse(self, element: Element, matrix: _Matrix, group: SvgGroup) -> None:
        cx, cy, rx, ry = (float(element.get(key) or 0) for key in ("cx", "cy", "rx", "ry"))
        if rx and ry and _is_hollow(element):
            half = float(element.get("stroke-width") or 1) / 2
            outer, inner = (matrix(_CIRCLE * (rx + d, ry + d) + (cx, cy)) for d in (half, -half))
            self._add("ellipse", [outer, inner[::-1]], element, group)
        elif rx and ry:
            self._filled("ellipse", _CIRCLE * (rx, ry) + (cx, cy), element, matrix, group)

    def _text(self, element: Element, matrix: _Matrix, group: SvgGroup) -> None:
        names = {g.name for g in group.up()}
        letters = lettering.letters(element, self.font, names, self.text_font)
        self.missing.update(letter.text for letter in letters if letter.is_missing)
        contours = []
        for letter in letters:
            s = letter.scale
            placed = matrix.after(_Matrix(s, 0, 0, s, letter.x, letter.y))
            if letter.code and letter.contours:
                self._glyph(outline(letter.contours), letter.code, element, placed, group)
            else:
                contours += [placed(points) for points in letter.contours]
        read = [letter.text for letter in letters if not (letter.code or letter.is_missing)]
        text = "".join(read).strip()
        self._add("text", contours, element, group, text=text)


def _is_hollow(element: Element) -> bool:
    """Check whether only the edge of an element is drawn."""
    return bool(element.get("fill") == "none" or element.get("fill-opacity") == "0")


def _corners(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _points(element: Element) -> Points:
    return np.array(_NUMBER.findall(element.get("points")), np.float64).reshape(-1, 2)


def _matrix(text: str) -> _Matrix:
    """Parse a ``transform`` attribute."""
    matrix = _Matrix()
    for name, arguments in _CALL.findall(text):
        numbers = [float(n) for n in _NUMBER.findall(arguments)]
        matrix = matrix.after(_TRANSFORMS[name](*numbers))
    return matrix


def _rotation(degrees: float, x: float = 0.0, y: float = 0.0) -> _Matrix:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _Matrix(cos, sin, -sin, cos, x - cos * x + sin * y, y - sin * x - cos * y)


_TRANSFORMS: dict[str, Callable[..., _Matrix]] = {
    "translate": lambda x, y=0.0: _Matrix(e=x, f=y),
    "scale": lambda x, y=None: _Matrix(x, 0, 0, x if y is None else y),
    "rotate": _rotation,
    "matrix": _Matrix,
}
