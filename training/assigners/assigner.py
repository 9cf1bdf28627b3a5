"""What every assigner can do.

Shapes: B images, A anchor points, C classes.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import DensePredictions, Predictions


class Assigner(ABC):
    """Decides which anchor point is to predict which box."""

    __slots__ = ()

    @abstractmethod
    def assign(self, predictions: Predictions, anchors: Anchors, targets: Targets) -> Assignment:
        """Assign anchor points to the boxes of a batch.

        Args:
            predictions: Asked for what stands at candidate pairs only.
            anchors: Anchor points of every image.
            targets: Ground truth. Boxes of one image that an anchor point suits alike are served
                in their order.

        Returns:
            The positives, in the order of their boxes.

        Raises:
            ValueError: The predictions are for other anchor points or classes.
        """

    def __call__(
        self, pred_scores: Tensor, pred_boxes_xyxy: Tensor, anchors: Anchors, targets: Targets
    ) -> Assignment:
        """Assign anchor points to the boxes of a batch, from tables of all predictions.

        Args:
            pred_scores: Probabilities, shape ``(B, A, C)``, of any floating type.
            pred_boxes_xyxy: Pixels, shape ``(B, A, 4)``, of any floating type.
            anchors: Anchor points of every image.
            targets: Ground truth.

        Returns:
            What :meth:`assign` returns.

        Raises:
            ValueError: The predictions are not of these shapes.
        """
        dense = DensePredictions(table_scores=pred_scores, table_boxes_xyxy=pred_boxes_xyxy)
        return self.assign(dense, anchors, targets)
