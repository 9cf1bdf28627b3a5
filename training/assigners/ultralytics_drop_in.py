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
from training.assigners.torch_ties import TorchTiesAssigner

DenseAssignment = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Target labels ``(B, A)``, boxes ``(B, A, 4)`` and scores ``(B, A, C)``, the mask of positives
``(B, A)``, and the index of the box that each point is assigned to ``(B, A)``."""


class SparseDropIn(TaskAlignedAssigner):
    """Replacement for ``TaskAlignedAssigner`` that uses candidate pairs internally.

    Scores, and the labels and boxes of all points with a score, equal those of the parent,
    including the order of ties. Points that the parent marks as positive with a score of 0, which
    no loss counts, are background here. Half-precision predictions are processed in single
    precision. Suitable for detection losses only: overlap is measured differently for masks,
    keypoints and rotated boxes.

    Args:
        args: Arguments of the parent.
        options: Keyword arguments of the parent.
    """

    def sparse_assigner(self) -> Assigner:
        """Build the assigner that does the work."""
        return TorchTiesAssigner(
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
            anc_points: Anchor points in pixels, shape ``(A, 2)``, sorted by level (in the order of
                the constructor's strides), row and column.
            gt_labels: Classes of the ground-truth boxes, shape ``(B, G, 1)``.
            gt_bboxes: Ground-truth boxes, xyxy in pixels, shape ``(B, G, 4)``.
            mask_gt: Nonzero for real boxes, 0 for padding, shape ``(B, G, 1)``.

        Returns:
            Dense targets. Background has the label and box of the image's first box, as in the
            parent.

        Raises:
            ValueError: The anchor points do not form grids of these strides.
        """
        if not gt_bboxes.shape[1]:
            empty: DenseAssignment = super().forward(
                pd_scores, pd_bboxes, anc_points, gt_labels, gt_bboxes, mask_gt
            )
            return empty
        images, columns = mask_gt.squeeze(-1).bool().nonzero(as_tuple=True)  # (N,) each
        targets = Targets(
            images=images,
            labels=gt_labels[images, columns, 0].long(),
            boxes_xyxy=gt_bboxes[images, columns],
        )
        anchors = anchors_from_points(anc_points, self.stride)
        assignment = self.sparse_assigner()(pd_scores, pd_bboxes, anchors, targets)
        slots = assignment.images, assignment.points
        gt_index = torch.zeros(pd_scores.shape[:2], dtype=torch.int64, device=images.device)
        gt_index[slots] = columns[assignment.gts]
        batch = torch.arange(len(pd_scores), device=images.device)[:, None]
        scores = pd_scores.new_zeros(pd_scores.shape, dtype=torch.float32)
        scores[(*slots, targets.labels[assignment.gts])] = assignment.scores
        positive = torch.zeros_like(gt_index, dtype=torch.bool)
        positive[slots] = True
        labels = gt_labels[batch, gt_index, 0].long().clamp_(0)
        return labels, gt_bboxes[batch, gt_index], scores, positive, gt_index


class SparseSimOTADropIn(SparseDropIn):
    """SimOTA as a replacement for ``TaskAlignedAssigner``.

    The constructor's arguments ``alpha``, ``beta`` and ``eps`` are ignored. Ultralytics weights the
    loss of a box by its score, so that a box without overlap has weight 0.
    """

    def sparse_assigner(self) -> Assigner:
        """Build the assigner that does the work."""
        return SparseSimOTA(
            topk=self.topk,
            max_points=self.topk2,
            num_classes=self.num_classes,
            small_boxes=(self.stride_val,) * len(self.stride),
        )


def anchors_from_points(points_xy: Tensor, strides: Sequence[float]) -> Anchors:
    """Reconstruct the grids of the levels from their anchor points.

    Args:
        points_xy: Anchor points in pixels, shape ``(A, 2)``.
        strides: Pixels per cell of each level.

    Raises:
        ValueError: The points do not form grids of these strides.
    """
    first, finest = strides[0], min(strides)
    # In half precision many cells of a large image coincide, but those of the first row do not.
    n_columns = int((points_xy[:, 1] == points_xy[:1, 1]).int().cumprod(0).sum())
    for width in _descending(n_columns * first, (n_columns - 1) * first, finest):
        levels: list[Level] = []
        height = 0.0
        while sum(level.height * level.width for level in levels) < len(points_xy):
            height += finest
            levels = _levels_of(strides, height, width)
        anchors = Anchors.of_levels(levels, points_xy.device)
        rounding = finest / 2 + torch.finfo(points_xy.dtype).eps * max(width, height)
        n_points = len(points_xy)
        if len(anchors) == n_points and (anchors.points_xy - points_xy).abs().max() < rounding:
            return anchors
    raise ValueError(
        f"anchor points: {len(points_xy)} points, {n_columns} in the first row, do not form grids "
        f"of strides {list(strides)}"
    )


def _descending(high: float, low: float, step: float) -> Iterator[float]:
    """Yield ``high``, ``high - step`` and so on, as long as they are above ``low``."""
    while high > low:
        yield high
        high -= step


def _levels_of(strides: Sequence[float], height: float, width: float) -> list[Level]:
    """Compute the levels for an image of this size in pixels."""
    return [
        Level(height=math.ceil(height / stride), width=math.ceil(width / stride), stride=stride)
        for stride in strides
    ]


_DROP_INS = {"tal": SparseDropIn, "simota": SparseSimOTADropIn}
_STOCK_INIT = loss.v8DetectionLoss.__init__


def patch_ultralytics(assigner: Literal["tal", "simota"] = "tal") -> None:
    """Make Ultralytics' detection losses in this process assign by candidate pairs.

    Affects losses that are built from now on, such as in ``YOLO(...).train(...)``, which builds its
    loss at the first batch. Losses for segmentation, pose and oriented boxes do not change.

    Args:
        assigner: ``tal`` for unchanged loss values (in single precision), or ``simota`` for SimOTA.

    Raises:
        ConfigError: The assigner is unknown.
    """
    if assigner not in _DROP_INS:
        raise ConfigError(f"assigner: {assigner}: expected one of {', '.join(_DROP_INS)}")
    kind = _DROP_INS[assigner]

    @functools.wraps(_STOCK_INIT)
    def init(self: loss.v8DetectionLoss, *args: object, **options: object) -> None:
        _STOCK_INIT(self, *args, **options)
        if type(self) is loss.v8DetectionLoss:  # masks and keypoints also use positives of score 0
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
    """Patch Ultralytics within a ``with`` block, which must contain the training call."""
    before = loss.v8DetectionLoss.__init__
    patch_ultralytics(assigner)
    try:
        yield
    finally:
        loss.v8DetectionLoss.__init__ = before
