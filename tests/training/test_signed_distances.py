import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel, load_checkpoint
from ultralytics.utils.loss import BboxLoss, E2ELoss, v8DetectionLoss

from training.signed_distances import SignedBoxLoss, allow_beside, beside, use_signed

SIDE = 64
STEM = [32.0, 6.0, 33.5, 50.0]
"""Between the anchor points of stride 8 at 28 and 36 px, holding neither."""


def new_model(name: str = "yolo11n") -> DetectionModel:
    torch.manual_seed(0)
    model = DetectionModel(f"{name}.yaml", nc=2, verbose=False)
    model.args = get_cfg()
    return model


def criterion_of(model: DetectionModel) -> E2ELoss | v8DetectionLoss:
    criterion = model.init_criterion()
    use_signed(criterion, model.model[-1])
    return criterion


def loss_inputs(boxes_xyxy: list[list[float]], reg_max: int) -> tuple[Tensor, ...]:
    """What BboxLoss takes, for one anchor point a box at (4, 4) strides; all are positives."""
    target = torch.tensor([boxes_xyxy]).reshape(1, -1, 4)
    n = target.shape[1]
    torch.manual_seed(0)
    return (
        torch.randn(1, n, 4 * reg_max),
        target + 0.25,
        torch.full((n, 2), 4.0),
        target,
        torch.full((1, n, 2), 0.5),
        torch.tensor(max(float(n), 1)),
        torch.ones(1, n, dtype=torch.bool),
        torch.tensor([64.0, 64]),
        torch.full((n, 1), 8.0),
    )


def test_no_positives() -> None:
    losses = SignedBoxLoss(16, 2.0)(*loss_inputs([], 16))
    assert [float(loss) for loss in losses] == [0, 0]


def test_a_new_head_has_no_bins_beyond_its_anchor_points() -> None:
    assert beside(new_model().model[-1]) == 0
    criterion = criterion_of(new_model())
    assert type(criterion.bbox_loss) is BboxLoss


def test_all_boxes_shrink_by_the_strides_on_each_side() -> None:
    model = new_model().eval()
    image = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        before = model(image)[0][0, :4]  # (4, A) centre and size
        allow_beside(model.model[-1], 2.0)
        after = model(image)[0][0, :4]
    strides = torch.cat([torch.full(((SIDE // s) ** 2,), float(s)) for s in (8, 16, 32)])
    assert beside(model.model[-1]) == 2
    assert torch.allclose(after[:2], before[:2], atol=1e-4)
    assert torch.allclose(after[2:], before[2:] - 4 * strides, atol=1e-3)


def test_a_head_without_distributions_is_left_alone() -> None:
    model = new_model("yolo26n")
    head = model.model[-1]
    before = copy.deepcopy(head.state_dict())
    allow_beside(head)
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())
    assert beside(head) == 0
    criterion = criterion_of(model)
    assert type(criterion.one2many.bbox_loss) is type(criterion.one2one.bbox_loss) is BboxLoss


def test_without_bins_below_zero_the_loss_is_ultralytics_own() -> None:
    inputs = loss_inputs([[1, 2, 6, 7], [3.5, 0, 4.5, 8]], 16)
    ours, stock = SignedBoxLoss(16, 0.0)(*inputs), BboxLoss(16)(*inputs)
    assert [float(loss) for loss in ours] == [float(loss) for loss in stock]


def test_the_distances_of_the_loss_count_from_the_first_bin() -> None:
    beside_it = [4.5, 2, 5, 9]  # the anchor point at 4 lies half a stride to its left
    pred, *rest = loss_inputs([beside_it], 16)
    distances = torch.tensor([-0.5, 2, 1, 5]) + 2.0
    low = distances.floor().long()
    pred = torch.full((4, 16), -20.0)
    pred.scatter_(1, low[:, None], (1 - (distances - low)).clamp(min=1e-9).log()[:, None])
    pred.scatter_(1, low[:, None] + 1, (distances - low).clamp(min=1e-9).log()[:, None])
    right, stock = (
        float(loss(pred.view(1, 1, 64), *rest)[1])
        for loss in (SignedBoxLoss(16, 2.0), BboxLoss(16))
    )
    shares = (distances - low).clamp(1e-9, 1)
    entropy = -(shares * shares.log() + (1 - shares) * (1 - shares).clamp(min=1e-9).log())
    assert right == pytest.approx(float(entropy.mean()), abs=1e-3)
    assert stock > right + 1


@pytest.mark.parametrize(("strides", "least", "most"), [(0.0, 0.0, 0.45), (2.0, 0.7, 1.0)])
def test_only_signed_distances_can_say_a_stem_beside_its_anchor_point(
    strides: float, least: float, most: float
) -> None:
    model = new_model()
    allow_beside(model.model[-1], strides)
    criterion = criterion_of(model)
    anchor_points, target = torch.tensor([[4.5, 3.5]]), torch.tensor([[STEM]]) / 8
    rest = loss_inputs([STEM], 16)[4:]
    # The logits themselves are trained: what no logits can say, no network can.
    logits = torch.zeros(1, 1, 64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(300):
        boxes = criterion.bbox_decode(anchor_points, logits)
        losses = criterion.bbox_loss(logits, boxes, anchor_points, target, *rest)
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
    found = box_iou(criterion.bbox_decode(anchor_points, logits)[0], target[0]).item()
    assert least < found < most


def test_a_checkpoint_says_the_same_without_this_package(tmp_path: Path) -> None:
    model = new_model().eval()
    allow_beside(model.model[-1])
    file = tmp_path / "model.pt"
    torch.save({"model": copy.deepcopy(model).half(), "train_args": {}}, file)
    image = torch.rand(1, 3, SIDE, SIDE)
    loaded, _ = load_checkpoint(str(file))
    assert beside(loaded.model[-1]) == 2
    with torch.no_grad():
        assert torch.allclose(loaded(image)[0], model(image)[0], atol=0.1)
