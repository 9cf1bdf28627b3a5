"""Staves of a page: their staff lines, and the staff of each shape.

Verovio draws the lines of a staff separately for every measure.

Shapes: L lines.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from converters.engraving.outlines import Points
from converters.engraving.svg import Shape, SvgGroup


@dataclass(kw_only=True, slots=True)
class Staff:
    """One staff of one system, over its full width."""

    index: int
    """Index of the staff on the page, from the top, from 0."""
    system: SvgGroup | None
    lines_y: Points
    """Centre of each line, from the top, shape ``(L,)``, pixels."""
    x0: float
    x1: float
    shapes: list[Shape] = field(default_factory=list)

    @property
    def space(self) -> float:
        """Distance between two staff lines in pixels; 0 for a single line."""
        if len(self.lines_y) < 2:
            return 0.0
        return float(self.lines_y[-1] - self.lines_y[0]) / (len(self.lines_y) - 1)

    def position(self, y: float) -> float:
        """Convert a y coordinate to half spaces above the lowest line."""
        return float(self.lines_y[-1] - y) / (self.space / 2)


class Staves:
    """All staves of a page, indexed by the groups of their measures."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        parts: dict[SvgGroup, list[Shape]] = defaultdict(list)
        for shape in shapes:
            if shape.kind == "line" and shape.group.name == "staff":
                parts[shape.group].append(shape)
        merged: dict[tuple[SvgGroup | None, tuple[float, ...]], list[SvgGroup]] = defaultdict(list)
        for group, lines in parts.items():
            rows = tuple(sorted({round(_middle_y(line), 1) for line in lines}))
            merged[group.within("system"), rows].append(group)
        self.all: list[Staff] = []
        self._of: dict[SvgGroup, Staff] = {}
        for (system, heights), groups in sorted(merged.items(), key=lambda item: item[0][1]):
            lines = [line for group in groups for line in parts[group]]
            xs = [x for line in lines for x in line.outline.points_xy[:, 0].tolist()]
            staff = Staff(
                index=len(self.all),
                system=system,
                lines_y=np.array(heights),
                x0=min(xs),
                x1=max(xs),
                shapes=lines,
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


def _middle_y(line: Shape) -> float:
    if line.path_xy is None:
        raise ValueError("a staff line must have a path")
    return float(line.path_xy[:, 1].mean())


def _moved_to(shape: Shape) -> str:
    """Return the number of the staff that a note or its chord crosses to, otherwise empty."""
    return next((group.staff for group in shape.group.up() if group.staff), "")
