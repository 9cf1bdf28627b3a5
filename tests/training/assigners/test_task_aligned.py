from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from assignment_cases import Case, cases, identical, in_any_order, one_box_per_point, one_by_one
from dense_similarity import SimilarityAssigner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.candidate_pairs import CandidatePairs, pairs_inside
from training.assigners.similarity import (
    EPS,
    MIN_SCORE,
    SimilarityByClass,
    ciou,
    ciou_nwd,
    iou,
    nwd,
)
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.assigners.torch_ties import TorchTiesAssigner


def scattered(result: Assignment, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (B, A, C), boxes (B, A, 4) and labels (B, A); 0 for background."""
    targets, shape = case.targets, case.pred_scores.shape
    where = result.images, result.points
    scores, boxes = torch.zeros(shape), torch.zeros(*shape[:2], 4)
    labels = torch.zeros(shape[:2], dtype=torch.int64)
    scores[(*where, targets.labels[result.gts])] = result.scores
    boxes[where], labels[where] = targets.boxes_xyxy[result.gts], targets.labels[result.gts]
    return scores, boxes, labels


def same(case: Case, result: Assignment, dense: tuple[Tensor, ...]) -> None:
    """Compare all points that have a score, bit for bit."""
    labels, boxes, scores, positive, _ = dense
    weight = scores.sum(-1) > 0
    assert (positive | ~weight).all()
    got_scores, got_boxes, got_labels = scattered(result, case)
    assert torch.equal(got_scores, scores.float())
    assert torch.equal(got_boxes[weight], boxes[weight])
    assert torch.equal(got_labels[weight], labels[weight])
    assert len(result) == int(weight.sum())


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
    result = one_image(boxes)
    triples = zip(result.points.tolist(), result.gts.tolist(), result.scores.tolist(), strict=True)
    assert list(triples) == [pytest.approx(row, abs=1e-4) for row in expected]
    assert not result.images.any()
    assert result.scores.dtype == torch.float32


def test_no_images() -> None:
    anchors = Anchors.of_image((64, 64), [8, 16])
    none = torch.empty(0, dtype=torch.int64)
    result = SparseTaskAlignedAssigner(num_classes=5)(
        torch.empty(0, len(anchors), 5),
        torch.empty(0, len(anchors), 4),
        anchors,
        Targets(images=none, labels=none, boxes_xyxy=torch.empty(0, 4)),
    )
    assert len(result) == 0


def test_predictions_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="16 anchor points and 1 classes; expected 16 and 2"):
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


@settings(max_examples=4, deadline=None)
@given(case=cases(classes=[1000], sizes=[(96, 64)]))
def test_a_thousand_classes(case: Case) -> None:
    same(case, case.sparse(), case.dense())


def page() -> Case:
    """Draw 500 noteheads, stems and slurs, a tenth of them duplicated, and an empty second image."""
    generator = torch.Generator().manual_seed(3)
    anchors, n_boxes, n_classes = Anchors.of_image((256, 320), [8, 16, 32]), 500, 20
    centre = torch.rand(n_boxes, 2, generator=generator) * torch.tensor([320, 256])
    kinds = torch.tensor([[10.0, 8], [2, 28], [60, 6], [3, 3]])
    kind = torch.randint(0, 4, (n_boxes,), generator=generator)
    size = kinds[kind] * (0.8 + torch.rand(n_boxes, 2, generator=generator) * 0.4)
    boxes = torch.cat((centre - size / 2, centre + size / 2), dim=1)
    labels = torch.randint(0, n_classes, (n_boxes,), generator=generator)
    for values in (boxes, labels):
        values[-50:] = values[:50]
    middle = anchors.points_xy + torch.randn(2, len(anchors), 2, generator=generator) * 4
    half = torch.rand(2, len(anchors), 2, generator=generator) * 12 + 1
    return Case(
        strides=[8, 16, 32],
        anchors=anchors,
        pred_scores=torch.rand(2, len(anchors), n_classes, generator=generator) ** 3,
        pred_boxes_xyxy=torch.cat((middle - half, middle + half), dim=2),
        gt_labels=torch.stack((labels, torch.zeros_like(labels))),
        gt_boxes_xyxy=torch.stack((boxes, torch.zeros_like(boxes))),
        mask=torch.tensor([[True], [False]]).expand(2, n_boxes),
    )


def test_a_page() -> None:
    case = page()
    result = case.sparse()
    same(case, result, case.dense())
    assert len(result) > 500
    assert len(result.gts.unique()) > 250


@settings(max_examples=20, deadline=None)
@given(case=cases(), largest=st.sampled_from([1, 1500]))
def test_ties_decided_in_parts_equal_ultralytics(case: Case, largest: int) -> None:
    with mock.patch("training.assigners.torch_ties.MAX_ELEMENTS", largest):
        same(case, case.sparse(), case.dense())


def test_one_huge_box_does_not_lengthen_the_rows_of_other_ties() -> None:
    anchors = Anchors.of_image((640, 640), [8, 16, 32])
    corner = torch.rand(800, 2, generator=torch.Generator().manual_seed(0)) * 600
    boxes = torch.cat((torch.cat((corner, corner + 12), dim=1), torch.tensor([[0.0, 0, 640, 640]])))
    none = torch.zeros(len(boxes), dtype=torch.int64)
    sizes: list[tuple[int, ...]] = []
    new_zeros = Tensor.new_zeros

    def remembered(tensor: Tensor, *size: int, **options: Any) -> Tensor:  # noqa: ANN401
        sizes.append(size)
        return new_zeros(tensor, *size, **options)

    with mock.patch.object(Tensor, "new_zeros", remembered):
        TorchTiesAssigner(num_classes=1, topk2=1)(
            torch.full((1, len(anchors), 1), 0.5),
            anchors.points_xy.repeat(1, 2)[None] + torch.tensor([-9.0, -9, 9, 9]),
            anchors,
            Targets(images=none, labels=none, boxes_xyxy=boxes),
        )
    tables = [size for size in sizes if len(size) == 2 and size[0] != 2]
    assert len(tables) > 1
    assert all(n_rows == 1 or width < 700 for n_rows, width in tables)


@settings(max_examples=15, deadline=None)
@given(case=cases(ties=False, fitting=True))
def test_without_ties_the_order_does_not_matter(case: Case) -> None:
    stable = SparseTaskAlignedAssigner(
        topk=case.topk,
        topk2=case.topk2,
        num_classes=case.pred_scores.shape[2],
        alpha=case.alpha,
        beta=case.beta,
    )
    identical(case.sparse(stable), case.sparse())


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_another_similarity_equals_a_dense_assigner_with_it(case: Case) -> None:
    assigner = replace(case.assigner, similarity=ciou_nwd, min_score=MIN_SCORE, eps=EPS)
    result = case.sparse(assigner)
    same(case, result, case.dense(SimilarityAssigner, eps=EPS))


@settings(max_examples=15, deadline=None)
@given(case=cases(), k=st.integers(1, 12))
def test_of_equal_metrics_the_first_anchor_points_are_selected(case: Case, k: int) -> None:
    """Compare with a stable sort of dense rows, which is also the order of ``topk`` on a GPU."""
    targets, n_points = case.targets, len(case.anchors)
    gts, points = pairs_inside(case.anchors, targets)
    metrics = case.pred_scores[targets.images[gts], points, 0].round(decimals=1)
    rows = torch.zeros(len(targets), n_points)
    rows[gts, points] = metrics
    first = rows.argsort(dim=1, descending=True, stable=True)[:, :k]
    best = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, first, True)
    pairs = CandidatePairs.of(len(case.mask), case.anchors, targets, "ultralytics")
    assert torch.equal(pairs.stable_topk(metrics, k), best[gts, points])


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_no_point_has_two_boxes_and_no_box_too_many_points(case: Case) -> None:
    result = case.sparse()
    one_box_per_point(result, case.anchors, case.targets)
    if case.topk2 not in (None, case.topk) and len(result):
        assert result.gts.bincount().max() <= case.topk2
    assert (result.scores > 0).all()


@settings(max_examples=15, deadline=None)
@given(case=cases(ties=False), seed=st.integers(0, 2**32))
def test_order_of_boxes_does_not_matter(case: Case, seed: int) -> None:
    in_any_order(case.assigner, case, seed)


@settings(max_examples=15, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_boxes_of_different_images_may_alternate(case: Case, seed: int) -> None:
    in_any_order(case.assigner, case, seed, within_images=False)


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_images_do_not_affect_each_other(case: Case) -> None:
    one_by_one(case.assigner, case)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_half_precision_is_processed_in_single_precision(dtype: torch.dtype, case: Case) -> None:
    half = case.of_type(dtype)
    result = half.sparse()
    assert result.scores.isfinite().all()
    identical(result, half.of_type(torch.float32).sparse())


def test_large_half_precision_boxes_are_finite() -> None:
    """The square of 300 px exceeds 65,504, the largest number of float16."""
    anchors = Anchors.of_image((640, 640), [8, 16, 32])
    zero = torch.zeros(1, dtype=torch.int64)
    result = SparseTaskAlignedAssigner(num_classes=1)(
        torch.full((1, len(anchors), 1), 0.5, dtype=torch.float16),
        torch.tensor([20.0, 20, 600, 620]).half().expand(1, len(anchors), 4),
        anchors,
        Targets(images=zero, labels=zero, boxes_xyxy=torch.tensor([[10.0, 10, 630, 630]])),
    )
    assert len(result) == 10
    assert result.scores.isfinite().all()


@settings(max_examples=20)
@given(case=cases())
def test_one_similarity_and_beta_may_be_given_per_class(case: Case) -> None:
    n_classes = case.pred_scores.shape[2]
    plain = SparseTaskAlignedAssigner(num_classes=n_classes, beta=5.0, similarity=iou)
    by_class = replace(
        plain,
        beta=torch.full((n_classes,), 5.0),
        similarity=SimilarityByClass(measures=(ciou, iou), choice=torch.ones(n_classes).long()),
    )
    result = [
        each.assign(case.predictions, case.anchors, case.targets) for each in (plain, by_class)
    ]
    identical(*result)


def test_each_class_has_its_beta() -> None:
    anchors = Anchors.of_image((64, 64), [16])
    points = anchors.points_xy
    boxes = torch.tensor([[-12.0, -12, 28, 28], [31.0, 31, 61, 61]])
    targets = Targets(
        images=torch.zeros(2, dtype=torch.int64), labels=torch.tensor([0, 1]), boxes_xyxy=boxes
    )
    result = SparseTaskAlignedAssigner(
        num_classes=2, beta=torch.tensor([6.0, 1.0]), similarity=nwd, eps=0
    )(
        torch.full((1, len(anchors), 2), 0.25),
        torch.cat((points - 12, points + 12), dim=1)[None],
        anchors,
        targets,
    )
    for gt, beta in enumerate([6.0, 1.0]):
        of_gt = result.gts == gt
        centres = points[result.points[of_gt]]
        similarities = nwd(
            boxes[gt].expand(len(centres), 4), torch.cat((centres - 12, centres + 12), 1)
        )
        expected = (similarities / similarities.max()) ** beta * similarities.max()
        torch.testing.assert_close(result.scores[of_gt], expected)
        assert of_gt.sum() > 1
