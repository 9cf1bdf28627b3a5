"""Sparse assignment for code that expects Ultralytics' ``TaskAlignedAssigner``.

Shapes: B images, A anchor points, C classes, G boxes of the fullest image.
"""

import contextlib
import functools
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
    first, finest = strides[0], min(strides)
    # Half precision cannot tell the cells of a large image apart, but the first row it can.
    cells = int((points_xy[:, 1] == points_xy[:1, 1]).int().cumprod(0).sum())
    for width in _down(cells * first, (cells - 1) * first, finest):
        levels: list[Level] = []
        height = 0.0
        while sum(level.height * level.width for level in levels) < len(points_xy):
            height += finest
            levels = _levels_of(strides, height, width)
        grid = Anchors.of_levels(levels, points_xy.device)
        rounding = finest / 2 + torch.finfo(points_xy.dtype).eps * max(width, height)
        if len(grid) == len(points_xy) and (grid.points_xy - points_xy).abs().max() < rounding:
            return grid
    raise ValueError(
        f"anchor points: {len(points_xy)} points, {cells} in the first row, are no grids of the "
        f"strides {list(strides)}"
    )


def _down(high: float, low: float, step: float) -> Iterator[float]:
    """Count from ``high`` down to what is still above ``low``."""
    while high > low:
        yield high
        high -= step


def _levels_of(strides: Sequence[float], height: float, width: float) -> list[Level]:
    """Levels of an image of this size in pixels."""
    return [
        Level(height=math.ceil(height / stride), width=math.ceil(width / stride), stride=stride)
        for stride in strides
    ]


_DROP_INS = {"tal": SparseDropIn, "simota": SparseSimOTADropIn}
_STOCK_INIT = loss.v8DetectionLoss.__init__


def patch_ultralytics(assigner: Literal["tal", "simota"] = "tal") -> None:
    """Make every detection loss that Ultralytics builds from now on assign by candidate pairs.

    For a plain ``YOLO(...).train(...)`` in this process; losses that exist already stay as they
    are, and one is built with the first batch. Those of segmentation, pose and oriented boxes stay
    as they are, too.

    Args:
        assigner: ``tal`` changes no loss in single precision; ``simota`` does.

    Raises:
        ConfigError: There is no such assigner.
    """
    if assigner not in _DROP_INS:
        raise ConfigError(f"assigner: {assigner}: expected one of {', '.join(_DROP_INS)}")
    kind = _DROP_INS[assigner]

    @functools.wraps(_STOCK_INIT)
    def init(self: loss.v8DetectionLoss, *args: object, **options: object) -> None:
        _STOCK_INIT(self, *args, **options)
        if type(self) is loss.v8DetectionLoss:  # others' masks and key points go by every positive
            stock = self.assigner
            self.assigner = kind(
                topk=stock.topk,
                num_classes=stock.num_classes,
                alpha=stock.alpha,
                beta=stock.beta,
                stride=stock.stride,
                eps=stock.eps,
                topk2=stock.topk2,
            )

    loss.v8DetectionLoss.__init__ = init


def unpatch_ultralytics() -> None:
    """Undo :func:`patch_ultralytics`."""
    loss.v8DetectionLoss.__init__ = _STOCK_INIT


@contextlib.contextmanager
def patched_ultralytics(assigner: Literal["tal", "simota"] = "tal") -> Iterator[None]:
    """Patch Ultralytics within a ``with`` block, which has to hold the training."""
    before = loss.v8DetectionLoss.__init__
    patch_ultralytics(assigner)
    try:
        yield
    finally:
        loss.v8DetectionLoss.__init__ = before
