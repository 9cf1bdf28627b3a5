"""Networks that are cut before the decoding, decoded with NumPy, against the same in torch."""

import copy

import numpy as np
import pytest
import torch
from detector_models import N_CLASSES, config, images, single, with_heads
from torch import nn

from reading.decoding import Decoding, decode
from settings.head_config import BoxBranch
from training.export.cut_network import (
    CutNetwork,
    DecodedNetwork,
    SplitConvolution,
    bins,
    box_groups,
    channels,
    exported_program,
    levels,
)

SIDE = 96


@pytest.mark.parametrize(
    ("name", "box"),
    [("yolo11n", None), ("yolo11n", "shared"), ("yolo11n", "separate"), ("yolo26n", None)],
)
def test_numpy_decodes_as_torch_does(name: str, box: BoxBranch | None) -> None:
    model = (with_heads(single(name), config(box, gate="cbam")) if box else single(name)).eval()
    model.end2end = False
    state = copy.deepcopy(model.state_dict())
    head = model.model[-1]
    decoding = Decoding(
        sha256="",
        input="args_0",
        imgsz=SIDE,
        classes=tuple(map(str, range(N_CLASSES))),
        levels=levels(head),
        bins=bins(head),
        groups=box_groups(head),
        channels=channels(head),
    )
    pixels = images(1, SIDE)
    cut = CutNetwork(model).eval()
    with torch.no_grad():
        expected = model(pixels)[0]
        outputs = [logits.numpy() for logits in cut(pixels.permute(0, 2, 3, 1))]
    named = {f"output_{i}": logits for i, logits in enumerate(outputs)}
    assert {key: value.shape for key, value in named.items()} == decoding.shapes()
    output = decode(named, decoding)
    assert output.shape[1] == len(decoding.groups) * 189
    if box == "separate":  # torch returns the best boxes of all groups, in another order
        nearest = torch.cdist(expected[0].T, torch.from_numpy(output.T)).argmin(dim=1)
        assert len(nearest.unique()) == 189
        output = output[:, nearest.numpy()]
    np.testing.assert_allclose(output, expected[0].numpy(), rtol=1e-4, atol=1e-3)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in state.items())


def test_a_recorded_network_computes_the_same() -> None:
    model = single("yolo11n").eval()
    pixels = images(1, SIDE).permute(0, 2, 3, 1)
    for network in (CutNetwork(model), CutNetwork(model, is_split=True), DecodedNetwork(model)):
        recorded = exported_program(network, SIDE).module()
        with torch.no_grad():
            for result, expected in zip(recorded(pixels), network.eval()(pixels), strict=True):
                torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    boxes, scores = DecodedNetwork(model).eval()(pixels)
    torch.testing.assert_close(torch.cat([boxes, scores], 1), model(images(1, SIDE))[0])


def test_a_split_convolution_is_precise_in_int8() -> None:
    convolution = nn.Conv2d(64, 18, 1)
    nn.init.zeros_(convolution.weight[3])  # a bin that is never used
    split = SplitConvolution(convolution)
    maps = torch.randn(2, 64, 5, 5)
    torch.testing.assert_close(split(maps), convolution(maps))
    steps = convolution.weight.abs().amax(dim=1, keepdim=True) / 127
    assert torch.allclose(rounded_to_int8(split.rounded.weight), split.rounded.weight)
    weight = rounded_to_int8(split.rounded.weight) + rounded_to_int8(split.remainder.weight)
    errors = (weight - convolution.weight).abs()
    assert (errors <= steps / 250).all()
    assert ((rounded_to_int8(convolution.weight) - convolution.weight).abs() > steps / 4).any()


def rounded_to_int8(weight: torch.Tensor) -> torch.Tensor:
    """Round weights to 127 steps of the largest weight of each output channel."""
    step = (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127).clamp_min(1e-30)
    return (weight / step).round() * step
