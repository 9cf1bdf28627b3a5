"""Functional progressions: random walks from chord to chord that reach a cadence."""

import random
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Literal

from converters.engraving.music.keys import Mode

Cadence = Literal["authentic", "half", "deceptive", "plagal", "imperfect"]

_NEXT_MAJOR = """
I: IV 3, V 2.5, vi 2, ii6 1.5, ii 1, I6 2.5, V6 2, viio6 1.5, V43 1.2, V65 1.2, IV6 0.8, iii 0.5,
   V65/IV 0.5, V7/IV 0.4, V42/IV 0.5, V65/V 0.5, V6/vi 0.3, V65/vi 0.4, V65/ii 0.6, ii42 0.4,
   IV64 0.3, I 1, viio7/V 0.2, viio7/ii 0.2, vi7 0.2
I6: IV 3, ii6 2, V 1.5, ii65 1.2, I 1.5, viio6 1, V43 0.8, ii 0.5, vi 0.3, V65/V 0.4, I6 0.4,
    viio7/V 0.2, V65/IV 0.4, IV7 0.2
IV64: I 1
ii: V 4, V7 2, V6 1, V65 0.6, viio6 0.7, K64 1.5, ii6 0.8, V42 0.4, V65/V 0.4, ii 0.4
ii6: V 4, V7 3, K64 2.5, V42 0.5, ii 0.4, V65/V 0.5, viio7/V 0.4, viio6 0.3, ii6 0.3
ii65: V 3, K64 2.5, V7 1.5, viio7/V 0.3
ii7: V 2, V7 1, K64 1.5
ii42: V65 1
iii: vi 2, IV 3, ii6 0.4
IV: V 4, K64 1.5, ii6 1, ii 0.8, I 1.8, viio6 0.8, V7 1, V42 0.4, V6 0.5, I6 1.2, IV6 0.5, IV 0.6,
    viio7/V 0.3, V65/V 0.7, ii65 0.8, iv 0.12, ii7 0.5
IV6: V 1, V6 1.2, V65 1, I6 0.6, V43 0.3, IV 0.8, I 0.6
IV7: V 1, V7 0.6, ii65 0.5
iv: I 1, K64 1, V 1
K64: V 2, V7 3
V: I 4, vi 1.6, V7 1.2, I6 0.8, V42 1.2, V6 0.8, IV6 0.5, V65/vi 0.35, V 0.4, V6/vi 0.2
V6: I 5, V65 0.8, V 0.7, IV6 0.3, vi 0.3
V7: I 5, vi 1.2
V65: I 1
V43: I 1, I6 1
V42: I6 1
vi: ii 1.5, IV 3, ii6 2, V 1.5, iii 0.4, V/V 0.4, V65/V 0.7, V43/V 0.7, I6 0.7, V6 0.5, ii65 0.7,
    viio6 0.3, V7/ii 0.2, V65/IV 0.3, vi 0.3
vi7: ii 1, IV 1, ii65 1, V43/V 0.4
viio6: I 3, I6 3
V/V: V 3, V7 0.4
V7/V: V 1
V65/V: V 3, K64 0.7, V42 0.4
V43/V: V 1
viio7/V: V 2, K64 1
V7/IV: IV 1
V65/IV: IV 1
V42/IV: IV6 1
V6/vi: vi 1
V65/vi: vi 1
V7/ii: ii 1
V65/ii: ii 1
viio7/ii: ii 1
"""

_NEXT_MINOR = """
i: iv 3, V 2.5, VI 1.5, iio6 1.5, i6 2.5, V6 2, viio6 1.5, V43 1.2, V65 1, iv6 0.8, III 0.6,
   VII 0.6, V65/iv 0.5, V7/iv 0.3, V42/iv 0.4, iio65 0.8, viio7 0.7, N6 0.25, i 1, iv64 0.3,
   iio42 0.4, V7/III 0.3, V65/III 0.3, V65/V 0.2
i6: iv 3, iio6 2, V 1.5, iio65 1, i 1.5, viio6 1, V43 0.8, N6 0.25, i6 0.4, VI 0.3, V65/iv 0.3
iv64: i 1
iio6: V 4, V7 2, K64 2, V42 0.4, viio7/V 0.3
iio65: V 3, K64 2, V7 1, V42 0.4
iio42: V65 1
III: VI 2, iv 2.5, VII6 0.4, iio6 0.6, V 0.4
iv: V 4, K64 1.5, iio6 1, i 1.8, V7 1, V42 0.3, i6 1, iv6 0.6, viio6 0.6, iio65 0.8, iv 0.5,
    viio7/V 0.3, VII 0.5, viio7 0.3, V65/V 0.3
iv6: V 2, V6 0.2, iv 0.8, i 0.3, K64 0.4
iv7: V 1, VII 0.5, V7 0.4
K64: V 2, V7 3
V: i 4, VI 1.4, V7 1.2, i6 0.8, V42 1.2, V6 0.8, iv6 0.5, V 0.4, V65/iv 0.2
V6: i 5, V65 0.8, V 0.7
V7: i 5, VI 1.2
V65: i 1
V43: i 1, i6 1
V42: i6 1
viio7: i 3, V65 0.6
VI: iv 2, iio6 2.5, V 1, III 0.6, iio65 0.8, V7/III 0.3, N6 0.3, viio6 0.3, i6 0.4, VI 0.3,
    V65/iv 0.2
VII: III 3, V7/III 0.5, VI 0.3
VII6: III 1
V7/III: III 1
V65/III: III 1
viio6: i 3, i6 3
N6: V 2, K64 1, V42 0.4, viio7/V 0.3
viio7/V: V 2, K64 1
V65/V: V 2, K64 0.6
V7/iv: iv 1
V65/iv: iv 1
V42/iv: iv6 1
"""

_FORMULAS: dict[Mode, dict[Cadence, tuple[tuple[float, str], ...]]] = {
    "major": {
        "authentic": (
            (3, "V I"),
            (3, "V7 I"),
            (4, "ii6 V I"),
            (3, "K64 V7 I"),
            (2, "IV K64 V I"),
            (2, "ii65 V I"),
            (2, "ii6 K64 V7 I"),
            (2, "IV V7 I"),
            (1, "V65/V K64 V7 I"),
        ),
        "imperfect": ((2, "V I"), (2, "V7 I"), (1, "ii6 V7 I"), (1, "V65 I"), (1, "V43 I")),
        "half": ((3, "I V"), (3, "IV V"), (2, "ii6 V"), (2, "V65/V V"), (1, "vi V"), (1, "ii V")),
        "deceptive": ((2, "V vi"), (2, "V7 vi"), (1, "K64 V7 vi")),
        "plagal": ((2, "V I IV I"), (2, "I6 IV I"), (1, "I IV I"), (1, "IV iv I")),
    },
    "minor": {
        "authentic": (
            (3, "V i"),
            (3, "V7 i"),
            (4, "iio6 V i"),
            (3, "K64 V7 i"),
            (2, "iv K64 V i"),
            (2, "iio65 V i"),
            (2, "iio6 K64 V7 i"),
            (1, "N6 V i"),
            (1, "iv V7 I"),
            (1, "iio65 V I"),
        ),
        "imperfect": ((2, "V i"), (2, "V7 i"), (1, "iio6 V7 i"), (1, "V65 i"), (1, "V43 i")),
        "half": ((3, "iv6 V"), (3, "i V"), (3, "iv V"), (1, "iio6 V"), (1, "viio7/V V")),
        "deceptive": ((2, "V VI"), (2, "V7 VI"), (1, "K64 V7 VI")),
        "plagal": ((2, "V i iv I"), (2, "i6 iv i"), (1, "i iv I")),
    },
}
"""Weight and chords of each way to close a phrase, by mode and cadence."""


def progression(
    rng: random.Random,
    mode: Mode,
    weights: Sequence[int],
    cadence: Cadence,
    *,
    before: str | None = None,
    continues: bool = False,
) -> list[str]:
    """Draw the chords of a phrase.

    Args:
        rng: Random number generator.
        mode: Mode of the key of the phrase.
        weights: Metrical weight of the position of each chord, as returned by
            :meth:`Metre.weight`; the last is the position of the cadence's last chord.
        cadence: Kind of cadence that closes the phrase.
        before: Name of the previous chord in the same key; None at the start.
        continues: Whether that chord belongs to the same phrase, so that the first chord must be
            able to follow it.

    Returns:
        Name of the chord at each position; see :mod:`chords`.

    Raises:
        ValueError: No progression of this length reaches the cadence.
    """
    n = len(weights)
    if n == 0:
        return []
    for _ in range(40):
        formula = _formula(rng, mode, cadence, weights)
        head = n - len(formula)
        if head <= 0:
            return formula[-n:]
        chords = walk(
            rng, mode, weights[: head + 1], formula[0], before=before, continues=continues
        )
        if chords is not None:
            return chords[:-1] + formula
    raise ValueError(f"no progression of {n} chords to a cadence: {cadence} in {mode}")


def walk(
    rng: random.Random,
    mode: Mode,
    weights: Sequence[int],
    goal: str,
    *,
    before: str | None = None,
    continues: bool = False,
) -> list[str] | None:
    """Walk from chord to chord to ``goal``, the last chord; None if no path exists.

    The arguments are those of :func:`progression`.
    """
    n = len(weights)
    following = graph(mode)
    reaching = _levels(mode, goal, n)
    names: list[str] = []
    for i in range(n):
        previous = names[-1] if names else before
        options = following.get(previous or "", {}) if i or continues else {}
        if i == 0 and not continues:
            options = {**following.get(before or "", {}), **_openings(mode)}
        fitting = {
            name: weight * _fits(name, previous if i or continues else None, weights, i)
            for name, weight in options.items()
            if name in reaching[n - 1 - i]
        }
        possible = [name for name, weight in fitting.items() if weight > 0]
        if not possible:
            return None
        names.append(rng.choices(possible, [fitting[name] for name in possible])[0])
    return names


@cache
def tonic(mode: Mode) -> str:
    """Return the name of the tonic chord."""
    return "I" if mode == "major" else "i"


@cache
def graph(mode: Mode) -> dict[str, dict[str, float]]:
    """Parse the transitions: the chords that may follow each chord, with their weights."""
    transitions: dict[str, dict[str, float]] = {}
    text = (_NEXT_MAJOR if mode == "major" else _NEXT_MINOR).replace("\n   ", " ")
    for line in text.strip().splitlines():
        name, _, followers = line.partition(":")
        pairs = (part.split() for part in followers.split(","))
        transitions[name] = {follower: float(weight) for follower, weight in pairs}
    return transitions


def _formula(rng: random.Random, mode: Mode, cadence: Cadence, weights: Sequence[int]) -> list[str]:
    """Draw a cadence formula, preferably with its six-four chord on a stronger position."""
    choices = [(weight, formula.split()) for weight, formula in _FORMULAS[mode][cadence]]
    good = [(w, names) for w, names in choices if _six_four_is_heavy(names, weights)]
    names = [names for _, names in good or choices]
    return list(rng.choices(names, [w for w, _ in good or choices])[0])


def _six_four_is_heavy(names: list[str], weights: Sequence[int]) -> bool:
    if "K64" not in names:
        return True
    at = len(weights) - len(names) + names.index("K64")
    return at > 0 and weights[at] > weights[at + 1] and weights[at] >= 2


def _openings(mode: Mode) -> dict[str, float]:
    """Return chords that may start a phrase after any chord, with their weights."""
    return {tonic(mode): 6.0, f"{tonic(mode)}6": 0.7, "V": 0.8}


@lru_cache(maxsize=4096)
def _levels(mode: Mode, goal: str, n: int) -> list[frozenset[str]]:
    """Find the chords from which ``goal`` is reached in exactly 0, 1, ... n - 1 steps."""
    levels = [frozenset({goal})]
    for _ in range(n - 1):
        later = levels[-1]
        reaching = (name for name, next_ones in graph(mode).items() if later & next_ones.keys())
        levels.append(frozenset(reaching))
    return levels


def _fits(name: str, previous: str | None, weights: Sequence[int], i: int) -> float:
    """Rate how well a chord suits its metrical position, as a factor."""
    weight, last = weights[i], i == len(weights) - 1
    if name == "K64":
        return 1.0 if weight >= 2 and not last and weight > weights[i + 1] else 0.0
    if name == previous:
        return 0.0 if i == 0 or weight >= min(weights[i - 1], 3) else 2.0 / (1 + weight)
    if name.endswith("64"):
        return 0.0 if weight >= 3 else 1.0
    if name.endswith(("43", "42")):
        return 0.4 if weight >= 3 else 1.3
    return 1.5 if weight >= 3 and name in ("I", "i") else 1.0
