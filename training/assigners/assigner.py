"""Interface of all assigners.

Shapes: B images, A anchor points, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from training.assigners.assignment import Anchors, Assignment, SmallBoxes, Targets
from training.assigners.predictions import DensePredictions, Predictions


class Assigner(ABC):
    """Assigns anchor points to ground-truth boxes."""

    __slots__ = ()

    @abstractmethod
    def reach(self, strides: Sequence[float]) -> tuple[SmallBoxes, float]:
        """Return how far candidates may be from a box, for listing the pairs and for counting them.

        Args:
            strides: Pixels per cell of each level, in the order of the head.

        Returns:
            The arguments ``small_boxes`` and ``radius`` of
            :func:`~training.assigners.candidate_pairs.pairs_inside`.
        """

    @abstractmethod
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Assign anchor points to the boxes of a batch.

        Args:
            predictions: Network output, read at candidate pairs only.
            anchors: Anchor points of every image.
            targets: Ground truth. If an anchor point suits several boxes of an image equally well,
                the first of them gets it.

        Returns:
            The positives, sorted by box.

        Raises:
            ValueError: The predictions do not match the anchor points or the number of classes.
        """

    def __call__(
        self, pred_scores: Tensor, pred_boxes_xyxy: Tensor, anchors: Anchors, targets: Targets
    ) -> Assignment:
        """Assign anchor points to the boxes of a batch, given predictions at all anchor points.

        Args:
            pred_scores: Probabilities, shape ``(B, A, C)``, any floating-point type.
            pred_boxes_xyxy: Boxes in pixels, shape ``(B, A, 4)``, any floating-point type.
            anchors: Anchor points of every image.
            targets: Ground truth.

        Returns:
            The positives, see :meth:`assign`.

        Raises:
            ValueError: The predictions do not have these shapes.
        """
        dense = DensePredictions(table_scores=pred_scores, table_boxes_xyxy=pred_boxes_xyxy)
        return self.assign(dense, anchors, targets)


class WrappedAssigner(Assigner):
    """Base of assigners that wrap another one and use its candidates.

    Args:
        inner: Assigner that does the work.
    """

    __slots__ = ("inner",)

    def __init__(self, inner: Assigner) -> None:
        self.inner = inner

    def reach(self, strides: Sequence[float]) -> tuple[SmallBoxes, float]:
        """See :class:`Assigner`."""
        return self.inner.reach(strides)
