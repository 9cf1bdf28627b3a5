"""Lanes: the notes of a layer in a bar, and where there is still room for marks."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import WHOLE, Bar, layers
from converters.engraving.music.decorations.mei import ID, inside, name, tag

Side = Literal["above", "below"]
_CROWDED = 24
"""A lane of more notes than this gets no marks."""
_BARS_SHARED = 4
_LENGTHS = {"breve": 2 * WHOLE, "long": 4 * WHOLE, "maxima": 8 * WHOLE}
_NO_SPOTS = ("chord", "fTrem", "graceGrp")
_SPANS = frozenset({"slur", "tie", "hairpin", "octave", "beamSpan", "lv", "gliss"})


@dataclass(kw_only=True, slots=True, eq=False)
class Spot:
    """A note or chord that marks can be put on."""

    element: Element
    length: int
    """As written without dots, in 128th notes."""
    taken: set[str] = field(default_factory=set)
    """Where there is no more room: above, below, before; also ``slur`` and ``tied``."""


@dataclass(kw_only=True, slots=True, eq=False)
class Lane:
    """The notes of a layer in a bar; of more than two layers, the inner ones have no lane."""

    measure: Element
    staff: str
    sides: tuple[Side, ...]
    """Where its marks go: alone on its staff on both sides, otherwise on the outer one."""
    is_vocal: bool
    """Whether words are sung to it."""
    spots: list[Spot]
    is_lowest: bool = False
    """Whether it is the lowest of the bar."""
    following: "Lane | None" = None
    """The same in the next bar."""

    def room(self, side: str, shortest: int = 1) -> list[int]:
        """Indices of the spots that are free on a side, and long enough."""
        return [
            i
            for i, spot in enumerate(self.spots)
            if side not in spot.taken and spot.length >= shortest
        ]

    def run(self, start: int, side: str, longest: int) -> list[Spot]:
        """Spots that are free on a side, from one on."""
        found: list[Spot] = []
        for spot in self.spots[start : start + longest]:
            if side in spot.taken:
                break
            found.append(spot)
        return found


def read_lanes(bars: Sequence[Bar], rng: random.Random) -> list[list[Lane]]:
    """The lanes of every bar, from the top.

    Marks of two staves would meet between them: for a few bars at a time only one of the two has
    room there. Marks that the score has already take their room.
    """
    found: list[list[Lane]] = []
    last: dict[tuple[str, tuple[Side, ...]], Lane] = {}
    for bar in bars:
        lanes = _lanes(bar)
        current = {(lane.staff, lane.sides): lane for lane in lanes}
        for key, lane in current.items():
            if key in last:
                last[key].following = lane
        last = current
        found.append(lanes)
    _reserve(bars, found)
    for gap in range(max((len(bar.staves) for bar in bars), default=0) - 1):
        _share_out(bars, found, gap, rng)
    return found


def _lanes(bar: Bar) -> list[Lane]:
    lanes: list[Lane] = []
    for staff, element in bar.staves.items():
        found = layers(element)
        both: dict[tuple[Side, ...], Element] = {("above", "below"): found[0]} if found else {}
        if len(found) > 1:
            both = {("above",): found[0], ("below",): found[-1]}
        is_vocal = next(element.iter(tag("verse")), None) is not None
        lanes += [
            Lane(
                measure=bar.measure,
                staff=staff,
                sides=sides,
                is_vocal=is_vocal,
                spots=_spots(layer),
            )
            for sides, layer in both.items()
        ]
    if lanes:
        lanes[-1].is_lowest = True
    return lanes


def _spots(layer: Element) -> list[Spot]:
    found: list[Spot] = []
    for element in layer.iter(tag("note"), tag("chord")):
        if element.get("grace") or element.get("cue") or inside(element, *_NO_SPOTS):
            continue
        spot = Spot(element=element, length=_length(element))
        if _is_tied(element):
            spot.taken.add("tied")
        found.append(spot)
    return found if len(found) <= _CROWDED else []


def _length(element: Element) -> int:
    value = element.get("dur") or "4"
    return WHOLE // int(value) if value.isdecimal() and int(value) else _LENGTHS.get(value, 1)


def _is_tied(element: Element) -> bool:
    return any(e.get("tie") in {"m", "t"} for e in (element, *element.iterchildren(tag("note"))))


def _reserve(bars: Sequence[Bar], lanes: Sequence[Iterable[Lane]]) -> None:
    """Leave room for the marks that the score has already."""
    spots = {
        id_: spot
        for of_bar in lanes
        for lane in of_bar
        for spot in lane.spots
        for id_ in (spot.element.get(ID), *(note.get(ID) for note in spot.element))
        if id_
    }
    for bar in bars:
        for mark in bar.measure:
            start, end = (spots.get((mark.get(at) or "#")[1:]) for at in ("startid", "endid"))
            if name(mark) == "tie" and end:
                end.taken.add("tied")
            elif name(mark) == "slur":
                for spot in filter(None, (start, end)):
                    spot.taken.add("slur")
            elif start and name(mark) not in _SPANS:
                start.taken.add("below" if mark.get("place") == "below" else "above")


def _share_out(
    bars: Sequence[Bar], lanes: Sequence[Iterable[Lane]], gap: int, rng: random.Random
) -> None:
    """Leave what is between a staff and the next one to the marks of either."""
    is_lower = False
    for i, (bar, of_bar) in enumerate(zip(bars, lanes, strict=True)):
        if i % _BARS_SHARED == 0:
            is_lower = rng.random() < 0.5
        staff, side = (gap, "below") if is_lower else (gap + 1, "above")
        name_of_staff = list(bar.staves)[staff : staff + 1]
        for lane in of_bar:
            if [lane.staff] == name_of_staff:
                for spot in lane.spots:
                    spot.taken.add(side)
