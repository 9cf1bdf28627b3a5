"""Lanes: the notes of a layer in a bar, and where there is room for marks."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import WHOLE, MeiBar, layers
from converters.engraving.music.decorations.mei import ID, inside, name, tag

Side = Literal["above", "below"]
_CROWDED = 24
"""Largest number of notes in a lane with marks."""
_BARS_SHARED = 4
_LENGTHS = {"breve": 2 * WHOLE, "long": 4 * WHOLE, "maxima": 8 * WHOLE}
_NO_SPOTS = ("chord", "fTrem", "graceGrp")
_SPANS = frozenset({"slur", "tie", "hairpin", "octave", "beamSpan", "lv", "gliss"})


@dataclass(kw_only=True, slots=True, eq=False)
class Spot:
    """A note or chord that can carry marks."""

    element: Element
    length: int
    """Written length without dots, in 128th notes."""
    taken: set[str] = field(default_factory=set)
    """Occupied places: above, below, before, stem, artic; also ``slur`` and ``tied``."""


@dataclass(kw_only=True, slots=True, eq=False)
class Lane:
    """The notes of a layer in a bar; inner layers of more than two have no lane."""

    measure: Element
    staff: str
    sides: tuple[Side, ...]
    """Sides for marks: both if the lane is alone on its staff, otherwise the outer side."""
    is_vocal: bool
    """Whether the lane has lyrics."""
    spots: list[Spot]
    is_lowest: bool = False
    """Whether the lane is the lowest of the bar."""
    following: "Lane | None" = None
    """The same lane in the next bar."""

    def room(self, side: str, shortest: int = 1) -> list[int]:
        """List the indices of spots that are free on a side and long enough."""
        return [
            i
            for i, spot in enumerate(self.spots)
            if side not in spot.taken and spot.length >= shortest
        ]

    def run(self, start: int, side: str, longest: int) -> list[Spot]:
        """List consecutive free spots on a side, from ``start``."""
        spots: list[Spot] = []
        for spot in self.spots[start : start + longest]:
            if side in spot.taken:
                break
            spots.append(spot)
        return spots


def read_lanes(bars: Sequence[MeiBar], rng: random.Random) -> list[list[Lane]]:
    """Read the lanes of every bar, from the top.

    Marks of adjacent staves would collide between them, so only one of the two staves has room
    there, for a few bars at a time. Existing marks of the score occupy their places.
    """
    lanes_by_bar: list[list[Lane]] = []
    last: dict[tuple[str, tuple[Side, ...]], Lane] = {}
    for bar in bars:
        lanes = _lanes(bar)
        current = {(lane.staff, lane.sides): lane for lane in lanes}
        for key, lane in current.items():
            if key in last:
                last[key].following = lane
        last = current
        lanes_by_bar.append(lanes)
    _reserve(bars, lanes_by_bar)
    for gap in range(max((len(bar.staves) for bar in bars), default=0) - 1):
        _assign_gap(bars, lanes_by_bar, gap, rng)
    return lanes_by_bar


def _lanes(bar: MeiBar) -> list[Lane]:
    lanes: list[Lane] = []
    for staff, element in bar.staves.items():
        staff_layers = layers(element)
        layer_of: dict[tuple[Side, ...], Element] = (
            {("above", "below"): staff_layers[0]} if staff_layers else {}
        )
        if len(staff_layers) > 1:
            layer_of = {("above",): staff_layers[0], ("below",): staff_layers[-1]}
        is_vocal = next(element.iter(tag("verse")), None) is not None
        lanes += [
            Lane(
                measure=bar.measure,
                staff=staff,
                sides=sides,
                is_vocal=is_vocal,
                spots=_spots(layer),
            )
            for sides, layer in layer_of.items()
        ]
    if lanes:
        lanes[-1].is_lowest = True
    return lanes


def _spots(layer: Element) -> list[Spot]:
    spots: list[Spot] = []
    for element in layer.iter(tag("note"), tag("chord")):
        if element.get("grace") or element.get("cue") or inside(element, *_NO_SPOTS):
            continue
        spot = Spot(element=element, length=_length(element))
        if _is_tied(element):
            spot.taken.add("tied")
        spots.append(spot)
    return spots if len(spots) <= _CROWDED else []


def _length(element: Element) -> int:
    value = element.get("dur") or "4"
    return WHOLE // int(value) if value.isdecimal() and int(value) else _LENGTHS.get(value, 1)


def _is_tied(element: Element) -> bool:
    return any(e.get("tie") in {"m", "t"} for e in (element, *element.iterchildren(tag("note"))))


def _reserve(bars: Sequence[MeiBar], lanes: Sequence[Iterable[Lane]]) -> None:
    """Mark the places of the score's existing marks as occupied."""
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


def _assign_gap(
    bars: Sequence[MeiBar], lanes: Sequence[Iterable[Lane]], gap: int, rng: random.Random
) -> None:
    """Assign the gap between a staff and the next one to the marks of either."""
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
