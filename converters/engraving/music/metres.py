"""Metres: metrical weights, and the durations in which notes are written.

Time is counted in ticks, :data:`QUARTER` per quarter note.
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
"""Written durations (MEI's name, number of dots) by ticks."""


Symbol = Literal["", "common", "cut"]


@dataclass(frozen=True)
class Metre:
    """A time signature."""

    count: int
    unit: int
    symbol: Symbol = ""

    @cached_property
    def bar(self) -> int:
        """Length of a bar in ticks."""
        return self.count * self.unit_ticks

    @cached_property
    def unit_ticks(self) -> int:
        """Length in ticks of the note value given by the lower number."""
        return 4 * QUARTER // self.unit

    @cached_property
    def compound(self) -> bool:
        """Whether a beat is divided into three."""
        return self.count % 3 == 0 and self.count > 3

    @cached_property
    def beat(self) -> int:
        """Length of a beat in ticks."""
        return self.unit_ticks * (3 if self.compound else 1)

    @cached_property
    def beats(self) -> int:
        """Number of beats in a bar."""
        return self.bar // self.beat

    @cached_property
    def felt(self) -> int:
        """Number of perceived beats in a bar: one in 3/8."""
        return 1 if self.unit == 8 and not self.compound else self.beats

    def weight(self, onset: int) -> int:
        """Return the metrical weight: 4 downbeat, 3 mid-bar, 2 beat, 1 half beat, 0 weaker."""
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
    """Divide a note within a bar into tied values that can be written.

    Args:
        metre: Metre of the bar.
        onset: Ticks from the start of the full bar.
        ticks: Duration of the note, which must not extend beyond the bar.

    Returns:
        Ticks of each value, in order.

    Raises:
        ValueError: The duration is too short to be written.
    """
    if ticks in VALUES and _reads_well(metre, onset, ticks):
        return (ticks,)
    end = onset + ticks
    inner = [at for at in range(onset + 1, end) if (at * 4) % QUARTER == 0]
    if not inner:
        raise ValueError(f"{ticks} ticks at {onset} of {metre.count}/{metre.unit}: too short")
    # Cut at the strongest position; of equally strong ones, prefer one after a single value, then
    # the last.
    cut = max(inner, key=lambda at: (_depth(metre, at), at - onset in VALUES, at))
    return written(metre, onset, cut - onset) + written(metre, cut, end - cut)


@lru_cache(maxsize=4096)
def rests(metre: Metre, onset: int, ticks: int) -> tuple[int, ...]:
    """Divide a silence within a bar into rests that do not obscure the beats."""
    end, values = onset + ticks, []
    while onset < end:
        fitting = [
            n
            for n, (_, dots) in VALUES.items()
            if n <= end - onset and (onset % n == 0 or dots) and _rest_reads_well(metre, onset, n)
        ]
        values.append(max(fitting, default=min(end - onset, QUARTER // 4)))
        onset += values[-1]
    return tuple(values)


def _depth(metre: Metre, onset: int) -> float:
    """Return the metrical weight like :meth:`Metre.weight`, but graded below the half beat."""
    weight = float(metre.weight(onset))
    if weight == 0:
        part = metre.unit_ticks if metre.compound else metre.beat // 2
        for level in range(1, 5):
            if onset % max(part >> level, 1) == 0:
                return weight - level / 10
    return weight


def _reads_well(metre: Metre, onset: int, ticks: int) -> bool:
    """Check whether a single value keeps the beats recognisable."""
    if onset % metre.bar == 0:
        return _fills(metre, ticks)
    end = onset + ticks
    start = _depth(metre, onset)
    heaviest = max((_depth(metre, at) for at in range(onset + 1, end) if at % 3 == 0), default=-1.0)
    if heaviest <= start:
        return _fills(metre, ticks)
    if metre.compound:
        return heaviest < 2
    # A syncopation starts on a beat (or half beat) and lasts for two of them.
    on_beat = onset % metre.beat == 0
    if on_beat and ticks % metre.beat == 0 and heaviest <= 3:
        return metre.beats > 2 or heaviest < 3
    return not on_beat and heaviest <= 2 and ticks == metre.beat and onset % (metre.beat // 2) == 0


def _fills(metre: Metre, ticks: int) -> bool:
    """Check whether a note from a strong position ends where the metre suggests."""
    if metre.compound and ticks > metre.beat:
        return ticks % metre.beat == 0
    return True


def _rest_reads_well(metre: Metre, onset: int, ticks: int) -> bool:
    """Check whether a rest respects the division of the bar."""
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
