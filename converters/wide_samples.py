"""Images with 16-bit samples, and their conversion to 8 bits."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from class_maps import InputError

_MAX_SAMPLES = 281, 341
"""TIFF tags of the largest sample: MaxSampleValue and SMaxSampleValue."""
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
"""TIFF tag of the meaning of samples, and its value for files in which 0 is white."""
_FULL_16 = 65535
"""Largest 16-bit sample: white."""
_DARK_16 = _FULL_16 // 8
"""Largest sample of a 16-bit image that would look nearly black, as from a 12-bit scanner whose
samples were not scaled."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def has_wide_samples(image: Image.Image) -> bool:
    """Return whether an image that has not been loaded has 16-bit samples."""
    tiles = getattr(image, "tile", ()) if image.format in {"PNG", "TIFF"} else ()
    modes = (arguments if isinstance(arguments, str) else arguments[0] for *_, arguments in tiles)
    return any(mode.partition(";")[2].startswith(("12", "16")) for mode in modes)


def full_scale_of(image: Image.Image, data: bytes) -> int:
    """Return the 16-bit value that the file declares to be the largest, usually white.

    A TIFF declares it in a tag. A PNG declares how many bits of a sample are significant; its
    samples are full-range nevertheless, unless the program that wrote it did not scale them.
    """
    tags = getattr(image, "tag_v2", {})
    if declared := [int(np.max(tags[tag])) for tag in _MAX_SAMPLES if tag in tags]:
        return declared[0] if 0 < declared[0] <= _FULL_16 else _FULL_16
    return 2 ** _significant_bits(data) - 1 if image.format == "PNG" else _FULL_16


def is_inverted(image: Image.Image) -> bool:
    """Return whether 0 is white, which OpenCV takes into account for 8-bit samples only."""
    return bool(getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def eight_bits(
    samples: NDArray[np.uint16], full_scale: int, path: Path, *, inverted: bool = False
) -> NDArray[np.uint8]:
    """Convert 16-bit samples to 8 bits.

    Args:
        samples: Grey, BGR or BGRA samples.
        full_scale: Value that the file declares to be the largest; ignored if there are larger
            samples.
        path: Image file, for the error message.
        inverted: Whether 0 is white.

    Raises:
        InputError: The image would be nearly black, or nearly white.
    """
    colours = samples[..., :3] if samples.ndim == 3 else samples
    largest = int(colours.max())
    if largest > full_scale:
        full_scale = _FULL_16
    if full_scale == _FULL_16 and 0 < largest <= _DARK_16:
        raise InputError(
            f"has 16-bit samples, but none above {largest}, so it would look nearly "
            f"{'white' if inverted else 'black'}; scale the samples to the range 0 to 65535",
            path=path,
        )
    # Alpha may use all 16 bits even if the colours do not.
    scaled = np.minimum(samples.astype(np.uint32) * 255 // full_scale, 255).astype(np.uint8)
    return 255 - scaled if inverted else scaled


def _significant_bits(png: bytes) -> int:
    """Return the number of bits in the sBIT chunk of a PNG; 16 without a valid one."""
    position = len(_PNG_SIGNATURE)
    while position + 8 < len(png):
        length, kind = (
            int.from_bytes(png[position : position + 4]),
            png[position + 4 : position + 8],
        )
        if kind == b"sBIT" and 1 <= png[position + 8] <= 16:
            return png[position + 8]
        if kind == b"IDAT":
            break
        position += length + 12
    return 16
