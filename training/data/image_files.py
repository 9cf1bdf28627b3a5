"""Image files: checked before training starts, and read without side effects.

Ultralytics re-encodes a JPEG file whose last bytes do not mark its end, reads ``NAME.npy`` instead
of the image beside it, and writes or deletes that file. Here training writes no files next to the
images, and reads only the images themselves.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ultralytics.utils import NUM_THREADS

from class_maps import InputError
from converters.images import check_complete
from eval.html.number_format import counted

SMALLEST_SIDE = 10
"""Minimum width and height of a training image in pixels, as in Ultralytics."""


def check_images(files: Iterable[str]) -> None:
    """Check that every image is usable for training.

    Raises:
        InputError: An image is damaged, truncated, or less than 10 px wide or high. The message
            names the first one by path and gives the number of others.
    """
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        problems = [error for error in pool.map(_problem, sorted(files)) if error]
    if not problems:
        return
    first = problems[0]
    more = counted(len(problems) - 1, "more image has", "more images have")
    others = f" ({more} problems)" if problems[1:] else ""
    raise InputError(f"{first.reason}{others}; replace or remove it", path=first.path)


def _problem(file: str) -> InputError | None:
    path = Path(file)
    try:
        width, height = check_complete(path)
    except InputError as error:
        return error
    if min(width, height) >= SMALLEST_SIDE:
        return None
    return InputError(
        f"is {width} x {height} px; expected at least {SMALLEST_SIDE} x {SMALLEST_SIDE}", path=path
    )
