"""Appearance of a printed page in a scan or photo: ink, paper, light, optics; nothing is moved.

A page is printed (ink spreads, fades and frays) on paper (grey, grained and stained, with the verso
showing through) and captured under uneven light by a scanner or a camera (blur, noise, contrast,
thresholding, compression). The ranges were chosen by eye for pages of 200 to 300 dpi. They move
edges by at most 0.6 pixels, outwards where the print is heavy and thresholded.

Shapes: H and W, height and width of the page.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.engraving.warping import Capture

Grey = NDArray[np.uint8]
Field = NDArray[Any]
"""Fractions from 0 to 1 as float32; OpenCV's type annotations do not guarantee the dtype."""
Picture = NDArray[Any]
"""Grey levels as uint8; OpenCV's type annotations do not guarantee the dtype."""

SHEET = 4
"""Page pixels per pixel of the coarse grid on which the paper is computed."""
EDGE_WIDTH = 0.14
"""Width of the edge of the ink, as a fraction of coverage."""
_NORMAL_OF_BYTE = np.array([NormalDist().inv_cdf((b + 0.5) / 256) for b in range(256)], np.float32)
_BLURRED_BYTE = 73.9 * float((cv2.getGaussianKernel(3, 0.6) ** 2).sum())
"""Standard deviation of random bytes after a blur of 0.6 pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Parameters of one capture. Levels and fractions are from 0 to 1."""

    ink_blur_px: float
    """Standard deviation of the ink spread."""
    edge: float
    """Coverage at which a pixel of spread ink is half dark; below 0.5, lines become thicker."""
    fray: float
    """Variation of the edge with the paper grain and across the page."""
    fade: float
    """Fraction of ink missing where the print is weakest."""
    ink: float
    """Reflectance of full ink, as a fraction of that of the paper."""
    paper: float
    """Grey level of the paper."""
    grain: float
    """Standard deviation of the paper's grey level."""
    stains: int
    specks: int
    show_through: float
    """Fraction of light absorbed by the ink on the verso."""
    shade: float
    """Fraction of light missing in the darkest part of the page."""
    gutter: float
    """Fraction of light missing at the spine of a book."""
    shadow: float
    """Fraction of light missing in the shadow of a hand or a camera."""
    blur_px: float
    """Standard deviation of the optical blur."""
    motion_px: float
    noise: float
    """Standard deviation of the noise, in grey levels of 255."""
    white: float
    """Level that is mapped to white."""
    gamma: float
    black_and_white: float
    """Contrast around the threshold between ink and paper; 0 keeps the grey levels."""
    threshold: float
    """Fraction of ink above which a pixel is black, if thresholded."""
    jpeg_quality: int
    """JPEG quality from 1 to 100; 0 for no compression."""


def degrade(page: Grey, capture: Capture, rng: np.random.Generator) -> Grey:
    """Make a clean page look printed and then scanned or photographed.

    Args:
        page: Black ink on white, shape ``(H, W)``; not modified.
        capture: Kind of capture; ``none`` returns the page unchanged.
        rng: Random number generator.

    Returns:
        Grey levels, shape ``(H, W)``; ink moves by less than a pixel.
    """
    if capture == "none":
        return page
    return apply_look(page, _LOOKS[capture](rng), rng)


def apply_look(page: Grey, look: Look, rng: np.random.Generator) -> Grey:
    """Degrade a clean page with a given look; see :func:`degrade`."""
    ink = _printed(page, look, rng)
    light = _light(page, look, rng)
    picture = _captured(light * (1 - (1 - look.ink) * ink), look, rng)
    if look.black_and_white:
        return np.asarray(_black_and_white(picture, light, look), np.uint8)
    return np.asarray(_developed(picture, look), np.uint8)


def scan_look(rng: np.random.Generator) -> Look:
    """Draw the look of a scan: flat light and bright paper; one in four is thresholded."""
    bitonal = rng.random() < 0.25
    paper = rng.uniform(0.78, 1)
    return Look(
        ink_blur_px=rng.uniform(0.45, 0.75),
        edge=rng.uniform(0.4, 0.5) if bitonal else rng.uniform(0.38, 0.58),
        fray=rng.uniform(0.02, 0.1),
        fade=_draw_or_zero(rng, 0.5, 0.05, 0.3 if bitonal else 0.45),
        ink=rng.uniform(0.02, 0.3),
        paper=paper,
        grain=rng.uniform(0, 0.012),
        stains=int(_draw_or_zero(rng, 0.3, 1, 7)),
        specks=int(_draw_or_zero(rng, 0.6, 5, 150)),
        show_through=_draw_or_zero(rng, 0.35, 0.01, 0.1),
        shade=rng.uniform(0, 0.06),
        gutter=_draw_or_zero(rng, 0.25, 0.1, 0.45),
        shadow=0,
        blur_px=rng.uniform(0.3, 0.7),
        motion_px=0,
        noise=rng.uniform(0.5, 5),
        white=paper * rng.uniform(0.9, 0.98) if rng.random() < 0.4 else 1,
        gamma=rng.uniform(0.8, 1.25),
        black_and_white=float(rng.choice((4, 1e6))) if bitonal else 0,
        threshold=rng.uniform(0.28, 0.42),
        jpeg_quality=int(_draw_or_zero(rng, 0.7, 50, 95)),
    )


def photo_look(rng: np.random.Generator) -> Look:
    """Draw the look of a photo: uneven light, greyer paper, blur and noise."""
    return Look(
        ink_blur_px=rng.uniform(0.4, 0.7),
        edge=rng.uniform(0.4, 0.54),
        fray=rng.uniform(0.02, 0.08),
        fade=_draw_or_zero(rng, 0.4, 0.05, 0.35),
        ink=rng.uniform(0.08, 0.4),
        paper=rng.uniform(0.65, 0.98),
        grain=rng.uniform(0.002, 0.015),
        stains=int(_draw_or_zero(rng, 0.2, 1, 5)),
        specks=int(_draw_or_zero(rng, 0.3, 5, 60)),
        show_through=_draw_or_zero(rng, 0.25, 0.01, 0.06),
        shade=rng.uniform(0.05, 0.4),
        gutter=_draw_or_zero(rng, 0.4, 0.1, 0.4),
        shadow=_draw_or_zero(rng, 0.35, 0.1, 0.45),
        blur_px=rng.uniform(0.5, 1.25),
        motion_px=_draw_or_zero(rng, 0.3, 1, 3),
        noise=rng.uniform(1, 6),
        white=rng.uniform(0.85, 1.1),
        gamma=rng.uniform(0.75, 1.3),
        black_and_white=0,
        threshold=0,
        jpeg_quality=int(rng.integers(55, 96)),
    )


_LOOKS: dict[str, Callable[[np.random.Generator], Look]] = {"scan": scan_look, "photo": photo_look}


def _draw_or_zero(rng: np.random.Generator, probability: float, low: float, high: float) -> float:
    """Draw from ``low`` to ``high`` with the given probability, otherwise return 0."""
    value = rng.uniform(low, high)
    return value if rng.random() < probability else 0.0


def _printed(page: Grey, look: Look, rng: np.random.Generator) -> Field:
    """Compute the amount of ink on each pixel, 0 to 1, shape ``(H, W)``."""
    spread = _blurred(255 - page, look.ink_blur_px)
    lean, fat = (_edge_table(look.edge + change) for change in (look.fray, -look.fray))
    pressure = _enlarged(_pressure(_reduced(page.shape, 2), rng), page.shape)
    ink: Field = cv2.LUT(spread, lean)
    ink += pressure * (cv2.LUT(spread, fat) - ink)
    ink *= 1 - look.fade * (1 - pressure)
    return ink


def _edge_table(edge: float) -> Field:
    """Map spread coverage, 0 to 255, to ink: none at 0, full at 255, steep at the edge."""
    curve = _soft_step((np.linspace(0, 1, 256, dtype=np.float32) - edge) / EDGE_WIDTH)
    table: Field = (curve - curve[0]) / (curve[-1] - curve[0])
    return table


def _pressure(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Draw how well the paper takes ink, 0 to 1: page-wide clouds and a grain of a few pixels."""
    clouds = cv2.resize(
        rng.standard_normal((7, 5), np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    grain = cv2.GaussianBlur(_normal(shape, rng), (0, 0), 0.8)
    pressure: Field = (0.5 + 0.25 * clouds + 0.35 * grain).clip(0, 1)
    return pressure


def _light(page: Grey, look: Look, rng: np.random.Generator) -> Field:
    """Compute the light that paper without ink reflects, 0 to 1, shape ``(H, W)``."""
    shape = _reduced(page.shape, SHEET)
    grain = cv2.GaussianBlur(_normal(shape, rng), (3, 3), 0.6)
    light = _enlarged(_shading(_reduced(page.shape, 4 * SHEET), look, rng), shape)
    light *= look.paper + 1.6 * look.grain * grain  # the blur reduces the deviation to 0.6
    if look.show_through:
        light *= 1 - look.show_through * _verso(page, shape, rng)
    return _enlarged(light, page.shape)


def _verso(page: Grey, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Compute the ink that shows through, 0 to 1: the page itself, mirrored and shifted."""
    ink = cv2.resize(255 - page, shape[::-1], interpolation=cv2.INTER_AREA)[:, ::-1]
    shift = [int(rng.uniform(-0.06, 0.06) * length) for length in shape]
    blurred = cv2.GaussianBlur(np.roll(ink, shift, (0, 1)), (0, 0), rng.uniform(0.5, 1))
    return blurred.astype(np.float32) / 255


def _shading(shape: tuple[int, int], look: Look, rng: np.random.Generator) -> Field:
    """Compute the light left by stains, spine, shadows and the lamp, 0 to 1."""
    v, u = (np.linspace(0, 1, n, dtype=np.float32) for n in shape)
    v = v[:, None]
    across, lamp_u, lamp_v = rng.uniform(-1.5, 1.5, 3)
    from_lamp = np.hypot(u - 0.5 - lamp_u, v - 0.5 - lamp_v)
    light = 1 - look.shade * (from_lamp - from_lamp.min()) / max(np.ptp(from_lamp), 1e-6)
    from_spine = u if rng.random() < 0.5 else 1 - u
    light *= 1 - look.gutter * np.exp(-from_spine / rng.uniform(0.02, 0.1))
    edge = math.cos(across) * u + math.sin(across) * v - rng.uniform(0.2, 0.9)
    light *= 1 - look.shadow * _soft_step(edge / rng.uniform(0.01, 0.15))
    for _ in range(look.stains):
        at_u, at_v, depth = rng.uniform(0, (1, 1, 0.2))
        radius = np.hypot(u - at_u, (v - at_v) * rng.uniform(0.7, 2)) / rng.uniform(0.02, 0.12)
        light *= 1 - depth * _soft_step((1 - radius) * rng.uniform(2, 12))
    shading: Field = light.astype(np.float32)
    return shading


def _soft_step(x: Field) -> Field:
    """Step smoothly from 0 far below zero to 1 far above it."""
    step: Field = 0.5 + 0.5 * np.tanh(x / 2)
    return step


def _captured(sheet: Field, look: Look, rng: np.random.Generator) -> Picture:
    """Simulate the picture that a sensor takes of a sheet with levels from 0 to 1."""
    picture = cv2.convertScaleAbs(sheet, alpha=255)
    height, width = picture.shape
    for _ in range(look.specks):
        x, y, radius, level = (
            rng.uniform(0, (16 * width, 16 * height, 24, 220)).astype(int).tolist()
        )
        cv2.circle(picture, (x, y), radius, level, -1, cv2.LINE_AA, 4)  # in 16ths of a pixel
    picture = _blurred(picture, look.blur_px)
    if look.motion_px:
        picture = cv2.filter2D(picture, -1, _stroke(look.motion_px, rng.uniform(0, math.pi)))
    random = np.frombuffer(rng.bytes(picture.size), np.uint8).reshape(picture.shape)
    noise = cv2.GaussianBlur(random, (3, 3), 0.6)
    scale = look.noise / _BLURRED_BYTE
    return cv2.addWeighted(picture, 1, noise, scale, -127.5 * scale)


def _stroke(length_px: float, angle: float) -> Field:
    """Make a kernel that blurs along a line without moving anything, shape ``(5, 5)``."""
    y, x = np.mgrid[-2:3, -2:3]
    along = np.abs(x * math.cos(angle) + y * math.sin(angle))
    across = np.abs(y * math.cos(angle) - x * math.sin(angle))
    kernel = (length_px / 2 + 0.5 - along).clip(0, 1) * (1 - across).clip(0, 1)
    stroke: Field = (kernel / kernel.sum()).astype(np.float32)
    return stroke


def _black_and_white(picture: Picture, light: Field, look: Look) -> Picture:
    """Threshold ink and paper relative to the local paper level."""
    local_light = cv2.resize(light, _reduced(light.shape, 32)[::-1], interpolation=cv2.INTER_AREA)
    paper = _enlarged(255 * local_light, light.shape)
    full_ink = 1 - look.ink
    levels = picture / paper - (1 - look.threshold * full_ink)
    levels *= 255 * look.black_and_white / full_ink
    return cv2.convertScaleAbs((levels + 127.5).clip(0, 255))


def _developed(picture: Picture, look: Look) -> Picture:
    levels = (np.linspace(0, 1, 256) / look.white).clip(0, 1) ** look.gamma
    picture = cv2.LUT(picture, np.rint(255 * levels).astype(np.uint8))
    if not look.jpeg_quality:
        return picture
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, look.jpeg_quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def _blurred(levels: Picture, deviation_px: float) -> Picture:
    return cv2.GaussianBlur(levels, (0, 0), deviation_px) if deviation_px else levels


def _normal(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Draw standard normal noise from one random byte per value, for speed."""
    noise = np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape)
    return cv2.LUT(noise, _NORMAL_OF_BYTE)


def _reduced(shape: tuple[int, ...], factor: int) -> tuple[int, int]:
    return -(-shape[0] // factor), -(-shape[1] // factor)


def _enlarged(field: Field, shape: tuple[int, ...]) -> Field:
    return cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
