"""What an assigner may ask of a detector's output, at the places that it names.

Shapes: B images, A anchor points, C classes, P pairs of a box and an anchor point, N places of an
image and an anchor point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

PARTS = 8
"""Steps in which a large table is worked through: an eighth of the memory, whatever its size."""
AT_ONCE = 2**16
"""Places that are worked through in a single step where each is worked out by itself."""
NEVER = 100.0
"""What a probability of 0 costs; that of torch's ``binary_cross_entropy``."""


class Predictions(Protocol):
    """Output of a detector for a batch."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, A and C."""

    def scores(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Give the probability of one class at each place, float32, shape ``(P,)``."""

    def class_costs(self, images: Tensor, points: Tensor, labels: Tensor) -> Tensor:
        """Give the sum over all classes of the binary cross-entropy, float32, shape ``(P,)``.

        Against 1 for the class named and 0 for all others.
        """

    def boxes_xyxy(self, images: Tensor, points: Tensor) -> Tensor:
        """Give the predicted box at each place, pixels, float32, shape ``(P, 4)``."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DensePredictions:
    """Probabilities and boxes as tables of all anchor points, of any floating type."""

    table_scores: Tensor
    """Shape ``(B, A, C)``."""
    table_boxes_xyxy: Tensor
    """Pixels, shape ``(B, A, 4)``."""
    waits: bool = True
    """Whether the host may wait for the device to learn how many places are different."""

    def __post_init__(self) -> None:
        if self.table_boxes_xyxy.shape != (*self.table_scores.shape[:2], 4):
            raise ValueError(
                f"predictions: scores are of shape {tuple(self.table_scores.shape)} and boxes of "
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

        def of_no_class(slots: Tensor) -> Tensor:
            scores = rows.index_select(0, slots).float()  # (N, C)
            return scores.neg_().log1p_().clamp_(min=-NEVER).sum(dim=1).neg_()

        none = once_each(of_no_class, images, points, self.shape, waits=self.waits)  # (P,)
        score = self.scores(images, points, labels)
        right = score.log().clamp_(min=-NEVER)
        wrong = torch.log1p(-score).clamp_(min=-NEVER)
        return (none + wrong - right).clamp_(min=0)


def once_each(
    compute: Callable[[Tensor], Tensor],
    images: Tensor,
    points: Tensor,
    shape: tuple[int, ...],
    *,
    waits: bool = True,
) -> Tensor:
    """Work something out for every place, only once for those named several times.

    Args:
        compute: From slots, image times A plus anchor point, shape ``(N,)``, to N rows.
        images: Shape ``(P,)``.
        points: Shape ``(P,)``.
        shape: Begins with B and A.
        waits: Whether the host may wait for the device. How many different places there are is
            known there only; without waiting, a place is worked out as often as it is named.

    Returns:
        P rows.
    """
    n_images, n_points = shape[:2]
    slots = images * n_points + points
    if not waits:
        n_parts = PARTS if len(slots) > AT_ONCE else 1
        return torch.cat([compute(part) for part in slots.chunk(n_parts)])
    named = torch.zeros(n_images * n_points, dtype=torch.bool, device=slots.device)
    named[slots] = True
    different = named.nonzero().squeeze(1)  # (N,)
    rows = torch.cat([compute(part) for part in different.chunk(PARTS)])
    return rows.index_select(0, (named.cumsum(0) - 1).index_select(0, slots))


def check_shape(predictions: Predictions, n_points: int, n_classes: int | None = None) -> None:
    """Refuse predictions for other anchor points, or for another number of classes.

    Raises:
        ValueError: They are.
    """
    _, points, classes = predictions.shape
    expected = n_points, classes if n_classes is None else n_classes
    if (points, classes) != expected:
        raise ValueError(
            f"predictions: for {points} anchor points and {classes} classes, expected "
            f"{expected[0]} and {expected[1]}"
        )
