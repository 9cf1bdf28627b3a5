"""Lines over several notes: slurs, hairpins, octave brackets, pedal marks."""

from collections.abc import Callable

from converters.engraving.music.decorations.lanes import Lane, Spot
from converters.engraving.music.decorations.marker import Marker
from converters.engraving.music.decorations.marks import DYNAMICS


def slur(lane: Lane, marker: Marker) -> None:
    """Draw a slur over at least two notes, sometimes into the next bar."""
    run = _run(lane, marker, "slur", marker.rng.randint(2, 8))
    if run:
        curve = {"curvedir": lane.sides[0]} if len(lane.sides) == 1 else {}
        marker.draw(lane, "slur", run[0], run[-1], **curve)
        _take(run, "slur")


def hairpin(lane: Lane, marker: Marker) -> None:
    """Draw a hairpin, sometimes after a dynamic."""
    side = lane.sides[0] if lane.is_vocal else lane.sides[-1]
    run = _run(lane, marker, side, marker.rng.randint(2, 7))
    if not run:
        return
    start, end = run[0], run[-1]
    if len(run) > 2 and marker.happens(0.4):  # the dynamic precedes the hairpin
        marker.put(lane, "dynam", start, side, text=marker.choose(DYNAMICS))
    form = marker.rng.choice(("cres", "dim"))
    marker.draw(lane, "hairpin", start, end, form=form, place=side)
    _take(run, side)


def octave(lane: Lane, marker: Marker) -> None:
    """Draw an octave bracket over all notes of a bar, sometimes into the next one."""
    spots = list(lane.spots)
    if lane.following and marker.happens(0.3):
        spots += lane.following.spots
    side = marker.rng.choice(lane.sides)
    if not lane.spots or len(spots) < 2 or any(side in spot.taken for spot in spots):
        return
    distance = "15" if side == "above" and marker.happens(0.25) else "8"
    marker.draw(lane, "octave", spots[0], spots[-1], dis=distance, dis_place=side)
    _take(spots, side)


def pedal(lane: Lane, marker: Marker) -> None:
    """Mark a pedal that is pressed and released a few notes later."""
    if not lane.is_lowest or lane.is_vocal:
        return
    run = _run(lane, marker, "below", marker.rng.randint(3, 8))
    if len(run) > 2:
        for spot, direction in ((run[0], "down"), (run[-1], "up")):
            marker.put(lane, "pedal", spot, "below", dir=direction, form="pedstar")
        _take(run, "below")


def _run(lane: Lane, marker: Marker, side: str, longest: int) -> list[Spot]:
    """Choose at least two consecutive free notes; empty if impossible."""
    starts = [i for i in lane.room(side) if len(lane.run(i, side, 2)) == 2]
    reaches = lane.following is not None and len(lane.spots) - 1 in lane.room(side)
    if not starts and not reaches:
        return []
    start = marker.rng.choice(starts or [len(lane.spots) - 1])
    run = lane.run(start, side, longest)
    if lane.following and start + len(run) == len(lane.spots) and len(run) < longest:
        run += lane.following.run(0, side, longest - len(run))
    return run if len(run) > 1 else []


def _take(spots: list[Spot], side: str) -> None:
    for spot in spots:
        spot.taken.add(side)


LINES: dict[Callable[[Lane, Marker], None], float] = {
    octave: 0.04,
    hairpin: 0.14,
    pedal: 0.15,
    slur: 0.3,
}
"""Functions that draw lines, with their probabilities per lane at density 1."""
