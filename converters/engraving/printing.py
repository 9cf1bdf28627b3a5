"""Printed ink on a page, which spreads, fades, frays and breaks.

Shapes: H and W, height and width of the page.
"""

import cv2
import numpy as np

from converters.engraving.captures import Degradation
from converters.engraving.fields import Field, Grey, blurred, enlarged, normal, reduced, soft_step

EDGE_WIDTH = 0.14
"""Width of the edge of the ink, as a fraction of coverage."""
FLAKE = 0.3
"""Size of the gaps in broken ink, in staff spaces."""
FLAKE_EDGE = 0.3
"""Width of the edge of a gap, in standard deviations of the field that determines the gaps."""
SAMPLED = 5
"""Step of the pixels from which the quantile of that field is computed."""


def printed(
    page: Grey, degradation: Degradation, staff_space: float, rng: np.random.Generator
) -> Field:
    """Compute the amount of printed ink on each pixel, 0 to 1, shape ``(H, W)``."""
    spread = blurred(255 - page, degradation.ink_blur_px)
    changes = (degradation.fray, -degradation.fray)
    lean, fat = (_edge_table(degradation.edge + change) for change in changes)
    pressure = enlarged(_pressure(reduced(page.shape, 2), rng), page.shape)
    ink: Field = cv2.LUT(spread, lean)
    ink += pressure * (cv2.LUT(spread, fat) - ink)
    ink *= 1 - degradation.fade * (1 - pressure)
    if degradation.gaps:
        ink *= _remaining(page.shape, degradation.gaps, FLAKE * staff_space, rng)
    return ink


def _edge_table(edge: float) -> Field:
    """Map spread coverage, 0 to 255, to ink: none at 0, full at 255, steep at the edge."""
    curve = soft_step((np.linspace(0, 1, 256, dtype=np.float32) - edge) / EDGE_WIDTH)
    table: Field = (curve - curve[0]) / (curve[-1] - curve[0])
    return table


def _pressure(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Draw how well the paper takes ink, 0 to 1: page-wide clouds and a grain of a few pixels."""
    clouds = enlarged(rng.standard_normal((7, 5), np.float32), shape, cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(normal(shape, rng), (0, 0), 0.8)
    pressure: Field = (0.5 + 0.25 * clouds + 0.35 * grain).clip(0, 1)
    return pressure


def _remaining(
    shape: tuple[int, ...], gaps: float, size_px: float, rng: np.random.Generator
) -> Field:
    """Draw where ink has not flaked off, 0 to 1: gaps of ``size_px`` pixels that form clusters."""
    small = reduced(shape, max(1, round(size_px)))
    flakes = normal(small, rng)
    clusters = enlarged(normal(reduced(small, 12), rng), small, cv2.INTER_CUBIC)
    field = enlarged(flakes + 0.6 * clusters, shape, cv2.INTER_CUBIC)
    limit = float(np.quantile(field[::SAMPLED, ::SAMPLED], gaps))
    remaining: Field = ((field - limit) / FLAKE_EDGE + 0.5).clip(0, 1)
    return remaining
