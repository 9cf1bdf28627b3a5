import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.metrics import bbox_iou

from training.assigner import NEARNESS_WEIGHT, NearnessAssigner, nearness, overlap, use_nearness

numbers = st.floats(0, 500)
box = st.tuples(numbers, numbers, st.floats(0.5, 300), st.floats(0.5, 300)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


def test_no_pairs() -> None:
    assert overlap(torch.empty(0, 4), torch.empty(0, 4)).shape == (0,)


@pytest.mark.parametrize(
    ("pred", "value"),
    [
        pytest.param([10, 10, 13, 50], 1.0, id="the same"),
        pytest.param([10 + 20.056, 10, 13 + 20.056, 50], 0.368, id="half a diagonal to the right"),
        pytest.param([10, 10, 10, 10], 0.243, id="a point in the corner"),
    ],
)
def test_nearness(pred: list[float], value: float) -> None:
    stem = torch.tensor([[10.0, 10, 13, 50]])
    assert nearness(stem, torch.tensor([pred])).item() == pytest.approx(value, abs=1e-3)


@given(first=box, second=box, factor=st.floats(0.5, 4))
def test_overlap_is_a_share_and_knows_no_scale(
    first: list[float], second: list[float], factor: float
) -> None:
    pair = torch.tensor([first]), torch.tensor([second])
    value = overlap(*pair).item()
    assert 0 <= value <= 1 + 1e-5
    scaled = overlap(pair[0] * factor, pair[1] * factor).item()
    assert scaled == pytest.approx(value, abs=2e-3)
    ciou = bbox_iou(*pair, xywh=False, CIoU=True).item()
    assert value >= ciou
    if ciou > NEARNESS_WEIGHT:
        assert value == ciou


def test_a_stem_beside_a_notehead_shaped_box_still_counts() -> None:
    stem, pred = torch.tensor([[50.0, 20, 53, 95]]), torch.tensor([[40.0, 45, 60, 62]])
    assert bbox_iou(stem, pred, xywh=False, CIoU=True).item() < 0.04
    assert overlap(stem, pred).item() > 0.2


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_every_loss_of_a_model_gets_it(name: str) -> None:
    model = DetectionModel(f"{name}.yaml", nc=3, verbose=False)
    model.args = get_cfg()
    criterion = model.init_criterion()
    two = hasattr(criterion, "one2one")
    losses = [criterion.one2many, criterion.one2one] if two else [criterion]
    before = [vars(loss.assigner) for loss in losses]
    use_nearness(criterion)
    for loss, old in zip(losses, before, strict=True):
        assert isinstance(loss.assigner, NearnessAssigner)
        changed = {key for key, value in vars(loss.assigner).items() if value != old[key]}
        assert changed <= {"eps", "_parameters", "_buffers", "_modules"}
