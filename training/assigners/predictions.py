"""Predictions of a detector, read only where an assigner needs them.

Shapes: B images, A anchor points, C classes, P pairs of a box and an anchor point, N slots, each an
anchor point of an image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

PARTS = 8
"""Number of parts in which a large table is processed; reduces the peak memory to an eighth."""
MAX_SLOTS = 2**17
"""Maximum number of slots processed in one part if duplicates are not removed: a table of 64 floats
per slot has 32 MB, and fewer parts would not be faster."""
MAX_COST = 100.0
"""Cross-entropy for a probability of 0, as in torch's ``binary_cross_entropy``."""


class Predictions(Protocol):
    """Output of a detector for a batch.

    In training it is :class:`training.losses.head_outputs.HeadOutputs`, which decodes boxes and
    scores of the candidate pairs only. :class:`DensePredictions` reads them from tables.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, A and C."""

    def scores(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Return the probability of each pair's class, float32, shape ``(P,)``."""

    def class_costs(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy, summed over all classes, float32, shape ``(P,)``.

        The target is 1 for the given class and 0 for all others.
        """

    def boxes_xyxy(self, images: Tensor, points: Tensor) -> Tensor:
        """Return the predicted box of each pair in pixels, float32, shape ``(P, 4)``."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DensePredictions:
    """Probabilities and boxes at all anchor points, of any floating-point type."""

    table_scores: Tensor
    """Probabilities, shape ``(B, A, C)``."""
    table_boxes_xyxy: Tensor
    """Boxes in pixels, shape ``(B, A, 4)``."""
    waits: bool = True
    """Whether the host may wait for the device to count distinct slots."""

    def __post_init__(self) -> None:
        if self.table_boxes_xyxy.shape != (*self.table_scores.shape[:2], 4):
            raise ValueError(
                f"predictions: scores have shape {tuple(self.table_scores.shape)}, but boxes "
                f"{tuple(self.table_boxes_xyxy.shape)}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, A and C."""
        n_images, n_points, n_classes = self.table_scores.shape
        return n_images, n_points, n_classes

    def scores(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """See :class:`Predictions`."""
        return self.table_scores[images, points, labels].float()

    def boxes_xyxy(self, images: Tensor, points: Tensor) -> Tensor:
        """See :class:`Predictions`."""
        return self.table_boxes_xyxy[images, points].float()

    def class_costs(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """See :class:`Predictions`."""
        rows = self.table_scores.flatten(0, 1)  # (B * A, C)

        def background_cost(slots: Tensor) -> Tensor:
            scores = rows.index_select(0, slots).float()  # (N, C)
            return scores.neg_().log1p_().clamp_(min=-MAX_COST).sum(dim=1).neg_()

        costs = per_distinct_slot(background_cost, images, points, self.shape, waits=self.waits)
        score = self.scores(images, points, labels)
        log_score = score.log().clamp_(min=-MAX_COST)
        log_rest = torch.log1p(-score).clamp_(min=-MAX_COST)
        return (costs + log_rest - log_score).clamp_(min=0)


def per_distinct_slot(
    compute: Callable[[Tensor], Tensor],
    images: Tensor,
    points: Tensor,
    shape: tuple[int, ...],
    *,
    waits: bool = True,
) -> Tensor:
    """Compute a value per slot, once for each distinct slot.

    Args:
        compute: Function that takes slots, ``image * A + anchor point``, shape ``(N,)``, and
            returns N rows.
        images: Image of each pair, shape ``(P,)``.
        points: Anchor point of each pair, shape ``(P,)``.
        shape: Shape that begins with B and A.
        waits: Whether the host may wait for the number of distinct slots, which is available on the
            device only. Without waiting, duplicates are computed several times.

    Returns:
        One row per pair.
    """
    n_images, n_points = shape[:2]
    slots = images * n_points + points
    if not waits:
        return torch.cat([compute(part) for part in slots.split(MAX_SLOTS)])
    is_used = torch.zeros(n_images * n_points, dtype=torch.bool, device=slots.device)
    is_used[slots] = True
    distinct = is_used.nonzero().squeeze(1)  # (N,)
    rows = torch.cat([compute(part) for part in distinct.chunk(PARTS)])
    return rows.index_select(0, (is_used.cumsum(0) - 1).index_select(0, slots))


def check_shape(predictions: Predictions, n_points: int, n_classes: int | None = None) -> None:
    """Check that predictions match the anchor points and the number of classes.

    Raises:
        ValueError: The number of anchor points or classes differs.
    """
    _, points, classes = predictions.shape
    expected = n_points, classes if n_classes is None else n_classes
    if (points, classes) != expected:
        raise ValueError(
            f"predictions: {points} anchor points and {classes} classes; expected "
            f"{expected[0]} and {expected[1]}"
        )
