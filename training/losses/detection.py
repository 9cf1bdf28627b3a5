"""Loss of a detection head from a flat assignment.

What Ultralytics' ``v8DetectionLoss`` comes to, without its tables of all boxes of the fullest image
against all anchor points, of all target scores and of all decoded boxes: the memory is that of the
candidate pairs and of one table of logits.

Shapes: B images, A anchor points, C classes, R bins of a distance, G ground-truth boxes of all
images, M positives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import DFLoss, E2ELoss
from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.ops import xywh2xyxy
from ultralytics.utils.tal import bbox2dist

from class_maps import ConfigError
from training.assigners.assigner import Assigner
from training.assigners.assignment import (
    Anchors,
    Assignment,
    Level,
    SmallBoxes,
    Targets,
    candidate_counts,
    check_small_boxes,
    levels_of,
    on_device,
)
from training.assigners.similarity import EPS, LEAST_SCORE, OVERLAPS, OverlapByClass, SimilarityName
from training.assigners.simota import SparseSimOTA
from training.assigners.static import StaticAssigner
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.heads.distance_bins import bin_values
from training.heads.grouped import GroupedDetect
from training.losses.class_terms import CLASS_TERMS, ClassLoss
from training.losses.head_outputs import HeadOutputs
from training.runtime.distributed import total_a_rank

AssignerName = Literal["tal", "simota", "static"]
UNUSED: dict[AssignerName, tuple[str, ...]] = {
    "tal": (),
    "simota": ("beta",),
    "static": ("similarity", "beta"),
}
"""Options of measuring, also of a group, that an assigner does not look at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossOptions:
    """How a training assigns and weighs; ``static`` looks at nothing below ``class_loss``.

    Raises:
        ConfigError: A name is none of those there are.
        ValueError: ``small_boxes`` is no policy.
    """

    assigner: AssignerName = "tal"
    class_loss: ClassLoss = "bce"
    similarity: SimilarityName = "ciou+nwd"
    """How a prediction's fit is measured: ``ciou+nwd``, the larger of CIoU and half the nearness;
    ``ciou``, ``iou``, ``nwd``, the nearness alone, or ``dilated``. A group of a head
    config may have its own."""
    beta: float = 6.0
    """Power of the overlap in the metric of ``tal``; a group may have its own."""
    least_score: float = LEAST_SCORE
    """What the best point of a symbol is to predict, however badly its box fits."""
    eps: float = EPS
    """Added to a symbol's best metric of ``tal`` before it divides."""
    small_boxes: SmallBoxes = "ultralytics"

    def __post_init__(self) -> None:
        check_small_boxes(self.small_boxes)
        known_names = {
            "assigner": AssignerName,
            "class_loss": ClassLoss,
            "similarity": SimilarityName,
        }
        for name, known in known_names.items():
            value = getattr(self, name)
            if value not in get_args(known):
                raise ConfigError(f"{name}: {value}: expected one of {', '.join(get_args(known))}")


STOCK = LossOptions(similarity="ciou", least_score=0.0, eps=1e-9)
"""The numbers of Ultralytics' own loss."""


class DetectionLoss:
    """Loss of boxes, classes and distances; takes and returns what ``v8DetectionLoss`` does.

    A batch may have ``class_mask``, bool, shape ``(B, C)``: False where an image's labels say
    nothing of a class. What is predicted of that class there, right or wrong, costs nothing.

    Args:
        model: Its head is a ``Detect``, and it has its ``args`` set; a ``class_weights`` of shape
            ``(C,)`` is used if it has one.
        tal_topk: Anchor points that a box takes at most, where the assigner has such a number.
        tal_topk2: Anchor points that a box keeps at most; 1 for a head without suppression.
        options: How to assign and weigh.
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
        self.dfl = DFLoss(head.reg_max) if head.reg_max > 1 else None
        self._anchors: Anchors | None = None
        self.loss_names = "box_loss", "cls_loss", "dfl_loss" if self.dfl else "l1_loss"

    def __call__(
        self, preds: dict[str, Any] | tuple[Tensor, dict[str, Any]], batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare a head's output with the labels.

        Args:
            preds: ``boxes``, shape ``(B, 4 * R, A)``, ``scores``, logits, ``(B, C, A)``, and
                ``feats``, the maps of the levels; in a validation, after what the head predicts.
            batch: ``batch_idx`` ``(G,)``, ``cls`` ``(G, 1)``, ``bboxes``, xywh as shares of the
                image, ``(G, 4)``; perhaps ``class_mask``; perhaps ``n_pairs``, the number of
                candidate pairs as :class:`PairCounter` gives it, with which nothing here waits for
                the device.

        Returns:
            Losses of boxes, classes and distances, each times B, shape ``(3,)``; and each by its
            name, not times B and without a gradient.
        """
        return self.loss(self.parse_output(preds), batch)

    def parse_output(self, preds: dict[str, Any] | tuple[Tensor, dict[str, Any]]) -> dict[str, Any]:
        """Take what the loss is of, which in a validation comes after what the head predicts."""
        return preds[1] if isinstance(preds, tuple) else preds

    def loss(
        self, preds: dict[str, Any], batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Do what a call does, for an output that is parsed already."""
        # Half precision has neither the range for squares of pixels nor for sums of thousands.
        with torch.autocast(self.device.type, enabled=False):
            outputs = self._outputs(preds, batch)
            targets = self._targets(outputs, batch)
            found = self.assigner.assign(outputs, outputs.anchors, targets)
            total = total_a_rank(found.weights.sum(), least=1)
            box, distance = self._boxes(outputs, targets, found)
            parts = torch.stack(
                (
                    box * self.hyp.box,
                    self._classes(outputs, targets, found, batch) * self.hyp.cls,
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
        """Place the anchor points for grids of these heights and widths, or reuse the last ones."""
        levels = tuple(
            Level(height=height, width=width, stride=stride)
            for (height, width), stride in zip(sizes, self.strides, strict=True)
        )
        if self._anchors is not None and self._anchors.levels == levels:
            return self._anchors
        anchors = Anchors.of_levels(levels, self.device)
        if not torch.is_inference_mode_enabled():  # such tensors could take no part in a training
            self._anchors = anchors
        return anchors

    def _targets(self, outputs: HeadOutputs, batch: Mapping[str, Any]) -> Targets:
        """Labels in pixels; a box of no size at the origin counts as none, as padding does."""
        boxes = boxes_in_pixels(batch["bboxes"].to(self.device), outputs.anchors.size)
        labels = batch["cls"].to(self.device).long().flatten()
        images = batch["batch_idx"].to(self.device).long().flatten()
        if outputs.n_groups > 1:
            images = images * outputs.n_groups + self.group_of[labels]
        return Targets(images=images, labels=labels, boxes_xyxy=boxes, n_pairs=batch.get("n_pairs"))

    def _classes(
        self,
        outputs: HeadOutputs,
        targets: Targets,
        found: Assignment,
        batch: Mapping[str, Tensor],
    ) -> Tensor:
        weights = self.gains.expand(outputs.logits.shape[:2])
        if self.class_weights is not None:
            weights = weights * self.class_weights
        if "class_mask" in batch:
            weights = weights * batch["class_mask"].to(self.device)
        where = outputs.images_of(found.images), targets.labels[found.gts], found.anchors
        counts = None if outputs.waits else found.weights > 0
        return self.class_term.total(outputs.logits, where, found.scores, weights, counts)

    def _boxes(
        self, outputs: HeadOutputs, targets: Targets, found: Assignment
    ) -> tuple[Tensor, Tensor]:
        """Losses of overlap and distances at the positives, weighted and summed up."""
        sides = outputs.sides_at(found.images, found.anchors)  # (M, 4, R)
        strides = outputs.anchors.strides[found.anchors, None]  # (M, 1)
        wanted = targets.boxes_xyxy[found.gts] / strides  # (M, 4)
        if not outputs.waits:  # 0 times the NaN of a blank box would be NaN
            wanted = torch.where(found.weights[:, None] > 0, wanted, 0.0)
        boxes = outputs.decoded(sides, found.anchors)
        fit = bbox_iou(boxes, wanted, xywh=False, CIoU=True).squeeze(1)  # (M,)
        distances = bbox2dist(outputs.centres(found.anchors), wanted)  # (M, 4) in strides
        if self.dfl:
            of_sides = self.dfl(sides.flatten(0, 1), distances - self.bins[0])  # (M, 1)
        else:
            # Shares of the image, as Ultralytics counts them where there are no bins.
            shares = strides / on_device([*outputs.anchors.size] * 2, strides)
            found_shares = sides[..., 0] * shares  # (M, 4)
            of_sides = functional.l1_loss(found_shares, distances * shares, reduction="none")
        weights = found.weights * self.gains[targets.labels[found.gts]]
        return ((1 - fit) * weights).sum(), (of_sides.mean(dim=1) * weights).sum()


def boxes_in_pixels(boxes_xywh: Tensor, size: tuple[float, float]) -> Tensor:
    """Turn the boxes of a batch into the form that assigners take.

    Args:
        boxes_xywh: Shares of the image, shape ``(G, 4)``.
        size: Width and height of the image in pixels.

    Returns:
        xyxy in pixels, float32, shape ``(G, 4)``; NaN for a box of no size at the origin. No anchor
        point is inside NaN, and to leave such boxes out the host would wait for the device.
    """
    boxes = boxes_xywh.float()
    boxes_xyxy: Tensor = xywh2xyxy(boxes * on_device([*size] * 2, boxes))
    return boxes_xyxy.masked_fill(boxes_xyxy.sum(dim=1, keepdim=True) <= 0, torch.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCounter:
    """Counts the candidate pairs of a batch in main memory, before it goes to a GPU.

    Everything about a batch is known where it is loaded; on the GPU, the host would have to wait to
    learn how long the list of pairs is.
    """

    strides: tuple[float, ...]
    """Pixels per cell of each level."""
    small_boxes: SmallBoxes
    radius: float

    @classmethod
    def of_loss(cls, options: LossOptions, strides: Sequence[float]) -> "PairCounter":
        """Count what the assigner of a loss looks at.

        Args:
            options: Those of the loss.
            strides: Pixels per cell of each level.
        """
        inside: dict[str, Any] = {"num_classes": 1, "small_boxes": options.small_boxes}
        assigners: dict[str, SparseTaskAlignedAssigner | SparseSimOTA | StaticAssigner] = {
            "tal": SparseTaskAlignedAssigner(**inside),
            "simota": SparseSimOTA(**inside),
            "static": StaticAssigner(),
        }
        small_boxes, radius = assigners[options.assigner].reach(strides)
        return cls(strides=tuple(strides), small_boxes=small_boxes, radius=radius)

    def count(self, boxes_xywh: Tensor, imgsz: tuple[int, int]) -> int:
        """Count the pairs of a batch.

        Args:
            boxes_xywh: Shares of the image, shape ``(G, 4)``, in main memory.
            imgsz: Height and width of the images in pixels, multiples of every stride.
        """
        boxes = boxes_in_pixels(boxes_xywh, imgsz[::-1])
        levels = levels_of(imgsz, self.strides)
        return int(candidate_counts(levels, boxes, self.small_boxes, self.radius).sum())


def make_assigner(options: LossOptions, head: Detect, topk: int, topk2: int | None) -> Assigner:
    """Build an assigner by its name.

    Args:
        options: Which one, and how it measures.
        head: Whose classes these are, perhaps in groups that measure in their own way.
        topk: Points that a box takes at most, for ``tal``.
        topk2: Points that a box keeps at most.
    """
    if options.assigner == "static":
        return StaticAssigner(most=topk2)
    device = next(head.parameters()).device
    names = _by_class(head, "similarity", options.similarity)
    common: dict[str, Any] = {
        "num_classes": head.nc,
        "small_boxes": options.small_boxes,
        "least_score": options.least_score,
        "overlap": OVERLAPS[names[0]],
    }
    if len(set(names)) > 1:
        order = sorted(set(names))
        choice = torch.tensor([order.index(name) for name in names], device=device)
        overlaps = tuple(OVERLAPS[name] for name in order)
        common["overlap"] = OverlapByClass(overlaps=overlaps, choice=choice)
    if options.assigner == "simota":
        return SparseSimOTA(most=topk2, **common)
    betas = _by_class(head, "beta", options.beta)
    beta = betas[0] if len(set(betas)) == 1 else torch.tensor(betas, device=device)
    return SparseTaskAlignedAssigner(topk=topk, topk2=topk2, beta=beta, eps=options.eps, **common)


def _by_class(head: Detect, name: str, default: Any) -> list[Any]:  # noqa: ANN401
    """Give each class what its group says of something, or else the default."""
    values = [default] * head.nc
    if isinstance(head, GroupedDetect):
        for own, group in zip(head.labels, head.config.groups, strict=True):
            for label in own:
                values[label] = getattr(group, name) or default
    return values


def detection_criterion(
    model: DetectionModel, options: LossOptions = STOCK
) -> DetectionLoss | E2ELoss:
    """Build the loss that a model is trained with.

    Args:
        model: Its head is a ``Detect``, and it has its ``args`` set.
        options: How to assign and weigh.

    Returns:
        A :class:`DetectionLoss`; for a head with a branch that needs no suppression two of them,
        in Ultralytics' ``E2ELoss``, which shifts the weight from one to the other.
    """
    loss = partial(DetectionLoss, options=options)
    two_branches = getattr(model.model[-1], "one2one_cv2", None) is not None
    return E2ELoss(model, loss_fn=loss) if two_branches else loss(model)
