"""Random predictions and ground truth for tests of assigners, and laws that all of them keep."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor
from ultralytics.utils.tal import TaskAlignedAssigner

from training.assigners.assigner import Assigner
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import DensePredictions
from training.assigners.torch_ties import TorchTiesAssigner

IMGSZ = ((32, 64), (96, 64), (160, 320))
STRIDES = ([8, 16, 32], [16], [32, 8], [4, 8, 16, 32])


@dataclass(frozen=True, kw_only=True)
class Case:
    """Predictions and padded ground truth in the format of Ultralytics."""

    strides: list[int]
    anchors: Anchors
    pred_scores: Tensor
    pred_boxes_xyxy: Tensor
    gt_labels: Tensor
    gt_boxes_xyxy: Tensor
    mask: Tensor
    topk: int = 10
    topk2: int | None = None
    alpha: float = 0.5
    beta: float = 6.0

    @property
    def targets(self) -> Targets:
        images, places = self.mask.nonzero(as_tuple=True)
        return Targets(
            images=images,
            labels=self.gt_labels[images, places],
            boxes_xyxy=self.gt_boxes_xyxy[images, places],
        )

    @property
    def predictions(self) -> DensePredictions:
        return DensePredictions(
            table_scores=self.pred_scores, table_boxes_xyxy=self.pred_boxes_xyxy
        )

    def of_type(self, dtype: torch.dtype) -> "Case":
        """Convert the predictions to another precision."""
        return replace(
            self,
            pred_scores=self.pred_scores.to(dtype),
            pred_boxes_xyxy=self.pred_boxes_xyxy.to(dtype),
        )

    def of_image(self, image: int) -> "Case":
        one = slice(image, image + 1)
        return replace(
            self,
            pred_scores=self.pred_scores[one],
            pred_boxes_xyxy=self.pred_boxes_xyxy[one],
            gt_labels=self.gt_labels[one],
            gt_boxes_xyxy=self.gt_boxes_xyxy[one],
            mask=self.mask[one],
        )

    @property
    def assigner(self) -> TorchTiesAssigner:
        """Assigner that decides ties like Ultralytics."""
        return TorchTiesAssigner(
            topk=self.topk,
            topk2=self.topk2,
            num_classes=self.pred_scores.shape[2],
            alpha=self.alpha,
            beta=self.beta,
        )

    def sparse(self, assigner: Assigner | None = None) -> Assignment:
        assigner = assigner or self.assigner
        return assigner(self.pred_scores, self.pred_boxes_xyxy, self.anchors, self.targets)

    def dense(self, assigner: type = TaskAlignedAssigner, eps: float = 1e-9) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = assigner(
            topk=self.topk,
            topk2=self.topk2,
            num_classes=self.pred_scores.shape[2],
            alpha=self.alpha,
            beta=self.beta,
            stride=self.strides,
            eps=eps,
        )(
            self.pred_scores,
            self.pred_boxes_xyxy,
            self.anchors.points_xy,
            self.gt_labels[..., None].float(),
            self.gt_boxes_xyxy,
            self.mask[..., None].float(),
        )
        return result


def draw_boxes(
    generator: torch.Generator, n: int, imgsz: tuple[int, int], *, whole: bool, copies: bool
) -> Tensor:
    """Draw tiny to huge boxes: some outside the image, some touching, some identical."""
    height, width = imgsz
    centre = (torch.rand(n, 2, generator=generator) * 1.4 - 0.2) * torch.tensor([width, height])
    size = 2 ** (torch.rand(n, 2, generator=generator) * 12 - 3)
    boxes = torch.cat((centre - size / 2, centre + size / 2), dim=1)
    if whole:
        boxes = (boxes / 4).round() * 4
    kind = torch.randint(0, 6, (n,), generator=generator).tolist()
    for i in range(1, n):
        if kind[i] == 0 and copies:
            boxes[i] = boxes[i - 1]
        elif kind[i] == 1:
            shift = boxes[i - 1, 2] - boxes[i - 1, 0]
            boxes[i] = boxes[i - 1] + torch.tensor([shift, 0, shift, 0])
    return boxes


def fit(boxes_xyxy: Tensor, anchors: Anchors, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Predict roughly the nearest box at each point: centres and sides, ``(B, A, 2)`` each."""
    centre = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2  # (B, G, 2)
    side = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    nearest = torch.cdist(anchors.points_xy[None], centre).argmin(dim=2)  # (B, A)
    batch = torch.arange(len(boxes_xyxy))[:, None]
    centre, side = centre[batch, nearest], side[batch, nearest]
    noise = torch.rand(2, *side.shape, generator=generator) - 0.5
    return centre + noise[0] * side * 0.1, side * (1 + noise[1] * 0.2) + 0.5


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    ties: bool = True,
    fitting: bool = False,
    classes: Sequence[int] = (1, 3),
    sizes: Sequence[tuple[int, int]] = IMGSZ,
) -> Case:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    strides = draw(st.sampled_from(STRIDES))
    imgsz = draw(st.sampled_from(sizes))
    n_images, n_classes = draw(st.integers(1, 4)), draw(st.sampled_from([*classes]))
    counts = draw(st.lists(st.integers(0, 20), min_size=n_images, max_size=n_images))
    anchors, most = Anchors.of_image(imgsz, strides), max(counts)
    boxes = torch.zeros(n_images, most, 4)
    for image, count in enumerate(counts):
        whole = ties and draw(st.booleans())
        boxes[image, :count] = draw_boxes(generator, count, imgsz, whole=whole, copies=ties)
    side = anchors.strides[:, None] * 2 ** (
        torch.rand(n_images, len(anchors), 2, generator=generator) * 4 - 2
    )
    scores = torch.rand(n_images, len(anchors), n_classes, generator=generator) ** 4
    centre = anchors.points_xy + torch.randn(n_images, len(anchors), 2, generator=generator) * 3
    if ties and draw(st.booleans()):
        side, centre = (side / 8).ceil() * 8, anchors.points_xy.expand_as(centre)
    if fitting and most:
        centre, side = fit(boxes, anchors, generator)
    if ties and draw(st.booleans()):
        scores = (scores * 2).round() / 2
    return Case(
        strides=strides,
        anchors=anchors,
        pred_scores=scores,
        pred_boxes_xyxy=torch.cat((centre - side / 2, centre + side / 2), dim=2),
        gt_labels=torch.randint(0, n_classes, (n_images, most), generator=generator),
        gt_boxes_xyxy=boxes,
        mask=torch.arange(most) < torch.tensor(counts)[:, None],
        topk=min(draw(st.sampled_from([1, 3, 10])), len(anchors)),
        topk2=draw(st.sampled_from([None, 1, 2])),
        alpha=draw(st.sampled_from([0.5, 1.0])),
        beta=draw(st.sampled_from([6.0, 2.5])),
    )


def alike(first: Assignment, second: Assignment) -> None:
    """Compare except for the order, and for the last bit of a score, which depends on it."""
    orders = [(each.images * 10**6 + each.points).argsort() for each in (first, second)]
    for name in ("images", "points", "gts"):
        assert torch.equal(getattr(first, name)[orders[0]], getattr(second, name)[orders[1]])
    for name in ("scores", "weights"):
        values = getattr(first, name)[orders[0]], getattr(second, name)[orders[1]]
        torch.testing.assert_close(*values, rtol=1e-5, atol=1e-12)


def identical(first: Assignment, second: Assignment) -> None:
    for name in ("images", "points", "gts", "scores", "weights"):
        assert torch.equal(getattr(first, name), getattr(second, name))


def in_any_order(assigner: Assigner, case: Case, seed: int, *, within_images: bool = True) -> None:
    """Check that the order of boxes does not matter; ``within_images=False`` keeps it per image."""
    targets = case.targets
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    if not within_images:
        order[targets.images[order].argsort(stable=True)] = torch.arange(len(targets))
    shuffled = Targets(
        images=targets.images[order],
        labels=targets.labels[order],
        boxes_xyxy=targets.boxes_xyxy[order],
    )
    result = assigner.assign(case.predictions, case.anchors, shuffled)
    expected = assigner.assign(case.predictions, case.anchors, targets)
    alike(expected, replace(result, gts=order[result.gts]))


def one_by_one(assigner: Assigner, case: Case) -> None:
    """Check that the images of a batch do not affect each other."""
    whole = assigner.assign(case.predictions, case.anchors, case.targets)
    first_gt = 0
    for image in range(len(case.mask)):
        alone, here = case.of_image(image), whole.images == image
        alike(
            Assignment(
                images=whole.images[here] - image,
                points=whole.points[here],
                gts=whole.gts[here] - first_gt,
                scores=whole.scores[here],
                weights=whole.weights[here],
            ),
            assigner.assign(alone.predictions, alone.anchors, alone.targets),
        )
        first_gt += int(case.mask[image].sum())


def one_box_per_point(result: Assignment, anchors: Anchors, targets: Targets) -> None:
    """Check that no point has two boxes or a box of another image."""
    slots = result.images * len(anchors) + result.points
    assert len(slots.unique()) == len(slots)
    assert torch.equal(targets.images[result.gts], result.images)
