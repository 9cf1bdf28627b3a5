"""All models of Ultralytics and of omr with several heads."""

import copy
import io
from unittest import mock

import pytest
import torch
from detector_models import LABELS, N_CLASSES, config, images, single, with_heads
from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel

from settings.head_config import BoxBranch
from training.heads.grouped import ClassTowers, SeparateDetect, divided
from training.losses.detection import detection_criterion
from training.losses.loss_options import LossOptions
from training.models.building import activation_kept
from training.models.zoo import known_models, model_file

FAMILIES = ("yolov8n", "yolo11n", "yolo12n", "yolo26n", "yolov7-tiny")
SIDE = 160
"""Input side in pixels; the levels at strides 8, 16 and 32 have 525 anchor points."""


def predicted(model: DetectionModel) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(images(2, SIDE))[0]
    return found


def boxes_and_scores(model: DetectionModel) -> Tensor:
    """Compute all boxes of a separate head, because rounding may change the order of the best."""
    head = model.model[-1]
    with torch.no_grad():
        found: Tensor
        found, raw = model.eval()(images(2, SIDE))
        if isinstance(head, SeparateDetect):
            raw = raw.get("one2many", raw)
            found = torch.cat(
                (head._boxes_of_groups(raw).flatten(1, 2), raw["scores"].sigmoid()), 1
            )
    return found


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Compare boxes to a thousandth of a pixel, and scores to 1e-5."""
    torch.testing.assert_close(found[:, :-3], expected[:, :-3], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(found[:, -3:], expected[:, -3:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", known_models())
def test_every_model_of_every_size_can_have_several_heads(name: str) -> None:
    """Check shapes only, without weights and norms, which take longest and do not change them."""
    with (
        torch.device("meta"),
        mock.patch.object(Detect, "bias_init"),
        mock.patch.object(nn.BatchNorm2d, "forward", lambda _self, x: x),
        activation_kept(),
    ):
        model = DetectionModel(model_file(name), nc=N_CLASSES, verbose=False)
        head = model.model[-1]
        sides = [256 // 4, 256 // 8, 256 // 16, 256 // 32, 256 // 64]
        sides = sides["p2" not in name :][: head.nl]
        channels = [branch[0].conv.in_channels for branch in head.cv2]
        maps = [torch.empty(2, k, n, n) for k, n in zip(channels, sides, strict=True)]
        n_points = sum(n * n for n in sides)
        of_single = head.forward_head(maps, **head.one2many)["boxes"]
        assert of_single.shape == (2, 4 * head.reg_max, n_points)
        boxes: dict[BoxBranch, int] = {"shared": 1, "separate": 2}
        for box, n_boxes in boxes.items():
            several = divided(head, LABELS, config(box, gate="cbam", tower_depth=3)).train()
            for branches in (several.one2many, several.one2one if "yolo26" in name else {}):
                if branches:
                    assert isinstance(branches["cls_head"][0], ClassTowers)
                    found = several.forward_head(maps, **branches)
                    assert found["scores"].shape == (2, N_CLASSES, n_points)
                    assert found["boxes"].shape == (2, n_boxes * 4 * head.reg_max, n_points)


@pytest.mark.parametrize("box", ["shared", "separate"])
@pytest.mark.parametrize("name", FAMILIES)
def test_one_model_of_each_family_learns(name: str, box: BoxBranch) -> None:
    model = with_heads(single(name), config(box, gate="cbam", tower_width=0.5)).train()
    labels = {
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [2.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.2, 0.1], [0.4, 0.5, 0.02, 0.3], [0.7, 0.2, 0.3, 0.3]]),
    }
    losses, _ = detection_criterion(model, LossOptions())(model(images(2, SIDE)), labels)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert (losses > 0).all()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert all(g.any() for branch in model.model[-1].cv2[0].modules() for g in _own(branch))


def _own(module: nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters(recurse=False) if p.grad is not None]


@pytest.mark.parametrize("box", ["shared", "separate"])
@pytest.mark.parametrize("name", FAMILIES)
def test_one_model_of_each_family_is_copied_stored_and_fused(name: str, box: BoxBranch) -> None:
    model = with_heads(single(name), config(box, gate="cbam"))
    expected = predicted(model)
    assert expected.shape == (2, 4 + N_CLASSES, 525)
    assert expected.isfinite().all()
    before_fusing = boxes_and_scores(model)
    other = with_heads(single(name), config(box, gate="cbam"))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    read = torch.load(buffer, weights_only=False)
    for same in (other, copy.deepcopy(model), read):
        assert torch.equal(predicted(same), expected)
    assert_same(boxes_and_scores(model.fuse(verbose=False)), before_fusing)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_model_of_each_family_equals_a_single_head(name: str) -> None:
    expected = predicted(single(name))
    assert_same(predicted(with_heads(single(name), config("shared"))), expected)
    separate = boxes_and_scores(with_heads(single(name), config("separate")))
    of_groups, scores = separate.split((8, N_CLASSES), dim=1)
    for group in range(2):
        boxes = of_groups.unflatten(1, (4, 2))[:, :, group]
        assert_same(torch.cat((boxes, scores), dim=1), expected)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("box", ["shared", "separate"])
def test_without_nms_the_best_predictions_equal_those_of_a_single_head(
    box: BoxBranch, fused: bool
) -> None:
    """Expect the 300 best of all groups; the boxes of each group do not change."""
    plain, several = single("yolo26n"), with_heads(single("yolo26n"), config(box))
    found = []
    for model in (copy.deepcopy(plain), several):
        model.model[-1].end2end = True
        if fused:
            model.fuse(verbose=False)
            assert model.model[-1].cv2 is None
        found.append(predicted(model))
    one, other = found
    assert one.shape == (2, 300, 6)
    # Rounding decides which of two almost equal scores comes first.
    order = torch.cdist(one.double(), other.double()).argmin(dim=2)  # (2, 300)
    assert all(len(set(rows.tolist())) == 300 for rows in order)
    other = other.gather(1, order[..., None].expand_as(other))
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-3)


def test_a_tower_of_another_size_has_the_activation_of_the_model() -> None:
    model = with_heads(single("yolov7-tiny"), config("shared", tower_depth=3))
    names = {type(module.act).__name__ for module in model.modules() if hasattr(module, "act")}
    assert names == {"LeakyReLU"}
