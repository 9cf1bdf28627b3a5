"""Grace notes before the notes of a lane."""

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.lanes import Lane, Spot
from converters.engraving.music.decorations.marker import Marker
from converters.engraving.music.decorations.mei import name, tag
from converters.engraving.music.keys import LETTERS

_KINDS = {"slashed": 45, "8": 22, "16": 4, "4": 8, "2": 6, "run": 15}


def grace(lane: Lane, marker: Marker) -> None:
    """Add a grace note, or a run of grace notes, before a note."""
    candidates = [(spot, anchor) for spot in lane.spots if (anchor := _anchor(spot)) is not None]
    if not candidates:
        return
    spot, anchor = marker.rng.choice(candidates)
    step = _step(spot.element)
    if step is None:
        return
    kind = marker.choose(_KINDS)
    if kind == "run":
        anchor.addprevious(_run(lane, marker, step))
    else:
        anchor.addprevious(note := _single(lane, marker, step, kind))
        if marker.happens(0.4):
            start = {"startid": "#" + marker.pen.id_of(note), "staff": lane.staff}
            end = {"endid": marker.reference(spot)}
            lane.measure.append(marker.pen.write("slur", start | end))
    spot.taken |= {"before", "tied"}


def _single(lane: Lane, marker: Marker, step: int, kind: str) -> Element:
    attributes = {"grace": "acc", "dur": kind}
    if kind == "slashed":
        attributes = {"grace": "unacc", "dur": "8", "stem.mod": "1slash"}
    return _note(
        marker, step + marker.rng.choice((-2, -1, -1, 1, 1, 2)), attributes | _stem(lane, marker)
    )


def _run(lane: Lane, marker: Marker, step: int) -> Element:
    """Write a beamed run of two to four grace notes that leads to a step."""
    direction, n = marker.rng.choice((-1, 1)), marker.rng.randint(2, 4)
    attributes = {"grace": "unacc", "dur": marker.rng.choice(("16", "16", "32"))}
    attributes |= _stem(lane, marker)
    notes = [_note(marker, step - direction * k, attributes) for k in range(n, 0, -1)]
    return marker.pen.write("beam", {}, *notes)


def _note(marker: Marker, step: int, attributes: dict[str, str]) -> Element:
    pitch = {"pname": LETTERS[step % 7], "oct": str(step // 7)}
    if marker.happens(0.25):
        pitch["accid"] = marker.rng.choice("sfn")
    return marker.pen.write("note", attributes | pitch)


def _stem(lane: Lane, marker: Marker) -> dict[str, str]:
    """Point the stems of grace notes up, or down in the lower of two layers."""
    is_down = lane.sides == ("below",) or (len(lane.sides) > 1 and marker.happens(0.15))
    return {"stem.dir": "down" if is_down else "up"}


def _anchor(spot: Spot) -> Element | None:
    """Find the element before which grace notes go, the note or its beam; None if impossible."""
    if spot.taken & {"before", "tied"}:
        return None
    element = spot.element
    if name(element.getparent()) == "beam" and element.getprevious() is None:
        element = element.getparent()
    return element if name(element.getparent()) == "layer" else None


def _step(element: Element) -> int | None:
    """Return the steps above C0 of a note, or of a chord's last note; None if unpitched."""
    notes = [element, *element.iterchildren(tag("note"))]
    letter, octave = notes[-1].get("pname"), notes[-1].get("oct")
    if letter not in set(LETTERS) or octave is None:
        return None
    return LETTERS.index(letter) + 7 * int(octave)
