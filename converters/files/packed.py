"""Compact encoding of dataclasses that contain arrays, paths and counts, as MessagePack."""

from collections import Counter
from pathlib import PurePosixPath
from typing import Any, get_origin

import msgspec
import numpy as np


def pack(value: Any) -> bytes:  # noqa: ANN401
    """Encode a dataclass."""
    return msgspec.msgpack.encode(value, enc_hook=_to_plain)


def unpack(content: bytes, kind: Any) -> Any:  # noqa: ANN401
    """Decode what :func:`pack` has encoded.

    Raises:
        ValueError: The content is damaged.
    """
    try:
        return msgspec.msgpack.decode(content, type=kind, dec_hook=_from_plain)
    except (msgspec.DecodeError, TypeError) as error:
        raise ValueError(str(error)) from error


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
