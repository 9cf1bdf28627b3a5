"""Reads, checks, scales and writes the pixels of pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from class_maps import InputError

Image.MAX_IMAGE_PIXELS = None  # pages are large, and the files are the user's own
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""Those that readers of YOLO folders look for."""

Pixels: TypeAlias = NDArray[np.uint8]
"""Shape ``(height, width)`` or, in colour, ``(height, width, 3)``, BGR."""


def check_size(path: Path, width: int, height: int) -> None:
    """Make sure that an image is there and of the size that its labels assume; reads its head.

    Raises:
        InputError: It is not.
    """
    found = size(path)
    if found != (width, height):
        raise InputError(
            f"is {found[0]} x {found[1]} px, but its labels are for {width} x {height} px",
            path=path,
        )


def size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the head of the file.

    Raises:
        InputError: There is no image.
    """
    with _opened(path, path) as image:
        return image.size


def copy(path: Path, target: Path) -> None:
    """Copy an image, byte for byte unless it is see-through.

    Readers that ignore transparency show whatever colour lies beneath it, so such an image is
    written anew as it looks on white paper; so is one whose name is given another suffix.

    Raises:
        InputError: It is damaged or cut short.
    """
    with _opened(path, path) as image:
        see_through = image.has_transparency_data
    if see_through or path.suffix != target.suffix:
        write(read(path), target)
    else:
        target.write_bytes(_whole(path))


def read(path: Path) -> Pixels:
    """Decode an image as it looks on white paper; grey where it holds no colour.

    Raises:
        InputError: It is damaged or cut short.
    """
    try:
        decoded = cv2.imdecode(np.frombuffer(_whole(path), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more than 2 ** 30 pixels
        decoded = None
    if decoded is None:
        raise InputError("cannot be decoded as an image", path=path)
    image: Pixels = np.asarray(decoded // 257 if decoded.dtype == np.uint16 else decoded, np.uint8)
    if image.ndim == 3 and image.shape[2] == 4:
        image = _on_white(image)
    if image.ndim == 3 and _is_grey(image):
        image = image[..., 0]
    return np.ascontiguousarray(image)


def _whole(path: Path) -> bytes:
    """The bytes of an image that is not cut short: OpenCV would decode what there is."""
    data = path.read_bytes()
    with _opened(BytesIO(data), path) as image:
        image.verify()  # the check sums of a PNG
        form = image.format
    if form == "JPEG":  # has no check sum: only decoding shows a lack
        with _opened(BytesIO(data), path) as image:
            image.load()
    return data


@contextmanager
def _opened(file: Path | BytesIO, path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(file) as image:
            yield image
    except FileNotFoundError:
        raise InputError("no such image; --labels-only does without images", path=path) from None
    except UnidentifiedImageError:
        raise InputError("is not an image of a known format", path=path) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"is damaged or cut short: {error}", path=path) from error


def scaled(image: Pixels, width: int, height: int) -> Pixels:
    """Resize to ``width`` x ``height`` pixels, averaging where it shrinks."""
    shrinks = width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def write(image: Pixels, path: Path) -> None:
    """Write a PNG.

    Raises:
        OSError: The disk is full or the folder cannot be written; OpenCV's own writer would
            leave a file cut short and say nothing.
    """
    ok, data = cv2.imencode(".png", image)
    if not ok:
        raise RuntimeError(f"OpenCV could not encode {path}")
    path.write_bytes(data.tobytes())


def _on_white(image: Pixels) -> Pixels:
    alpha = image[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return image[..., :3]
    return ((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _is_grey(image: Pixels) -> bool:
    blue, green, red = cv2.split(image)
    return not cv2.norm(blue, green, cv2.NORM_INF) and not cv2.norm(green, red, cv2.NORM_INF)
