"""Loss of a detection head, computed from a flat list of positives.

Computes the same loss as Ultralytics' ``v8DetectionLoss``. Ultralytics' loss stores target scores
and decoded boxes for all anchor points, and pads every image to the number of boxes of the fullest
one; this loss needs memory only for the candidate pairs and one table of logits.

Main path: :func:`detection_criterion` creates a :class:`DetectionLoss` for a model, and
:func:`make_assigner` its assigner (``tal``, ``simota`` or ``static``). In each step Ultralytics'
model calls its ``criterion``, which ``OmrTrainer`` has set to this loss. :meth:`DetectionLoss.loss`
assigns anchor points to boxes and sums the losses of the positives.

Shapes: B images, A anchor points, C classes, R bins of a distance, G ground-truth boxes of all
images, M positives.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import E2ELoss
from ultralytics.utils.tal import bbox2dist

from training.assigners.assigner import Assigner
from training.assigners.assignment import (
    Anchors,
    Assignment,
    Level,
    Targets,
    on_device,
)
from training.assigners.similarity import complete_iou
from training.heads.distance_bins import bin_values
from training.losses.assigner_factory import boxes_in_pixels, make_assigner
from training.losses.class_terms import CLASS_TERMS
from training.losses.head_outputs import HeadOutputs
from training.losses.loss_options import STOCK, LossOptions
from training.losses.side_terms import distances_and_losses
from training.runtime.distributed import total_a_rank

BRANCHES = "one2many", "one2one"
"""Names of the two losses in Ultralytics' ``E2ELoss``."""


class DetectionLoss:
    """Loss of boxes, classes and distances with the interface of ``v8DetectionLoss``.

    A batch may have ``class_mask``, bool, shape ``(B, C)``: False for classes that an image does
    not label. Predictions of such a class do not contribute to the loss.

    Args:
        model: Model with a ``Detect`` head and its ``args`` set. Its ``class_weights``, shape
            ``(C,)``, are used if the model has any.
        tal_topk: Maximum number of anchor points that a box selects, if the assigner has such a
            limit.
        tal_topk2: Maximum number of anchor points that a box keeps; 1 for a head without NMS.
        options: Options of loss and label assignment.
    """

    def __init__(
        self,
        model: DetectionModel,
        tal_topk: int = 10,
        tal_topk2: int | None = None,
        *,
        options: LossOptions = STOCK,
    ) -> None:
        head = model.model[-1]
        self.device = next(model.parameters()).device
        self.hyp = model.args
        self.strides: list[float] = head.stride.tolist()
        self.bins = bin_values(head).to(self.device)
        one_group = torch.zeros(head.nc, dtype=torch.int64)
        self.group_of = getattr(head, "group_of", one_group).to(self.device)
        self.assigner = make_assigner(options, head, tal_topk, tal_topk2)
        self.class_term = CLASS_TERMS[options.class_loss]
        self.gains = getattr(head, "gains", torch.ones(head.nc)).to(self.device)
        weights = getattr(model, "class_weights", None)
        self.class_weights = None if weights is None else weights.float().to(self.device)
        self._anchors: Anchors | None = None
        self.loss_names = "box_loss", "cls_loss", "dfl_loss" if len(self.bins) > 1 else "l1_loss"

    def __call__(
        self, preds: dict[str, Any] | tuple[Tensor, dict[str, Any]], batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a head's output.

        Args:
            preds: Dictionary with ``boxes``, shape ``(B, 4 * R, A)``, ``scores``, logits
                ``(B, C, A)``, and ``feats``, the feature maps of the levels; in validation a tuple
                of the predictions and this dictionary.
            batch: Dictionary with ``batch_idx`` ``(G,)``, ``cls`` ``(G, 1)`` and ``bboxes``, xywh
                as fractions of the image, ``(G, 4)``. Optional: ``class_mask``; and ``n_pairs``,
                the number of candidate pairs from :class:`PairCounter`; if given, the host never
                waits for the device.

        Returns:
            Losses of boxes, classes and distances, multiplied by B, shape ``(3,)``; and a
            dictionary of the detached losses by name, not multiplied.
        """
        return self.loss(self.parse_output(preds), batch)

    def parse_output(self, preds: dict[str, Any] | tuple[Tensor, dict[str, Any]]) -> dict[str, Any]:
        """Return the head outputs alone; in validation, the head also returns predictions."""
        return preds[1] if isinstance(preds, tuple) else preds

    def loss(
        self, preds: dict[str, Any], batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss from the dictionary of head outputs; see :meth:`__call__`."""
        # Half precision lacks the range for squared pixels and for sums over thousands of points.
        with torch.autocast(self.device.type, enabled=False):
            outputs = self._outputs(preds, batch)
            targets = self._targets(outputs, batch)
            assignment = self.assigner.assign(outputs, outputs.anchors, targets)
            total = total_a_rank(assignment.weights.sum(), least=1)  # mean over the devices
            box, distance = self._box_losses(outputs, targets, assignment)
            parts = torch.stack(
                (
                    box * self.hyp.box,
                    self._class_loss(outputs, targets, assignment, batch) * self.hyp.cls,
                    distance * self.hyp.dfl,
                )
            )
            losses = parts / total
        return losses * len(outputs.logits), dict(
            zip(self.loss_names, losses.detach(), strict=True)
        )

    def _outputs(self, preds: Mapping[str, Any], batch: Mapping[str, Any]) -> HeadOutputs:
        anchors = self._anchors_of([tuple(level.shape[2:]) for level in preds["feats"]])
        return HeadOutputs(
            logits=preds["scores"],
            sides=preds["boxes"],
            bins=self.bins,
            anchors=anchors,
            group_of=self.group_of,
            waits="n_pairs" not in batch,
        )

    def _anchors_of(self, sizes: Sequence[tuple[int, int]]) -> Anchors:
        """Create the anchor points for grids of these heights and widths, or reuse the last ones.

        Args:
            sizes: Rows and columns of each level.
        """
        levels = tuple(
            Level(height=height, width=width, stride=stride)
            for (height, width), stride in zip(sizes, self.strides, strict=True)
        )
        if self._anchors is not None and self._anchors.levels == levels:
            return self._anchors
        anchors = Anchors.of_levels(levels, self.device)
        if not torch.is_inference_mode_enabled():  # inference tensors cannot be used in training
            self._anchors = anchors
        return anchors

    def _targets(self, outputs: HeadOutputs, batch: Mapping[str, Any]) -> Targets:
        """Convert ground-truth boxes to pixels; zero-size boxes at the origin are padding.

        With groups of classes, image b and group g have the index b * n_groups + g, as in
        :mod:`training.losses.head_outputs`.
        """
        boxes = boxes_in_pixels(batch["bboxes"].to(self.device), outputs.anchors.size)
        labels = batch["cls"].to(self.device).long().flatten()
        images = batch["batch_idx"].to(self.device).long().flatten()
        if outputs.n_groups > 1:
            images = images * outputs.n_groups + self.group_of[labels]
        return Targets(images=images, labels=labels, boxes_xyxy=boxes, n_pairs=batch.get("n_pairs"))

    def _class_loss(
        self,
        outputs: HeadOutputs,
        targets: Targets,
        assignment: Assignment,
        batch: Mapping[str, Tensor],
    ) -> Tensor:
        weights = self.gains.expand(outputs.logits.shape[:2])
        if self.class_weights is not None:
            weights = weights * self.class_weights
        if "class_mask" in batch:
            weights = weights * batch["class_mask"].to(self.device)
        labels = targets.labels[assignment.gts]
        where = outputs.images_of(assignment.images), labels, assignment.points
        is_real = None if outputs.waits else assignment.weights > 0
        return self.class_term.total(outputs.logits, where, assignment.scores, weights, is_real)

    def _box_losses(
        self, outputs: HeadOutputs, targets: Targets, assignment: Assignment
    ) -> tuple[Tensor, Tensor]:
        """Sum the weighted losses of IoU and distances over the positives."""
        points, gts = assignment.points, assignment.gts
        sides = outputs.sides_at(assignment.images, points)  # (M, 4, R)
        strides = outputs.anchors.strides[points, None]  # (M, 1)
        gt_boxes = targets.boxes_xyxy[gts] / strides  # (M, 4)
        if not outputs.waits:  # weight 0 times the NaN of an empty box would be NaN
            gt_boxes = torch.where(assignment.weights[:, None] > 0, gt_boxes, 0.0)
        wanted = bbox2dist(outputs.centres(points), gt_boxes)  # (M, 4) in strides
        if len(self.bins) > 1:
            distances, side_losses = distances_and_losses(sides, self.bins, wanted)
        else:
            # Without bins Ultralytics compares fractions of the image.
            scale = strides / on_device([*outputs.anchors.size] * 2, strides)
            distances = outputs.distances(sides)
            side_losses = functional.l1_loss(distances * scale, wanted * scale, reduction="none")
        fit = complete_iou(outputs.boxes(distances, points), gt_boxes)  # (M,)
        weights = assignment.weights * self.gains[targets.labels[gts]]
        return ((1 - fit) * weights).sum(), (side_losses.mean(dim=1) * weights).sum()


def detection_criterion(
    model: DetectionModel, options: LossOptions = STOCK
) -> DetectionLoss | E2ELoss:
    """Build the training loss of a model.

    Args:
        model: Model with a ``Detect`` head and its ``args`` set.
        options: Options of loss and label assignment.

    Returns:
        A :class:`DetectionLoss`. For a head with an additional branch that needs no NMS,
        Ultralytics' ``E2ELoss`` with two such losses, which gradually shifts the weight from one to
        the other.
    """
    loss = partial(DetectionLoss, options=options)
    two_branches = getattr(model.model[-1], "one2one_cv2", None) is not None
    return E2ELoss(model, loss_fn=loss) if two_branches else loss(model)


def wrap_assigners(criterion: object, wrap: Callable[[Assigner], Assigner]) -> None:
    """Replace the assigner of a training loss, or those of both losses in an ``E2ELoss``.

    Args:
        criterion: Result of :func:`detection_criterion`; a loss without an assigner is unchanged.
        wrap: Function that maps the current assigner to its replacement.
    """
    for loss in (criterion, *(getattr(criterion, name, None) for name in BRANCHES)):
        if hasattr(loss, "assigner"):
            loss.assigner = wrap(loss.assigner)
