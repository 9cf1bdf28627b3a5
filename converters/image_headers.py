"""Headers of image files: size, number of pages, and whether all readers show the same pixels.

Nothing here decodes pixels; :mod:`converters.images` does.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from class_maps import InputError
from converters.image_tars import find_in_tar, open_image
from converters.tiff_files import check_samples, full_pages, unidentified_tags
from converters.upright import is_turned, orientation
from converters.wide_samples import has_wide_samples

Image.MAX_IMAGE_PIXELS = None  # pages are large; see _check_decodable_size
warnings.filterwarnings("ignore", module="PIL")  # metadata; damaged pixels are errors
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
"""Suffixes of the images that readers of YOLO folders look for."""

NAME_FOLDER = (
    "name the folder of the images with --image-folder, or use --labels-only to convert without "
    "images"
)
"""Remedy for a missing image."""
CORRECT_FOLDER = (
    "correct the folder given with --image-folder or the name of the image, or use --labels-only "
    "to convert without images"
)
"""Remedy for a missing image if the folder of the images was given."""

_MOST_PIXELS = 1 << 30
"""Largest image that OpenCV decodes."""


def check_size(path: Path, width: int, height: int, remedy: str = NAME_FOLDER) -> int:
    """Check that an image exists and has the expected size, reading only its header.

    Args:
        path: Image file.
        width: Width in pixels that the labels assume.
        height: Height in pixels that the labels assume.
        remedy: Remedy if the image is missing.

    Returns:
        Number of pages or frames, of which all functions read the first; pages of a TIFF file that
        repeat another one in small do not count.

    Raises:
        InputError: The image is missing, damaged, or has another size.
    """
    if not path.exists() and find_in_tar(path) is None:
        if other := in_other_case(path):
            remedy = f"{other.name} differs from it only in letter case; rename it"
        raise InputError(f"no such image; {remedy}", path=path)
    with opened_image(path, path) as image:
        actual, is_rotated, n = upright_size(image), is_turned(image), _n_frames(image)
    if actual != (width, height):
        rotated = " after its EXIF rotation" if is_rotated else ""
        raise InputError(
            f"is {actual[0]} x {actual[1]} px{rotated}, but its labels are for "
            f"{width} x {height} px",
            path=path,
        )
    return n


def check_unchanged(path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Check that an image still has the size for which its labels were read.

    Args:
        path: Image file.
        size: Width and height of the image in pixels.
        expected: Width and height when the labels were read.

    Raises:
        InputError: The sizes differ.
    """
    if size != expected:
        raise InputError(
            f"is {size[0]} x {size[1]} px, but was {expected[0]} x {expected[1]} px when its "
            "labels were read; restore the image, or start again",
            path=path,
        )


def size(path: Path, index: int = 0, *, content: bytes | None = None) -> tuple[int, int]:
    """Read the width and height in pixels, after EXIF rotation, from an image's header.

    Args:
        path: Image file.
        index: Page of a file with several pages, from 0.
        content: Bytes of the file; None to read it.

    Raises:
        InputError: The image or the page is missing or damaged.
    """
    with opened_image(path if content is None else BytesIO(content), path, index) as image:
        return upright_size(image)


def pages(path: Path) -> list[int]:
    """List the pages of a TIFF file by their positions, without those that repeat another in small.

    Raises:
        InputError: The file is missing or damaged.
    """
    with opened_image(path, path) as image:
        return full_pages(image)


def n_frames(path: Path) -> int:
    """Read the number of pages or frames of an image from its headers, see :func:`check_size`.

    Raises:
        InputError: The image is missing or damaged.
    """
    with opened_image(path, path) as image:
        return _n_frames(image)


def in_other_case(path: Path) -> Path | None:
    """Return a file whose name differs only in letter case; None if no file does."""
    with suppress(OSError):
        files = sorted(path.parent.iterdir())
        return next((file for file in files if file.name.lower() == path.name.lower()), None)
    return None


def is_ambiguous(path: Path) -> bool:
    """Check whether readers may show different pixels of an image.

    Such an image is re-encoded, see :func:`converters.images.copied`.

    Raises:
        InputError: The image is missing or damaged.
    """
    with opened_image(path, path) as image:
        return is_ambiguous_image(image)


def is_ambiguous_image(image: Image.Image) -> bool:
    """Check the same of an opened image."""
    return image.has_transparency_data or is_turned(image) or has_wide_samples(image)


@contextmanager
def opened_image(file: Path | BytesIO, path: Path, index: int = 0) -> Iterator[Image.Image]:
    """Open an image at a page, from 0, without decoding it."""
    try:
        if isinstance(file, Path):
            check_regular(file)
        opened = open_image(file) if isinstance(file, Path) else nullcontext(file)
        with opened as content, Image.open(content) as image:
            if index:
                _seek(image, index, path)
            _check_decodable_size(image, path)
            check_samples(getattr(image, "tag_v2", {}), path, is_float=image.mode == "F")
            yield image
    except FileNotFoundError:
        raise InputError("no such image", path=path) from None
    except UnidentifiedImageError:
        check_samples(unidentified_tags(file), path)
        raise InputError("is damaged or not an image in a supported format", path=path) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"is damaged or truncated: {error}", path=path) from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height after EXIF rotation."""
    width, height = image.size
    return (height, width) if orientation(image) >= 5 else (width, height)


def check_regular(path: Path) -> None:
    """Reject folders, pipes, which could wait for ever, and devices, which could be endless."""
    if path.exists() and not path.is_file():
        raise InputError("is not a regular file", path=path)


def _n_frames(image: Image.Image) -> int:
    """Count the pages or frames; a first page that repeats another one in small counts as well."""
    pages = full_pages(image)
    return len(pages) if pages[0] == 0 else len(pages) + 1


def _check_decodable_size(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width * height > _MOST_PIXELS:
        reason = f"has {width} x {height} px; expected at most {_MOST_PIXELS:,}"
        raise InputError(reason, path=path)


def _seek(image: Image.Image, index: int, path: Path) -> None:
    try:
        image.seek(index)
    except (EOFError, KeyError, TypeError) as error:
        where = f"page {index + 1}"
        raise InputError("is damaged or missing", path=path, where=where) from error
