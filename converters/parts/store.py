"""Prepared pages on disk, read back one at a time.

The pages of a part are stored when they are made. The files that contain all pages of a split, such
as COCO JSON, and the manifest are written from them once all parts are there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, get_origin

import msgspec
import numpy as np

from class_maps import OmrError
from converters.prepare.preparation import PreparedPage

LENGTH_BYTES = 4
"""Bytes of the length in front of each page."""


def _to_plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        dtype = value.dtype.descr if value.dtype.names else value.dtype.str
        return dtype, value.shape, value.tobytes()
    if isinstance(value, PurePosixPath):
        return str(value)
    raise NotImplementedError(type(value))


def _from_plain(kind: Any, value: Any) -> Any:  # noqa: ANN401
    kind = get_origin(kind) or kind
    if kind is np.ndarray:
        dtype, shape, content = value
        if not isinstance(dtype, str):  # fields: name, type and, for subarrays, shape
            dtype = [(*field[:2], *map(tuple, field[2:])) for field in dtype]
        return np.frombuffer(content, dtype).reshape(shape)
    if kind is PurePosixPath:
        return PurePosixPath(value)
    if kind is Counter:  # its keys are names, or pairs of names
        return Counter({k if isinstance(k, str) else tuple(k): n for k, n in value.items()})
    raise NotImplementedError(kind)


ENCODER = msgspec.msgpack.Encoder(enc_hook=_to_plain)
"""Encoder of prepared pages, and of dataclasses with counts."""


def decode(content: bytes, kind: Any, path: Path) -> Any:  # noqa: ANN401
    """Decode what :data:`ENCODER` has encoded.

    Raises:
        OmrError: The content is damaged.
    """
    try:
        return msgspec.msgpack.decode(content, type=kind, dec_hook=_from_plain)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
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
            content = ENCODER.encode(page)
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
