"""Rhythms of phrases, in which all voices move before they are ornamented."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from converters.engraving.music.metres import Metre

Cell = tuple[float, ...]
"""Length in beats of each note of a bar."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A position for a chord."""

    onset: int
    """Ticks from the start of the first bar; negative in an upbeat."""
    ticks: int
    weight: int
    """Metrical weight; see :meth:`Metre.weight`."""

    @property
    def end(self) -> int:
        """End in ticks, exclusive."""
        return self.onset + self.ticks


SIMPLE: dict[int, tuple[tuple[float, Cell], ...]] = {
    2: ((4, (1, 1)), (2, (2,)), (1.5, (1.5, 0.5)), (1, (1, 0.5, 0.5)), (0.7, (0.5, 0.5, 1))),
    3: (
        (4, (1, 1, 1)),
        (4, (2, 1)),
        (1.5, (1.5, 0.5, 1)),
        (1, (3,)),
        (0.5, (1, 2)),
        (0.6, (1, 1, 0.5, 0.5)),
        (0.6, (1, 0.5, 0.5, 1)),
    ),
    4: (
        (5, (1, 1, 1, 1)),
        (2, (2, 1, 1)),
        (2, (1, 1, 2)),
        (2, (1.5, 0.5, 1, 1)),
        (1, (1, 1, 1.5, 0.5)),
        (1, (2, 2)),
        (0.8, (1.5, 0.5, 2)),
        (0.8, (3, 1)),
        (0.4, (1, 2, 1)),
        (0.6, (1, 1, 1, 0.5, 0.5)),
        (0.5, (1.5, 0.5, 1.5, 0.5)),
        (0.5, (2, 1.5, 0.5)),
    ),
}
"""Weight and rhythm of bars of two, three and four simple beats."""

BROAD: dict[int, tuple[tuple[float, Cell], ...]] = {
    2: ((3, (2,)), (2, (1, 1))),
    3: ((3, (3,)), (3, (2, 1)), (1, (1, 1, 1))),
    4: ((4, (2, 2)), (2, (2, 1, 1)), (1, (3, 1)), (1, (4,))),
}
"""Weight and rhythm of bars with chords longer than a beat, by number of beats."""

THIRD = 1 / 3
COMPOUND: tuple[tuple[float, Cell], ...] = (
    (4, (2 * THIRD, THIRD)),
    (3, (1,)),
    (2, (THIRD, THIRD, THIRD)),
    (0.6, (0.5, 0.5 * THIRD, THIRD)),
)
"""Weight and rhythm of compound beats."""
ALONE: tuple[tuple[float, Cell], ...] = (
    (5, (2 * THIRD, THIRD)),
    (3, (THIRD, THIRD, THIRD)),
    (1, (0.5, 0.5 * THIRD, THIRD)),
    (0.7, (1,)),
)
"""Weight and rhythm of bars that consist of one compound beat."""


def draw_cell(rng: random.Random, metre: Metre, variety: float, *, broad: bool = False) -> Cell:
    """Draw the rhythm of a bar.

    Args:
        rng: Random number generator.
        metre: Metre of the bar.
        variety: Fraction of bars that do not simply move in beats.
        broad: Whether notes should be longer than a beat.
    """
    if broad and metre.compound:
        return (1.0,) * metre.beats
    if broad and metre.beats in BROAD:
        return _choices(rng, BROAD[metre.beats], 1)[0]
    if metre.compound or metre.felt == 1:
        cells = _choices(rng, COMPOUND if metre.compound else ALONE, min(metre.felt, 2))
        drawn = [cells[i % len(cells)] for i in range(metre.felt)]
        scale = 1 if metre.compound else 3
        return tuple(part * scale for cell in drawn for part in cell)
    if metre.beats not in SIMPLE or rng.random() >= variety:
        return (1.0,) * metre.beats
    return _choices(rng, SIMPLE[metre.beats], 1)[0]


def phrase_slots(
    metre: Metre,
    cells: Sequence[Cell],
    *,
    pickup: int,
    last_onset: int,
    divided_pickup: bool,
) -> list[Slot]:
    """Lay out the positions of a phrase's chords.

    Args:
        metre: Metre of the phrase.
        cells: Rhythm of each bar; of the last bar, only the part before the last chord is used.
        pickup: Length of the upbeat in ticks; the last bar is shortened by as much.
        last_onset: Onset of the last chord in ticks from the start of the last bar.
        divided_pickup: Whether an upbeat of one beat is divided into two notes.

    Returns:
        Positions without gaps; the first starts ``pickup`` ticks before tick 0.
    """
    onsets = _pickup_onsets(metre, pickup, divided_pickup)
    for i, cell in enumerate(cells):
        at = 0.0
        for beats in cell:
            onset = round(at * metre.beat)
            if i < len(cells) - 1 or onset < last_onset:
                onsets.append(i * metre.bar + onset)
            at += beats
    onsets.append((len(cells) - 1) * metre.bar + last_onset)
    ends = [*onsets[1:], len(cells) * metre.bar - pickup]
    return [
        Slot(onset, end - onset, metre.weight(onset))
        for onset, end in zip(onsets, ends, strict=True)
    ]


def draw_last_onset(rng: random.Random, metre: Metre, pickup: int, n_bars: int) -> int:
    """Draw the onset of a phrase's last chord in its last bar, in ticks."""
    beat, beats = metre.beat, metre.beats
    choices = {2: (0, 0, 1), 3: (0, 0, 0, 1, 2), 4: (0, 0, 2, 2, 2)}.get(beats, (0,))
    if n_bars == 1 and not metre.compound and beats > 1:
        choices = (beats - 1, beats // 2)
    elif n_bars == 1:
        choices = tuple(range(1, beats)) or (0,)
    fitting = [n * beat for n in choices if metre.bar - pickup - n * beat >= beat]
    if not fitting:
        return 0 if n_bars > 1 or pickup else metre.bar - metre.unit_ticks
    return rng.choice(fitting)


def _pickup_onsets(metre: Metre, pickup: int, divided: bool) -> list[int]:
    if pickup == 0:
        return []
    if pickup > metre.beat:
        return [-pickup + i * metre.beat for i in range(pickup // metre.beat)]
    if divided and pickup == metre.beat:
        parts = 3 if metre.compound else 2
        return [-pickup, -(pickup // parts)]
    return [-pickup]


def _choices(rng: random.Random, weighted: Sequence[tuple[float, Cell]], k: int) -> list[Cell]:
    return rng.choices([cell for _, cell in weighted], [weight for weight, _ in weighted], k=k)
