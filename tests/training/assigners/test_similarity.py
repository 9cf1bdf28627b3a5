import pytest
import torch
from dense_similarity import SimilarityAssigner
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou, complete_box_iou_loss
from ultralytics.utils.metrics import bbox_iou

from training.assigners.similarity import (
    EPS,
    MIN_SCORE,
    NWD_WEIGHT,
    SIMILARITIES,
    Similarity,
    SimilarityByClass,
    ciou,
    ciou_nwd,
    dilated_iou,
    iou,
    nwd,
    raise_scores,
)

numbers = st.floats(0, 500)
box = st.tuples(numbers, numbers, st.floats(0.5, 300), st.floats(0.5, 300)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@pytest.mark.parametrize("measure", SIMILARITIES.values())
def test_no_pairs(measure: Similarity) -> None:
    assert measure(torch.empty(0, 4), torch.empty(0, 4)).shape == (0,)


@pytest.mark.parametrize(
    ("pred", "value", "complete"),
    [
        pytest.param([10, 10, 30, 50], 1.0, 1.0, id="the same"),
        # CIoU: less the squared distance of the centres over the squared diagonal of both.
        pytest.param([10, 20, 30, 60], 0.6, 0.6 - 100 / 2900, id="shifted"),
        pytest.param([30, 10, 50, 50], 0.0, 0.0, id="touching"),
        pytest.param([300, 10, 350, 50], 0.0, 0.0, id="far off"),
        pytest.param([20, 20, 20, 20], 0.0, 0.0, id="no size"),
        pytest.param([25, 45, 15, 15], 0.0, 0.0, id="turned inside out"),
    ],
)
def test_iou_and_ciou(pred: list[float], value: float, complete: float) -> None:
    pair = torch.tensor([[10.0, 10, 30, 50]]), torch.tensor([pred], dtype=torch.float32)
    assert iou(*pair).item() == pytest.approx(value, abs=1e-6)
    assert ciou(*pair).item() == pytest.approx(complete, abs=1e-6)


@given(boxes=st.lists(box, min_size=1, max_size=6), others=st.lists(box, min_size=6, max_size=6))
def test_iou_and_ciou_equal_torchvision(
    boxes: list[list[float]], others: list[list[float]]
) -> None:
    gt, pred = torch.tensor(boxes), torch.tensor(others[: len(boxes)])
    torch.testing.assert_close(iou(gt, pred), box_iou(gt, pred).diagonal(), rtol=1e-4, atol=1e-5)
    complete = 1 - complete_box_iou_loss(pred, gt)
    torch.testing.assert_close(ciou(gt, pred), complete.clamp(min=0), rtol=1e-3, atol=1e-4)
    assert torch.equal(iou(gt, gt).round(decimals=4), torch.ones(len(gt)))


@pytest.mark.parametrize(
    ("pred", "value"),
    [
        pytest.param([10, 10, 12, 50], 1.0, id="the same"),
        pytest.param([15, 10, 17, 50], 5 / 15, id="5 px beside it"),
        pytest.param([20, 10, 22, 50], 0.0, id="10 px beside it: two stems of 10 px touch"),
    ],
)
def test_dilated_stems(pred: list[float], value: float) -> None:
    pair = torch.tensor([[10.0, 10, 12, 50]]), torch.tensor([pred], dtype=torch.float32)
    assert dilated_iou(*pair).item() == pytest.approx(value, abs=1e-6)


def test_each_class_may_have_its_similarity() -> None:
    gt = torch.tensor([[10.0, 10, 12, 50]]).expand(4, 4)
    pred = torch.tensor([[11.0, 10, 14, 50]]).expand(4, 4)
    labels = torch.tensor([2, 0, 1, 2])
    measures = SimilarityByClass(measures=(ciou, nwd), choice=torch.tensor([1, 0, 0]))
    found = measures.at(labels)(gt, pred)
    near, complete = nwd(gt, pred)[0], ciou(gt, pred)[0]
    assert torch.equal(found, torch.stack((complete, near, complete, complete)))
    assert near != complete
    assert measures.at(labels[:0])(gt[:0], pred[:0]).shape == (0,)


def test_raise_scores() -> None:
    overlaps = torch.tensor([[0.0, 1e-30, 0.5], [1.0, 0.25, 0.0]])
    expected = torch.tensor([[0.0, 0.2, 0.6], [1.0, 0.4, 0.0]])
    torch.testing.assert_close(raise_scores(overlaps, 0.2), expected)
    assert torch.equal(raise_scores(overlaps, 0.0), overlaps)
    assert raise_scores(torch.empty(0), 0.2).shape == (0,)


@pytest.mark.parametrize(
    ("pred", "value"),
    [
        pytest.param([10, 10, 13, 50], 1.0, id="the same"),
        pytest.param([10 + 20.056, 10, 13 + 20.056, 50], 0.368, id="half a diagonal to the right"),
        pytest.param([10, 10, 10, 10], 0.243, id="a point in the corner"),
    ],
)
def test_nwd(pred: list[float], value: float) -> None:
    stem = torch.tensor([[10.0, 10, 13, 50]])
    assert nwd(stem, torch.tensor([pred])).item() == pytest.approx(value, abs=1e-3)


@given(first=box, second=box, factor=st.floats(0.5, 4))
def test_similarity_is_between_0_and_1_and_independent_of_scale(
    first: list[float], second: list[float], factor: float
) -> None:
    pair = torch.tensor([first]), torch.tensor([second])
    value = ciou_nwd(*pair).item()
    assert 0 <= value <= 1 + 1e-5
    scaled = ciou_nwd(pair[0] * factor, pair[1] * factor).item()
    assert scaled == pytest.approx(value, abs=2e-3)
    ciou = bbox_iou(*pair, xywh=False, CIoU=True).item()
    assert value >= ciou
    if ciou > NWD_WEIGHT:
        assert value == ciou


def test_a_stem_near_a_box_of_a_notehead_has_weight() -> None:
    stem, pred = torch.tensor([[50.0, 20, 53, 95]]), torch.tensor([[40.0, 45, 60, 62]])
    assert bbox_iou(stem, pred, xywh=False, CIoU=True).item() < 0.04
    assert ciou_nwd(stem, pred).item() > 0.2


def assigned(gt_boxes_xyxy: list[list[float]], pred_boxes_xyxy: list[list[float]]) -> Tensor:
    """Compute target scores (A,) of one class, for anchor points at the predictions' centres."""
    gt = torch.tensor([gt_boxes_xyxy], dtype=torch.float32).reshape(1, -1, 4)
    pred = torch.tensor([pred_boxes_xyxy], dtype=torch.float32)
    assigner = SimilarityAssigner(
        topk=2, num_classes=1, alpha=0.5, beta=6.0, stride=[8, 16], eps=EPS
    )
    _, _, scores, chosen, _ = assigner(
        torch.full((1, pred.shape[1], 1), 0.01),
        pred,
        (pred[0, :, :2] + pred[0, :, 2:]) / 2,
        torch.zeros(1, gt.shape[1], 1),
        gt,
        torch.ones(1, gt.shape[1], 1),
    )
    assert not scores[~chosen].any()
    of_class: Tensor = scores[0, :, 0]
    return of_class


def test_no_boxes_no_scores() -> None:
    assert assigned([], [[0, 0, 8, 8]]).tolist() == [0]


def test_a_dot_counts_beside_noteheads() -> None:
    notehead, dot = [10.0, 10, 26, 22], [40.0, 14, 45, 19]
    a_notehead_at_the_dot = [35.0, 11, 51, 23]
    far_off = [100.0, 100, 116, 112]
    scores = assigned([notehead, dot], [notehead, a_notehead_at_the_dot, far_off])
    assert scores[0] == pytest.approx(1)
    assert MIN_SCORE < scores[1] < MIN_SCORE + 0.15
    assert scores[2] == 0


def test_the_better_box_has_the_better_score() -> None:
    stem, good = [50.0, 20, 53, 60], [50.0, 21, 53, 59]
    scores = assigned([stem], [good, [49, 25, 56, 60]])
    fit = ciou_nwd(torch.tensor([stem]), torch.tensor([good])).item()
    assert scores[0].item() == pytest.approx(MIN_SCORE + (1 - MIN_SCORE) * fit)
    assert 0 < scores[1] < scores[0] < 1
