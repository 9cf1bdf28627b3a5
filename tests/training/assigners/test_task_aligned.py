from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from ultralytics.utils.tal import TaskAlignedAssigner

from dense_nearness import NearnessAssigner
from training.assigners.nearness import EPS, LEAST_SCORE, ciou, overlap
from training.assigners.assignment import Anchors, Assignment, Targets, candidate_pairs
from training.assigners.pairs import Pairs
from training.assigners.task_aligned import SparseTaskAlignedAssigner

STRIDES = ([8, 16, 32], [16], [32, 8], [4, 8, 16, 32])


@dataclass(frozen=True, kw_only=True)
class Case:
    """Predictions and padded ground truth, as Ultralytics takes them."""

    strides: list[int]
    anchors: Anchors
    pred_scores: Tensor
    pred_boxes_xyxy: Tensor
    gt_labels: Tensor
    gt_boxes_xyxy: Tensor
    mask: Tensor
    topk: int = 10
    topk2: int | None = None

    @property
    def targets(self) -> Targets:
        images, places = self.mask.nonzero(as_tuple=True)
        return Targets(
            images=images,
            labels=self.gt_labels[images, places],
            boxes_xyxy=self.gt_boxes_xyxy[images, places],
        )

    @property
    def assigner(self) -> SparseTaskAlignedAssigner:
        return SparseTaskAlignedAssigner(
            topk=self.topk, topk2=self.topk2, num_classes=self.pred_scores.shape[2]
        )

    def sparse(self, assigner: SparseTaskAlignedAssigner | None = None) -> Assignment:
        assigner = assigner or self.assigner
        return assigner(self.pred_scores, self.pred_boxes_xyxy, self.anchors, self.targets)

    def dense(self, assigner: type = TaskAlignedAssigner, eps: float = 1e-9) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = assigner(
            topk=self.topk,
            topk2=self.topk2,
            num_classes=self.pred_scores.shape[2],
            alpha=0.5,
            beta=6.0,
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
        return found


def draw_boxes(
    generator: torch.Generator, n: int, imgsz: tuple[int, int], *, whole: bool, copies: bool
) -> Tensor:
    """Tiny to huge boxes, partly or wholly off the image, some touching, some identical."""
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


@st.composite
def cases(draw: st.DrawFn, *, ties: bool = True) -> Case:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    strides = draw(st.sampled_from(STRIDES))
    imgsz = draw(st.sampled_from([(32, 64), (96, 64), (160, 320)]))
    n_images, n_classes = draw(st.integers(1, 4)), draw(st.sampled_from([1, 3]))
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
    )


def scattered(found: Assignment, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (B, A, C), boxes (B, A, 4) and labels (B, A); 0 for background."""
    targets, shape = case.targets, case.pred_scores.shape
    where = found.images, found.anchors
    scores, boxes = torch.zeros(shape), torch.zeros(*shape[:2], 4)
    labels = torch.zeros(shape[:2], dtype=torch.int64)
    scores[(*where, targets.labels[found.gts])] = found.scores
    boxes[where], labels[where] = targets.boxes_xyxy[found.gts], targets.labels[found.gts]
    return scores, boxes, labels


def same(case: Case, found: Assignment, dense: tuple[Tensor, ...]) -> None:
    """Compare what has a score: to the last bit."""
    labels, boxes, scores, positive, _ = dense
    weight = scores.sum(-1) > 0
    assert (positive | ~weight).all()
    got_scores, got_boxes, got_labels = scattered(found, case)
    assert torch.equal(got_scores, scores.float())
    assert torch.equal(got_boxes[weight], boxes[weight])
    assert torch.equal(got_labels[weight], labels[weight])
    assert len(found) == int(weight.sum())


def alike(first: Assignment, second: Assignment) -> None:
    """Compare but for the order, and for the last bit of a score, which hangs on its place."""
    orders = [(found.images * 10**6 + found.anchors).argsort() for found in (first, second)]
    for name in ("images", "anchors", "gts"):
        assert torch.equal(getattr(first, name)[orders[0]], getattr(second, name)[orders[1]])
    scores = first.scores[orders[0]], second.scores[orders[1]]
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-12)


def one_image(gt_boxes_xyxy: list[list[float]], num_classes: int = 1) -> Assignment:
    """Assign within 64 x 64 px, where every point of stride 16 predicts a box of 20 x 20 px."""
    anchors = Anchors.of_image((64, 64), [16])
    boxes = torch.tensor(gt_boxes_xyxy, dtype=torch.float32).reshape(-1, 4)
    none = torch.zeros(len(boxes), dtype=torch.int64)
    return SparseTaskAlignedAssigner(num_classes=num_classes)(
        torch.full((1, len(anchors), 1), 0.25),
        torch.cat((anchors.points_xy - 10, anchors.points_xy + 10), dim=1)[None],
        anchors,
        Targets(images=none, labels=none, boxes_xyxy=boxes),
    )


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        pytest.param([], [], id="no boxes"),
        pytest.param([[90, 90, 99, 99]], [], id="off the image"),
        pytest.param([[-2, -2, 18, 18]], [(0, 0, 1.0)], id="the point that predicts it"),
        pytest.param(
            [[0, 0, 24, 20], [-2, -2, 18, 18]], [(0, 1, 1.0)], id="the one it fits better"
        ),
    ],
)
def test_one_image(boxes: list[list[float]], expected: list[tuple[int, int, float]]) -> None:
    found = one_image(boxes)
    triples = zip(found.anchors.tolist(), found.gts.tolist(), found.scores.tolist(), strict=True)
    assert list(triples) == [pytest.approx(row, abs=1e-4) for row in expected]
    assert not found.images.any()
    assert found.scores.dtype == torch.float32


def test_no_images() -> None:
    anchors = Anchors.of_image((64, 64), [8, 16])
    none = torch.empty(0, dtype=torch.int64)
    found = SparseTaskAlignedAssigner(num_classes=5)(
        torch.empty(0, len(anchors), 5),
        torch.empty(0, len(anchors), 4),
        anchors,
        Targets(images=none, labels=none, boxes_xyxy=torch.empty(0, 4)),
    )
    assert len(found) == 0


def test_predictions_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="for 16 anchor points and 1 classes, expected 16 and 2"):
        one_image([[0, 0, 9, 9]], num_classes=2)


def test_no_points_are_refused() -> None:
    assigner = SparseTaskAlignedAssigner(num_classes=1)
    for name, value in (("topk", 0), ("topk2", -1), ("num_classes", 0)):
        with pytest.raises(ValueError, match="must be 1 or more"):
            replace(assigner, **{name: value})  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_same_as_ultralytics(case: Case) -> None:
    same(case, case.sparse(), case.dense())


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_nearness_can_be_expressed(case: Case) -> None:
    assigner = replace(case.assigner, overlap=overlap, least_score=LEAST_SCORE, eps=EPS)
    found = case.sparse(assigner)
    same(case, found, case.dense(NearnessAssigner, eps=EPS))


@settings(max_examples=15, deadline=None)
@given(case=cases(), k=st.integers(1, 12))
def test_equals_go_by_their_anchor_point_on_other_devices(case: Case, k: int) -> None:
    """There ``torch.topk`` takes the first of equals; here a sort of whole rows stands for it."""
    targets, n_points = case.targets, len(case.anchors)
    gts, points = candidate_pairs(case.anchors, targets)
    metrics = case.pred_scores[targets.images[gts], points, 0].round(decimals=1)
    rows = torch.zeros(len(targets), n_points)
    rows[gts, points] = metrics
    first = rows.argsort(dim=1, descending=True, stable=True)[:, :k]
    best = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, first, True)
    pairs = Pairs.of(len(case.mask), case.anchors, targets, "ultralytics")
    assert torch.equal(pairs.first_best(metrics, k), best[gts, points])


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_no_point_has_two_boxes_and_no_box_too_many(case: Case) -> None:
    found = case.sparse()
    slots = found.images * len(case.anchors) + found.anchors
    assert len(slots.unique()) == len(slots)
    assert torch.equal(case.targets.images[found.gts], found.images)
    if case.topk2 not in (None, case.topk) and len(found):
        assert found.gts.bincount().max() <= case.topk2
    assert (found.scores > 0).all()


@settings(max_examples=15, deadline=None)
@given(case=cases(ties=False), seed=st.integers(0, 2**32))
def test_order_of_boxes_does_not_matter(case: Case, seed: int) -> None:
    targets = case.targets
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    shuffled = Targets(
        images=targets.images[order],
        labels=targets.labels[order],
        boxes_xyxy=targets.boxes_xyxy[order],
    )
    assigner = case.assigner
    found = assigner(case.pred_scores, case.pred_boxes_xyxy, case.anchors, shuffled)
    alike(case.sparse(), replace(found, gts=order[found.gts]))


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_images_do_not_matter_to_each_other(case: Case) -> None:
    whole = case.sparse()
    first = 0
    for image in range(len(case.mask)):
        of_image = slice(image, image + 1)
        alone = replace(
            case,
            pred_scores=case.pred_scores[of_image],
            pred_boxes_xyxy=case.pred_boxes_xyxy[of_image],
            gt_labels=case.gt_labels[of_image],
            gt_boxes_xyxy=case.gt_boxes_xyxy[of_image],
            mask=case.mask[of_image],
        )
        found, here = alone.sparse(), whole.images == image
        alike(
            Assignment(
                images=whole.images[here] - image,
                anchors=whole.anchors[here],
                gts=whole.gts[here] - first,
                scores=whole.scores[here],
                weights=whole.weights[here],
            ),
            found,
        )
        first += int(case.mask[image].sum())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_half_precision_is_worked_on_in_single(dtype: torch.dtype, case: Case) -> None:
    half = replace(
        case,
        pred_scores=case.pred_scores.to(dtype),
        pred_boxes_xyxy=case.pred_boxes_xyxy.to(dtype),
    )
    single = replace(
        half, pred_scores=half.pred_scores.float(), pred_boxes_xyxy=half.pred_boxes_xyxy.float()
    )
    found, expected = half.sparse(), single.sparse()
    assert found.scores.isfinite().all()
    for name in ("images", "anchors", "gts", "scores"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_large_half_precision_boxes_are_finite() -> None:
    """65,504 is the largest number of float16: the square of 300 px is above."""
    anchors = Anchors.of_image((640, 640), [8, 16, 32])
    zero = torch.zeros(1, dtype=torch.int64)
    found = SparseTaskAlignedAssigner(num_classes=1)(
        torch.full((1, len(anchors), 1), 0.5, dtype=torch.float16),
        torch.tensor([20.0, 20, 600, 620]).half().expand(1, len(anchors), 4),
        anchors,
        Targets(images=zero, labels=zero, boxes_xyxy=torch.tensor([[10.0, 10, 630, 630]])),
    )
    assert len(found) == 10
    assert found.scores.isfinite().all()


def test_ciou_of_nothing() -> None:
    assert ciou(torch.empty(0, 4), torch.empty(0, 4)).shape == (0,)
