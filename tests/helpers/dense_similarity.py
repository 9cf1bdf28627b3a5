"""Ultralytics' dense assigner with the similarity of omr, to compare the sparse assigner with."""

import torch
from torch import Tensor
from ultralytics.utils.tal import TaskAlignedAssigner

from training.assigners.similarity import MIN_SCORE, ciou_nwd


class SimilarityAssigner(TaskAlignedAssigner):  # type: ignore[misc]
    """Ultralytics' assigner with :func:`ciou_nwd` instead of CIoU, and a minimum score."""

    def get_box_metrics(self, *args: Tensor, **options: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the metrics like Ultralytics, and then raise the similarities.

        Args:
            args: Arguments of ``TaskAlignedAssigner``.
            options: Its keyword arguments.

        Returns:
            Metrics that anchor points are selected by, and their similarities, which become the
            scores, shape ``(B, G, A)`` each; 0 where an anchor point is not a candidate.
        """
        metrics, similarities = super().get_box_metrics(*args, **options)
        raised = MIN_SCORE + (1 - MIN_SCORE) * similarities
        return metrics, torch.where(similarities > 0, raised, similarities)

    def iou_calculation(self, gt_bboxes: Tensor, pd_bboxes: Tensor) -> Tensor:
        """Call :func:`ciou_nwd`."""
        return ciou_nwd(gt_bboxes, pd_bboxes)
