"""Metres: beats and their weight, and how long notes are written in them.

Time is counted in ticks, :data:`QUARTER` to the quarter note.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

QUARTER = 24
VALUES = {
    base * 4 * QUARTER * (3 if dots else 2) // (2 * number): (name, dots)
    for base, number, name in (
        (2, 1, "breve"),
        (1, 1, "1"),
        (1, 2, "2"),
        (1, 4, "4"),
        (1, 8, "8"),
        (1, 16, "16"),
    )
    for dots in (0, 1)
}
"""Written duration (MEI's word, number of dots) by ticks."""


Symbol = Literal["", "common", "cut"]


@dataclass(frozen=True)
class Metre:
    """A time signature."""

    count: int
    unit: int
    symbol: Symbol = ""

    @cached_property
    def bar(self) -> int:
        """Ticks of a bar."""
        return self.count * self.unit_ticks

    @cached_property
    def unit_ticks(self) -> int:
        """Ticks of what the lower number names."""
        return 4 * QUARTER // self.unit

    @cached_property
    def compound(self) -> bool:
        """Whether a beat has three parts."""
        return self.count % 3 == 0 and self.count > 3

    @cached_property
    def beat(self) -> int:
        """Ticks of a beat."""
        return self.unit_ticks * (3 if self.compound else 1)

    @cached_property
    def beats(self) -> int:
        """Beats of a bar."""
        return self.bar // self.beat

    @cached_property
    def felt(self) -> int:
        """Beats that are felt: in three-eight time a bar is one."""
        return 1 if self.unit == 8 and not self.compound else self.beats

    def weight(self, onset: int) -> int:
        """Weight of a place in the bar: 4 its start, 3 its middle, 2 a beat, 1 half a beat, 0."""
        onset %= self.bar
        if onset == 0:
            return 4
        if self.beats % 2 == 0 and onset == self.bar // 2:
            return 3
        if onset % self.beat == 0:
            return 2
        part = self.unit_ticks if self.compound else self.beat // 2
        return 1 if onset % part == 0 else 0


METRES = {
    "2/4": Metre(2, 4),
    "3/4": Metre(3, 4),
    "4/4": Metre(4, 4),
    "C": Metre(4, 4, "common"),
    "2/2": Metre(2, 2),
    "cut": Metre(2, 2, "cut"),
    "3/2": Metre(3, 2),
    "4/2": Metre(4, 2),
    "3/8": Metre(3, 8),
    "6/8": Metre(6, 8),
    "9/8": Metre(9, 8),
    "12/8": Metre(12, 8),
    "6/4": Metre(6, 4),
}


@lru_cache(maxsize=4096)
def written(metre: Metre, onset: int, ticks: int) -> tuple[int, ...]:
    """Divide a note inside a bar into values that can be written, to be tied.

    Args:
        metre: Of the bar.
        onset: Ticks from the start of the (whole) bar.
        ticks: How long it sounds; it ends with the bar at the latest.

    Returns:
        Ticks of each value, in order.
    """
    if ticks in VALUES and _reads_well(metre, onset, ticks):
        return (ticks,)
    end = onset + ticks
    inner = [at for at in range(onset + 1, end) if (at * 4) % QUARTER == 0]
    if not inner:
        raise ValueError(f"{ticks} ticks at {onset} of {metre.count}/{metre.unit}: too short")
    # Cut at the heaviest place; of equals, at the last from which the rest can be written.
    cut = max(inner, key=lambda at: (_depth(metre, at), at - onset in VALUES, at))
    return written(metre, onset, cut - onset) + written(metre, cut, end - cut)


@lru_cache(maxsize=4096)
def rests(metre: Metre, onset: int, ticks: int) -> tuple[int, ...]:
    """Divide a silence inside a bar into rests: no rest hides a beat it does not start on."""
    end, found = onset + ticks, []
    while onset < end:
        fitting = [
            n
            for n, (_, dots) in VALUES.items()
            if n <= end - onset and (onset % n == 0 or dots) and _rest_reads_well(metre, onset, n)
        ]
        found.append(max(fitting, default=min(end - onset, QUARTER // 4)))
        onset += found[-1]
    return tuple(found)


def _depth(metre: Metre, onset: int) -> float:
    """Weight of a place, finer than :meth:`Metre.weight` below the half beat."""
    weight = float(metre.weight(onset))
    if weight == 0:
        part = metre.unit_ticks if metre.compound else metre.beat // 2
        for level in range(1, 5):
            if onset % max(part >> level, 1) == 0:
                return weight - level / 10
    return weight


def _reads_well(metre: Metre, onset: int, ticks: int) -> bool:
    """Whether one value shows where the beats are."""
    if onset % metre.bar == 0:
        return _fills(metre, ticks)
    end = onset + ticks
    start = _depth(metre, onset)
    heaviest = max((_depth(metre, at) for at in range(onset + 1, end) if at % 3 == 0), default=-1.0)
    if heaviest <= start:
        return _fills(metre, ticks)
    if metre.compound:
        return heaviest < 2
    # A syncopation: begins on a beat (or its half) and lasts two of them.
    on_beat = onset % metre.beat == 0
    if on_beat and ticks % metre.beat == 0 and heaviest <= 3:
        return metre.beats > 2 or heaviest < 3
    return not on_beat and heaviest <= 2 and ticks == metre.beat and onset % (metre.beat // 2) == 0


def _fills(metre: Metre, ticks: int) -> bool:
    """Whether a note from a heavy place ends where a reader of the metre expects."""
    if metre.compound and ticks > metre.beat:
        return ticks % metre.beat == 0
    return True


def _rest_reads_well(metre: Metre, onset: int, ticks: int) -> bool:
    """Whether a rest keeps to the division of the bar."""
    if metre.compound:
        if ticks == metre.beat or ticks == 2 * metre.beat:
            return onset % ticks == 0
        within = onset % metre.beat
        return within + ticks <= metre.beat and VALUES[ticks][1] == 0
    if VALUES[ticks][1]:
        return ticks < metre.beat and onset % metre.beat == 0
    if metre.beats == 3 and ticks > metre.beat:
        return False
    return onset % ticks == 0
