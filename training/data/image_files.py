"""Image files: checked before training starts, and read without side effects.

Ultralytics re-encodes a JPEG file whose last bytes do not mark its end, reads ``NAME.npy`` instead
of the image beside it, and writes or deletes that file. Here training writes no files next to the
images, and reads only the images themselves.
"""

from collections.abc import Iterable
from pathlib import Path

from class_maps import InputError
from converters.files.process_pool import for_files
from converters.images import size_or_problem
from eval.html.number_format import counted

SMALLEST_SIDE = 10
"""Minimum width and height of a training image in pixels, as in Ultralytics."""


def check_images(files: Iterable[str]) -> None:
    """Check that every image is usable for training.

    Raises:
        InputError: An image is damaged, truncated, or less than 10 px wide or high. The message
            names the first one by path and gives the number of others.
    """
    paths = [Path(file) for file in sorted(files)]
    checked = zip(paths, for_files(size_or_problem, paths), strict=True)
    problems = [error for path, result in checked if (error := _problem(path, result))]
    if not problems:
        return
    first = problems[0]
    more = counted(len(problems) - 1, "more image has", "more images have")
    others = f" ({more} problems)" if problems[1:] else ""
    raise InputError(f"{first.reason}{others}; replace or remove it", path=first.path)


def _problem(path: Path, result: tuple[int, int] | InputError) -> InputError | None:
    if isinstance(result, InputError):
        return result
    width, height = result
    if min(width, height) >= SMALLEST_SIDE:
        return None
    return InputError(
        f"is {width} x {height} px; expected at least {SMALLEST_SIDE} x {SMALLEST_SIDE}", path=path
    )
