"""Batches on the device, each copied there during the previous step."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from ultralytics.data.build import InfiniteDataLoader

Batch = dict[str, Any]
"""Ultralytics' batch: tensors, and lists of values that stay on the host."""
Item = TypeVar("Item")
Started = TypeVar("Started")
Result = TypeVar("Result")


def one_ahead(
    items: Iterable[Item],
    start: Callable[[Item], Started],
    finish: Callable[[Started], Result],
) -> Iterator[Result]:
    """Start work on each item before its predecessor is used.

    Args:
        items: Items; consumed one ahead of the results.
        start: Function that starts work on an item without waiting for it.
        finish: Function that makes the result of a started item usable.

    Yields:
        Results in the order of the items.
    """
    started: list[Started] = []
    for item in items:
        started.append(start(item))
        if len(started) > 1:
            yield finish(started.pop(0))
    for last in started:
        yield finish(last)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Copy:
    """A batch that is being copied to the device."""

    batch: Batch
    done: torch.cuda.Event


class SideStream:
    """CUDA stream that copies batches during the computation.

    Args:
        device: CUDA device of the training.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def start(self, batch: Batch) -> _Copy:
        """Start copying the tensors of a batch, which are in pinned memory."""
        with torch.cuda.stream(self._stream):
            copy = {
                name: value.to(self._device, non_blocking=True)
                if isinstance(value, Tensor)
                else value
                for name, value in batch.items()
            }
        return _Copy(batch=copy, done=self._stream.record_event())

    def finish(self, copy: _Copy) -> Batch:
        """Make the computation wait for a copy, but not the host."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(copy.done)
        for value in copy.batch.values():
            if isinstance(value, Tensor):
                # Memory of the other stream must not be reused before this stream is done.
                value.record_stream(current)
        return copy.batch


class DeviceLoader(InfiniteDataLoader):
    """Ultralytics' loader, which copies batches to a CUDA device, but to no other device.

    The device holds one additional batch: 1.2 MB per image of 640 px.

    Args:
        device: Device of the training.
        options: Arguments of ``InfiniteDataLoader``.
    """

    def __init__(self, *, device: torch.device, **options: object) -> None:
        super().__init__(**options)
        # One for all epochs: torch's allocator has separate memory for every stream.
        self._stream = SideStream(device) if device.type == "cuda" else None

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of an epoch, without loading any of the next one."""
        batches: Iterator[Batch] = super().__iter__()
        if self._stream is None:
            return batches
        return one_ahead(batches, self._stream.start, self._stream.finish)
