"""Pixels of image files of pages: decoding, checking, copying, scaling and writing.

:mod:`converters.image_headers` reads what is known without decoding.
"""

import math
import os
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters.decoding import decode, decode_page
from converters.image_headers import (
    check_regular,
    is_ambiguous_image,
    opened_image,
    upright_size,
)
from converters.image_tars import open_image
from converters.upright import upright_on_white
from converters.wide_samples import has_wide_samples

_JPEG = frozenset({"JPEG", "MPO"})
"""Pillow's names of the JPEG format; MPO files contain several pictures."""

_CHECKED = frozenset({"PNG", "WEBP"})
"""Formats with checksums or lengths that are checked without decoding; WebP takes ten times as long
to decode as to copy."""

_JPEG_END = b"\xff\xd9"
"""End-of-image marker."""

Pixels: TypeAlias = NDArray[np.uint8]
"""Image of shape ``(height, width)`` or, in colour, ``(height, width, 3)`` in BGR order."""


def copied(path: Path, suffix: str) -> bytes:
    """Return the bytes of an image, re-encoded if not all readers would read the same pixels.

    Images with transparency are re-encoded on a white background, because readers that ignore
    transparency show arbitrary colours. Rotated images are re-encoded upright, because readers
    ignore the rotation, or cannot read the file. Images with 16-bit samples, and images that get
    another suffix, are re-encoded as well. JPEG stays JPEG; other formats become PNG.

    Args:
        path: Image file.
        suffix: Suffix of the copy.

    Raises:
        InputError: The image is missing, damaged or truncated.
    """
    with opened_image(path, path) as image:
        is_jpeg, needs_encoding = image.format in _JPEG, is_ambiguous_image(image)
    if needs_encoding or path.suffix != suffix:
        encode = _jpeg if is_jpeg and suffix != ".png" else png
        return encode(read(path))
    return _complete_bytes(path)


def copy(path: Path, target: Path) -> None:
    """Write the bytes of an image, see :func:`copied`, to a file.

    Raises:
        InputError: The image is missing, damaged or truncated.
    """
    target.write_bytes(copied(path, target.suffix))


def read(path: Path) -> Pixels:
    """Decode an image on a white background, as greyscale if it contains no colour.

    Raises:
        InputError: The image is missing, damaged or truncated, or stores samples of fewer
            bits as 16-bit samples without scaling them.
    """
    return from_bytes(file_bytes(path), path)


def read_frame(path: Path, index: int) -> Pixels:
    """Decode a page of a TIFF file, as :func:`read` decodes the first.

    Args:
        path: TIFF file with several pages.
        index: Page, from 0.

    Raises:
        InputError: The page is missing, damaged or truncated.
    """
    with opened_image(path, path, index) as header:
        decoded, damage = decode_page(path, index)
        if decoded is None or damage:
            reason = f"is damaged or truncated: {damage}" if damage else "is damaged or missing"
            raise InputError(reason, path=path, where=f"page {index + 1}")
        return without_colour(upright_on_white(decoded, header, b"", path))


def from_bytes(data: bytes, path: Path) -> Pixels:
    """Decode the bytes of an image file, see :func:`read`.

    Args:
        data: Content of the file.
        path: The file, for error messages.
    """
    _check_sums(data, path)
    return without_colour(_decoded(data, path))


def file_bytes(path: Path) -> bytes:
    """Read the bytes of an image file.

    Raises:
        InputError: The file is missing, not a regular file, or cannot be read.
    """
    check_regular(path)
    try:
        with open_image(path) as file:
            return file.read()
    except FileNotFoundError:
        raise InputError("no such image", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error


def without_colour(image: Pixels) -> Pixels:
    """Return an image as greyscale, shape ``(H, W)``, if it contains no colour."""
    return np.ascontiguousarray(image[..., 0]) if image.ndim == 3 and _is_grey(image) else image


def read_bgr(path: Path) -> Pixels:
    """Decode an image as networks see it: in colour on a white background, shape ``(H, W, 3)``.

    Unlike :func:`read` it does not verify the checksums of a PNG; see :func:`check_complete`.

    Raises:
        InputError: The image is missing, damaged or truncated.
    """
    image = _decoded(file_bytes(path), path)
    return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))


def resize_longer_side(image: Pixels, imgsz: int) -> Pixels:
    """Resize an image so that its longer side has ``imgsz`` pixels, as Ultralytics does."""
    height, width = image.shape[:2]
    factor = imgsz / max(height, width)
    if factor == 1:
        return image
    size = [min(math.ceil(side * factor), imgsz) for side in (width, height)]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def check_complete(path: Path) -> tuple[int, int]:
    """Check that an image is neither damaged nor truncated, without writing anything.

    A JPEG is decoded only if its last bytes do not mark its end, a PNG only if it has 16-bit
    samples, a WebP never; images of other formats are decoded.

    Returns:
        Width and height in pixels, after EXIF rotation.

    Raises:
        InputError: The image is missing, damaged or truncated.
    """
    with opened_image(path, path) as image:
        shown_size, image_format = upright_size(image), image.format
        is_wide = has_wide_samples(image)
        image.verify()  # verifies the checksums of a PNG
    if is_wide:
        read(path)
    elif image_format not in _CHECKED and not (image_format in _JPEG and _is_ended(path)):
        _check_decodable(file_bytes(path), path, image_format)
    return shown_size


def size_or_problem(path: Path) -> tuple[int, int] | InputError:
    """Return the result of :func:`check_complete`, or its error."""
    try:
        return check_complete(path)
    except InputError as error:
        return error


def _decoded(data: bytes, path: Path) -> Pixels:
    """Decode the bytes of an image on a white background, upright."""
    decoded, damage = decode(data, cv2.IMREAD_UNCHANGED)
    if decoded is None or damage:
        raise _damaged(data, path, damage)
    with opened_image(BytesIO(data), path) as header:  # not the file, which has been read already
        return upright_on_white(decoded, header, data, path)


def _complete_bytes(path: Path) -> bytes:
    """Return the bytes of an image that is neither damaged nor truncated."""
    data = file_bytes(path)
    image_format = _check_sums(data, path)
    if image_format not in _CHECKED:
        _check_decodable(data, path, image_format)
    return data


def _check_sums(data: bytes, path: Path) -> str | None:
    """Verify the checksums of a PNG; other formats have none. Return the format."""
    with opened_image(BytesIO(data), path) as image:
        image.verify()
        return image.format


def _check_decodable(data: bytes, path: Path, image_format: str | None) -> None:
    """Check that an image can be decoded completely, as fast as its format allows."""
    with opened_image(BytesIO(data), path) as image:
        tiles: list[tuple[str, Any]] = getattr(image, "tile", [])
        if all(tile[0] == "raw" for tile in tiles):
            image.load()  # Pillow checks the length, fast
            return
    is_jpeg = image_format in _JPEG  # its eighth is made of all its data, in half the time
    flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 if is_jpeg else cv2.IMREAD_UNCHANGED
    decoded, damage = decode(data, flags)
    if decoded is None or damage:
        raise _damaged(data, path, damage)


def _is_ended(jpeg: Path) -> bool:
    """Return whether a JPEG ends with its end marker, not truncated or with other bytes."""
    with open_image(jpeg) as file:
        file.seek(-len(_JPEG_END), os.SEEK_END)
        return file.read() == _JPEG_END


def _damaged(data: bytes, path: Path, damage: str) -> InputError:
    """Build the error about an image that cannot be decoded, or only in part."""
    if damage:
        return InputError(f"is damaged or truncated: {damage}", path=path)
    with opened_image(BytesIO(data), path) as image:
        image.load()  # raises the reason
    return InputError("cannot be decoded as an image", path=path)


def scaled(image: Pixels, width: int, height: int) -> Pixels:
    """Resize to ``width`` x ``height`` pixels, by averaging if the image shrinks."""
    method = cv2.INTER_AREA if width <= image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def write(image: Pixels, path: Path) -> None:
    """Write a PNG.

    Raises:
        OSError: The disk is full or the folder cannot be written. OpenCV's own writer would leave a
            truncated file without an error.
    """
    path.write_bytes(png(image))


def png(image: Pixels) -> bytes:
    """Encode an image as PNG."""
    ok, data = cv2.imencode(".png", image)
    if not ok:
        raise RuntimeError(f"OpenCV could not encode an image of shape {image.shape}")
    return data.tobytes()


def _jpeg(image: Pixels) -> bytes:
    """Encode an image as JPEG in nearly full quality, of the size that a phone stores."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
    return bytes(cv2.imencode(".jpg", image, options)[1])


def _is_grey(image: Pixels) -> bool:
    blue, green, red = cv2.split(image)
    return not cv2.norm(blue, green, cv2.NORM_INF) and not cv2.norm(green, red, cv2.NORM_INF)
