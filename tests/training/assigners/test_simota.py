import math
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch
from assignment_cases import Case, cases, identical, in_any_order, one_box_per_point, one_by_one
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.plain_simota import box_iou, candidates, class_costs, plain_simota
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.candidate_pairs import pairs_inside
from training.assigners.similarity import ciou_nwd
from training.assigners.simota import SparseSimOTA

SMALL: tuple[Literal["ultralytics", "none"], ...] = ("ultralytics", "none")


def assigner_of(case: Case, radius: float = 2.5) -> SparseSimOTA:
    return SparseSimOTA(
        num_classes=case.pred_scores.shape[2], topk=case.topk, max_points=case.topk2, radius=radius
    )


def sparse(case: Case, assigner: SparseSimOTA) -> Assignment:
    return assigner(case.pred_scores, case.pred_boxes_xyxy, case.anchors, case.targets)


def plain(case: Case, assigner: SparseSimOTA) -> Assignment:
    """Run the plain assigner in double precision, to avoid relevant rounding."""
    return plain_simota(
        case.pred_scores.double(),
        case.pred_boxes_xyxy.double(),
        case.anchors,
        case.targets,
        radius=assigner.radius,
        topk=assigner.topk,
        max_points=assigner.max_points,
        iou_weight=assigner.iou_weight,
        min_side=0.0 if assigner.small_boxes == "none" else None,
    )


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Costs and similarities of one image in double precision."""

    inside: Tensor
    """Mask of candidates, shape ``(G, A)`` like the other two."""
    overlaps: Tensor
    costs: Tensor
    labels: Tensor
    pred_scores: Tensor

    @classmethod
    def of(cls, case: Case, image: int, assigner: SparseSimOTA) -> "Tables":
        here = case.targets.images == image
        boxes, labels = case.targets.boxes_xyxy[here], case.targets.labels[here]
        second = case.strides[min(1, len(case.strides) - 1)]
        least = 0.0 if assigner.small_boxes == "none" else second
        overlaps = box_iou(boxes, case.pred_boxes_xyxy[image].double())
        costs = class_costs(case.pred_scores[image].double(), labels)
        costs -= assigner.iou_weight * (overlaps + 1e-8).log()
        inside = candidates(case.anchors, boxes, assigner.radius, least)
        return cls(
            inside=inside,
            overlaps=overlaps,
            costs=torch.where(inside, costs, torch.inf),
            labels=labels,
            pred_scores=case.pred_scores[image],
        )

    def near(self, costs: Tensor, to: Tensor) -> Tensor:
        """Check whether rounding to single precision could swap two costs."""
        return costs.isfinite() & ((costs - to).abs() < 1e-5 * (10 + to))

    def numbers(self, assigner: SparseSimOTA) -> tuple[list[int], bool]:
        """Compute the number of points of each box, and whether it is independent of rounding."""
        numbers, sure = [], True
        for inside, overlaps in zip(self.inside, self.overlaps, strict=True):
            most = int(inside.sum())
            largest = overlaps[inside].topk(min(assigner.topk, most)).values
            most = most if assigner.max_points is None else min(most, assigner.max_points)
            total = float(largest.sum())
            numbers.append(min(max(int(total), 1), most))
            # Sums of halves and quarters are exact in any precision.
            exact = bool((largest * 2**20 == (largest * 2**20).floor()).all())
            if abs(total - round(total)) < 1e-5 and 2 <= round(total) <= most:
                sure &= exact
        return numbers, sure

    def decided(self, assigner: SparseSimOTA, *, equals: bool = True) -> bool:
        """Check that the selection is independent of rounding.

        Costs are exactly equal if all their components are. Without ``equals``, a contested point
        with equal costs counts as undecided.
        """
        numbers, sure = self.numbers(assigner)
        taken = torch.zeros_like(self.inside)
        for box, n_wanted in enumerate(numbers):
            if not n_wanted:
                continue
            costs, order = self.costs[box].sort(stable=True)
            taken[box, order[:n_wanted]] = True
            near = self.near(self.costs[box], costs[n_wanted - 1]).nonzero().squeeze(1)
            if taken[box, near].all():
                continue
            sure &= len(self.overlaps[box, near].unique()) == 1
            sure &= len(self.pred_scores[near].unique(dim=0)) == 1
        for point in (taken.sum(dim=0) > 1).nonzero().squeeze(1):
            costs = self.costs[:, point]
            near = self.near(costs, costs.min())
            sure &= len(self.overlaps[near, point].unique()) == 1
            sure &= len(self.labels[near].unique()) == 1
            sure &= equals or int(near.sum()) == 1
        return sure


def decided(case: Case, assigner: SparseSimOTA, *, equals: bool = True) -> bool:
    every = (Tables.of(case, image, assigner) for image in range(len(case.mask)))
    return all(tables.decided(assigner, equals=equals) for tables in every)


def same(case: Case, assigner: SparseSimOTA) -> None:
    """Compare with the plain assigner, unless the result depends on rounding."""
    assume(decided(case, assigner))
    found, expected = sparse(case, assigner), plain(case, assigner)
    order = (found.images * len(case.anchors) + found.points).argsort()
    for name in ("images", "points", "gts"):
        assert torch.equal(getattr(found, name)[order], getattr(expected, name))
    torch.testing.assert_close(found.scores[order], expected.scores, rtol=1e-5, atol=1e-6)
    assert (found.weights == 1).all()


@settings(max_examples=80, deadline=None)
@given(
    case=cases(), radius=st.sampled_from([0.5, 1.5, 2.5, 100.0]), small_boxes=st.sampled_from(SMALL)
)
def test_same_as_a_plain_implementation(
    case: Case, radius: float, small_boxes: Literal["ultralytics", "none"]
) -> None:
    same(case, replace(assigner_of(case, radius), small_boxes=small_boxes))


@settings(max_examples=40, deadline=None)
@given(case=cases(fitting=True), max_points=st.sampled_from([None, 1, 4]))
def test_same_where_boxes_take_many_points(case: Case, max_points: int | None) -> None:
    same(case, replace(assigner_of(case), max_points=max_points))


@settings(max_examples=4, deadline=None)
@given(case=cases(ties=False, fitting=True, classes=[1000], sizes=[(96, 64)]))
def test_a_thousand_classes(case: Case) -> None:
    same(case, assigner_of(case))


@settings(max_examples=15, deadline=None)
@given(case=cases(ties=False), iou_weight=st.sampled_from([0.0, 0.3, 10.0]))
def test_other_weights(case: Case, iou_weight: float) -> None:
    same(case, replace(assigner_of(case), iou_weight=iou_weight))


def dots(
    gt_boxes_xyxy: list[list[float]],
    pred_boxes_xyxy: dict[int, list[float]],
    labels: list[int] | None = None,
    scores: dict[int, list[float]] | None = None,
    **options: float | None,
) -> list[tuple[int, int, float]]:
    """Assign within 64 x 64 px, stride 16, two classes.

    Points without a given box predict an empty box, and those without scores 0.5 and 0.5.

    Returns:
        Point, box and score of each positive.
    """
    anchors = Anchors.of_image((64, 64), [16])
    boxes = torch.tensor(gt_boxes_xyxy, dtype=torch.float32).reshape(-1, 4)
    table_boxes = torch.cat((anchors.points_xy, anchors.points_xy), dim=1)
    for point, box in pred_boxes_xyxy.items():
        table_boxes[point] = torch.tensor(box)
    table_scores = torch.full((len(anchors), 2), 0.5)
    for point, pair in (scores or {}).items():
        table_scores[point] = torch.tensor(pair)
    given_labels = torch.tensor(labels or [0] * len(boxes), dtype=torch.int64)
    targets = Targets(images=torch.zeros_like(given_labels), labels=given_labels, boxes_xyxy=boxes)
    assigner = SparseSimOTA(num_classes=2, small_boxes="none", **options)  # type: ignore[arg-type]
    found = assigner(table_scores[None], table_boxes[None], anchors, targets)
    expected = plain_simota(
        table_scores[None],
        table_boxes[None],
        anchors,
        targets,
        min_side=0,
        **options,  # type: ignore[arg-type]
    )
    rows = [
        sorted(zip(each.points.tolist(), each.gts.tolist(), each.scores.tolist(), strict=True))
        for each in (found, expected)
    ]
    assert rows[0] == [pytest.approx(row, abs=1e-6) for row in rows[1]]
    return rows[0]


# Points 0, 1, 4 and 5 are inside.
QUAD = [0.0, 0.0, 32.0, 32.0]


def test_similarities_add_up_to_the_number_of_points() -> None:
    three_quarters, all_of_it = [0.0, 0, 32, 24], [0.0, 0, 32, 32]
    preds = {0: [0.0, 0, 16, 32], 1: three_quarters, 4: all_of_it, 5: [8.0, 0, 32, 32]}
    # .5 + .75 + 1 + .75 = 3: the worst is dropped; both equal ones are selected.
    assert dots([QUAD], preds) == [(1, 0, 0.75), (4, 0, 1.0), (5, 0, 0.75)]
    # .5 + .75 + .75 = 2, and the other 2.5.
    preds[4] = [0.0, 0, 0, 0]
    assert dots([QUAD], preds) == [(1, 0, 0.75), (5, 0, 0.75)]
    preds[4] = [0.0, 0, 16, 32]
    assert dots([QUAD], preds) == [(1, 0, 0.75), (5, 0, 0.75)]


def test_no_more_points_than_allowed() -> None:
    preds = dict.fromkeys((0, 1, 4, 5), QUAD)
    assert [row[0] for row in dots([QUAD], preds)] == [0, 1, 4, 5]
    assert [row[0] for row in dots([QUAD], preds, max_points=3)] == [0, 1, 4]
    assert [row[0] for row in dots([QUAD], preds, topk=2)] == [0, 1]
    del preds[0], preds[4]
    assert [row[0] for row in dots([QUAD], preds, topk=2)] == [1, 5]


def test_a_box_that_nothing_overlaps_takes_its_cheapest_point() -> None:
    assert dots([QUAD], {}) == [(0, 0, 0.0)]
    assert dots([QUAD], {}, scores={4: [0.9, 0.1]}) == [(4, 0, 0.0)]
    assert dots([QUAD], {}, labels=[1], scores={4: [0.9, 0.1], 1: [0.1, 0.8]}) == [(1, 0, 0.0)]


def test_scores_of_other_classes_cost() -> None:
    preds = {point: [0.0, 0, 16, 32] for point in (0, 5)}
    scores = {0: [0.6, 0.5], 5: [0.5, 0.1]}
    # -ln .6 - ln .5 = 1.20 and -ln .5 - ln .9 = .80
    assert dots([QUAD], preds, scores=scores) == [(5, 0, 0.5)]


def test_the_similarity_cost_has_three_times_the_weight_of_a_class() -> None:
    preds = {0: [0.0, 0, 32, 32], 5: [0.0, 0, 16, 32]}
    # An IoU of .5 costs 3 ln 2 = 2.08 more; ln .5 / .07 = 1.97 is less, ln .5 / .05 more.
    assert dots([QUAD], preds, scores={0: [0.07, 0.5]}, max_points=1) == [(0, 0, 1.0)]
    assert dots([QUAD], preds, scores={0: [0.05, 0.5]}, max_points=1) == [(5, 0, 0.5)]
    assert dots([QUAD], preds, scores={0: [0.07, 0.5]}, max_points=1, iou_weight=1.0) == [
        (5, 0, 0.5)
    ]


def test_a_contested_point_goes_to_the_cheapest_box() -> None:
    other = [0.0, 0, 32, 28]
    assert dots([QUAD, other], {5: other}) == [(5, 1, 1.0)]
    assert dots([other, QUAD], {5: other}) == [(5, 0, 1.0)]
    assert dots([QUAD, QUAD], {5: other}) == [(5, 0, 0.875)]
    # For boxes of different classes the score matters, too.
    assert dots([QUAD, QUAD], {5: other}, labels=[0, 1], scores={5: [0.2, 0.3]}) == [(5, 1, 0.875)]


def test_a_box_may_win_a_point_that_it_did_not_select() -> None:
    boxes = [[0.0, 0, 32, 32], [0.0, 0, 32, 31], [0.0, 0, 32, 30]]
    preds = {0: boxes[2], 5: [0.0, 0, 32, 30.4]}
    # The first two select point 5. The third selects point 0 only, because 1 + 30 / 30.4 < 2, but
    # its IoU at point 5 exceeds the second's, 30.4 / 31.
    assert dots(boxes, preds) == [
        (0, 2, 1.0),
        (5, 2, pytest.approx(30 / 30.4, abs=1e-6)),
    ]


def test_candidates_are_near_the_centre() -> None:
    whole = [0.0, 0, 64, 64]
    preds = dict.fromkeys(range(16), whole)
    assert [row[0] for row in dots([whole], preds, radius=1.0)] == [5, 6, 9, 10]
    assert [row[0] for row in dots([whole], preds, topk=16)] == list(range(16))
    assert dots([whole], preds, radius=0.5) == []


@pytest.mark.parametrize("n_images", [0, 1, 3])
@pytest.mark.parametrize("boxes", [[], [[90.0, 90, 99, 99]]])
def test_nothing_to_assign(n_images: int, boxes: list[list[float]]) -> None:
    anchors = Anchors.of_image((64, 64), [8, 16])
    none = torch.zeros(len(boxes) if n_images else 0, dtype=torch.int64)
    targets = Targets(
        images=none, labels=none, boxes_xyxy=torch.tensor(boxes).reshape(-1, 4)[: len(none)]
    )
    predictions = torch.rand(n_images, len(anchors), 5), torch.rand(n_images, len(anchors), 4)
    found = SparseSimOTA(num_classes=5)(*predictions, anchors, targets)
    assert len(found) == 0
    assert (found.images.dtype, found.scores.dtype) == (torch.int64, torch.float32)
    identical(found, plain_simota(*predictions, anchors, targets))


@pytest.mark.parametrize(
    "values", [[math.inf], [math.nan], [-1e30, 1e30], [1e5], [-math.inf, math.inf], [3e38, -3e38]]
)
@pytest.mark.parametrize("n_classes", [1, 3])
def test_boxes_and_predictions_that_are_huge_or_not_finite(
    values: list[float], n_classes: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    anchors = Anchors.of_image((64, 96), [8, 16])
    boxes = torch.rand(30, 4, generator=generator) * 64
    boxes[:, 2:] += boxes[:, :2]
    pred_boxes = torch.rand(1, len(anchors), 4, generator=generator) * 64
    scores = torch.rand(1, len(anchors), n_classes, generator=generator)
    for i, value in enumerate(values * 6):
        boxes[i + 1, i % 4] = value
        pred_boxes[0, i::13, i % 4] = value
    boxes[0] = torch.tensor([values[0], values[0], values[-1], values[-1]])
    scores[0, ::17, 0] = 0
    scores[0, 1::17, 0] = 1
    scores[0, 2::17] = math.nan
    labels = torch.randint(0, n_classes, (30,), generator=generator)
    targets = Targets(images=torch.zeros_like(labels), labels=labels, boxes_xyxy=boxes)
    found = SparseSimOTA(num_classes=n_classes)(scores, pred_boxes, anchors, targets)
    one_box_per_point(found, anchors, targets)
    assert len(found) > 5
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_no_point_has_two_boxes_and_each_is_a_candidate(case: Case) -> None:
    found = sparse(case, assigner_of(case))
    one_box_per_point(found, case.anchors, case.targets)
    pairs = torch.stack(pairs_inside(case.anchors, case.targets, radius=2.5), dim=1).tolist()
    chosen = zip(found.gts.tolist(), found.points.tolist(), strict=True)
    assert {tuple(pair) for pair in pairs} >= set(chosen)


@settings(max_examples=25, deadline=None)
@given(case=cases())
def test_a_box_without_competitors_has_a_point(case: Case) -> None:
    found = sparse(case, assigner_of(case))
    gts, points = pairs_inside(case.anchors, case.targets, radius=2.5)
    slots = case.targets.images[gts] * len(case.anchors) + points
    wanted = slots.bincount()[slots] > 1
    alone = set(gts.tolist()) - set(gts[wanted].tolist())
    assert alone <= set(found.gts.tolist())


@settings(max_examples=15, deadline=None)
@given(case=cases(ties=False), seed=st.integers(0, 2**32))
def test_order_of_boxes_does_not_matter(case: Case, seed: int) -> None:
    assume(decided(case, assigner_of(case), equals=False))
    in_any_order(assigner_of(case), case, seed)


@settings(max_examples=15, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_boxes_of_different_images_may_alternate(case: Case, seed: int) -> None:
    in_any_order(assigner_of(case), case, seed, within_images=False)


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_images_do_not_affect_each_other(case: Case) -> None:
    one_by_one(assigner_of(case), case)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_half_precision_is_processed_in_single_precision(dtype: torch.dtype, case: Case) -> None:
    half, assigner = case.of_type(dtype), assigner_of(case)
    identical(sparse(half, assigner), sparse(half.of_type(torch.float32), assigner))


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_another_similarity_and_a_minimum_score(case: Case) -> None:
    assigner = replace(assigner_of(case), similarity=ciou_nwd)
    found, lifted = sparse(case, assigner), sparse(case, replace(assigner, min_score=0.25))
    boxes = case.pred_boxes_xyxy[found.images, found.points]
    expected = ciou_nwd(case.targets.boxes_xyxy[found.gts], boxes)
    torch.testing.assert_close(found.scores, expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(lifted.points, found.points)
    above = 0.25 + 0.75 * found.scores
    torch.testing.assert_close(lifted.scores, torch.where(found.scores > 0, above, 0))


@pytest.mark.parametrize(
    "options",
    [{"topk": 0}, {"max_points": 0}, {"num_classes": 0}, {"radius": 0.0}, {"radius": -1.0}],
)
def test_invalid_options(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be 1 or more; radius: above 0$"):
        SparseSimOTA(**{"num_classes": 1} | options)  # type: ignore[arg-type]


def test_predictions_of_other_shapes_are_refused() -> None:
    anchors, none = Anchors.of_image((64, 64), [16]), torch.empty(0, dtype=torch.int64)
    targets = Targets(images=none, labels=none, boxes_xyxy=torch.empty(0, 4))
    with pytest.raises(ValueError, match="9 anchor points and 2 classes; expected 16 and 2"):
        SparseSimOTA(num_classes=2)(torch.rand(1, 9, 2), torch.rand(1, 9, 4), anchors, targets)
