"""Pages engraved by MuseScore, and the category of each shape in its SVG."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.foreign import glyphs, svg
from benchmarks.foreign.glyphs import Glyphs
from benchmarks.foreign.labels import Label, Labelled
from benchmarks.foreign.programs import run
from converters.engraving.outlines import outline
from converters.engraving.svg import Shape

PROGRAMS = ("mscore3",)
_LINES = 5
_SYSTEM_START = 0.5
"""Largest distance of the first barline from the left end of the staves, in staff spaces."""
_C_CLEFS = {4: "clefCAlto", 6: "clefCTenor"}
"""C clefs by their position in half spaces above the lowest line."""
_OFF_STEP = 0.1
"""Largest distance of a note from the nearest line or space of its staff, in half spaces."""


def engrave(musicxml: Path, folder: Path) -> list[str]:
    """Engrave a score.

    Args:
        musicxml: Score to engrave.
        folder: Folder for the pages.

    Returns:
        Pages as SVG.
    """
    run(["mscore3", "--export-to", str(folder / f"{musicxml.stem}.svg"), str(musicxml)])
    numbered = {int(p.stem.rpartition("-")[2]): p for p in folder.glob(f"{musicxml.stem}-*.svg")}
    return [path.read_text(encoding="utf-8") for _, path in sorted(numbered.items())]


def read_glyphs(folder: Path) -> Glyphs:
    """Identify MuseScore's glyphs, by engraving a score of known signs in a folder."""
    score = folder / "glyphs.musicxml"
    score.write_text(glyphs.score(), encoding="utf-8")
    return glyphs.identify(svg.read(engrave(score, folder)[0]).shapes)


def label(shapes: Sequence[Shape], names: Glyphs) -> Labelled:
    """Determine the category of each shape; shapes without a category are omitted.

    Args:
        shapes: Shapes of a page.
        names: Names of glyphs.

    Raises:
        ValueError: A glyph is unknown.
    """
    page = _Page(shapes, names)
    return [labelled for shape in shapes for labelled in page.labels(shape)]


class _Staff:
    """A staff of a system."""

    def __init__(self, lines: Sequence[Shape]) -> None:
        boxes = np.stack([line.outline.box_xyxy() for line in lines])
        heights = np.sort(boxes[:, [1, 3]].mean(1))
        self.x0 = float(boxes[:, 0].min())
        self.top, self.bottom = float(heights[0]), float(heights[-1])
        self.space = (self.bottom - self.top) / (len(lines) - 1)

    def distance(self, y: float) -> float:
        """Return the distance of a height from the staff in pixels."""
        return max(self.top - y, y - self.bottom, 0.0)

    def position(self, y: float) -> float:
        """Convert a height to half spaces above the lowest line."""
        return 2 * (self.bottom - y) / self.space


class _Page:
    """State of labelling a page."""

    def __init__(self, shapes: Sequence[Shape], names: Glyphs) -> None:
        lines = [shape for shape in shapes if shape.group.name == "StaffLines"]
        self._staff_of_line = {id(line): i // _LINES for i, line in enumerate(lines)}
        starts = range(0, len(lines), _LINES)
        self.staves = [_Staff(lines[i : i + _LINES]) for i in starts]
        self._names = names
        self._group = 0

    def labels(self, shape: Shape) -> Labelled:
        """Label a shape; an octave clef has two labels."""
        kind = shape.group.name
        if kind in _CATEGORIES:
            return [(shape, Label(category=_CATEGORIES[kind]))]
        rule = _RULES.get(kind)
        return rule(self, shape) if rule else []

    def name(self, shape: Shape) -> str:
        """Return the name of a glyph."""
        kind = shape.group.name
        name = self._names.get((kind, shape.element.get("d")))
        if name is None:
            raise ValueError(f"unknown glyph of the class {kind}")
        return name

    def line(self, shape: Shape) -> Labelled:
        """Label a staff line, five of which form a staff."""
        return [(shape, Label(category="staff", key=self._staff_of_line[id(shape)]))]

    def notehead(self, shape: Shape) -> Labelled:
        position = self.position(shape)
        parity = "InSpace" if position % 2 else "OnLine"
        category = f"notehead{self.name(shape)}{parity}"
        return [(shape, Label(category=category, position=position))]

    def position(self, shape: Shape) -> int:
        """Return the position of a glyph on its staff, in half spaces above the lowest line.

        The nearest staff is not always that of a note between two staves: a note of another staff
        is usually neither on a line nor in a space.
        """
        y = shape.origin_xy[1]
        for staff in sorted(self.staves, key=lambda staff: staff.distance(y)):
            position = staff.position(y)
            if abs(position - round(position)) <= _OFF_STEP:
                return round(position)
        raise ValueError(f"notehead at {shape.origin_xy} is between a line and a space")

    def clef(self, shape: Shape) -> Labelled:
        name = self.name(shape)
        if name == "clefC":
            name = _C_CLEFS.get(self.position(shape), "otherSymbol")
        if name != "clefG8":
            return [(shape, Label(category=name))]
        contours = shape.outline.contours()
        bottom = max(contours, key=lambda c: float(np.ptp(c[:, 1])))[:, 1].max()
        figure = [c for c in contours if c[:, 1].mean() > bottom]
        clef = [c for c in contours if c[:, 1].mean() <= bottom]
        return [
            (replace(shape, outline=outline(clef)), Label(category="clefG")),
            (replace(shape, outline=outline(figure)), Label(category="clef8")),
        ]

    def accidental(self, shape: Shape) -> Labelled:
        name = self.name(shape)
        category = "otherSymbol" if name == glyphs.BRACKET else f"accidental{name}"
        return [(shape, Label(category=category))]

    def bar_line(self, shape: Shape) -> Labelled:
        """Label a stroke or dot of a barline, or the line at the left end of a system."""
        if shape.kind == "path":
            return [(shape, Label(category="repeatDot"))]
        x, y = shape.outline.box_xyxy()[:2].tolist()
        staff = min(self.staves, key=lambda staff: abs(staff.top - y))
        is_first = x < staff.x0 + _SYSTEM_START * staff.space
        return [(shape, Label(category="systemicBarline" if is_first else "barline"))]

    def bracket(self, shape: Shape) -> Labelled:
        """Label a brace, a curve of its own size, or a bracket, a line followed by its tips."""
        if shape.kind == "path" and shape.element.get("transform") is None:
            return [(shape, Label(category="brace"))]
        self._group += shape.kind == "polyline"
        return [(shape, Label(category="bracket", key=self._group))]

    def volta(self, shape: Shape) -> Labelled:
        """Label a part of a repeat ending: its number, followed by its lines."""
        self._group += shape.kind == "path"
        return [(shape, Label(category="repeatEnding", key=self._group))]


def _named(prefix: str) -> "Rule":
    """Make a rule for glyphs whose category is a prefix and their name."""
    return lambda page, shape: [(shape, Label(category=f"{prefix}{page.name(shape)}"))]


Rule = Callable[[_Page, Shape], Labelled]
_RULES: dict[str, Rule] = {
    "Accidental": _Page.accidental,
    "BarLine": _Page.bar_line,
    "Bracket": _Page.bracket,
    "Clef": _Page.clef,
    "Fermata": _named("fermata"),
    "Hook": _named("flag"),
    "KeySig": _named("key"),
    "Note": _Page.notehead,
    "Rest": _named("rest"),
    "StaffLines": _Page.line,
    "TimeSig": _named("timeSig"),
    "VoltaSegment": _Page.volta,
}
"""Rules by MuseScore's classes; text is not labelled."""
_CATEGORIES = {
    "Beam": "beam",
    "LedgerLine": "ledgerLine",
    "NoteDot": "augmentationDot",
    "SlurSegment": "slur",
    "Stem": "stem",
    "TieSegment": "tie",
}
"""Categories of classes whose shapes are one symbol each."""
