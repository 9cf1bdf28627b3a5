"""Recorder of the operations at which a host would wait for a CUDA device, usable on a CPU.

    with HostSyncs() as syncs:
        loss = criterion(outputs, batch)
    assert syncs.records == []

The CPU plays the device. Every tensor counts as one on the device, except those that the block
itself builds on the host: results of ``torch.tensor``, ``torch.from_numpy``, ``torch.zeros`` and so
on without a ``device``, of ``.cpu()``, and of operations on such tensors only. A device given as
the word ``"cpu"`` means the host, and a ``torch.device``, also that of the CPU, means the device.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

ROOT = Path(__file__).parents[2]
TORCH = Path(torch.__file__).parent
FROM_NUMPY = torch.from_numpy

WAITING = {
    "aten::_local_scalar_dense": "item",
    "aten::_unique": "unique",
    "aten::_unique2": "unique",
    "aten::bincount": "bincount",
    "aten::equal": "equal",
    "aten::masked_select": "masked_select",
    "aten::nonzero": "nonzero",
    "aten::unique_consecutive": "unique",
    "aten::unique_dim": "unique",
    "torchvision::nms": "nms",
}
"""Operations whose result has a size or a value that the host needs, and their names here."""
READING = frozenset({"__array__", "__repr__", "cpu", "numpy", "tolist"})
"""Methods that bring a tensor to the host."""


@dataclass(frozen=True, slots=True)
class HostSync:
    """One point where the host would wait for the device."""

    name: str
    """Operation: ``item``, ``nonzero``, ``index``, ``cpu``, ``tensor`` ..."""
    place: str
    """Innermost line of this project that led to it, as ``training/predict/detector.py:98``."""
    caller: str = field(compare=False)
    """Innermost line outside torch, which may be in another library."""


class HostSyncs:
    """Context manager that collects :class:`HostSync` records.

    Args:
        host: Tensors from before the block that live on the host, such as a loader's batch or the
            step counts of an optimiser.
    """

    def __init__(self, *, host: Iterable[Tensor] = ()) -> None:
        self.records: list[HostSync] = []
        self.quiet = False
        """Whether an operation is running whose parts are not recorded again."""
        self._host: Any = WeakIdKeyDictionary()
        self._modes = ExitStack()
        for tensor in host:
            self.tag(tensor, on_host=True)

    def __enter__(self) -> Self:
        # Modes do not see it.
        self._modes.enter_context(patch.object(torch, "from_numpy", self._from_numpy))
        self._modes.enter_context(_Operations(self))
        self._modes.enter_context(_Functions(self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._modes.close()

    def names(self) -> list[str]:
        """List the names of the records, in order."""
        return [record.name for record in self.records]

    def add(self, name: str) -> None:
        """Record an operation, unless it is part of a recorded one."""
        if not self.quiet:
            place, caller = _places(sys._getframe(1))
            self.records.append(HostSync(name, place, caller))

    def is_host(self, tensor: Tensor) -> bool:
        """Check whether a tensor counts as one on the host."""
        return tensor in self._host

    def tag(self, result: object, *, on_host: bool) -> None:
        """Note where the tensors of a result live."""
        for tensor in _tensors(result):
            if on_host:
                self._host[tensor] = True
            else:
                self._host.pop(tensor, None)

    def _from_numpy(self, array: NDArray[Any]) -> Tensor:
        result = FROM_NUMPY(array)
        self.tag(result, on_host=True)
        return result

    def all_host(self, *values: object) -> bool:
        """Check whether all tensors among values live on the host; False without tensors."""
        tensors = [*_tensors(values)]
        return bool(tensors) and all(map(self.is_host, tensors))


class _Operations(TorchDispatchMode):
    """Sees operations of torch, those inside other functions included."""

    def __init__(self, syncs: HostSyncs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.syncs = syncs

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        on_host = self.syncs.all_host(args, kwargs)
        if not on_host:
            self._record(func.name().split(".")[0], args, kwargs)
        result = func(*args, **kwargs)
        if on_host:
            self.syncs.tag(result, on_host=True)
        return result

    def _record(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if name in WAITING:
            self.syncs.add(WAITING[name])
        elif name == "aten::index":
            if not self.syncs.is_host(args[0]) and any(map(self._waits, _tensors(args[1]))):
                self.syncs.add("index")
        elif name in {"aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}:
            if any(map(self._waits, _tensors(args[1]))):
                self.syncs.add("index_put")
        elif name == "aten::repeat_interleave" and kwargs.get("output_size") is None:
            self.syncs.add("repeat_interleave")

    def _waits(self, index: Tensor) -> bool:
        return _is_mask(index) or self.syncs.is_host(index)


class _Functions(TorchFunctionMode):
    """Sees calls from Python, which tell host and device apart even where both are the CPU."""

    def __init__(self, syncs: HostSyncs) -> None:
        super().__init__()
        self.syncs = syncs

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in READING:
            return self._read(name, func, args, kwargs)
        if name == "to" or (name in {"as_tensor", "asarray"} and isinstance(args[0], Tensor)):
            return self._move(name, func, args, kwargs)
        if name in {"as_tensor", "asarray", "new_tensor", "tensor"}:
            return self._copy_data(name, func, args, kwargs)
        if name == "copy_":
            self._record_copy(args, kwargs)
        if name == "__getitem__":
            self._record_index("index", args[0], args[1])
        if name == "__setitem__":
            return self._set(func, args)
        result = func(*args, **kwargs)
        made_here = not [*_tensors((args, kwargs))] and not _names_device(kwargs.get("device"))
        self.syncs.tag(result, on_host=made_here or self.syncs.all_host(args, kwargs))
        return result

    def _read(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401
        if not self.syncs.is_host(args[0]):
            self.syncs.add(name)
        before, self.syncs.quiet = self.syncs.quiet, True
        try:
            result = func(*args, **kwargs)
        finally:
            self.syncs.quiet = before
        return self._moved(result, args[0], on_host=True)

    def _move(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401
        source = args[0]
        target = kwargs.get("device", next((a for a in args[1:] if _is_target(a)), None))
        was_host = self.syncs.is_host(source)
        on_host = was_host
        if isinstance(other := kwargs.get("other", target), Tensor):
            on_host = self.syncs.is_host(other)
        elif target is not None:
            on_host = not _names_device(target)
        if was_host != on_host and not _is_non_blocking(args, kwargs):
            self.syncs.add(name)
        return self._moved(func(*args, **kwargs), source, on_host=on_host)

    def _moved(self, result: Any, source: Tensor, *, on_host: bool) -> Any:  # noqa: ANN401
        """Tag a result; where no copy was made, give it a tensor of its own."""
        if result is source and self.syncs.is_host(source) != on_host:
            result = source.view_as(source)
        self.syncs.tag(result, on_host=on_host)
        return result

    def _copy_data(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401
        device = kwargs.get("device")
        if name == "new_tensor" and device is None:
            on_host = self.syncs.is_host(args[0])
        else:
            on_host = not _names_device(device)
        if not on_host:
            self.syncs.add(name)
        result = func(*args, **kwargs)
        self.syncs.tag(result, on_host=on_host)
        return result

    def _record_copy(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        target, source = args[0], args[1] if len(args) > 1 else kwargs["src"]
        crosses = self.syncs.is_host(target) != self.syncs.is_host(source)
        if crosses and not _is_non_blocking(args, kwargs):
            self.syncs.add("copy_")

    def _record_index(self, name: str, target: Tensor, index: object) -> bool:
        parts = index if isinstance(index, tuple) else (index,)
        from_host = any(isinstance(part, list | range | np.ndarray) for part in parts)
        if from_host and not self.syncs.is_host(target):
            self.syncs.add(name)
        return from_host

    def _set(self, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        target, index, value = args
        recorded = self._record_index("index_put", target, index)
        if not recorded and not self.syncs.is_host(target) and self._puts_host_data(index, value):
            self.syncs.add("index_put")
            recorded = True
        before, self.syncs.quiet = self.syncs.quiet, self.syncs.quiet or recorded
        try:
            func(*args)
        finally:
            self.syncs.quiet = before

    def _puts_host_data(self, index: object, value: object) -> bool:
        """Check whether values come from the host: torch copies all but a number under one mask."""
        if isinstance(value, list | tuple) or self.syncs.all_host(value):
            return True
        indices = [part for part in _tensors(index) if part.ndim]
        filled = not indices or (len(indices) == 1 and _is_mask(indices[0]))
        return not isinstance(value, Tensor) and not filled


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors([*value.values()])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _is_mask(index: Tensor) -> bool:
    return index.dtype in {torch.bool, torch.uint8}


def _is_target(value: object) -> bool:
    return isinstance(value, torch.device | str | int | Tensor) and not isinstance(value, bool)


def _names_device(device: object) -> bool:
    """Check whether a ``device`` argument means the device; the word "cpu" means the host."""
    return device is not None and not (isinstance(device, str) and device == "cpu")


def _is_non_blocking(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    given = kwargs.get("non_blocking", next((a for a in args[1:] if isinstance(a, bool)), False))
    return bool(given)


def _places(frame: FrameType | None) -> tuple[str, str]:
    """Find the innermost lines of this project, and outside torch, from a frame outwards."""
    caller = ""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file != Path(__file__) and not file.is_relative_to(TORCH):
            inside = file.is_relative_to(ROOT) and "site-packages" not in file.parts
            line = f"{file.relative_to(ROOT) if inside else file}:{frame.f_lineno}"
            caller = caller or line
            if inside:
                return line, caller
        frame = frame.f_back
    return "", caller
