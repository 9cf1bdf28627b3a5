"""Networks on fake CUDA tensors, which detect operations on two devices without a GPU."""

import copy

import pytest
import torch
from detector_models import config, single, with_heads
from torch._subclasses.fake_tensor import FakeTensorMode

from settings.head_config import BoxBranch
from training.memory.meta_model import replace_tensors


@pytest.mark.parametrize("box", [None, "shared", "separate"])
def test_forward_passes_stay_on_the_device(box: BoxBranch | None) -> None:
    model = copy.deepcopy(single("yolo26n"))
    if box:
        model = with_heads(model, config(box, gate="cbam"))
    head = model.model[-1]
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        replace_tensors(model, lambda t: torch.empty(t.shape, dtype=t.dtype, device="cuda"))
        images = torch.empty(2, 3, 64, 64, device="cuda")
        branches = model.train()(images)
        for part in branches.values():
            assert {part["scores"].device.type, part["boxes"].device.type} == {"cuda"}
        # Ultralytics creates these from the values of the strides, which fake tensors do not have.
        head.shape, n_points = branches["one2many"]["feats"][0].shape, 8**2 + 4**2 + 2**2
        head.anchors = torch.empty(2, n_points, device="cuda")
        head.strides = torch.empty(1, n_points, device="cuda")
        assert model.eval()(images)[0].device.type == "cuda"
