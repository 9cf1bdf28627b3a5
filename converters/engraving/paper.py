"""Light that the paper of a page reflects where it has no ink, and the surroundings of the paper.

Shapes: H and W, height and width of the page.
"""

import math

import cv2
import numpy as np

from converters.engraving.captures import Degradation
from converters.engraving.fields import Field, Grey, enlarged, normal, reduced, soft_step
from converters.engraving.outlines import Points

SHEET = 4
"""Page pixels per pixel of the coarse grid on which the paper is computed."""
SHADING = 3 * SHEET
"""Page pixels per pixel of the grid on which light and stains are computed."""
VERSO = 2
"""Page pixels per pixel of the grid on which the verso is computed."""
CREASE = 0.2
"""Width of a crease in staff spaces."""


def paper_light(
    shape: tuple[int, ...], degradation: Degradation, staff_space: float, rng: np.random.Generator
) -> Field:
    """Compute the light that paper without ink reflects, 0 to 1, shape ``(H, W)``."""
    small = reduced(shape, SHEET)
    grain = cv2.GaussianBlur(normal(small, rng), (3, 3), 0.6)
    light = enlarged(_shading(reduced(shape, SHADING), degradation, rng), small)
    light *= degradation.paper + 1.6 * degradation.grain * grain  # blurred, it deviates by 0.6
    if degradation.mottle:
        light *= 1 + degradation.mottle * _mottle(small, rng)
    for _ in range(degradation.creases):
        light *= 1 - _crease(small, CREASE * staff_space / SHEET, rng)
    return enlarged(light.clip(0, 1), shape)


def verso_ink(verso: Grey, rng: np.random.Generator) -> Field:
    """Blur the ink on the verso as paper does, 0 to 1, shape ``(H, W)``."""
    ink = enlarged(255 - verso, reduced(verso.shape, VERSO), cv2.INTER_AREA)
    blur = cv2.GaussianBlur(ink.astype(np.float32), (0, 0), rng.uniform(0.7, 1.6))
    return enlarged(blur, verso.shape) / 255


def surround(sheet: Field, paper_xy: Points, level: float, rng: np.random.Generator) -> Field:
    """Replace everything outside the paper by its surroundings.

    Args:
        sheet: Levels from 0 to 1, shape ``(H, W)``.
        paper_xy: Vertices around the paper in pixels, shape ``(N, 2)``.
        level: Mean level of the surroundings.
        rng: Random number generator.
    """
    mask = np.zeros(sheet.shape, np.uint8)
    shift = 4  # vertices in 16ths of a pixel; OpenCV's integer coordinates are pixel centres
    vertices = np.rint((paper_xy - 0.5) * 2**shift).astype(np.int32)
    cv2.fillPoly(mask, [vertices], 255, cv2.LINE_AA, shift)
    inside = cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32) / 255
    outside = level * (1 + 0.2 * enlarged(normal((9, 7), rng), sheet.shape, cv2.INTER_CUBIC))
    result: Field = outside.clip(0, 1) * (1 - inside) + sheet * inside
    return result


def _shading(shape: tuple[int, int], degradation: Degradation, rng: np.random.Generator) -> Field:
    """Compute the light left by stains, spine, shadows and the lamp, 0 to 1."""
    v, u = (np.linspace(0, 1, n, dtype=np.float32) for n in shape)
    v = v[:, None]
    across, lamp_u, lamp_v = rng.uniform(-1.5, 1.5, 3)
    from_lamp = np.hypot(u - 0.5 - lamp_u, v - 0.5 - lamp_v)
    light = 1 - degradation.shade * (from_lamp - from_lamp.min()) / max(np.ptp(from_lamp), 1e-6)
    from_spine = u if rng.random() < 0.5 else 1 - u
    light *= 1 - degradation.gutter * np.exp(-from_spine / rng.uniform(0.02, 0.1))
    edge = math.cos(across) * u + math.sin(across) * v - rng.uniform(0.2, 0.9)
    light *= 1 - degradation.shadow * soft_step(edge / rng.uniform(0.01, 0.15))
    for _ in range(degradation.stains):
        light *= 1 - degradation.stain_depth * _stain(u, v, rng)
    shading: Field = light.astype(np.float32)
    return shading


def _stain(u: Field, v: Field, rng: np.random.Generator) -> Field:
    """Draw a stain with a wavy outline and, if it dried slowly, a dark rim, 0 to 1."""
    at_u, at_v, depth, rim = rng.uniform(0, 1, 4)
    x, y = u - at_u, (v - at_v) * rng.uniform(0.7, 2)
    turn = np.arctan2(y, x)
    waves = np.zeros_like(turn)
    for n in (2, 3, 5):
        waves += rng.uniform(0, 0.12) * np.sin(n * turn + rng.uniform(0, 2 * math.pi))
    radius = np.hypot(x, y) / rng.uniform(0.02, 0.12) * (1 + waves)
    inside = soft_step((1 - radius) * rng.uniform(2, 25))
    stain: Field = depth * inside * (1 - rim * 0.7 * (1 - radius).clip(0, 0.5) * 2)
    return stain


def _mottle(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Draw clouds of several sizes with a standard deviation of about 1."""
    clouds = [
        enlarged(normal(reduced(shape, size), rng), shape, cv2.INTER_CUBIC) for size in (3, 12, 50)
    ]
    mottle: Field = np.sum(clouds, axis=0) / math.sqrt(len(clouds))
    return mottle


def _crease(shape: tuple[int, int], width: float, rng: np.random.Generator) -> Field:
    """Draw a dark fold across or down the paper with a bright side, -0.1 to 0.3."""
    y, x = np.indices(shape, np.float32)
    slope = rng.uniform(-0.04, 0.04)
    along, across = (x, y) if rng.random() < 0.5 else (y, x)
    distance = (across - slope * along - rng.uniform(0.1, 0.9) * across.max()) / max(width, 0.5)
    dark, bright = np.exp(-(distance**2)), np.exp(-((distance - 2) ** 2))
    crease: Field = rng.uniform(0.1, 0.3) * (dark - 0.3 * bright)
    return crease
