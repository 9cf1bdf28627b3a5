"""Marks on single notes: articulations, dynamics, ornaments, fingerings, tremolos, fermatas."""

from collections.abc import Callable

from converters.engraving.music.decorations.lanes import Lane
from converters.engraving.music.decorations.marker import Marker
from converters.engraving.music.decorations.mei import inside, tag
from converters.engraving.music.decorations.rhythms import EIGHTH, HALF, QUARTER, SIXTEENTH

DYNAMICS = {
    "pp": 3,
    "p": 5,
    "mp": 4,
    "mf": 5,
    "f": 5,
    "ff": 3,
    "ppp": 1,
    "fff": 1,
    "sfz": 3,
    "sf": 2,
    "rfz": 3,
    "rf": 1,
    "fz": 2,
    "fp": 2,
    "sfp": 1,
}
ARTICULATIONS = {"stacc": 4, "acc": 4, "ten": 3, "stacciss": 3, "marc": 3, "acc stacc": 1}
ORNAMENTS = {
    "trill": 4,
    "turn": 3,
    "turn lower": 3,
    "mordent": 2,
    "mordent lower": 3,
    "mordent upper": 2,
}
"""MEI elements, with their ``form`` if they have one."""


def articulate(lane: Lane, marker: Marker) -> None:
    """Add the same articulation to a few consecutive notes."""
    sign = marker.choose(ARTICULATIONS)
    longest = 1 if sign == "marc" else marker.rng.randint(1, 4)
    _articulate(lane, marker, [sign] * longest, None)


def bow(lane: Lane, marker: Marker) -> None:
    """Add alternating bow marks above the notes."""
    if "above" in lane.sides:
        bows = marker.rng.choice((["dnbow", "upbow"], ["upbow", "dnbow"]))
        _articulate(lane, marker, (bows * 2)[: marker.rng.randint(1, 4)], "above")


def _articulate(lane: Lane, marker: Marker, signs: list[str], side: str | None) -> None:
    start = _start(lane, marker, "artic", EIGHTH)
    if start is None:
        return
    if side is None:  # a layer that shares its staff only has room on the outer side
        sides = (*lane.sides, None) if len(lane.sides) > 1 else lane.sides
        side = marker.rng.choice(sides)
    for spot, sign in zip(lane.run(start, "artic", len(signs)), signs, strict=False):
        if spot.length < SIXTEENTH:
            break
        artic = marker.pen.write("artic", {"artic": sign} | ({"place": side} if side else {}))
        spot.element.append(artic)
        spot.taken.add("artic")


def dynamic(lane: Lane, marker: Marker) -> None:
    """Add a dynamic near the start; above the staff for singers."""
    side = lane.sides[0] if lane.is_vocal else lane.sides[-1]
    if free := lane.room(side, SIXTEENTH):
        at = free[0] if marker.happens(0.6) else marker.rng.choice(free)
        marker.put(lane, "dynam", lane.spots[at], side, text=marker.choose(DYNAMICS))


def ornament(lane: Lane, marker: Marker) -> None:
    """Add an ornament to a note that is long enough."""
    start = _start(lane, marker, lane.sides[0], EIGHTH)
    if start is not None:
        kind, _, form = marker.choose(ORNAMENTS).partition(" ")
        spot = lane.spots[start]
        marker.put(lane, kind, spot, lane.sides[0], **({"form": form} if form else {}))


def finger(lane: Lane, marker: Marker) -> None:
    """Add fingerings to a few consecutive notes."""
    side = lane.sides[0]
    start = _start(lane, marker, side, SIXTEENTH)
    if start is not None:
        for spot in lane.run(start, side, marker.rng.randint(1, 5)):
            marker.put(
                lane, "fing", spot, side, text=str(marker.rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5)))
            )


def hold(lane: Lane, marker: Marker) -> None:
    """Add a fermata to the last note that is long enough."""
    side = marker.rng.choice(lane.sides)
    if free := lane.room(side, QUARTER):
        marker.put(lane, "fermata", lane.spots[free[-1]], side)


def breathe(lane: Lane, marker: Marker) -> None:
    """Add a breath mark or a caesura after the last note."""
    if "above" in lane.sides and lane.spots and "above" not in lane.spots[-1].taken:
        marker.put(
            lane, marker.rng.choice(("breath", "caesura", "caesura")), lane.spots[-1], "above"
        )


def tremble(lane: Lane, marker: Marker) -> None:
    """Add tremolo strokes to the stems of a few notes."""
    start = _start(lane, marker, "stem", QUARTER)
    if start is None:
        return
    strokes = marker.choose({"1slash": 3, "2slash": 3, "3slash": 4, "4slash": 2, "5slash": 2})
    for spot in lane.run(start, "stem", marker.rng.randint(1, 3)):
        if spot.length not in {QUARTER, HALF} or inside(spot.element, "tuplet", "bTrem"):
            break
        if spot.element.get("stem.mod") is None:
            spot.element.set("stem.mod", strokes)
        spot.taken.add("stem")


def arpeggiate(lane: Lane, marker: Marker) -> None:
    """Arpeggiate chords of at least three notes."""
    arpeggiated = {e.get("startid") for e in lane.measure.iterchildren(tag("arpeg"))}
    for spot in lane.spots:
        if len(list(spot.element.iterchildren(tag("note")))) < 3 or "before" in spot.taken:
            continue
        if marker.reference(spot) not in arpeggiated and marker.happens(0.5):
            attributes = {"startid": marker.reference(spot), "staff": lane.staff}
            lane.measure.append(marker.pen.write("arpeg", attributes))
            spot.taken.add("before")


def _start(lane: Lane, marker: Marker, side: str, shortest: int) -> int | None:
    free = lane.room(side, shortest)
    return marker.rng.choice(free) if free else None


MARKS: dict[Callable[[Lane, Marker], None], float] = {
    articulate: 0.3,
    bow: 0.05,
    dynamic: 0.2,
    ornament: 0.1,
    finger: 0.08,
    hold: 0.03,
    breathe: 0.04,
    tremble: 0.05,
    arpeggiate: 0.5,
}
"""Functions that add marks, with their probabilities per lane at density 1."""
