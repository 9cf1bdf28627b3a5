"""TIFF files: samples besides grey or colour, and pages that repeat another page in small."""

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from class_maps import InputError
from converters.image_tars import open_image

_NEW_SUBFILE_TYPE, _EXTRA_SAMPLES = 254, 338
"""TIFF tags of the kind of a page, and of the meaning of the samples after grey or colour."""
_BITS, _SAMPLE_FORMAT = 258, 339
"""TIFF tags of the number of bits per sample and of the sample format."""
_UNSIGNED, _FLOAT = frozenset({1, 4}), 3
"""Values of ``_SAMPLE_FORMAT``: unsigned integers or unspecified samples, and floating point."""
_REDUCED, _MASK = 1, 4
"""Bits of ``_NEW_SUBFILE_TYPE``."""
_UNSPECIFIED, _STRAIGHT = 0, 2
"""Values of ``_EXTRA_SAMPLES``; 1 is premultiplied alpha."""
_CLASSIC = frozenset({b"II*\0", b"MM\0*"})
"""First bytes of files in little-endian and big-endian order."""
_GREY_ALPHA = frozenset({"LA", "La"})
"""Pillow's modes of greyscale with transparency; in ``La``, the grey is premultiplied."""


def full_pages(image: Image.Image) -> list[int]:
    """List the pages of a file or, for other formats than TIFF, its frames, each by its index.

    Pages that repeat another one in a lower resolution or mask it are omitted, as in pyramids,
    unless there are no others.

    Args:
        image: Opened file; afterwards, it is at the same page as before.
    """
    n_frames = int(getattr(image, "n_frames", 1))
    if image.format != "TIFF" or n_frames == 1:
        return list(range(n_frames))
    before = image.tell()
    kinds = []
    for i in range(n_frames):
        image.seek(i)
        kinds.append(int(getattr(image, "tag_v2", {}).get(_NEW_SUBFILE_TYPE, 0)))
    image.seek(before)
    full = [i for i, kind in enumerate(kinds) if not kind & (_REDUCED | _MASK)]
    return full or list(range(n_frames))


def check_samples(tags: Mapping[int, Any], path: Path, *, is_float: bool = False) -> None:
    """Check that the samples of a TIFF have an agreed meaning as 8-bit greys.

    Args:
        tags: Tags of the page; empty for other formats.
        path: The file, for the error message.
        is_float: Whether the samples are known to be of floating point, whatever the tags are.

    Raises:
        InputError: The samples are signed, wider than 16 bits, or of floating point.
    """
    bits, kinds = (np.atleast_1d(tags.get(tag, 1)) for tag in (_BITS, _SAMPLE_FORMAT))
    if is_float or bits.max() > 16 or not set(kinds.tolist()) <= _UNSIGNED:
        kind = "floating-point" if is_float or _FLOAT in kinds else "signed or wide integer"
        raise InputError(
            f"has {kind} samples of {bits.max()} bits; convert it to unsigned samples of 8 or 16 "
            "bits",
            path=path,
        )


def unidentified_tags(file: Path | BytesIO) -> Mapping[int, Any]:
    """Return the tags of the first page of a TIFF that Pillow cannot open; none if damaged.

    Pillow does not open colours with signed, wide or floating-point samples.
    """
    opened = open_image(file) if isinstance(file, Path) else BytesIO(file.getvalue())
    with opened as content, suppress(Exception):  # of Pillow, which reports damage in many ways
        header = content.read(8)
        if header[:4] not in _CLASSIC:
            return {}
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        content.seek(tags.next)
        tags.load(content)
        return {tag: tags[tag] for tag in (_BITS, _SAMPLE_FORMAT) if tag in tags}
    return {}


def without_alpha(decoded: NDArray[Any], header: Image.Image) -> NDArray[Any]:
    """Return the samples of a TIFF on a white background, unless they have straight alpha.

    OpenCV ignores the alpha of greyscale, takes unspecified samples for alpha, and premultiplies
    8-bit colours.

    Args:
        decoded: Samples as OpenCV decodes them.
        header: The opened file, at the page that was decoded.

    Returns:
        Samples without alpha, or else ``decoded``.
    """
    if header.mode in _GREY_ALPHA:
        grey, alpha = cv2.split(np.asarray(header.convert("LA"), np.uint16))
        return np.asarray((grey * alpha + 255 * (255 - alpha) + 127) // 255, np.uint8)
    kinds = getattr(header, "tag_v2", {}).get(_EXTRA_SAMPLES, ())
    if decoded.ndim != 3 or decoded.shape[2] != 4 or not kinds:
        return decoded
    colours, alpha = decoded[..., :3], decoded[..., 3:]
    if kinds[0] == _UNSPECIFIED:
        return colours
    is_wide = decoded.dtype == np.uint16
    if kinds[0] == _STRAIGHT and is_wide:
        return decoded
    white = np.iinfo(decoded.dtype).max
    return np.asarray(np.minimum(colours, alpha) + (white - alpha), decoded.dtype)
