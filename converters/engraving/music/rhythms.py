"""Rhythms of phrases, in which all voices move before they are decorated."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from converters.engraving.music.metres import Metre

Cell = tuple[float, ...]
"""Beats of each note of a bar."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a chord."""

    onset: int
    """Ticks from the first bar's start; before it in a pickup."""
    ticks: int
    weight: int
    """Weight of the place; see :meth:`Metre.weight`."""

    @property
    def end(self) -> int:
        """Tick after the last."""
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
"""Weight and rhythm of bars of two, three and four undivided beats."""

BROAD: dict[int, tuple[tuple[float, Cell], ...]] = {
    2: ((3, (2,)), (2, (1, 1))),
    3: ((3, (3,)), (3, (2, 1)), (1, (1, 1, 1))),
    4: ((4, (2, 2)), (2, (2, 1, 1)), (1, (3, 1)), (1, (4,))),
}
"""The same for chords that last longer than a beat."""

THIRD = 1 / 3
COMPOUND: tuple[tuple[float, Cell], ...] = (
    (4, (2 * THIRD, THIRD)),
    (3, (1,)),
    (2, (THIRD, THIRD, THIRD)),
    (0.6, (0.5, 0.5 * THIRD, THIRD)),
)
"""Weight and rhythm of beats of three parts."""
ALONE: tuple[tuple[float, Cell], ...] = (
    (5, (2 * THIRD, THIRD)),
    (3, (THIRD, THIRD, THIRD)),
    (1, (0.5, 0.5 * THIRD, THIRD)),
    (0.7, (1,)),
)
"""The same where a bar is one such beat."""


def draw_cell(rng: random.Random, metre: Metre, variety: float, *, broad: bool = False) -> Cell:
    """Draw the rhythm of a bar.

    Args:
        rng: Source of chance.
        metre: Of the bar.
        variety: Share of bars that do not just move in beats.
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
    """Lay out the places of a phrase's chords.

    Args:
        metre: Of the phrase.
        cells: Rhythm of each bar; of the last, the part before the last chord is used.
        pickup: Ticks before the first bar that belong to the phrase, and of the last bar that do
            not.
        last_onset: Ticks into the last bar where the last chord begins.
        divided_pickup: Whether a pickup of a beat has two notes.

    Returns:
        The places without a gap; the first begins ``pickup`` before tick 0.
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
    """Draw where in the last bar of a phrase its last chord begins, in ticks."""
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
