"""Symbols of a foreign page, grouped from its labelled shapes as on pages that omr engraves."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import median

from converters.engraving import barlines, categories
from converters.engraving.outlines import joined
from converters.engraving.svg import Shape
from converters.engraving.symbols import Symbol, merge_duplicates

SYSTEMIC = "systemicBarline"
TWO_WAY = "barlineRepeatBoth"
"""Category of unusual barlines: in composed pieces, two-way repeats with two heavy lines."""
SIGN_GAP = 1.2
"""Largest gap between the strokes of one barline, in staff spaces."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """Category of a shape, and its relation to the other shapes of the same symbol."""

    category: str
    """Category of the source ``engraved``; ``barline`` for strokes of barlines, except those at
    the left end of a system."""
    key: Hashable = None
    """Key shared by the shapes of one symbol; None for a symbol of one shape."""
    position: int | None = None
    """Position of a notehead in half spaces above the lowest line of its staff."""


Labelled = Sequence[tuple[Shape, Label]]
"""Shapes of a page and their labels."""


def symbols(labelled: Labelled, staff_space: float) -> list[Symbol]:
    """Form the symbols of a page.

    Args:
        labelled: Shapes and their labels.
        staff_space: Staff space of the page in pixels.

    Returns:
        Staves, then the other symbols; equal ink of two voices is one symbol.
    """
    strokes: dict[str, list[Shape]] = {"barline": [], SYSTEMIC: []}
    shapes_by_key: dict[Hashable, list[Shape]] = defaultdict(list)
    labels: dict[Hashable, Label] = {}
    for i, (shape, label) in enumerate(labelled):
        if label.category in strokes:
            strokes[label.category].append(shape)
            continue
        key: Hashable = i if label.key is None else (label.category, label.key)
        labels.setdefault(key, label)
        shapes_by_key[key].append(shape)
    combined = [_symbol(labels[key], shapes) for key, shapes in shapes_by_key.items()]
    for stretch in _connected(strokes["barline"], staff_space):
        for name, shapes in barlines.split(stretch, staff_space):
            category = TWO_WAY if name == categories.OTHER else name
            combined.append(_symbol(Label(category=category), shapes))
    systemic = _connected(strokes[SYSTEMIC], staff_space)
    combined += [_symbol(Label(category=SYSTEMIC), shapes) for shapes in systemic]
    combined.sort(key=lambda symbol: symbol.category != "staff")
    return merge_duplicates(combined)


def labelled_staff_space(labelled: Labelled) -> float:
    """Compute the staff space of a page with staves of five lines, in pixels."""
    lines: dict[Hashable, list[float]] = defaultdict(list)
    for shape, label in labelled:
        if label.category == "staff":
            lines[label.key].append(float(shape.outline.box_xyxy()[[1, 3]].mean()))
    return median((max(heights) - min(heights)) / 4 for heights in lines.values())


def _symbol(label: Label, shapes: list[Shape]) -> Symbol:
    ink = joined([shape.outline for shape in shapes])
    category, position = label.category, label.position
    return Symbol(category=category, outline=ink, shapes=tuple(shapes), position=position)


def _connected(strokes: Sequence[Shape], staff_space: float) -> list[list[Shape]]:
    """Group strokes that touch each other or belong to one barline."""
    groups: list[list[Shape]] = []
    for stroke in strokes:
        near = [group for group in groups if any(_adjoins(stroke, s, staff_space) for s in group)]
        groups = [group for group in groups if group not in near]
        groups.append([stroke, *(s for group in near for s in group)])
    return groups


def _adjoins(stroke: Shape, other: Shape, staff_space: float) -> bool:
    """Check whether two strokes are parts of one sign."""
    x0, y0, x1, y1 = stroke.outline.box_xyxy().tolist()
    other_x0, other_y0, other_x1, other_y1 = other.outline.box_xyxy().tolist()
    gap_x = max(x0, other_x0) - min(x1, other_x1)
    gap_y = max(y0, other_y0) - min(y1, other_y1)
    return bool(gap_x <= SIGN_GAP * staff_space and gap_y <= barlines.GAP_PX)
