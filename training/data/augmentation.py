"""Augmentation of a training: translation, scaling and brightness, without silent loss of symbols.

Ultralytics' own transform (``RandomPerspective.box_candidates``) removes each box with a side of 2
px or less, an aspect ratio over 100, or less than a tenth of its area left. At the sizes of music
these include all stems, barlines and ledger lines. It does so in training only, and without a
message. Here a symbol is dropped only if too little of it remains visible, and it is counted.

Shapes: N symbols of an image, C classes, W workers of the data loader.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info
from ultralytics.data.augment import RandomPerspective
from ultralytics.utils.instance import Instances

MIN_VISIBLE = 0.25
"""Fraction of width and of height that must be inside the image for a symbol to be kept."""

EPOCHS_AHEAD = 8
"""Number of epochs with separate counts. A loader prepares at most four batches per worker, and has
no more workers than an epoch has batches, so it is never more than four epochs ahead."""


def visible_share(boxes_xyxy: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """Compute how much of each box is inside the image.

    Args:
        boxes_xyxy: Pixels, shape ``(N, 4)``, not clipped; a side may be 0.
        size: Width and height of the image in pixels.

    Returns:
        Smaller fraction of the two sides, 0 to 1, shape ``(N,)``. It is 1 for a stem of 1 px
        inside the image; a side of 0 counts as 1 unless it is outside.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    limit = np.asarray(size, dtype=np.float64)
    low, high = boxes[:, :2], boxes[:, 2:]  # (N, 2)
    length = high - low
    seen = np.clip(high, 0, limit) - np.clip(low, 0, limit)
    inside = (low < limit) & (high > 0)
    share = np.divide(seen, length, out=np.ones_like(length), where=length > 0)
    shares: NDArray[np.float64] = np.where(inside, share, 0).min(axis=1, initial=1)
    return shares


def kept_by_ultralytics(boxes_xyxy: NDArray[Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Find the boxes that Ultralytics' own transform would keep.

    Args:
        boxes_xyxy: Pixels, shape ``(N, 4)``, not clipped.
        size: Width and height of the image in pixels.

    Returns:
        True for each box that is kept, shape ``(N,)``.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    inside = boxes.clip(0, [*size, *size])
    kept: NDArray[np.bool_] = RandomPerspective.box_candidates(boxes.T, inside.T)
    return kept


class SymbolCounter:
    """Counter of the symbols seen and dropped by augmentation, in all workers of a data loader.

    Workers are separate processes: each has its own row in shared memory, so that none has to wait
    and none overwrites another's count. Workers load ahead, so each epoch has its own rows as well.
    """

    epoch = 0
    """Epoch of the image that is augmented next in this process."""

    def __init__(self, n_classes: int, n_workers: int) -> None:
        # One row more than workers, for the main process.
        shape = EPOCHS_AHEAD, 2, n_workers + 1, n_classes
        self._table = torch.zeros(shape, dtype=torch.int64).share_memory_()

    def add(self, labels: NDArray[Any], kept: NDArray[np.bool_]) -> None:
        """Count the symbols of one image.

        Args:
            labels: Labels of the symbols, shape ``(N,)``.
            kept: Whether each symbol is kept, shape ``(N,)``.
        """
        info = get_worker_info()
        row = 0 if info is None else info.id + 1
        table = self._table[self.epoch % EPOCHS_AHEAD]
        n_classes = table.shape[2]
        for i, counted in enumerate((labels, labels[~kept])):
            counts = np.bincount(counted.astype(np.int64), minlength=n_classes)
            table[i, row] += torch.from_numpy(counts)

    def totals(self) -> Tensor:
        """Add up all workers' counts: symbols seen and dropped per class, shape ``(2, C)``."""
        totals: Tensor = self._table.sum(dim=(0, 2))
        return totals

    def take(self, epoch: int) -> Tensor:
        """Add up the counts of a finished epoch, shape ``(2, C)``, and reset them."""
        table = self._table[epoch % EPOCHS_AHEAD]
        counts: Tensor = table.sum(dim=1)
        table.zero_()
        return counts


class VisiblePerspective(RandomPerspective):
    """Ultralytics' affine transform, keeping every box that remains sufficiently visible.

    Args:
        counter: Counter of the symbols seen and dropped.
        options: Arguments of ``RandomPerspective``.
    """

    def __init__(self, counter: SymbolCounter, **options: object) -> None:
        super().__init__(**options)
        self.counter = counter

    def apply_instances(
        self, labels: dict[str, Any], params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Move and clip the boxes of an image, and drop those that are no longer visible.

        Args:
            labels: Labels of one image: ``instances`` with N boxes, and ``cls``, shape ``(N, 1)``.
            params: Parameters of the base class: the matrix ``M``, ``orig_shape`` and ``size``.

        Returns:
            The same mapping, with the boxes in pixels.
        """
        if params is None:
            raise ValueError("expected the params of get_params")
        instances = labels.pop("instances")
        instances.convert_bbox(format="xyxy")
        instances.denormalize(*params["orig_shape"][::-1])
        boxes_xyxy = self.apply_bboxes(instances.bboxes, params["M"])
        kept = visible_share(boxes_xyxy, params["size"]) >= MIN_VISIBLE
        self.counter.add(labels["cls"][:, 0], kept)
        moved = Instances(boxes_xyxy[kept], bbox_format="xyxy", normalized=False)
        moved.clip(*params["size"])
        labels["instances"] = moved
        labels["cls"] = labels["cls"][kept]
        return labels
