"""What print, paper, scanner and camera do to a clean page; nothing is moved.

A page is printed (ink spreads, fades and frays), lies on paper (grey, grained, stained, with the
other side showing through) under uneven light, and is taken by a scanner or a camera (blur, noise,
contrast, black and white, compression). The ranges were chosen by eye for pages of 200 to 300 dots
an inch. They move an edge by 0.6 pixels at most, outwards where print is fat and black and white.

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
"""Shares from 0 to 1 as float32, which OpenCV's annotations do not promise."""
Picture = NDArray[Any]
"""Greys as uint8, likewise."""

SHEET = 4
"""Pixels of the page per pixel of what is worked out about the sheet."""
EDGE_WIDTH = 0.14
"""Width of the edge of ink, as a share of coverage."""
_NORMAL_OF_BYTE = np.array([NormalDist().inv_cdf((b + 0.5) / 256) for b in range(256)], np.float32)
_BLURRED_BYTE = 73.9 * float((cv2.getGaussianKernel(3, 0.6) ** 2).sum())
"""Standard deviation of random bytes that were blurred by 0.6 pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How one picture looks. Levels and shares run from 0 to 1."""

    ink_blur_px: float
    """Standard deviation of the spread of ink."""
    edge: float
    """Coverage of a spread pixel that is half inked: below 0.5, lines grow."""
    fray: float
    """How far the edge goes up and down with the grain of the paper and over the page."""
    fade: float
    """Share of ink that is missing where the print is weakest."""
    ink: float
    """Light that full ink throws back, of that of the paper."""
    paper: float
    """Level of the paper."""
    grain: float
    """Standard deviation of the paper's level."""
    stains: int
    specks: int
    show_through: float
    """Share of light that the ink of the other side takes."""
    shade: float
    """Share of light missing in the darkest part of the page."""
    gutter: float
    """Share of light missing at the spine of a book."""
    shadow: float
    """Share of light missing in the shadow of a hand or a camera."""
    blur_px: float
    """Standard deviation of the blur of the optics."""
    motion_px: float
    noise: float
    """Standard deviation of the noise, grey levels of 255."""
    white: float
    """Level that becomes white."""
    gamma: float
    black_and_white: float
    """Contrast around the threshold between ink and paper; 0 leaves greys as they are."""
    threshold: float
    """Share of ink that counts as black then."""
    jpeg_quality: int
    """0: not compressed."""


def degrade(page: Grey, capture: Capture, rng: np.random.Generator) -> Grey:
    """Make a clean page look as if it had been printed and taken.

    Args:
        page: Black ink on white, shape ``(H, W)``; stays as it is.
        capture: ``none`` gives the page back.
        rng: What is drawn from.

    Returns:
        Greys, shape ``(H, W)``; ink is where it was, to a fraction of a pixel.
    """
    if capture == "none":
        return page
    return pictured(page, _LOOKS[capture](rng), rng)


def pictured(page: Grey, look: Look, rng: np.random.Generator) -> Grey:
    """Give a clean page one look; see :func:`degrade`."""
    ink = _printed(page, look, rng)
    light = _light(page, look, rng)
    picture = _taken(light * (1 - (1 - look.ink) * ink), look, rng)
    if look.black_and_white:
        return np.asarray(_black_and_white(picture, light, look), np.uint8)
    return np.asarray(_developed(picture, look), np.uint8)


def scan_look(rng: np.random.Generator) -> Look:
    """Draw a scan: flat light, bright paper; one in four is black and white."""
    bitonal = rng.random() < 0.25
    paper = rng.uniform(0.78, 1)
    return Look(
        ink_blur_px=rng.uniform(0.45, 0.75),
        edge=rng.uniform(0.4, 0.5) if bitonal else rng.uniform(0.38, 0.58),
        fray=rng.uniform(0.02, 0.1),
        fade=_sometimes(rng, 0.5, 0.05, 0.3 if bitonal else 0.45),
        ink=rng.uniform(0.02, 0.3),
        paper=paper,
        grain=rng.uniform(0, 0.012),
        stains=int(_sometimes(rng, 0.3, 1, 7)),
        specks=int(_sometimes(rng, 0.6, 5, 150)),
        show_through=_sometimes(rng, 0.35, 0.01, 0.1),
        shade=rng.uniform(0, 0.06),
        gutter=_sometimes(rng, 0.25, 0.1, 0.45),
        shadow=0,
        blur_px=rng.uniform(0.3, 0.7),
        motion_px=0,
        noise=rng.uniform(0.5, 5),
        white=paper * rng.uniform(0.9, 0.98) if rng.random() < 0.4 else 1,
        gamma=rng.uniform(0.8, 1.25),
        black_and_white=float(rng.choice((4, 1e6))) if bitonal else 0,
        threshold=rng.uniform(0.28, 0.42),
        jpeg_quality=int(_sometimes(rng, 0.7, 50, 95)),
    )


def photo_look(rng: np.random.Generator) -> Look:
    """Draw a photo: uneven light, greyer paper, blur and noise."""
    return Look(
        ink_blur_px=rng.uniform(0.4, 0.7),
        edge=rng.uniform(0.4, 0.54),
        fray=rng.uniform(0.02, 0.08),
        fade=_sometimes(rng, 0.4, 0.05, 0.35),
        ink=rng.uniform(0.08, 0.4),
        paper=rng.uniform(0.65, 0.98),
        grain=rng.uniform(0.002, 0.015),
        stains=int(_sometimes(rng, 0.2, 1, 5)),
        specks=int(_sometimes(rng, 0.3, 5, 60)),
        show_through=_sometimes(rng, 0.25, 0.01, 0.06),
        shade=rng.uniform(0.05, 0.4),
        gutter=_sometimes(rng, 0.4, 0.1, 0.4),
        shadow=_sometimes(rng, 0.35, 0.1, 0.45),
        blur_px=rng.uniform(0.5, 1.25),
        motion_px=_sometimes(rng, 0.3, 1, 3),
        noise=rng.uniform(1, 6),
        white=rng.uniform(0.85, 1.1),
        gamma=rng.uniform(0.75, 1.3),
        black_and_white=0,
        threshold=0,
        jpeg_quality=int(rng.integers(55, 96)),
    )


_LOOKS: dict[str, Callable[[np.random.Generator], Look]] = {"scan": scan_look, "photo": photo_look}


def _sometimes(rng: np.random.Generator, share: float, low: float, high: float) -> float:
    """Draw from ``low`` to ``high`` in a share of the cases, and 0 in the others."""
    value = rng.uniform(low, high)
    return value if rng.random() < share else 0.0


def _printed(page: Grey, look: Look, rng: np.random.Generator) -> Field:
    """How much ink lies on each pixel, 0 to 1, shape ``(H, W)``."""
    spread = _blurred(255 - page, look.ink_blur_px)
    lean, fat = (_edge_table(look.edge + change) for change in (look.fray, -look.fray))
    pressure = _enlarged(_pressure(_reduced(page.shape, 2), rng), page.shape)
    ink: Field = cv2.LUT(spread, lean)
    ink += pressure * (cv2.LUT(spread, fat) - ink)
    ink *= 1 - look.fade * (1 - pressure)
    return ink


def _edge_table(edge: float) -> Field:
    """Ink for every spread coverage, 0 to 255: none at 0, full at 255, steep at the edge."""
    curve = _soft_step((np.linspace(0, 1, 256, dtype=np.float32) - edge) / EDGE_WIDTH)
    table: Field = (curve - curve[0]) / (curve[-1] - curve[0])
    return table


def _pressure(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """How well ink takes, 0 to 1: clouds over the page, and a grain of some pixels."""
    clouds = cv2.resize(
        rng.standard_normal((7, 5), np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    grain = cv2.GaussianBlur(_normal(shape, rng), (0, 0), 0.8)
    pressure: Field = (0.5 + 0.25 * clouds + 0.35 * grain).clip(0, 1)
    return pressure


def _light(page: Grey, look: Look, rng: np.random.Generator) -> Field:
    """Light that the sheet throws back where there is no ink, 0 to 1, shape ``(H, W)``."""
    shape = _reduced(page.shape, SHEET)
    grain = cv2.GaussianBlur(_normal(shape, rng), (3, 3), 0.6)
    light = _enlarged(_shading(_reduced(page.shape, 4 * SHEET), look, rng), shape)
    light *= look.paper + 1.6 * look.grain * grain  # the blur takes 0.6 of its deviation
    if look.show_through:
        light *= 1 - look.show_through * _other_side(page, shape, rng)
    return _enlarged(light, page.shape)


def _other_side(page: Grey, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Ink that shows through, 0 to 1: the page mirrored and shifted, for want of another."""
    ink = cv2.resize(255 - page, shape[::-1], interpolation=cv2.INTER_AREA)[:, ::-1]
    shift = [int(rng.uniform(-0.06, 0.06) * length) for length in shape]
    blurred = cv2.GaussianBlur(np.roll(ink, shift, (0, 1)), (0, 0), rng.uniform(0.5, 1))
    return blurred.astype(np.float32) / 255


def _shading(shape: tuple[int, int], look: Look, rng: np.random.Generator) -> Field:
    """Light that stains, a spine, shadows and the lamp leave, 0 to 1."""
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
    """From 0 far below 0 to 1 far above."""
    step: Field = 0.5 + 0.5 * np.tanh(x / 2)
    return step


def _taken(sheet: Field, look: Look, rng: np.random.Generator) -> Picture:
    """The sheet, 0 to 1, as a sensor sees it."""
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
    """A kernel that smears along a line and moves nothing, shape ``(5, 5)``."""
    y, x = np.mgrid[-2:3, -2:3]
    along = np.abs(x * math.cos(angle) + y * math.sin(angle))
    aside = np.abs(y * math.cos(angle) - x * math.sin(angle))
    kernel = (length_px / 2 + 0.5 - along).clip(0, 1) * (1 - aside).clip(0, 1)
    stroke: Field = (kernel / kernel.sum()).astype(np.float32)
    return stroke


def _black_and_white(picture: Picture, light: Field, look: Look) -> Picture:
    """Ink and paper told apart by comparison with the paper around."""
    around = cv2.resize(light, _reduced(light.shape, 32)[::-1], interpolation=cv2.INTER_AREA)
    paper = _enlarged(255 * around, light.shape)
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
    """Normal noise of deviation 1, made of a random byte each: that is fast."""
    noise = np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape)
    return cv2.LUT(noise, _NORMAL_OF_BYTE)


def _reduced(shape: tuple[int, ...], factor: int) -> tuple[int, int]:
    return -(-shape[0] // factor), -(-shape[1] // factor)


def _enlarged(field: Field, shape: tuple[int, ...]) -> Field:
    return cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
