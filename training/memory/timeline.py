"""Timeline of a step's allocations, recorded once for all batch sizes.

The size of almost every tensor in a step is either proportional to the batch or independent of it.
So the step is run once on fake tensors, with a batch of 2^28 images: a tensor of ``n`` bytes takes
``n // 2^28`` bytes per image plus ``n % 2^28`` bytes for any batch, like the two digits of a
number. Fake tensors have a size but no storage, so such a step takes no more memory than one with a
single image.

Shapes: S storages, E events, K kinds.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

MANY = 2**28
"""Images of the fake batch; exceeds the bytes of any tensor that is independent of the batch."""
CONVOLUTIONS = (
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Timeline:
    """Storages of a step, and the order in which they are allocated and released."""

    fixed: NDArray[np.int64]
    """Bytes of each storage that do not depend on the batch, shape ``(S,)``."""
    per_image: NDArray[np.int64]
    """Additional bytes of each storage per image of the batch, shape ``(S,)``."""
    kinds: tuple[str, ...]
    """Purpose of each storage, length S."""
    events: NDArray[np.int64]
    """Allocation of storage s as s + 1, or release as -s - 1, shape ``(E,)``."""
    phases: tuple[tuple[str, int], ...]
    """Phases of the step in order, each with the index of its first event."""

    def sizes(self, batch: int, rounding: int = 1) -> NDArray[np.int64]:
        """Compute the bytes of each storage, rounded up to ``rounding``, shape ``(S,)``."""
        exact = self.fixed + batch * self.per_image
        return -(-exact // rounding) * rounding

    def live(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compute the allocated bytes after each event, shape ``(E,)``."""
        storages = np.abs(self.events) - 1
        return np.cumsum(np.sign(self.events) * sizes[storages])

    def is_kind(self, kind: str) -> NDArray[np.bool_]:
        """Mark the storages of a kind, shape ``(S,)``."""
        return np.array([name == kind for name in self.kinds], dtype=np.bool_)

    def live_after(self, event: int) -> NDArray[np.bool_]:
        """Mark the storages that are allocated after an event, shape ``(S,)``."""
        balance = np.zeros(len(self.fixed), dtype=np.int64)
        before = self.events[: event + 1]
        np.add.at(balance, np.abs(before) - 1, np.sign(before))
        return balance > 0

    def phase_of(self, event: int) -> str:
        """Return the phase of the step that an event belongs to."""
        return [name for name, begin in self.phases if begin <= event][-1]


class Recorder(TorchDispatchMode):
    """Dispatch mode that records the storages of all tensors made under it.

    Args:
        workspace: Function from the inputs and outputs of a convolution to the bytes of its
            workspace; None if convolutions need none.
    """

    def __init__(self, workspace: Callable[[Iterable[Tensor]], int] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workspace = workspace
        self.kind = "base"
        """Kind of the storages that are allocated from now on."""
        self.grows = True
        self.phases: list[tuple[str, int]] = []
        self.sizes: list[tuple[int, int]] = []
        """Bytes per image, and fixed bytes, of each storage."""
        self.kinds: list[str] = []
        self.events: list[int] = []
        self._numbers: dict[int, int] = {}
        """Number of each storage that is allocated now, by its address."""

    def begin(self, phase: str, kind: str, *, grows: bool = True) -> None:
        """Begin a phase of the step.

        Args:
            phase: Name of the phase.
            kind: Kind of the storages that are allocated in it.
            grows: Whether these storages may grow with the batch.
        """
        self.phases.append((phase, len(self.events)))
        self.kind, self.grows = kind, grows

    def add(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Record existing tensors under a kind; storages recorded before keep theirs."""
        before, self.kind = self.kind, kind
        for tensor in tensors:
            self._record(tensor)
        self.kind = before

    def label(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Change the kind of recorded tensors."""
        for tensor in tensors:
            number = self._numbers.get(tensor.untyped_storage()._cdata)
            if number is not None:
                self.kinds[number] = kind

    def add_bytes(self, n_bytes: Iterable[int], kind: str, *, stays: bool = True) -> None:
        """Record storages by their sizes.

        Args:
            n_bytes: Bytes of each storage.
            kind: Kind of the storages.
            stays: Whether they remain allocated; False releases them at once, all together.
        """
        begin = len(self.sizes)
        for size in n_bytes:
            self._allocate((0, size), kind)
        if not stays:
            self.events += [-number - 1 for number in range(begin, len(self.sizes))]

    def rename(self, kind: str, new: str) -> None:
        """Change the kind of all storages that are allocated now and have the kind ``kind``."""
        for number in self._numbers.values():
            if self.kinds[number] == kind:
                self.kinds[number] = new

    def timeline(self, always: Sequence[str] = ()) -> Timeline:
        """Build the timeline of the recorded events.

        Args:
            always: Kinds of storages that the first step allocates permanently. In later steps they
                exist from the beginning, so their allocations are moved there.
        """
        released = {-event for event in self.events if event < 0}
        early = [
            number + 1
            for number, kind in enumerate(self.kinds)
            if kind in always and number + 1 not in released
        ]
        moved = frozenset(early)
        n_unmoved = np.cumsum([0] + [event not in moved for event in self.events])
        fixed, per_image = np.array(self.sizes, dtype=np.int64).reshape(-1, 2).T[::-1]
        return Timeline(
            fixed=fixed,
            per_image=per_image,
            kinds=tuple(self.kinds),
            events=np.array(
                early + [event for event in self.events if event not in moved], dtype=np.int64
            ),
            phases=tuple((name, len(early) + int(n_unmoved[begin])) for name, begin in self.phases),
        )

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            self._record(tensor)
        if self.workspace and func in CONVOLUTIONS:
            n_bytes = self.workspace((*_tensors(args), *_tensors(out)))
            self._allocate(divmod(n_bytes, MANY), "workspace")
            self.events.append(-len(self.sizes))
        return out

    def _record(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address not in self._numbers:
            self._numbers[address] = len(self.sizes)
            n_bytes = storage.nbytes()
            self._allocate(divmod(n_bytes, MANY) if self.grows else (0, n_bytes), self.kind)
            weakref.finalize(storage, self._release, address)

    def _allocate(self, size: tuple[int, int], kind: str) -> None:
        self.sizes.append(size)
        self.kinds.append(kind)
        self.events.append(len(self.sizes))

    def _release(self, address: int) -> None:
        self.events.append(-self._numbers.pop(address) - 1)


def _tensors(values: object) -> Iterable[Tensor]:
    return (value for value in tree_iter(values) if isinstance(value, Tensor))
