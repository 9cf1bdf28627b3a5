"""Tensor sizes that depend on values, for a loss that runs on fake tensors.

Fake tensors have no values, so their nonzero elements cannot be counted. The number of candidate
pairs of a batch is known or assumed instead, and operations that need a count use it.

Shapes: B images, P candidate pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from training.assigners.assigner import Assigner, WrappedAssigner
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import PARTS, Predictions
from training.memory.timeline import Recorder

MAX_POSITIVES = 10
"""Maximum number of anchor points assigned to a box; ``tal_topk`` in Ultralytics and here."""
aten = torch.ops.aten


class FakeSizes(TorchDispatchMode):
    """Sets the output sizes of operations that count or select elements by value.

    Args:
        n_images: Images per batch, B.
        n_pairs: Candidate pairs of the batch, P.
    """

    def __init__(self, n_images: int, n_pairs: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_images = n_images
        self.n_pairs = n_pairs
        self.n_nonzero: dict[int, int] = {}
        """Nonzero elements of a mask, by its number of elements; 0 for any other number."""

    def expect(self, n_slots: int, n_boxes: int) -> None:
        """Set the counts for the next assignment.

        The worst case is assumed: all pairs are at different anchor points, and each box takes as
        many points as it can. Anchor points are processed in parts, and each part must contain the
        same number of points per image.

        Args:
            n_slots: Images times groups times anchor points.
            n_boxes: Boxes of the batch.
        """
        multiple = PARTS * self.n_images
        n_points = min(-(-self.n_pairs // multiple), n_slots // multiple) * multiple
        self.n_nonzero = {n_slots: n_points, self.n_pairs: min(n_points, MAX_POSITIVES * n_boxes)}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func is aten.nonzero.default:
            return self._nonzero(args[0])
        if func is aten.repeat_interleave.Tensor:
            return args[0].new_empty(self.n_pairs)
        if func is aten.cumsum.default:  # torch's decomposition for fake tensors is quadratic
            dtype = args[0].dtype
            return args[0].new_empty(
                args[0].shape, dtype=dtype if dtype.is_floating_point else torch.int64
            )
        if func is aten.index.Tensor:
            indices = [
                self._nonzero(index).squeeze(1) if _is_mask(index) else index for index in args[1]
            ]
            return func(args[0], indices)
        return func(*args, **(kwargs or {}))

    def _nonzero(self, mask: Tensor) -> Tensor:
        """Make the indices of a mask's nonzero elements, int64, shape ``(n, dimensions)``."""
        n = self.n_nonzero.get(mask.numel(), 0)
        return mask.new_empty((n, mask.dim()), dtype=torch.int64)


class RecordedAssigner(WrappedAssigner):
    """Wraps an assigner so that its tensors are recorded as its own kind.

    Args:
        inner: Assigner that does the work.
        recorder: Recorder of the step.
        sizes: Fake sizes, set before every assignment.
    """

    __slots__ = ("recorder", "sizes")

    def __init__(self, inner: Assigner, recorder: Recorder, sizes: FakeSizes) -> None:
        super().__init__(inner)
        self.recorder, self.sizes = recorder, sizes

    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """See :class:`Assigner`."""
        n_images, n_points, _ = predictions.shape
        self.sizes.expect(n_images * n_points, len(targets))
        self.recorder.kind = "assigner"
        assignment = self.inner.assign(predictions, anchors, targets)
        self.recorder.kind = "loss"
        return assignment


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype is torch.bool
