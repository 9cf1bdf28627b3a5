"""Pages in a temporary file, for commands that need many pages more than once."""

import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import PurePosixPath
from typing import IO, Any, overload

import msgspec
import numpy as np

from class_maps import ConfigError
from converters.page import Page, Placement

IN_MEMORY = 64 << 20
"""Bytes up to which no file is needed."""


class _Storage:
    """Temporary file that threads share; closed when nothing refers to it any more.

    It has no name, so that it disappears with the process, even if this is killed.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._file)

    def write(self, content: bytes, start: int) -> None:
        """Write bytes at a position.

        Raises:
            ConfigError: The folder for temporary files is full or cannot be written.
        """
        with self._lock:
            try:
                self._file.seek(start)
                self._file.write(content)
                self._file.flush()
            except OSError as error:
                raise ConfigError(
                    f"temporary file cannot be written: {error.strerror or error}; set TMPDIR to "
                    "a folder with more space"
                ) from error

    def read(self, start: int, end: int) -> bytes:
        """Read the bytes from one position to another."""
        with self._lock:
            self._file.seek(start)
            return self._file.read(end - start)


def _close(file: IO[bytes]) -> None:
    with suppress(OSError):  # a full disk has been reported; closing writes the rest once more
        file.close()


class StoredPages(Sequence[Page]):
    """Pages that are read from a temporary file one at a time, so that they need little memory.

    Args:
        pages: Pages to store.

    Raises:
        ConfigError: The folder for temporary files is full or cannot be written.
    """

    def __init__(self, pages: Iterable[Page] = ()) -> None:
        self._storage = _Storage()
        self._starts = array("Q", [0])
        self._images: list[PurePosixPath] = []
        self._staff_spaces: Sequence[float | None] | None = None
        for page in pages:
            self.append(page)

    @property
    def images(self) -> Sequence[PurePosixPath]:
        """Image of each page, which needs no reading."""
        return self._images

    def append(self, page: Page) -> None:
        """Add a page at the end.

        Raises:
            ConfigError: The folder for temporary files is full or cannot be written.
        """
        content = _packed(page)
        self._storage.write(content, self._starts[-1])
        self._starts.append(self._starts[-1] + len(content))
        self._images.append(page.image)

    def with_staff_spaces(self, spaces: Sequence[float | None]) -> "StoredPages":
        """Return the same pages with other staff spaces; no page is written.

        Args:
            spaces: Distance of the staff lines of each page in pixels; None if it is unknown.

        Raises:
            ValueError: There is another number of staff spaces than of pages.
        """
        if len(spaces) != len(self):
            raise ValueError(f"expected {len(self)} staff spaces, got {len(spaces)}")
        result = StoredPages()
        result._storage = self._storage
        result._starts, result._images = self._starts[:], self._images[:]
        result._staff_spaces = spaces
        return result

    def __len__(self) -> int:
        """Return the number of pages."""
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Page: ...
    @overload
    def __getitem__(self, index: slice) -> list[Page]: ...
    def __getitem__(self, index: int | slice) -> Page | list[Page]:
        """Read a page, or a list of several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        content = self._storage.read(self._starts[i], self._starts[i + 1])
        page = _unpacked(content)
        if self._staff_spaces is None:
            return page
        return replace(page, staff_space=self._staff_spaces[i])


def _packed(page: Page) -> bytes:
    """Return a page as bytes: MessagePack, with arrays as their type, shape and content."""
    values = {field.name: getattr(page, field.name) for field in fields(Page)}
    return msgspec.msgpack.encode(values, enc_hook=_encodable)


def _encodable(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "shape": value.shape, "content": value.tobytes()}
    return value.item() if isinstance(value, np.generic) else str(value)


def _unpacked(content: bytes) -> Page:
    values = msgspec.msgpack.decode(content)
    for name, value in values.items():
        if name == "placement" and value:
            values[name] = Placement(**value | {"page": PurePosixPath(value["page"])})
        elif isinstance(value, dict):
            array = np.frombuffer(value["content"], value["dtype"]).reshape(value["shape"])
            values[name] = array.copy()  # writable
    return Page(**values | {"image": PurePosixPath(values["image"])})
