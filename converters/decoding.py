"""Decoding of images with OpenCV, and the damage that its decoders report only on stderr.

libjpeg and libtiff return a damaged image as if nothing had happened: grey from the damage on, or
shifted. Their messages, which name no file, are therefore read instead of printed.
"""

import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

STDERR = 2
"""File descriptor of stderr."""

_DAMAGE = re.compile(
    # Cameras write up to some dozen bytes too many, which libjpeg ignores.
    r"^(?P<jpeg>Corrupt JPEG data: (?!bad ICC|\d{1,3} extraneous).*|Premature end of JPEG file)"
    r"|TIFF_Error (?P<tiff>.*)"
    r"|TIFF_Warning (?P<strip>(?:\w*Decode\w*|JPEGLib): .*)"
    r"|^libpng error: (?P<png>.*)",
    re.M,
)
"""Messages about damaged data; others are about metadata."""
_MESSAGE = re.compile(
    r"^(?:\[ ?(?:DEBUG|INFO|WARN|ERROR|FATAL):|OpenCV|libpng |Corrupt JPEG|Premature end of JPEG"
    r"|Invalid SOS|Inconsistent progression|Unknown Adobe|Warning: unknown JFIF).*\n(?:>.*\n|\n)*",
    re.M,
)
"""Messages of the decoders; what else is written to stderr comes from other threads."""


def decode(data: bytes, flags: int) -> tuple[NDArray[Any] | None, str]:
    """Decode an image; several threads may decode at the same time.

    Args:
        data: Bytes of an image file.
        flags: Flags of ``cv2.imdecode``.

    Returns:
        The image, None if it cannot be decoded; and the damage that the decoder reports, empty for
        an intact image and for formats whose decoders report nothing.
    """
    return _checked(lambda: cv2.imdecode(np.frombuffer(data, np.uint8), flags))


def decode_page(path: Path, index: int) -> tuple[NDArray[Any] | None, str]:
    """Decode a page of a TIFF file with unchanged samples, see :func:`decode`.

    Args:
        path: TIFF file.
        index: Page, from 0.
    """

    def page() -> NDArray[Any] | None:
        pages = cv2.imreadmulti(str(path), index, 1, flags=cv2.IMREAD_UNCHANGED)[1]
        return pages[0] if pages else None

    return _checked(page)


def _checked(decoder: Callable[[], NDArray[Any] | None]) -> tuple[NDArray[Any] | None, str]:
    """Call a decoder, and return its image and the damage that it reports."""

    def image() -> NDArray[Any] | None:
        try:
            return decoder()
        except cv2.error:  # an empty file, or more than 2 ** 30 pixels
            return None

    with _stderr.shared():
        decoded = image()
        if decoded is not None and not _damage(_stderr.text()):
            return decoded, ""
    with _stderr.exclusive():  # the damage may be that of another thread's image
        decoded = image()
        return decoded, _damage(_stderr.text())


def _damage(text: str) -> str:
    match = _DAMAGE.search(text)
    return match[match.lastgroup or 0].strip() if match else ""


class _Stderr:
    """Redirection of the descriptor of stderr to a file while images are decoded."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._n_threads = 0
        self._file: BinaryIO | None = None
        self._original = STDERR

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Redirect stderr while at least one thread is in the block."""
        with self._condition:
            if not self._n_threads:
                self._begin()
            self._n_threads += 1
        try:
            yield
        finally:
            with self._condition:
                self._n_threads -= 1
                if not self._n_threads:
                    self._end()
                    self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Redirect stderr while no other thread is in a block."""
        with self._condition:
            self._condition.wait_for(lambda: not self._n_threads)
            self._begin()
            try:
                yield
            finally:
                self._end()

    def text(self) -> str:
        """Return what has been written since the redirection began."""
        if self._file is None:
            return ""
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size, 0).decode("utf-8", "replace")

    def restore_in_child(self) -> None:
        """Undo the redirection in a forked process, whose only thread was not in a block."""
        if self._file is not None:
            os.dup2(self._original, STDERR)
        self.__init__()  # type: ignore[misc]

    def _begin(self) -> None:
        try:
            self._original = os.dup(STDERR)
        except OSError:  # closed
            return
        self._file = _memory_file()
        os.dup2(self._file.fileno(), STDERR)

    def _end(self) -> None:
        if self._file is None:
            return
        os.dup2(self._original, STDERR)
        other = _MESSAGE.sub("", self.text())
        self._file.close()
        self._file = None
        if other:
            os.write(self._original, other.encode())
        os.close(self._original)


def _memory_file() -> BinaryIO:
    """Open a file in memory, or a temporary one where the system has none."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stderr"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


_stderr = _Stderr()
os.register_at_fork(after_in_child=_stderr.restore_in_child)
