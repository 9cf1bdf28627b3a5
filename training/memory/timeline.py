"""What a step allocates and gives back, in order, for every batch at once.

Nearly all tensors of a step are of a size that is in proportion to the batch, or does not depend on
it. So a step is gone through once, on fake tensors and for a batch of 2^28 images: of a tensor of
``n`` bytes, ``n // 2^28`` are those of an image and ``n % 2^28`` those that come once, like two
digits of a number. Fake tensors have a size and no storage, so that a step of so many images takes
no more memory than one of a single image.

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
"""Images of the fake batch; more than any tensor that does not grow with the batch has bytes."""
CONVOLUTIONS = (
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Timeline:
    """Every storage of a step, and when it comes and goes."""

    once: NDArray[np.int64]
    """Bytes that do not depend on the batch, of each storage, shape ``(S,)``."""
    an_image: NDArray[np.int64]
    """Bytes more for each image of the batch, shape ``(S,)``."""
    kinds: tuple[str, ...]
    """What each storage is for, length S."""
    events: NDArray[np.int64]
    """Storage s comes, s + 1, or goes, -s - 1, shape ``(E,)``."""
    phases: tuple[tuple[str, int], ...]
    """Parts of the step in turn, and the event that each begins with."""

    def sizes(self, batch: int, rounding: int = 1) -> NDArray[np.int64]:
        """Bytes of each storage for a batch, each a multiple of ``rounding``, shape ``(S,)``."""
        exact = self.once + batch * self.an_image
        return -(-exact // rounding) * rounding

    def live(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bytes that are there after each event, shape ``(E,)``."""
        places = np.abs(self.events) - 1
        return np.cumsum(np.sign(self.events) * sizes[places])

    def is_of(self, kind: str) -> NDArray[np.bool_]:
        """Tell which storages are for something, shape ``(S,)``."""
        return np.array([own == kind for own in self.kinds], dtype=np.bool_)

    def there_after(self, event: int) -> NDArray[np.bool_]:
        """Tell which storages are there after an event, shape ``(S,)``."""
        balance = np.zeros(len(self.once), dtype=np.int64)
        before = self.events[: event + 1]
        np.add.at(balance, np.abs(before) - 1, np.sign(before))
        return balance > 0

    def phase_of(self, event: int) -> str:
        """Name the part of the step that an event belongs to."""
        return [name for name, begin in self.phases if begin <= event][-1]


class Recorder(TorchDispatchMode):
    """Notes the storages of all tensors made under it.

    Args:
        workspace: Bytes that a convolution takes while it runs, from the tensors that go into it
            and those that come out; None for nothing.
    """

    def __init__(self, workspace: Callable[[Iterable[Tensor]], int] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workspace = workspace
        self.kind = "base"
        """What storages that come now are for."""
        self.grows = True
        self.phases: list[tuple[str, int]] = []
        self.sizes: list[tuple[int, int]] = []
        """Bytes for each image, and once."""
        self.kinds: list[str] = []
        self.events: list[int] = []
        self._places: dict[int, int] = {}

    def begin(self, phase: str, kind: str, *, grows: bool = True) -> None:
        """Start a part of the step.

        Args:
            phase: Its name.
            kind: What storages that come in it are for.
            grows: Whether any of them may grow with the batch.
        """
        self.phases.append((phase, len(self.events)))
        self.kind, self.grows = kind, grows

    def add(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Note tensors that are there already; what is known stays what it is."""
        before, self.kind = self.kind, kind
        for tensor in tensors:
            self._note(tensor)
        self.kind = before

    def label(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Say what tensors are for, whatever was said when they came."""
        for tensor in tensors:
            place = self._places.get(tensor.untyped_storage()._cdata)
            if place is not None:
                self.kinds[place] = kind

    def add_bytes(self, n_bytes: Iterable[int], kind: str, *, stays: bool = True) -> None:
        """Note storages that are known by their sizes.

        Args:
            n_bytes: Of each storage.
            kind: What they are for.
            stays: Whether they are there from now on; else they go at once, all together.
        """
        begin = len(self.sizes)
        for size in n_bytes:
            self._come((0, size), kind)
        if not stays:
            self.events += [-place - 1 for place in range(begin, len(self.sizes))]

    def rename(self, kind: str, new: str) -> None:
        """Give what is there now and was for one thing another name."""
        for place in self._places.values():
            if self.kinds[place] == kind:
                self.kinds[place] = new

    def timeline(self, always: Sequence[str] = ()) -> Timeline:
        """Give what was noted.

        Args:
            always: Kinds of what comes with a first step and stays: in any later step it is there
                from the beginning.
        """
        gone = {-event for event in self.events if event < 0}
        early = [
            place + 1
            for place, kind in enumerate(self.kinds)
            if kind in always and place + 1 not in gone
        ]
        moved = frozenset(early)
        kept = np.cumsum([0] + [event not in moved for event in self.events])
        once, an_image = np.array(self.sizes, dtype=np.int64).reshape(-1, 2).T[::-1]
        return Timeline(
            once=once,
            an_image=an_image,
            kinds=tuple(self.kinds),
            events=np.array(
                early + [event for event in self.events if event not in moved], dtype=np.int64
            ),
            phases=tuple((name, len(early) + int(kept[begin])) for name, begin in self.phases),
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
            self._note(tensor)
        if self.workspace and func in CONVOLUTIONS:
            taken = self.workspace((*_tensors(args), *_tensors(out)))
            self._come(divmod(taken, MANY), "workspace")
            self.events.append(-len(self.sizes))
        return out

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._places:
            self._places[key] = len(self.sizes)
            n_bytes = storage.nbytes()
            self._come(divmod(n_bytes, MANY) if self.grows else (0, n_bytes), self.kind)
            weakref.finalize(storage, self._go, key)

    def _come(self, size: tuple[int, int], kind: str) -> None:
        self.sizes.append(size)
        self.kinds.append(kind)
        self.events.append(len(self.sizes))

    def _go(self, key: int) -> None:
        self.events.append(-self._places.pop(key) - 1)


def _tensors(values: object) -> Iterable[Tensor]:
    return (value for value in tree_iter(values) if isinstance(value, Tensor))
