"""Capture of a sheet by a scanner, camera or fax machine: optics, noise, levels and compression.

The sensor has its own resolution. Its picture is enlarged or reduced to the size of the page, so
that labels fit; a black-and-white picture remains black and white.

Shapes: H and W, height and width of the page.
"""

import math

import cv2
import numpy as np

from converters import images
from converters.engraving.captures import Degradation, dpi_of, px_at_300_dpi
from converters.engraving.fields import Field, Grey, blurred
from converters.images import Pixels

BLOCK = (2.0, 4.0)
"""Smallest and largest side of the blocks of an adaptive threshold, in staff spaces."""
_BLURRED_BYTE = 73.9 * float((cv2.getGaussianKernel(3, 0.6) ** 2).sum())
"""Standard deviation of random bytes after a blur of 0.6 pixels."""


def captured(
    levels: Field, degradation: Degradation, staff_space: float, rng: np.random.Generator
) -> Pixels:
    """Take the picture of a sheet.

    Args:
        levels: Levels of the sheet from 0 to 1, shape ``(H, W)``.
        degradation: Parameters of the picture.
        staff_space: Distance between adjacent staff lines in pixels.
        rng: Random number generator.

    Returns:
        Grey levels, shape ``(H, W)``, or colours, shape ``(H, W, 3)``.
    """
    sheet = np.asarray(cv2.convertScaleAbs(levels, alpha=255), np.uint8)
    sheet = _with_specks(sheet, degradation.specks, rng)
    height, width = sheet.shape
    zoom = degradation.dpi / dpi_of(staff_space) if degradation.dpi else 1.0
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    picture = sheet if size == (width, height) else images.scaled(sheet, *size)
    picture = _exposed(picture, degradation, zoom * px_at_300_dpi(staff_space), rng)
    if degradation.binarisation == "none":
        picture = _compressed(_coloured(picture, degradation.warmth), degradation.jpeg_quality)
        return picture if zoom == 1 else images.scaled(picture, width, height)
    picture = _binarised(picture, degradation, zoom * staff_space, rng)
    picture = _with_dirt(picture, degradation, rng)
    if zoom == 1:
        return picture
    return np.asarray(
        cv2.threshold(images.scaled(picture, width, height), 127, 255, 0)[1], np.uint8
    )


def _with_specks(sheet: Grey, n: int, rng: np.random.Generator) -> Grey:
    """Draw specks of dust with radii of up to 1.5 pixels."""
    height, width = sheet.shape
    for _ in range(n):
        x, y, radius, level = (
            rng.uniform(0, (16 * width, 16 * height, 24, 220)).astype(int).tolist()
        )
        cv2.circle(sheet, (x, y), radius, level, -1, cv2.LINE_AA, 4)  # in 16ths of a pixel
    return sheet


def _exposed(picture: Grey, degradation: Degradation, px: float, rng: np.random.Generator) -> Grey:
    """Blur a picture, add noise and set its levels; ``px`` pixels are a pixel at 300 dpi."""
    picture = blurred(picture, degradation.blur_px * px)
    if degradation.motion_px:
        kernel = _stroke(degradation.motion_px * px, rng.uniform(0, math.pi))
        picture = np.asarray(cv2.filter2D(picture, -1, kernel), np.uint8)
    if degradation.noise:
        random = np.frombuffer(rng.bytes(picture.size), np.uint8).reshape(picture.shape)
        noise = cv2.GaussianBlur(random, (3, 3), 0.6)
        scale = degradation.noise / _BLURRED_BYTE
        picture = np.asarray(cv2.addWeighted(picture, 1, noise, scale, -127.5 * scale), np.uint8)
    return np.asarray(cv2.LUT(picture, np.rint(255 * _developed(_LEVELS, degradation))), np.uint8)


def _developed(levels: Field, degradation: Degradation) -> Field:
    """Compute the level, 0 to 1, that a sensor outputs for the level of a sheet."""
    developed: Field = (levels * degradation.exposure).clip(0, 1) ** degradation.gamma
    return developed


_LEVELS = np.linspace(0, 1, 256)


def _stroke(length_px: float, angle: float) -> Field:
    """Make a kernel that blurs along a line without moving anything, an odd number wide."""
    reach = max(1, math.ceil(length_px / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = np.abs(x * math.cos(angle) + y * math.sin(angle))
    across = np.abs(y * math.cos(angle) - x * math.sin(angle))
    kernel = (length_px / 2 + 0.5 - along).clip(0, 1) * (1 - across).clip(0, 1)
    stroke: Field = (kernel / kernel.sum()).astype(np.float32)
    return stroke


def _binarised(
    picture: Grey, degradation: Degradation, staff_space: float, rng: np.random.Generator
) -> Grey:
    """Threshold a picture to black and white."""
    if degradation.binarisation == "otsu":
        return np.asarray(cv2.threshold(picture, 0, 255, cv2.THRESH_OTSU)[1], np.uint8)
    paper, ink = _developed(
        np.array((degradation.paper, degradation.paper * degradation.ink)), degradation
    )
    below = float(255 * degradation.threshold * (paper - ink))
    if degradation.binarisation == "fixed":
        return np.asarray(cv2.threshold(picture, 255 * paper - below, 255, 0)[1], np.uint8)
    block = 2 * round(rng.uniform(*BLOCK) * staff_space / 2) + 1
    method = cv2.ADAPTIVE_THRESH_MEAN_C
    return np.asarray(
        cv2.adaptiveThreshold(picture, 255, method, cv2.THRESH_BINARY, max(3, block), below),
        np.uint8,
    )


def _with_dirt(picture: Grey, degradation: Degradation, rng: np.random.Generator) -> Grey:
    """Replace pixels at random, and draw the vertical lines that dirt on a fax sensor leaves."""
    height, width = picture.shape
    n = rng.binomial(picture.size, degradation.salt)
    at = rng.integers(0, picture.size, n)
    picture.reshape(-1)[at] = rng.choice((0, 255), n)
    for _ in range(degradation.streaks):
        column, thickness = rng.integers(0, width), rng.integers(1, 3)
        start, end = np.sort(rng.integers(0, height + 1, 2)) if rng.random() < 0.5 else (0, height)
        picture[start:end, column : column + thickness] = rng.choice((0, 255))
    return picture


def _coloured(picture: Grey, warmth: float) -> Pixels:
    """Colour a picture: yellow for positive warmth, bluish for negative."""
    if not warmth:
        return picture
    blue, green, red = (1 - max(warmth, 0), 1 - 0.3 * abs(warmth), 1 + min(warmth, 0))
    return np.stack([cv2.convertScaleAbs(picture, alpha=a) for a in (blue, green, red)], axis=2)


def _compressed(picture: Pixels, quality: int) -> Pixels:
    """Compress a picture as JPEG and decode it again; a quality of 0 changes nothing."""
    if not quality:
        return picture
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    flag = cv2.IMREAD_GRAYSCALE if picture.ndim == 2 else cv2.IMREAD_COLOR
    return np.asarray(cv2.imdecode(data, flag), np.uint8)
