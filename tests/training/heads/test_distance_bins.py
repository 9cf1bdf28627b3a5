import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel, load_checkpoint

from training.assigners.assignment import Anchors
from training.heads.distance_bins import (
    CLOSED,
    allow_below_zero,
    bin_values,
    set_bins,
    strides_below_zero,
)
from training.heads.grouped import box_branches
from training.losses.detection import DetectionLoss
from training.losses.head_outputs import HeadOutputs
from training.losses.loss_options import LossOptions

SIDE = 64
STEM = [32.0, 6.0, 33.5, 50.0]
"""Stem between the anchor points of stride 8 at 28 and 36 px, without either."""


def new_model(name: str = "yolo11n") -> DetectionModel:
    torch.manual_seed(0)
    model = DetectionModel(f"{name}.yaml", nc=2, verbose=False)
    model.args = get_cfg()
    return model


class OneBox:
    """Loss of one box, assigned to its nearest anchor point only."""

    def __init__(self, model: DetectionModel, box_xyxy: list[float]) -> None:
        options = LossOptions(assigner="static")
        self.loss = DetectionLoss(model, tal_topk2=1, options=options)
        self.anchors = Anchors.of_image((SIDE, SIDE), [8, 16, 32])
        low, high = torch.tensor(box_xyxy).view(2, 2) / SIDE
        self.batch = {
            "batch_idx": torch.zeros(1),
            "cls": torch.zeros(1, 1),
            "bboxes": torch.cat(((low + high) / 2, high - low))[None],
        }

    def __call__(self, logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare the logits of all distances, shape ``(1, 4 * R, A)``."""
        preds = {
            "boxes": logits,
            "scores": torch.zeros(1, 2, len(self.anchors)),
            "feats": [torch.zeros(1, 1, SIDE // s, SIDE // s) for s in (8, 16, 32)],
        }
        value, items = self.loss(preds, self.batch)
        return value, items

    def boxes_xyxy(self, logits: Tensor, point: int) -> Tensor:
        outputs = HeadOutputs(
            logits=torch.zeros(1, 2, len(self.anchors)),
            sides=logits,
            bins=self.loss.bins,
            anchors=self.anchors,
            group_of=self.loss.group_of,
        )
        return outputs.boxes_xyxy(torch.tensor([0]), torch.tensor([point]))


def test_a_new_head_has_no_bins_beyond_its_anchor_points() -> None:
    head = new_model().model[-1]
    assert strides_below_zero(head) == 0
    assert bin_values(head).tolist() == [*range(16)]


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo12n"])
def test_new_bins_do_not_change_predictions(name: str) -> None:
    model = new_model(name).eval()
    head = model.model[-1]
    for branch in box_branches(head):  # like a trained head, different for each bin
        torch.nn.init.normal_(branch[-1].weight, std=0.3)
        torch.nn.init.normal_(branch[-1].bias, std=3)
    image = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        before = model(image)[0]
        allow_below_zero(head)
        after = model(image)[0]
    assert bin_values(head).tolist() == [*range(-2, 16)]
    assert (head.reg_max, head.no) == (18, 2 + 4 * 18)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-6)


def test_existing_bins_do_not_change() -> None:
    head = new_model().model[-1]
    allow_below_zero(head)
    before = [branch[-1] for branch in box_branches(head)]
    allow_below_zero(head)
    assert all(new[-1] is old for new, old in zip(box_branches(head), before, strict=True))


def test_removing_bins_keeps_the_others() -> None:
    head = new_model().model[-1]
    before = [copy.deepcopy(branch[-1]) for branch in box_branches(head)]
    allow_below_zero(head)
    set_bins(head, torch.arange(16.0))
    for branch, old in zip(box_branches(head), before, strict=True):
        assert torch.equal(branch[-1].weight, old.weight)
        assert torch.equal(branch[-1].bias, old.bias)


def test_closed_bins_open() -> None:
    model = new_model()
    allow_below_zero(model.model[-1])
    one_box = OneBox(model, STEM)
    logits = torch.zeros(1, 4, 18, 84)
    logits[:, :, :2] = CLOSED
    logits = logits.flatten(1, 2).requires_grad_()
    value, _ = one_box(logits)
    value.sum().backward()
    assert logits.grad is not None
    at_point = logits.grad.view(4, 18, 84).sum(dim=2)
    assert at_point[:, :2].amin() < -0.01, "a stem beside its point asks for a bin below 0"


def test_a_head_without_distributions_does_not_change() -> None:
    model = new_model("yolo26n")
    head = model.model[-1]
    before = copy.deepcopy(head.state_dict())
    allow_below_zero(head)
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())
    assert strides_below_zero(head) == 0
    assert bin_values(head).tolist() == [0]


def test_bins_are_a_copy() -> None:
    head = new_model().model[-1]
    bin_values(head).sub_(5)
    assert strides_below_zero(head) == 0


@pytest.mark.parametrize("signed", [False, True])
def test_distances_in_the_loss_count_from_the_first_bin(signed: bool) -> None:
    model = new_model()
    head = model.model[-1]
    if signed:
        allow_below_zero(head)
    # Anchor point 4, at (36, 4) px, is an eighth of a stride to the left of the box.
    one_box = OneBox(model, [37.0, 2, 39, 10])
    distances = torch.tensor([-0.125, 0.25, 0.375, 0.75]) + 2
    low = distances.floor().long()
    shares = torch.stack((1 - (distances - low), distances - low), dim=1)  # (4, 2)
    at_point = torch.full((4, head.reg_max), -20.0)
    at_point.scatter_(1, torch.stack((low, low + 1), dim=1), shares.clamp(min=1e-9).log())
    logits = torch.zeros(1, 4 * head.reg_max, 84)
    logits[0, :, 4] = at_point.flatten()
    _, items = one_box(logits)
    entropy = -(shares * shares.clamp(min=1e-9).log()).sum(dim=1).mean()
    found = float(items["dfl_loss"]) / one_box.loss.hyp.dfl
    if signed:
        assert found == pytest.approx(float(entropy), abs=1e-3)
        box = one_box.boxes_xyxy(logits, 4)
        torch.testing.assert_close(box, torch.tensor([[37.0, 2, 39, 10]]), atol=1e-3, rtol=0)
    else:
        assert found > float(entropy) + 1


@pytest.mark.parametrize(("signed", "least", "most"), [(False, 0.0, 0.45), (True, 0.8, 1.0)])
def test_only_bins_below_zero_can_represent_a_stem_beside_its_anchor_point(
    signed: bool, least: float, most: float
) -> None:
    model = new_model()
    head = model.model[-1]
    if signed:
        allow_below_zero(head)
    one_box = OneBox(model, STEM)
    # Train the logits themselves: no network can represent more than they can.
    logits = torch.zeros(1, 4 * head.reg_max, 84, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        value, _ = one_box(logits)
        optimizer.zero_grad()
        value.sum().backward()
        optimizer.step()
    assert logits.grad is not None
    [point] = logits.grad[0].abs().sum(dim=0).nonzero().flatten().tolist()
    assert one_box.anchors.points_xy[point].tolist() == [36, 28]
    found = box_iou(one_box.boxes_xyxy(logits, point), torch.tensor([STEM])).item()
    assert least < found < most


def test_a_checkpoint_predicts_the_same_without_this_package(tmp_path: Path) -> None:
    model = new_model().eval()
    allow_below_zero(model.model[-1])
    file = tmp_path / "model.pt"
    torch.save({"model": copy.deepcopy(model).half(), "train_args": {}}, file)
    image = torch.rand(1, 3, SIDE, SIDE)
    loaded, _ = load_checkpoint(str(file))
    assert strides_below_zero(loaded.model[-1]) == 2
    with torch.no_grad():
        assert torch.allclose(loaded(image)[0], model(image)[0], atol=0.1)
