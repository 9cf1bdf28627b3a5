"""The nearness assigner over Ultralytics' dense maps, to compare the sparse one with."""

import torch
from torch import Tensor
from ultralytics.utils.tal import TaskAlignedAssigner

from training.assigners.similarity import LEAST_SCORE, overlap


class NearnessAssigner(TaskAlignedAssigner):  # type: ignore[misc]
    """Ultralytics' assigner with :func:`overlap` in place of CIoU, and a least score."""

    def get_box_metrics(self, *args: Tensor, **options: Tensor) -> tuple[Tensor, Tensor]:
        """Rank the pairs as Ultralytics does, and lift their overlaps, in the same order.

        Args:
            args: Those of ``TaskAlignedAssigner``.
            options: Likewise.

        Returns:
            What anchors are chosen by, and what becomes their score, shape ``(B, G, A)`` each; 0
            where an anchor is no candidate.
        """
        metrics, overlaps = super().get_box_metrics(*args, **options)
        lifted = LEAST_SCORE + (1 - LEAST_SCORE) * overlaps
        return metrics, torch.where(overlaps > 0, lifted, overlaps)

    def iou_calculation(self, gt_bboxes: Tensor, pd_bboxes: Tensor) -> Tensor:
        """Call :func:`overlap`."""
        return overlap(gt_bboxes, pd_bboxes)
