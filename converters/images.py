"""Reads, checks, scales and writes the pixels of pages."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

_ORIENTATION = 0x0112
"""EXIF tag: how an image is to be turned before it is shown. Phones write it."""

_JPEG = frozenset({"JPEG", "MPO"})
"""Pillow's names of it; the second holds several pictures."""

Pixels: TypeAlias = NDArray[np.uint8]
"""Shape ``(height, width)`` or, in colour, ``(height, width, 3)``, BGR."""


def check_size(path: Path, width: int, height: int) -> None:
    """Make sure that an image is there and of the size that its labels assume; reads its head.

    Raises:
        InputError: It is not.
    """
    found = size(path)
    if found != (width, height):
        turned = "; it is turned by its EXIF orientation" if _orientation_of(path) > 1 else ""
        raise InputError(
            f"is {found[0]} x {found[1]} px, but its labels are for {width} x {height} px{turned}",
            path=path,
        )


def size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as it looks, from the head of the file.

    Raises:
        InputError: There is no image.
    """
    with _opened(path, path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


def copy(path: Path, target: Path) -> None:
    """Copy an image, byte for byte unless it is see-through.

    Readers that ignore transparency show whatever colour lies beneath it, so such an image is
    written anew as it looks on white paper; so is one whose name is given another suffix, and one
    with an EXIF orientation that is no JPEG: not every reader turns it.

    Raises:
        InputError: It is damaged or cut short.
    """
    with _opened(path, path) as image:
        anew = image.has_transparency_data
        anew |= _orientation(image) > 1 and image.format not in _JPEG
    if anew or path.suffix != target.suffix:
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
    return np.ascontiguousarray(_turned(image, _orientation_of(path)))


def _whole(path: Path) -> bytes:
    """The bytes of an image that is not cut short: OpenCV would decode what there is."""
    data = path.read_bytes()
    with _opened(BytesIO(data), path) as image:
        image.verify()  # the check sums of a PNG
        form = image.format
    if form in _JPEG:  # has no check sum: only decoding shows a lack
        with _opened(BytesIO(data), path) as image:
            image.load()
    return data


def _orientation_of(path: Path) -> int:
    with _opened(path, path) as image:
        return _orientation(image)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright. That of a TIFF is none of EXIF's: all heed it."""
    exif = Image.Exif()
    with suppress(Exception):  # of damaged EXIF data; nobody turns by those
        exif.load(image.info.get("exif", b""))
    found = exif.get(_ORIENTATION)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _turned(image: Pixels, orientation: int) -> Pixels:
    """Turn what a file holds to what it looks like."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    return image[:, ::-1] if orientation in {2, 3, 6, 7} else image


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
