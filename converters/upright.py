"""Conversion of decoded samples to the pixels of a page: 8 bits, on white, upright."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from class_maps import InputError
from converters.tiff_files import without_alpha
from converters.wide_samples import eight_bits, full_scale_of, is_inverted

_ORIENTATION = 0x0112
"""EXIF and TIFF tag of the rotation and mirroring to apply before an image is shown."""
_PNG_DEPTH = 24
"""Position of the byte with the bits per sample in a PNG."""
_MIN_CONTRAST = 8
"""Smallest difference of 8-bit samples on a page that is not blank."""


def upright_on_white(
    decoded: NDArray[Any], header: Image.Image, data: bytes, path: Path
) -> NDArray[np.uint8]:
    """Convert decoded samples to 8 bits on a white background, upright.

    Args:
        decoded: Samples as OpenCV decodes them.
        header: The opened image, at the page that was decoded.
        data: Bytes of the file, which matter only for a PNG.
        path: The file, for error messages.

    Raises:
        InputError: The ink is invisible on white, or the samples cannot be converted to 8 bits.
    """
    samples = decoded
    if header.format == "TIFF":
        decoded = without_alpha(decoded, header)
    if decoded.dtype == np.uint16:
        wide = np.asarray(decoded, np.uint16)
        full_scale = full_scale_of(header, data)
        image = eight_bits(wide, full_scale, path, inverted=is_inverted(header))
    else:
        image = np.asarray(decoded, np.uint8)
    is_transparent = _is_transparent_grey(header, data, decoded)
    if is_transparent is not None:
        image = np.where(is_transparent, np.uint8(255), image)
    if image.ndim == 3 and image.shape[2] == 4:
        # Programs that write BMP files leave an unused fourth byte at 0; viewers ignore it then.
        has_unused_alpha = header.format == "BMP" and not decoded[..., 3:].any()
        image = image[..., :3] if has_unused_alpha else _on_white(image)
    _check_visible(image, samples, path)
    return np.ascontiguousarray(_rotated(image, orientation(header)))


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) to 8.

    TIFF files have their own orientation tag, which Pillow and OpenCV's ``imdecode`` apply.
    """
    exif = Image.Exif()
    with suppress(Exception):  # damaged EXIF data, which readers ignore
        exif.load(image.info.get("exif", b""))
    value = exif.get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def is_turned(image: Image.Image) -> bool:
    """Return whether an image has to be rotated or mirrored before it is shown."""
    has_tag: bool = getattr(image, "tag_v2", {}).get(_ORIENTATION, 1) > 1
    return has_tag or orientation(image) > 1


def _is_transparent_grey(
    header: Image.Image, data: bytes, decoded: NDArray[Any]
) -> NDArray[np.bool_] | None:
    """Mark the pixels of a greyscale PNG whose grey level is transparent, which OpenCV ignores.

    Args:
        header: Opened image.
        data: Bytes of the file.
        decoded: Samples, shape ``(H, W)`` for greyscale; those of less than 8 bits are scaled.

    Returns:
        Mask of shape ``(H, W)``; None if no grey level is transparent.
    """
    level = header.info.get("transparency")
    if header.format != "PNG" or decoded.ndim != 2 or not isinstance(level, int):
        return None
    depth = data[_PNG_DEPTH]
    return np.asarray(decoded == (level * (255 // (2**depth - 1)) if depth < 8 else level))


def _rotated(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    return image[:, ::-1] if orientation in {2, 3, 6, 7} else image


def _on_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = image[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return image[..., :3]
    return ((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _check_visible(image: NDArray[np.uint8], samples: NDArray[Any], path: Path) -> None:
    """Check that a page that is blank on white is blank in its samples as well.

    Args:
        image: Pixels on a white background.
        samples: Samples as they were decoded, shape ``(H, W)`` or ``(H, W, C)``.
        path: The file, for the error message.
    """
    if image.min() <= 255 - _MIN_CONTRAST:
        return
    contrast = np.ptp(samples.reshape(*samples.shape[:2], -1), axis=(0, 1)).max()
    if contrast >= _MIN_CONTRAST * (np.iinfo(samples.dtype).max // 255):
        raise InputError(
            "is blank on a white background, because its ink is white or transparent; save it "
            "with black ink and without transparency",
            path=path,
        )
