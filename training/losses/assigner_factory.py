"""Creates the assigner of a loss, and counts its candidate pairs.

To add an assigner:

1. Write a module in :mod:`training.assigners` with a class that implements
   :class:`~training.assigners.assigner.Assigner`.
2. Add its name to :data:`~settings.training.AssignerName`, and its help to the setting
   ``assigner``, which also holds the default.
3. Add a function that creates it to :data:`ASSIGNERS`; and if it ignores ``similarity`` or
   ``beta``, an entry to :data:`~training.losses.loss_options.UNUSED`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.ops import xywh2xyxy

from settings.training import AssignerName
from training.assigners.assigner import Assigner
from training.assigners.assignment import SmallBoxes, levels_of, on_device
from training.assigners.candidate_pairs import candidate_counts
from training.assigners.similarity import SIMILARITIES, Similarity, SimilarityByClass
from training.assigners.simota import SparseSimOTA
from training.assigners.static import StaticAssigner
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.heads.grouped import GroupedDetect
from training.losses.loss_options import LossOptions


def make_assigner(
    options: LossOptions, head: Detect | None = None, topk: int = 10, topk2: int | None = None
) -> Assigner:
    """Build the assigner of a loss.

    Args:
        options: Options of the loss.
        head: Detection head, whose groups of classes may override similarity and beta; None for
            one class.
        topk: Maximum number of points that a box selects, for ``tal``.
        topk2: Maximum number of points that a box keeps.
    """
    return ASSIGNERS[options.assigner](options, head, topk, topk2)


def _task_aligned(
    options: LossOptions, head: Detect | None, topk: int, topk2: int | None
) -> Assigner:
    betas = _by_class(head, "beta", options.beta)
    beta = betas[0] if len(set(betas)) == 1 else torch.tensor(betas, device=_device(head))
    common = _common(options, head)
    return SparseTaskAlignedAssigner(topk=topk, topk2=topk2, beta=beta, eps=options.eps, **common)


def _simota(options: LossOptions, head: Detect | None, _topk: int, topk2: int | None) -> Assigner:
    return SparseSimOTA(max_points=topk2, **_common(options, head))


def _static(_options: LossOptions, _head: Detect | None, _topk: int, topk2: int | None) -> Assigner:
    return StaticAssigner(max_points=topk2)


ASSIGNERS: dict[AssignerName, Callable[[LossOptions, Detect | None, int, int | None], Assigner]] = {
    "tal": _task_aligned,
    "simota": _simota,
    "static": _static,
}
"""Functions that create the assigners; their arguments are those of :func:`make_assigner`."""


def _common(options: LossOptions, head: Detect | None) -> dict[str, Any]:
    """Return the arguments that assigners with a similarity share."""
    return {
        "num_classes": 1 if head is None else head.nc,
        "small_boxes": options.small_boxes,
        "min_score": options.min_score,
        "similarity": _similarity(options, head),
    }


def _similarity(options: LossOptions, head: Detect | None) -> Similarity | SimilarityByClass:
    names = _by_class(head, "similarity", options.similarity)
    known = sorted(set(names))
    if len(known) == 1:
        return SIMILARITIES[known[0]]
    choice = torch.tensor([known.index(name) for name in names], device=_device(head))
    return SimilarityByClass(measures=tuple(SIMILARITIES[name] for name in known), choice=choice)


def _by_class(head: Detect | None, name: str, default: Any) -> list[Any]:  # noqa: ANN401
    """List an option's value for each class: that of its group, or the default."""
    values = [default] * (1 if head is None else head.nc)
    if isinstance(head, GroupedDetect):
        for labels, group in zip(head.labels, head.config.groups, strict=True):
            for label in labels:
                values[label] = getattr(group, name) or default
    return values


def _device(head: Detect | None) -> torch.device:
    return torch.device("cpu") if head is None else next(head.parameters()).device


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCounter:
    """Counts the candidate pairs of a batch in main memory, before it is copied to a GPU.

    Counting on the GPU would force a synchronisation, because the host needs the number of pairs.
    """

    strides: tuple[float, ...]
    """Pixels per cell of each level."""
    small_boxes: SmallBoxes
    radius: float

    @classmethod
    def of_loss(cls, options: LossOptions, strides: Sequence[float]) -> "PairCounter":
        """Create a counter for the assigner of a loss.

        Args:
            options: Options of the loss.
            strides: Pixels per cell of each level.
        """
        small_boxes, radius = make_assigner(options).reach(strides)
        return cls(strides=tuple(strides), small_boxes=small_boxes, radius=radius)

    def count(self, boxes_xywh: Tensor, imgsz: tuple[int, int]) -> int:
        """Count the pairs of a batch.

        Args:
            boxes_xywh: Boxes as fractions of the image, shape ``(G, 4)``, in main memory.
            imgsz: Height and width of the images in pixels, multiples of every stride.
        """
        boxes = boxes_in_pixels(boxes_xywh, imgsz[::-1])
        levels = levels_of(imgsz, self.strides)
        return int(candidate_counts(levels, boxes, self.small_boxes, self.radius).sum())


def boxes_in_pixels(boxes_xywh: Tensor, size: tuple[float, float]) -> Tensor:
    """Convert the boxes of a batch to the format of assigners.

    Args:
        boxes_xywh: Boxes as fractions of the image, shape ``(G, 4)``.
        size: Width and height of the image in pixels.

    Returns:
        Boxes xyxy in pixels, float32, shape ``(G, 4)``; NaN for a zero-size box at the origin.
        No anchor point is inside such a box; removing it would force a GPU synchronisation.
    """
    boxes = boxes_xywh.float()
    boxes_xyxy: Tensor = xywh2xyxy(boxes * on_device([*size] * 2, boxes))
    return boxes_xyxy.masked_fill(boxes_xyxy.sum(dim=1, keepdim=True) <= 0, torch.nan)
