"""Seeded batches for assigners and losses: symbols, and predictions of a half-trained head.

Shapes: B images, A anchor points, C classes, R bins of a distance, G ground-truth boxes of all
images, P candidate pairs.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from training.assigners.assignment import Anchors, Targets
from training.assigners.candidate_pairs import pairs_inside

STRIDES = (8, 16, 32)
BINS = 16
PEAK = 2.0
"""Decrease of a bin's logit per stride of distance from the side."""
LARGE = 50
"""Mean boxes per image from which boxes are drawn like symbols on a page, not objects in a
photo."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Size of a batch."""

    n_images: int
    n_boxes: int
    """Mean boxes per image."""
    n_classes: int
    side: int
    """Image side in pixels."""
    half: bool = False
    """Whether the head's outputs are bfloat16."""

    def __str__(self) -> str:
        kind = ", bf16" if self.half else ""
        return f"{self.n_images} x {self.n_boxes}, {self.n_classes}, {self.side}{kind}"

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Parse ``IMAGESxBOXESxCLASSESxPX`` with an optional suffix ``xbf16``.

        Raises:
            ValueError: The text has another format.
        """
        numbers = text.removesuffix("xbf16").split("x")
        if len(numbers) != 4:
            raise ValueError(f"{text}: expected IMAGESxBOXESxCLASSESxPX")
        n_images, n_boxes, n_classes, side = map(int, numbers)
        return cls(
            n_images=n_images,
            n_boxes=n_boxes,
            n_classes=n_classes,
            side=side,
            half=text.endswith("xbf16"),
        )

    @property
    def text(self) -> str:
        """Text that :meth:`parse` reads."""
        numbers = f"{self.n_images}x{self.n_boxes}x{self.n_classes}x{self.side}"
        return numbers + ("xbf16" if self.half else "")

    @property
    def counts(self) -> Tensor:
        """Boxes of each image, from 0.4 to 1.6 times the mean."""
        return (self.n_boxes * torch.linspace(0.4, 1.6, self.n_images)).round().long()

    @property
    def n_points(self) -> int:
        """Anchor points per image."""
        return sum((self.side // stride) ** 2 for stride in STRIDES)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """Ground truth and predictions of a batch."""

    case: Case
    anchors: Anchors
    targets: Targets
    pred_scores: Tensor
    """Probabilities, shape ``(B, A, C)``."""
    pred_boxes_xyxy: Tensor
    """Predicted boxes in pixels, shape ``(B, A, 4)``."""

    def to(self, device: str) -> "Scene":
        """Copy everything to a device."""
        targets = self.targets
        return Scene(
            case=self.case,
            anchors=Anchors.of_levels(self.anchors.levels, device),
            targets=replace(
                targets,
                images=targets.images.to(device),
                labels=targets.labels.to(device),
                boxes_xyxy=targets.boxes_xyxy.to(device),
            ),
            pred_scores=self.pred_scores.to(device),
            pred_boxes_xyxy=self.pred_boxes_xyxy.to(device),
        )


@torch.no_grad()
def draw(case: Case) -> Scene:
    """Draw a batch, always the same for a case.

    An anchor point inside a box predicts that box with some noise, and its class; a point inside
    several boxes predicts one of them. All others predict a box around themselves with low scores.
    """
    torch.manual_seed(0)
    anchors = Anchors.of_image((case.side, case.side), STRIDES)
    targets = _symbols(case)
    half = anchors.strides[:, None] * (torch.rand(case.n_images, len(anchors), 2) * 2 + 0.5)
    boxes = torch.cat((anchors.points_xy - half, anchors.points_xy + half), dim=2)  # (B, A, 4)
    scores = torch.rand(case.n_images, len(anchors), case.n_classes).pow_(4).mul_(0.1)
    gts, points = pairs_inside(anchors, targets)
    owners = torch.full((case.n_images * len(anchors),), -1)
    owners.scatter_reduce_(0, targets.images[gts] * len(anchors) + points, gts, "amax")
    owned = (owners >= 0).nonzero().squeeze(1)
    gts, slots = owners[owned], (owned // len(anchors), owned % len(anchors))
    boxes.index_put_(slots, _jittered(targets.boxes_xyxy[gts]))
    scores.index_put_((*slots, targets.labels[gts]), torch.rand(len(gts)) * 0.9 + 0.05)
    return Scene(
        case=case, anchors=anchors, targets=targets, pred_scores=scores, pred_boxes_xyxy=boxes
    )


def _symbols(case: Case) -> Targets:
    """Draw ground truth: noteheads, with a slur or beam for every twentieth."""
    counts = case.counts
    n = int(counts.sum())
    centre = torch.rand(n, 2) * case.side
    if case.n_boxes < LARGE:
        size = 16 * 20 ** torch.rand(n, 2)
    else:
        size = torch.rand(n, 2) * 14 + 3
        size[::20, 0] = torch.rand(len(size[::20])) * 300 + 30
    return Targets(
        images=torch.arange(case.n_images).repeat_interleave(counts),
        labels=torch.randint(0, case.n_classes, (n,)),
        boxes_xyxy=torch.cat((centre - size / 2, centre + size / 2), dim=1).clamp_(0, case.side),
    )


def _jittered(boxes_xyxy: Tensor) -> Tensor:
    """Move and scale each box by a random amount up to a third of its size, ``(P, 4)``."""
    size = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    amount = torch.rand(len(size), 1) / 3 * size  # (P, 2)
    centre = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) / 2 + amount * (torch.rand_like(size) - 0.5)
    half = (size + amount * torch.randn_like(size)).clamp_(min=1) / 2
    return torch.cat((centre - half, centre + half), dim=1)


@torch.no_grad()
def padded(targets: Targets, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Convert targets to the padded format of Ultralytics' assigner.

    Args:
        targets: Ground truth, sorted by image.
        counts: Boxes of each image, on the CPU, shape ``(B,)``.

    Returns:
        Labels, boxes and mask, shape ``(B, N, 1)``, ``(B, N, 4)`` and ``(B, N, 1)``, where N is the
        number of boxes of the fullest image.
    """
    counts = counts.to(targets.images.device)
    mask = torch.arange(int(counts.max()), device=counts.device) < counts[:, None]
    labels = targets.boxes_xyxy.new_zeros(*mask.shape, 1)
    boxes = targets.boxes_xyxy.new_zeros(*mask.shape, 4)
    labels[mask], boxes[mask] = targets.labels[:, None].float(), targets.boxes_xyxy
    return labels, boxes, mask[..., None].float()


@torch.no_grad()
def head_outputs(scene: Scene) -> dict[str, Tensor | list[Tensor]]:
    """Compute the head outputs that decode to the predictions of a scene.

    Returns:
        Dictionary with ``scores``, logits, ``(B, C, A)``, and ``boxes``, ``(B, 4 * R, A)``, leaves
        with a gradient; and ``feats``, feature maps of which only the sizes matter.
    """
    dtype = torch.bfloat16 if scene.case.half else torch.float32
    n_images, device = scene.case.n_images, scene.pred_scores.device
    logits = scene.pred_scores.transpose(1, 2).logit(eps=1e-4).to(dtype).contiguous()
    sides = torch.empty(n_images, 4 * BINS, len(scene.anchors), dtype=dtype, device=device)
    bins = torch.arange(BINS, device=device)[:, None]
    points = torch.cat((scene.anchors.points_xy, -scene.anchors.points_xy), dim=1)  # (A, 4)
    corners = torch.tensor([1, 1, -1, -1], device=device)
    for image in range(n_images):  # several copies of the whole table would take too much memory
        pixels = points - scene.pred_boxes_xyxy[image] * corners
        distances = (pixels / scene.anchors.strides[:, None]).clamp_(0, BINS - 1.01)  # (A, 4)
        peaks = (bins - distances.T[:, None]).abs_().mul_(-PEAK)  # (4, R, A)
        sides[image] = functional.log_softmax(peaks, dim=1).flatten(0, 1)
    none = logits.new_zeros(1)
    feats = [none.expand(n_images, 1, level.height, level.width) for level in scene.anchors.levels]
    return {"scores": logits.requires_grad_(), "boxes": sides.requires_grad_(), "feats": feats}
