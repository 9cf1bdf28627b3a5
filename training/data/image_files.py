"""Image files: checked before training starts, and read without side effects.

Ultralytics re-encodes a JPEG file whose last bytes do not mark its end, reads ``NAME.npy`` instead
of the image beside it, and writes or deletes that file. Here training writes no files next to the
images, and reads only the images themselves.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ultralytics.utils import NUM_THREADS

from class_maps import InputError
from converters.formats import image_folders
from converters.formats.yolo_dataset import YoloDataset
from converters.images import check_complete, n_frames
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


def skipped_files(dataset: YoloDataset, *splits: str) -> list[str]:
    """Describe what is not read of some splits, such as hidden images, one per line.

    Raises:
        InputError: An image is missing or damaged.
    """
    remarks, paths = [*dataset.warnings], dict[Path, None]()
    for split in splits:
        images, sources = dataset.image_paths(split), dataset.sources_of(split)
        is_complete = all(source.is_dir() for source in sources)
        folder = dataset.splits[split]
        remarks += image_folders.skipped_files(folder, images, is_complete=is_complete)
        paths |= dict.fromkeys(images)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        names = (os.path.relpath(path, dataset.root) for path in paths)
        frames = dict(zip(names, pool.map(n_frames, paths), strict=True))
    return [*dict.fromkeys(remarks), *image_folders.several_frames(frames)]


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
