"""Sizes of tensors that depend on numbers, for a loss that runs on fake tensors.

Fake tensors have no numbers, so that nobody can count those that are not 0. How many pairs of a box
and an anchor point a batch has is known, though, or can be said: what asks for a count is told.

Shapes: B images, P candidate pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from training.assigners.assigner import Assigner
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import PARTS, Predictions
from training.memory.timeline import Recorder

TAKEN = 10
"""Anchor points that a box takes at most; Ultralytics' ``tal_topk``, and ours."""
aten = torch.ops.aten


class RaggedSizes(TorchDispatchMode):
    """Tells operations how many numbers they find.

    Args:
        n_images: B.
        n_pairs: P of the batch.
    """

    def __init__(self, n_images: int, n_pairs: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_images = n_images
        self.n_pairs = n_pairs
        self.found: dict[int, int] = {}
        """How many of so many are not 0; of other numbers none."""

    def expect(self, n_slots: int, n_boxes: int) -> None:
        """Say what comes.

        At the worst every pair is of another place, and every box takes all it can. Places are
        worked through in parts, and every part of an image's must be whole.

        Args:
            n_slots: Images times groups times anchor points.
            n_boxes: Of the batch.
        """
        whole = PARTS * self.n_images
        places = min(-(-self.n_pairs // whole), n_slots // whole) * whole
        self.found = {n_slots: places, self.n_pairs: min(places, TAKEN * n_boxes)}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func is aten.nonzero.default:
            return self._places(args[0])
        if func is aten.repeat_interleave.Tensor:
            return args[0].new_empty(self.n_pairs)
        if func is aten.cumsum.default:  # torch's own way for fake tensors makes a square table
            own = args[0].dtype
            return args[0].new_empty(
                args[0].shape, dtype=own if own.is_floating_point else torch.int64
            )
        if func is aten.index.Tensor:
            chosen = [
                self._places(index).squeeze(1) if _is_mask(index) else index for index in args[1]
            ]
            return func(args[0], chosen)
        return func(*args, **(kwargs or {}))

    def _places(self, mask: Tensor) -> Tensor:
        """Places of what is not 0, int64, shape ``(found, dimensions)``."""
        n = self.found.get(mask.numel(), 0)
        return mask.new_empty((n, mask.dim()), dtype=torch.int64)


class NotedAssigner(Assigner):
    """Assigns as another assigner does, and says so to the recorder.

    Args:
        inner: The other one.
        recorder: Is told what comes while it assigns.
        sizes: Is told how much there is to assign.
    """

    __slots__ = ("inner", "recorder", "sizes")

    def __init__(self, inner: Assigner, recorder: Recorder, sizes: RaggedSizes) -> None:
        self.inner, self.recorder, self.sizes = inner, recorder, sizes

    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """See :class:`Assigner`."""
        n_images, n_points, _ = predictions.shape
        self.sizes.expect(n_images * n_points, len(targets))
        self.recorder.kind = "assigner"
        found = self.inner.assign(predictions, anchors, targets)
        self.recorder.kind = "loss"
        return found


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype is torch.bool
