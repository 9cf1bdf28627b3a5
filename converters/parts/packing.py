"""Tar files of a part, joined from those of its pages once all of them are written."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np

from class_maps import OmrError
from converters.files.kept_work import RECORDS
from converters.image_tars import (
    Positions,
    join_tars,
    npy_bytes,
    page_tar,
    read_positions,
    tar_name,
    write_index,
)
from converters.names import IMAGE_FOLDER
from converters.parts.plan import Part
from converters.prepare.preparation import PreparedPage


def positions_path(folder: Path, number: int, split: str) -> Path:
    """Return the file with the positions of a part's images of a split."""
    return folder / RECORDS / f"{number:05d}-{split}.npy"


class PageTars:
    """Tar files of the pages of a part, in the order of the pages."""

    def __init__(self) -> None:
        self._pages: dict[str, list[PurePosixPath]] = {}

    def noted(self, pages: Iterable[PreparedPage]) -> Iterator[PreparedPage]:
        """Yield pages unchanged, and note their names."""
        for page in pages:
            self._pages.setdefault(page.split, []).append(page.page)
            yield page

    def join(self, folder: Path, part: Part) -> None:
        """Join the files to larger ones, and write down where the images are.

        Raises:
            OSError: A file cannot be read or written.
        """
        for split, pages in self._pages.items():
            images = folder / IMAGE_FOLDER / split
            tars = [images / page_tar(page) for page in pages]
            positions = join_tars(tars, images, part.number)
            positions_path(folder, part.number, split).write_bytes(npy_bytes(positions))
            for nested in {tar.parent for tar in tars} - {images}:
                _remove_empty(nested, images)


def _remove_empty(nested: Path, folder: Path) -> None:
    """Remove a folder inside another one, and those that contain it, if they are empty."""
    with suppress(OSError):  # pages of another part are in it
        while nested != folder:
            nested.rmdir()
            nested = nested.parent


def write_indexes(folder: Path, parts: Sequence[Part]) -> None:
    """Write the index of each split, of the tar files of all parts.

    Raises:
        OmrError: The positions of a part are damaged, or two images have the same hash.
        OSError: An index cannot be written.
    """
    for images in (folder / IMAGE_FOLDER).iterdir():
        files = (positions_path(folder, part.number, images.name) for part in parts)
        write_index(images, [_read(file) for file in files if file.is_file()])


def tars_of(folder: Path, part: Part) -> Iterator[Path]:
    """Yield the tar files of a finished part.

    Raises:
        OmrError: The positions of its images are damaged.
    """
    for images in (folder / IMAGE_FOLDER).iterdir():
        file = positions_path(folder, part.number, images.name)
        if file.is_file():
            for number in np.unique(_read(file)[2]).tolist():
                yield images / tar_name(part.number, number)


def _read(file: Path) -> Positions:
    positions = read_positions(file)
    if positions is None:
        raise OmrError(
            f"{file}: damaged, so the conversion cannot be continued; remove {file.parent.parent}"
        )
    return positions
