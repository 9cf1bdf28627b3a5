"""Ink on a page that is not music and has no label: handwriting and library stamps.

Shapes: H and W, height and width of the page; N points.
"""

import math

import cv2
import numpy as np

from converters.engraving.captures import Degradation
from converters.engraving.fields import Field, Grey, enlarged, normal, reduced
from converters.engraving.outlines import Points

WORDS = [
    "again",
    "alto",
    "bass",
    "both",
    "breathe",
    "check",
    "choir",
    "copy",
    "listen",
    "long",
    "No. 14",
    "not yet",
    "O.K.",
    "organ",
    "p. 27",
    "together",
    "Tuesday",
    "tutti",
    "verse 2",
    "watch!",
]
STAMPS = ("MUSIC LIBRARY", "HIRE COPY", "PARISH CHOIR", "ARCHIVE", "SCHOOL OF MUSIC", "DISCARDED")
SHIFT = 4
"""Binary digits of the fraction in OpenCV's coordinates."""


def marks(
    shape: tuple[int, ...], degradation: Degradation, staff_space: float, rng: np.random.Generator
) -> Field:
    """Compute the fraction of light that marks absorb, 0 to 1, shape ``(H, W)``."""
    layer = np.zeros(shape, np.uint8)
    for _ in range(degradation.handwriting):
        depth, angle = rng.uniform(90, 220), rng.normal(0, 8)
        _paste(layer, _handwritten(staff_space, rng), depth, angle, rng)
    for _ in range(degradation.stamps):
        depth, angle = rng.uniform(60, 150), rng.normal(0, 15)
        _paste(layer, _stamp(staff_space, rng), depth, angle, rng)
    texture = enlarged(normal(reduced(shape, 2), rng), shape)
    absorbed: Field = layer.astype(np.float32) / 255 * (0.9 + 0.15 * texture).clip(0.3, 1)
    return absorbed


def _paste(layer: Grey, mark: Grey, depth: float, angle: float, rng: np.random.Generator) -> None:
    """Rotate a mark and add it to a layer at a random place, partly off the page at most.

    Args:
        layer: Layer to change, shape ``(H, W)``.
        mark: Mark with levels from 0 to 255.
        depth: Level of the mark's ink in the layer.
        angle: Rotation in degrees.
        rng: Random number generator.
    """
    height, width = layer.shape
    x, y = rng.uniform(0, (width, height))
    matrix = cv2.getRotationMatrix2D((mark.shape[1] / 2, mark.shape[0] / 2), angle, 1)
    reach = math.ceil(math.hypot(*mark.shape) / 2)
    matrix[:, 2] += reach - mark.shape[1] / 2, reach - mark.shape[0] / 2
    turned = cv2.warpAffine(mark, matrix, (2 * reach, 2 * reach))
    left, top = round(x) - reach, round(y) - reach
    x0, y0, x1, y1 = (
        max(left, 0),
        max(top, 0),
        min(left + 2 * reach, width),
        min(top + 2 * reach, height),
    )
    patch = cv2.convertScaleAbs(
        turned[y0 - top : y1 - top, x0 - left : x1 - left], alpha=depth / 255
    )
    np.maximum(layer[y0:y1, x0:x1], patch, out=layer[y0:y1, x0:x1])


def _handwritten(staff_space: float, rng: np.random.Generator) -> Grey:
    """Draw a word, or a stroke such as a circle around music or a wavy line."""
    thickness = max(1, round(rng.uniform(0.1, 0.22) * staff_space))
    if rng.random() < 0.45:
        text = str(rng.choice(WORDS))
        return _lettering(text, rng.uniform(2, 4) * staff_space, thickness, script=True)
    t = np.linspace(0, 1, 60)
    wobble = np.stack([_smooth(rng) for _ in range(2)], axis=1)
    length, height = rng.uniform((3, 1), (14, 5)) * staff_space
    kind = rng.integers(3)
    if kind == 0:  # a circle that does not quite close
        turns = 2 * math.pi * 1.08 * t
        line = np.stack((np.cos(turns), np.sin(turns)), axis=1) * (length / 2, height / 2)
    elif kind == 1:  # a wavy line
        turns = 2 * math.pi * rng.uniform(2, 7) * t
        line = np.stack((length * t, 0.2 * height * np.sin(turns)), axis=1)
    else:  # hatching that crosses out a passage
        line = np.stack(
            (length * t, height / 2 * np.sin(2 * math.pi * rng.uniform(4, 9) * t)), axis=1
        )
    return _stroke(line + 0.3 * staff_space * wobble, thickness)


def _smooth(rng: np.random.Generator) -> Points:
    """Draw a smooth random curve of 60 values."""
    return np.interp(np.linspace(0, 1, 60), np.linspace(0, 1, 8), rng.standard_normal(8))


def _stroke(line_xy: Points, thickness: int) -> Grey:
    """Draw a line, shape ``(N, 2)``, on a patch that just holds it."""
    line_xy = line_xy - line_xy.min(axis=0) + 2 * thickness
    width, height = np.ceil(line_xy.max(axis=0) + 2 * thickness).astype(int).tolist()
    patch = np.zeros((height, width), np.uint8)
    vertices = np.rint(line_xy * 2**SHIFT).astype(np.int32)
    cv2.polylines(patch, [vertices], False, 255, thickness, cv2.LINE_AA, SHIFT)
    return patch


def _stamp(staff_space: float, rng: np.random.Generator) -> Grey:
    """Draw lettering in a double rectangle or ellipse."""
    thickness = max(1, round(0.15 * staff_space))
    text = _lettering(str(rng.choice(STAMPS)), rng.uniform(1, 1.8) * staff_space, thickness)
    height, width = text.shape
    is_round = rng.random() < 0.5
    frame = (round(width * (1.5 if is_round else 1.15)), round(height * (3 if is_round else 1.8)))
    patch = np.zeros((frame[1] + 8 * thickness, frame[0] + 8 * thickness), np.uint8)
    centre = (patch.shape[1] // 2, patch.shape[0] // 2)
    for gap in (0, 3 * thickness):
        half = (frame[0] // 2 + gap, frame[1] // 2 + gap)
        if is_round:
            cv2.ellipse(patch, centre, half, 0, 0, 360, 255, thickness, cv2.LINE_AA)
        else:
            box = (centre[0] - half[0], centre[1] - half[1], 2 * half[0], 2 * half[1])
            cv2.rectangle(patch, box, 255, thickness, cv2.LINE_AA)
    left, top = centre[0] - width // 2, centre[1] - height // 2
    patch[top : top + height, left : left + width] |= text
    return patch


def _lettering(text: str, height_px: float, thickness: int, *, script: bool = False) -> Grey:
    """Draw a line of text on a patch that just holds it."""
    font = cv2.FONT_HERSHEY_SCRIPT_SIMPLEX if script else cv2.FONT_HERSHEY_DUPLEX
    scale = cv2.getFontScaleFromHeight(font, max(4, round(height_px)), thickness)
    (width, height), below = cv2.getTextSize(text, font, scale, thickness)
    patch = np.zeros((height + 2 * below + 2 * thickness, width + 4 * thickness), np.uint8)
    origin = (2 * thickness, height + below // 2 + thickness)
    cv2.putText(patch, text, origin, font, scale, 255, thickness, cv2.LINE_AA)
    return patch
