"""Staves of a page: their staff lines, and the staff of each shape.

Verovio draws the lines of a staff separately for every measure, and none in the measures of a
cutaway score in which the staff is missing.

Shapes: L lines.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from converters.engraving import smufl
from converters.engraving.categories import TABLATURE_CLEFS
from converters.engraving.outlines import Points
from converters.engraving.svg import Drawing, Shape, SvgGroup

GAP = 1.0
"""Minimum width of a stretch without lines that ends a staff, in staff spaces."""
FULL_STAFF = 5
"""Number of lines of an ordinary staff."""


@dataclass(kw_only=True, slots=True)
class Staff:
    """One staff of one system, or its part between two measures without the staff."""

    index: int
    """Index of the staff on the page, from the top, from 0."""
    system: SvgGroup | None
    lines_y: Points
    """Centre of each line in pixels, from the top, shape ``(L,)``."""
    x0: float
    x1: float
    space: float
    """Staff space in pixels: size of the signs, and distance between the lines of an ordinary
    staff; the lines of a tablature are farther apart."""
    is_full: bool
    """Whether this is an ordinary staff of five lines."""
    shapes: list[Shape] = field(default_factory=list)

    @property
    def middle(self) -> int:
        """Position of the middle line, in half spaces above the lowest line."""
        return len(self.lines_y) - 1

    def position(self, y: float) -> float:
        """Convert a y coordinate to half spaces above the lowest line."""
        return float(self.lines_y[-1] - y) / (self.space / 2)


class Staves:
    """All staves of a page, indexed by the groups of their measures."""

    def __init__(self, drawing: Drawing) -> None:
        self.all: list[Staff] = []
        self._of: dict[SvgGroup, Staff] = {}
        lines = _lines_by_measure(drawing.shapes)
        signs = _Signs(drawing)
        for system, heights, groups in _parts(lines, GAP * drawing.staff_space):
            shapes = [line for group in groups for line in lines[group]]
            x0, x1 = _extent(shapes)
            staff = Staff(
                index=len(self.all),
                system=system,
                lines_y=np.array(heights),
                x0=x0,
                x1=x1,
                space=signs.space(groups, heights),
                is_full=len(heights) == FULL_STAFF and not signs.are_tablature(groups),
                shapes=shapes,
            )
            self.all.append(staff)
            self._of |= dict.fromkeys(groups, staff)
        self._numbered = dict(self._numbers())

    def of(self, shape: Shape) -> Staff | None:
        """Find the staff of a shape; for shapes between staves, the nearest one.

        A note of a voice that crosses to another staff belongs to that staff.
        """
        group = shape.group.within("staff")
        if group is not None and (moved := _moved_to(shape)):
            group = self._numbered.get((group.parent, moved), group)
        if group in self._of:
            return self._of[group]
        return self._nearest(shape)

    def _numbers(self) -> Iterator[tuple[tuple[SvgGroup | None, str], SvgGroup]]:
        """Yield each measure's staves by number; unnumbered staves are numbered from the top."""
        bars: dict[SvgGroup | None, list[SvgGroup]] = defaultdict(list)
        for group in self._of:
            bars[group.parent].append(group)
        for bar, groups in bars.items():
            for i, group in enumerate(sorted(groups, key=lambda group: self._of[group].index)):
                yield (bar, group.number or str(i + 1)), group

    def _nearest(self, shape: Shape) -> Staff | None:
        x0, y0, x1, y1 = shape.outline.box_xyxy().tolist()
        x, y = (x0 + x1) / 2, (y0 + y1) / 2

        def distance(staff: Staff) -> tuple[float, float, int]:
            dx = max(staff.x0 - x, x - staff.x1, 0.0)
            dy = max(staff.lines_y[0] - y, y - staff.lines_y[-1], 0.0)
            return dx, float(dy), staff.index

        return min(self.all, key=distance, default=None)


class _Signs:
    """Signs on the staves, whose size gives the staff space where the lines do not."""

    def __init__(self, drawing: Drawing) -> None:
        self._default = drawing.staff_space
        self._largest: dict[SvgGroup, float] = {}
        self._tablatures: set[SvgGroup] = set()
        for shape in drawing.shapes:
            staff = shape.group.within("staff")
            if staff is None:
                continue
            if shape.code:
                size = shape.scale * smufl.UNITS_PER_STAFF_SPACE
                self._largest[staff] = max(size, self._largest.get(staff, 0.0))
            if shape.code in TABLATURE_CLEFS or shape.group.within("tabGrp"):
                self._tablatures.add(staff)

    def are_tablature(self, groups: Iterable[SvgGroup]) -> bool:
        """Check whether the measures of a staff are a tablature."""
        return not self._tablatures.isdisjoint(groups)

    def space(self, groups: Sequence[SvgGroup], lines_y: Sequence[float]) -> float:
        """Compute the staff space of a staff in pixels.

        Args:
            groups: Measures of the staff.
            lines_y: Heights of its lines.
        """
        if len(lines_y) > 1 and not self.are_tablature(groups):
            return (lines_y[-1] - lines_y[0]) / (len(lines_y) - 1)
        return max((self._largest[g] for g in groups if g in self._largest), default=self._default)


def _lines_by_measure(shapes: Iterable[Shape]) -> dict[SvgGroup, list[Shape]]:
    lines: dict[SvgGroup, list[Shape]] = defaultdict(list)
    for shape in shapes:
        if shape.kind == "line" and shape.group.name == "staff":
            lines[shape.group].append(shape)
    return lines


Rows = tuple[float, ...]
"""Heights of the lines of a staff, from the top."""


def _parts(
    lines: Mapping[SvgGroup, list[Shape]], gap: float
) -> Iterator[tuple[SvgGroup | None, Rows, list[SvgGroup]]]:
    """Yield each staff from top to bottom: its system, its lines, and its adjacent measures."""
    staves: dict[tuple[SvgGroup | None, Rows], list[SvgGroup]] = defaultdict(list)
    for group, shapes in lines.items():
        rows = tuple(sorted({round(_middle_y(line), 1) for line in shapes}))
        staves[group.within("system"), rows].append(group)
    for (system, rows), groups in sorted(staves.items(), key=lambda item: item[0][1]):
        part: list[SvgGroup] = []
        end = 0.0
        for group in sorted(groups, key=lambda group: _extent(lines[group])):
            x0, x1 = _extent(lines[group])
            if part and x0 > end + gap:
                yield system, rows, part
                part = []
            part.append(group)
            end = x1
        yield system, rows, part


def _extent(lines: Iterable[Shape]) -> tuple[float, float]:
    """Compute the left and the right end of lines."""
    boxes = [line.outline.box_xyxy().tolist() for line in lines]
    return min(box[0] for box in boxes), max(box[2] for box in boxes)


def _middle_y(line: Shape) -> float:
    if line.path_xy is None:
        raise ValueError("a staff line must have a path")
    return float(line.path_xy[:, 1].mean())


def _moved_to(shape: Shape) -> str:
    """Return the number of the staff that a note or its chord crosses to, otherwise empty."""
    return next((group.staff for group in shape.group.up() if group.staff), "")
