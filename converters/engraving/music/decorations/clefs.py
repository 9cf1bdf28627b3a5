"""Clef changes that keep the notes of the score on or near the staff."""

from collections.abc import Sequence
from statistics import median

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import Clef, MeiBar, layers
from converters.engraving.music.decorations.marker import Marker
from converters.engraving.music.decorations.mei import inside, name, tag
from converters.engraving.music.decorations.passages import CLEFS
from converters.engraving.music.keys import LETTERS

WHOLE_STAFF, SOME_BARS = 0.25, 0.3
"""Probabilities per staff at density 1 of another clef throughout, or for a few bars."""
_OFF_MIDDLE = 4
"""Largest distance of the median of the notes from the middle line, in staff positions."""


def change_clefs(root: Element, bars: Sequence[MeiBar], marker: Marker, density: float) -> None:
    """Rewrite some staves, or some of their bars, in clefs that suit their notes as well."""
    if not bars or _has_changes(root):
        return
    for staff, clef in bars[0].clefs.items():
        if marker.happens(WHOLE_STAFF * density) and (
            other := _draw_clef(bars, staff, clef, marker)
        ):
            for definition in root.iter(tag("staffDef")):
                if definition.get("n") == staff:
                    _define(definition, other, marker)
            _free_stems(bars, staff)
        elif marker.happens(SOME_BARS * density) and len(bars) > 3:
            start = marker.rng.randint(1, len(bars) - 2)
            part = bars[start : start + marker.rng.randint(2, 4)]
            if other := _draw_clef(part, staff, clef, marker):
                _change(bars[start - 1], staff, other, marker)
                _change(part[-1], staff, clef, marker)
                _free_stems(part, staff)


def _has_changes(root: Element) -> bool:
    """Check whether a clef changes within the score."""
    return any(inside(clef, "measure") for clef in root.iter(tag("clef")))


def _draw_clef(bars: Sequence[MeiBar], staff: str, clef: Clef, marker: Marker) -> Clef | None:
    """Draw another clef that suits the notes; None if no other clef does."""
    steps = [step for bar in bars if staff in bar.staves for step in _steps(bar.staves[staff])]
    if not steps:
        return None
    middle, low, high = median(steps), min(steps), max(steps)
    fitting = {
        other: weight
        for other, weight in CLEFS.items()
        if other not in {clef}
        and other.shape != "perc"
        and abs(middle - other.bottom - 4) <= _OFF_MIDDLE
        and low - other.bottom >= -5
        and high - other.bottom <= 13
    }
    if not fitting:
        return None
    return marker.rng.choices(list(fitting), list(fitting.values()))[0]


def _steps(staff: Element) -> list[int]:
    """List the notes of a staff, in steps above C0."""
    return [
        LETTERS.index(note.get("pname")) + 7 * int(note.get("oct"))
        for note in staff.iter(tag("note"))
        if note.get("pname") in set(LETTERS) and note.get("oct")
    ]


def _define(definition: Element, clef: Clef, marker: Marker) -> None:
    """Set the initial clef of a staff, which may be encoded as a child or as attributes."""
    for attribute in ("clef.shape", "clef.line", "clef.dis", "clef.dis.place"):
        definition.attrib.pop(attribute, None)
    old = definition.find(tag("clef"))
    new = marker.pen.write("clef", clef.attributes())
    if old is None:
        labels = [e for e in definition if name(e) in {"label", "labelAbbr"}]
        definition.insert(len(labels), new)
    else:
        old.addprevious(new)
        definition.remove(old)


def _change(bar: MeiBar, staff: str, clef: Clef, marker: Marker) -> None:
    """Change the clef at the end of a bar."""
    if staff in bar.staves and (staff_layers := layers(bar.staves[staff])):
        staff_layers[0].append(marker.pen.write("clef", clef.attributes()))


def _free_stems(bars: Sequence[MeiBar], staff: str) -> None:
    """Remove the stem directions of single layers, so that they suit the new clef."""
    for bar in bars:
        if staff in bar.staves and len(staff_layers := layers(bar.staves[staff])) == 1:
            for element in staff_layers[0].iter(tag("note"), tag("chord")):
                element.attrib.pop("stem.dir", None)
