"""Distributions of the parameters of a picture, for each kind of capture.

Parameters are first drawn from the ranges of the capture, :data:`RANGES`. Then up to one effect of
each group in :data:`GROUPS` is drawn; it replaces the ranges of some parameters with those in
:data:`EFFECTS`. Effects that remove detail are in one group, so that a musician can read every
page. The ranges were chosen by eye.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from converters.engraving.captures import Binarisation, Capture, Degradation

DegradeOption = Literal["none", "scan", "photo", "fax", "worn", "mixed"]
"""Capture of all pages; ``mixed`` draws one for each page."""
MIXED: Mapping[Capture, float] = {"none": 0.2, "scan": 0.3, "photo": 0.2, "fax": 0.1, "worn": 0.2}
"""Fractions of the pages of ``mixed``."""


@dataclass(frozen=True, slots=True)
class Range:
    """Uniform distribution of a parameter, or its neutral value."""

    low: float
    high: float
    probability: float = 1
    """Probability of a value between the limits; otherwise the value is neutral."""
    signed: bool = False
    """Whether the value is negative in half of the cases."""

    def draw(self, rng: Random, neutral: float) -> float:
        """Draw a value, a whole number if the neutral value is one."""
        if isinstance(neutral, int):
            value: float = rng.randint(round(self.low), round(self.high))
        else:
            value = rng.uniform(self.low, self.high)
        if self.signed and rng.random() < 0.5:
            value = -value
        return value if rng.random() < self.probability else neutral


Ranges = Mapping[str, Range]

_BOOK: Ranges = {
    "shear": Range(-0.002, 0.002),
    "stretch": Range(-0.006, 0.006),
    "pull": Range(0.001, 0.004, 0.6),
    "pinch": Range(-0.001, 0.004, 0.6),
    "waves": Range(0, 0.0005),
}
RANGES: Mapping[Capture, Ranges] = {
    "none": {},
    "scan": {
        **_BOOK,
        "rotation": Range(-1, 1),
        "ink_blur_px": Range(0.45, 0.75),
        "edge": Range(0.38, 0.56),
        "fray": Range(0.02, 0.1),
        "fade": Range(0.05, 0.4, 0.5),
        "ink": Range(0.02, 0.3),
        "paper": Range(0.78, 1),
        "grain": Range(0, 0.012),
        "mottle": Range(0.005, 0.02, 0.3),
        "stains": Range(1, 6, 0.3),
        "stain_depth": Range(0.02, 0.2),
        "specks": Range(5, 150, 0.6),
        "shade": Range(0, 0.06),
        "dpi": Range(150, 400, 0.4),
        "blur_px": Range(0.4, 1),
        "noise": Range(0.5, 5),
        "exposure": Range(1, 1.2, 0.4),
        "gamma": Range(0.8, 1.25),
        "jpeg_quality": Range(50, 95, 0.7),
    },
    "photo": {
        "rotation": Range(-1.5, 1.5),
        "shear": Range(-0.006, 0.006),
        "stretch": Range(-0.015, 0.015),
        "tilt_x": Range(-0.03, 0.03),
        "tilt_y": Range(-0.05, 0.05),
        "pull": Range(0.001, 0.005, 0.7),
        "pinch": Range(-0.004, 0.004, 0.7),
        "waves": Range(0, 0.001),
        "ink_blur_px": Range(0.4, 0.7),
        "edge": Range(0.4, 0.54),
        "fray": Range(0.02, 0.08),
        "fade": Range(0.05, 0.35, 0.4),
        "ink": Range(0.08, 0.4),
        "paper": Range(0.65, 0.98),
        "grain": Range(0.002, 0.015),
        "mottle": Range(0.005, 0.02, 0.3),
        "stains": Range(1, 4, 0.2),
        "stain_depth": Range(0.02, 0.2),
        "specks": Range(5, 60, 0.3),
        "shade": Range(0.05, 0.4),
        "dpi": Range(150, 400, 0.4),
        "blur_px": Range(0.6, 1.6),
        "motion_px": Range(1, 3, 0.3),
        "noise": Range(1, 6),
        "exposure": Range(0.9, 1.15),
        "gamma": Range(0.75, 1.3),
        "jpeg_quality": Range(55, 95),
    },
    "fax": {
        "rotation": Range(-1, 1),
        "stretch": Range(-0.012, 0.012),
        "ink_blur_px": Range(0.45, 0.6),
        "edge": Range(0.34, 0.42),
        "fray": Range(0.02, 0.1),
        "ink": Range(0.05, 0.2),
        "paper": Range(0.85, 1),
        "grain": Range(0, 0.01),
        "specks": Range(5, 80, 0.5),
        "shade": Range(0, 0.05),
        "dpi": Range(190, 210),
        "blur_px": Range(0.3, 0.7),
        "noise": Range(2, 8),
        "threshold": Range(0.25, 0.35),
        "salt": Range(0.0003, 0.003),
        "streaks": Range(1, 4, 0.6),
    },
    "worn": {
        **_BOOK,
        "rotation": Range(-1, 1),
        "ink_blur_px": Range(0.45, 0.75),
        "edge": Range(0.4, 0.56),
        "fray": Range(0.06, 0.18),
        "fade": Range(0.1, 0.5),
        "ink": Range(0.1, 0.45),
        "paper": Range(0.65, 0.95),
        "grain": Range(0.004, 0.02),
        "mottle": Range(0.01, 0.04),
        "stains": Range(2, 10),
        "stain_depth": Range(0.1, 0.35),
        "creases": Range(1, 3, 0.5),
        "specks": Range(20, 300),
        "shade": Range(0, 0.1),
        "dpi": Range(150, 400, 0.4),
        "blur_px": Range(0.4, 1.2),
        "noise": Range(1, 5),
        "gamma": Range(0.8, 1.25),
        "jpeg_quality": Range(50, 95, 0.7),
    },
}
"""Ranges of the parameters that a capture changes."""

_BINARISED: Ranges = {
    "edge": Range(0.36, 0.44),
    "ink_blur_px": Range(0.45, 0.6),
    "fade": Range(0, 0.2),
    "ink": Range(0.02, 0.2),
    "blur_px": Range(0.3, 0.7),
    "motion_px": Range(0, 0),
    "noise": Range(0.5, 5),
    "dpi": Range(200, 400, 0.5),
    "threshold": Range(0.25, 0.35),
    "jpeg_quality": Range(0, 0),
}
"""Ranges of a page in black and white."""

EFFECTS: Mapping[str, Ranges] = {
    "low-resolution": {"dpi": Range(75, 150), "motion_px": Range(0, 0)},
    "blurred": {
        "blur_px": Range(1.5, 4),
        "motion_px": Range(0, 0),
        "noise": Range(0.5, 3),
        "edge": Range(0.4, 0.48),
        "fade": Range(0, 0.15),
        "ink": Range(0.02, 0.2),
    },
    "thin-ink": {"edge": Range(0.56, 0.66), "fray": Range(0.03, 0.1), "fade": Range(0, 0.2)},
    "broken-ink": {"gaps": Range(0.02, 0.08), "fray": Range(0.08, 0.2)},
    "fat-ink": {"ink_gain_px": Range(0.3, 1)},
    "compressed": {"jpeg_quality": Range(20, 50)},
    "binarised": _BINARISED,
    "lost-lines": {**_BINARISED, "dpi": Range(130, 220), "threshold": Range(0.4, 0.52)},
    "rotated": {"rotation": Range(1, 3, signed=True)},
    "curled": {
        "pull": Range(0.002, 0.006),
        "pinch": Range(0.005, 0.015),
        "bow": Range(0.002, 0.01, signed=True),
    },
    "keystone": {
        "tilt_x": Range(0.02, 0.06, signed=True),
        "tilt_y": Range(0.04, 0.1, signed=True),
    },
    "black-edges": {"edges": Range(0.3, 0.8), "surroundings": Range(0.02, 0.15)},
    "background": {"edges": Range(0.1, 0.8), "surroundings": Range(0.1, 0.5)},
    "gutter": {"gutter": Range(0.1, 0.45)},
    "shadow": {"shadow": Range(0.1, 0.45)},
    "show-through": {"show_through": Range(0.03, 0.2)},
    "yellow": {"warmth": Range(0.05, 0.3)},
    "blue": {"warmth": Range(-0.1, -0.03)},
    "handwriting": {"handwriting": Range(1, 6)},
    "stamp": {"stamps": Range(1, 2)},
}
"""Ranges that an effect replaces."""

GROUPS: Mapping[Capture, tuple[Mapping[str, float], ...]] = {
    "none": (),
    "scan": (
        {
            "binarised": 0.2,
            "lost-lines": 0.07,
            "low-resolution": 0.12,
            "blurred": 0.08,
            "thin-ink": 0.08,
            "fat-ink": 0.12,
            "compressed": 0.1,
        },
        {"rotated": 0.15},
        {"curled": 0.1},
        {"black-edges": 0.25},
        {"gutter": 0.2},
        {"show-through": 0.3},
        {"yellow": 0.1},
        {"handwriting": 0.12},
        {"stamp": 0.08},
    ),
    "photo": (
        {
            "binarised": 0.08,
            "low-resolution": 0.12,
            "blurred": 0.2,
            "fat-ink": 0.05,
            "compressed": 0.2,
        },
        {"rotated": 0.2},
        {"curled": 0.3},
        {"keystone": 0.3},
        {"background": 0.35},
        {"gutter": 0.3},
        {"shadow": 0.35},
        {"show-through": 0.15},
        {"yellow": 0.22, "blue": 0.08},
        {"handwriting": 0.1},
        {"stamp": 0.05},
    ),
    "fax": (
        {"fat-ink": 0.3, "lost-lines": 0.2},
        {"rotated": 0.1},
        {"black-edges": 0.15},
        {"handwriting": 0.1},
        {"stamp": 0.15},
    ),
    "worn": (
        {
            "broken-ink": 0.3,
            "thin-ink": 0.2,
            "fat-ink": 0.08,
            "binarised": 0.12,
            "low-resolution": 0.05,
            "compressed": 0.08,
        },
        {"rotated": 0.15},
        {"curled": 0.25},
        {"black-edges": 0.2},
        {"gutter": 0.25},
        {"show-through": 0.5},
        {"yellow": 0.25},
        {"handwriting": 0.25},
        {"stamp": 0.15},
    ),
}
"""Effects of a capture with their probabilities; those of one group exclude each other."""

METHODS: Mapping[Capture, tuple[Binarisation, ...]] = {
    "scan": ("fixed", "otsu", "adaptive"),
    "photo": ("adaptive",),
    "fax": ("fixed", "otsu", "adaptive"),
    "worn": ("adaptive",),
}
"""Methods of binarisation; paper with large dark areas needs an adaptive one. Lines are lost to a
fixed threshold."""
OTSU_EDGE = 0.06
"""Lowering of the edge for ``otsu``, whose threshold is above the level of blurred thin lines."""
HIDING = {"gutter": 0.0, "shadow": 0.0, "stains": 0, "stain_depth": 0.0}
"""Parameters that darken paper so much that one threshold for the page would hide music."""


def draw_degradation(option: DegradeOption | Degradation, rng: Random) -> Degradation:
    """Draw the parameters of one picture.

    Args:
        option: Capture of the picture, ``mixed`` to draw it, or parameters to return as they are.
        rng: Random number generator.
    """
    if isinstance(option, Degradation):
        return option
    capture = rng.choices(list(MIXED), list(MIXED.values()))[0] if option == "mixed" else option
    effects = tuple(filter(None, (_draw_effect(group, rng) for group in GROUPS[capture])))
    ranges = dict(RANGES[capture])
    for effect in effects:
        ranges |= EFFECTS[effect]
    neutral = Degradation(capture=capture, effects=effects)
    drawn: dict[str, Any] = {
        name: r.draw(rng, getattr(neutral, name)) for name, r in sorted(ranges.items())
    }
    degradation = replace(neutral, **drawn)
    if not degradation.stains:
        degradation = replace(degradation, stain_depth=0.0)
    return _binarised(degradation, rng) if "threshold" in ranges else degradation


def _draw_effect(group: Mapping[str, float], rng: Random) -> str | None:
    """Draw up to one effect of a group."""
    left = rng.random()
    for effect, probability in group.items():
        left -= probability
        if left < 0:
            return effect
    return None


def _binarised(degradation: Degradation, rng: Random) -> Degradation:
    """Draw a method of binarisation, and remove what it cannot show or would fill with black."""
    loses_lines = "lost-lines" in degradation.effects
    method = "fixed" if loses_lines else rng.choice(METHODS[degradation.capture])
    removed: dict[str, Any] = {"warmth": 0.0}
    if method != "adaptive":
        removed |= HIDING
    if method == "otsu":
        removed |= {"threshold": 0.0, "edge": degradation.edge - OTSU_EDGE}
    kept = (e for e in degradation.effects if not EFFECTS[e].keys() <= removed.keys())
    return replace(degradation, binarisation=method, effects=tuple(kept), **removed)
