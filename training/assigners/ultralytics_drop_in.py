"""Sparse assignment for code that expects Ultralytics' ``TaskAlignedAssigner``.

Shapes: B images, A anchor points, C classes, G boxes of the fullest image.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor
from ultralytics.utils import loss
from ultralytics.utils.tal import TaskAlignedAssigner

from class_maps import ConfigError
from training.assigners.assigner import Assigner
from training.assigners.assignment import Anchors, Level, Targets
from training.assigners.simota import SparseSimOTA
from training.assigners.task_aligned import SparseTaskAlignedAssigner

DenseAssignment = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Target labels ``(B, A)``, boxes ``(B, A, 4)`` and scores ``(B, A, C)``, whether a point is a
positive ``(B, A)``, and the box of its image that each point is assigned to ``(B, A)``."""


class SparseDropIn(TaskAlignedAssigner):
    """Takes and returns what its parent does, and assigns by candidate pairs.

    Scores, and the labels and boxes of all points with a score, are the parent's. A point that it
    calls a positive with a score of 0, which no loss counts, is background here. Predictions of
    half precision are worked on in single precision. For a detection loss only: what is chosen by
    masks, key points or rotated boxes overlaps otherwise.

    Args:
        args: Those of the parent.
        options: Likewise.
    """

    def flat(self) -> Assigner:
        """Build the assigner that does the work."""
        return SparseTaskAlignedAssigner(
            topk=self.topk,
            topk2=self.topk2,
            num_classes=self.num_classes,
            alpha=self.alpha,
            beta=self.beta,
            eps=self.eps,
            small_boxes=(self.stride_val,) * len(self.stride),
        )

    @torch.no_grad()
    def forward(
        self,
        pd_scores: Tensor,
        pd_bboxes: Tensor,
        anc_points: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        mask_gt: Tensor,
    ) -> DenseAssignment:
        """Assign anchor points to the boxes of a batch.

        Args:
            pd_scores: Probabilities, shape ``(B, A, C)``.
            pd_bboxes: Predicted boxes, xyxy in pixels, shape ``(B, A, 4)``.
            anc_points: Pixels, shape ``(A, 2)``: level after level of the strides given to the
                constructor, row after row.
            gt_labels: Shape ``(B, G, 1)``.
            gt_bboxes: True boxes, xyxy in pixels, shape ``(B, G, 4)``.
            mask_gt: Not 0 where there is a box, shape ``(B, G, 1)``.

        Returns:
            Dense targets; background has the label and box of the image's first box, as it has
            with the parent.

        Raises:
            ValueError: The anchor points are no grids of these strides.
        """
        if not gt_bboxes.shape[1]:
            empty: DenseAssignment = super().forward(
                pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt
            )
            return empty
        images, places = mask_gt.squeeze(-1).bool().nonzero(as_tuple=True)  # (N,) each
        targets = Targets(
            images=images,
            labels=gt_labels[images, places, 0].long(),
            boxes_xyxy=gt_bboxes[images, places],
        )
        grid = grid_of(anc_points, self.stride)
        found = self.flat()(pd_scores, pd_bboxes, grid, targets)
        where = found.images, found.anchors
        chosen = torch.zeros(pd_scores.shape[:2], dtype=torch.int64, device=images.device)
        chosen[where] = places[found.gts]
        batch = torch.arange(len(pd_scores), device=images.device)[:, None]
        scores = pd_scores.new_zeros(pd_scores.shape, dtype=torch.float32)
        scores[(*where, targets.labels[found.gts])] = found.scores
        positive = torch.zeros_like(chosen, dtype=torch.bool)
        positive[where] = True
        labels = gt_labels[batch, chosen, 0].long().clamp_(0)
        return labels, gt_bboxes[batch, chosen], scores, positive, chosen


class SparseSimOTADropIn(SparseDropIn):
    """SimOTA in the place of the task-aligned assigner.

    Of the constructor's arguments ``alpha``, ``beta`` and ``eps`` mean nothing to it. Ultralytics
    weighs the loss of a box by its score: that of a box which overlaps nothing counts 0.
    """

    def flat(self) -> Assigner:
        """Build the assigner that does the work."""
        return SparseSimOTA(
            topk=self.topk,
            most=self.topk2,
            num_classes=self.num_classes,
            small_boxes=(self.stride_val,) * len(self.stride),
        )


def grid_of(points_xy: Tensor, strides: Sequence[float]) -> Anchors:
    """Find the grids that anchor points form.

    Args:
        points_xy: Pixels, shape ``(A, 2)``.
        strides: Pixels per cell of each level.

    Raises:
        ValueError: They form no grids of these strides.
    """
    finest = min(strides)
    # Points of coarser levels lie elsewhere in a cell, and may lie beyond the finest level's.
    of_finest = (points_xy % finest == finest / 2).all(dim=1, keepdim=True)
    sides = torch.where(of_finest, points_xy, 0).float().amax(dim=0) + finest / 2
    width, height = sides.tolist()
    levels = [
        Level(height=math.ceil(height / stride), width=math.ceil(width / stride), stride=stride)
        for stride in strides
    ]
    grid = Anchors.of_levels(levels, points_xy.device)
    # Half precision cannot tell the cells of a large image apart to the pixel.
    if len(grid) != len(points_xy) or (grid.points_xy - points_xy).abs().max() >= finest / 2:
        raise ValueError(
            f"anchor points: {len(points_xy)} points up to {width:g} x {height:g} px are no grids "
            f"of the strides {list(strides)}"
        )
    return grid


_DROP_INS = {"tal": SparseDropIn, "simota": SparseSimOTADropIn}


def patch_ultralytics(assigner: Literal["tal", "simota"] = "tal") -> None:
    """Make every detection loss that Ultralytics builds from now on assign by candidate pairs.

    For a plain ``yolo train``; losses that exist already stay as they are. Segmentation, pose and
    oriented boxes have assigners of their own, which stay.

    Args:
        assigner: ``tal`` changes no loss; ``simota`` does.

    Raises:
        ConfigError: There is no such assigner.
    """
    if assigner not in _DROP_INS:
        raise ConfigError(f"assigner: {assigner}: expected one of {', '.join(_DROP_INS)}")
    loss.TaskAlignedAssigner = _DROP_INS[assigner]


def unpatch_ultralytics() -> None:
    """Undo :func:`patch_ultralytics`."""
    loss.TaskAlignedAssigner = TaskAlignedAssigner


@contextlib.contextmanager
def patched_ultralytics(assigner: Literal["tal", "simota"] = "tal") -> Iterator[None]:
    """Patch Ultralytics within a ``with`` block."""
    before = loss.TaskAlignedAssigner
    patch_ultralytics(assigner)
    try:
        yield
    finally:
        loss.TaskAlignedAssigner = before
