"""Random and smooth fields over a page, computed at a fraction of its size where possible.

Shapes: H and W, height and width of the page.
"""

import math
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Field = NDArray[Any]
"""Values as float32, mostly fractions; OpenCV's type annotations do not guarantee the dtype."""

_NORMAL_OF_BYTE = np.array([NormalDist().inv_cdf((b + 0.5) / 256) for b in range(256)], np.float32)


def normal(shape: tuple[int, ...], rng: np.random.Generator) -> Field:
    """Draw standard normal noise from one random byte per value, for speed."""
    noise = np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape)
    return cv2.LUT(noise, _NORMAL_OF_BYTE)


def soft_step(x: Field) -> Field:
    """Step smoothly from 0 far below zero to 1 far above it."""
    step: Field = 0.5 + 0.5 * np.tanh(x / 2)
    return step


def reduced(shape: tuple[int, ...], factor: int) -> tuple[int, int]:
    """Divide a height and width by a factor, rounded up."""
    return -(-shape[0] // factor), -(-shape[1] // factor)


def enlarged(field: Field, shape: tuple[int, ...], interpolation: int = cv2.INTER_LINEAR) -> Field:
    """Resize a field to a height and width."""
    return cv2.resize(field, (shape[1], shape[0]), interpolation=interpolation)


def blurred(levels: Grey, deviation_px: float) -> Grey:
    """Blur grey levels; a deviation of 0 changes nothing."""
    if not deviation_px:
        return levels
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), deviation_px), np.uint8)
