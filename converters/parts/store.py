"""Prepared pages on disk, read back one at a time.

The pages of a part are stored when they are made. The files that contain all pages of a split, such
as COCO JSON, and the manifest are written from them once all parts are there.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from class_maps import OmrError
from converters.files.packed import pack, unpack
from converters.prepare.preparation import PreparedPage

LENGTH_BYTES = 4
"""Bytes of the length in front of each page."""


def decode(content: bytes, kind: Any, path: Path) -> Any:  # noqa: ANN401
    """Decode a dataclass in a file of an incomplete data set.

    Raises:
        OmrError: The content is damaged.
    """
    try:
        return unpack(content, kind)
    except ValueError as error:
        raise OmrError(
            f"{path}: damaged, so the conversion cannot be continued; remove {path.parent.parent}"
        ) from error


def stored(pages: Iterable[PreparedPage], path: Path) -> Iterator[PreparedPage]:
    """Yield pages unchanged, and append each of them to a new file.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("wb") as file:
        for page in pages:
            content = pack(page)
            file.write(len(content).to_bytes(LENGTH_BYTES, "big"))
            file.write(content)
            yield page


def stored_pages(path: Path) -> Iterator[PreparedPage]:
    """Yield the pages in a file.

    Raises:
        OmrError: The file is damaged.
    """
    with path.open("rb") as file:
        while length := file.read(LENGTH_BYTES):
            yield decode(file.read(int.from_bytes(length, "big")), PreparedPage, path)
