import gc

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from training.memory.timeline import MANY, Recorder, Timeline


def recorded(n_images: int) -> Timeline:
    """Record a forward and backward pass of two layers on fake tensors."""
    with FakeTensorMode():
        net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
        recorder = Recorder()
        with recorder:
            recorder.add(net.parameters(), "parameters")
            recorder.begin("forward", "workspace")
            images = torch.empty(n_images, 10)
            out = net(images)
            recorder.rename("workspace", "activations")
            recorder.begin("backward", "workspace")
            out.sum().backward()
            recorder.label((p.grad for p in net.parameters() if p.grad is not None), "gradients")
    return recorder.timeline()


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    gc.collect()
    return recorded(MANY)


def of_kind(timeline: Timeline, kind: str, batch: int) -> int:
    return int(timeline.live(timeline.sizes(batch) * timeline.is_kind(kind)).max())


def test_an_empty_recording() -> None:
    empty = Recorder().timeline()

    assert empty.sizes(4).shape == empty.live(empty.sizes(4)).shape == (0,)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_two_layers_by_hand(timeline: Timeline, batch: int) -> None:
    numbers = 10 * 20 + 20 + 20 * 5 + 5

    assert of_kind(timeline, "parameters", batch) == 4 * numbers
    assert of_kind(timeline, "gradients", batch) == 4 * numbers
    # The images, the first layer's output after the ReLU, and the second layer's output.
    assert of_kind(timeline, "activations", batch) == batch * 4 * (10 + 20 + 5)


def test_peak_of_two_layers_by_hand(timeline: Timeline) -> None:
    forward, backward = (begin for _, begin in timeline.phases)
    live = timeline.live(timeline.sizes(100))

    # Input and output of the ReLU at the same time, plus images and parameters.
    assert live[forward:backward].max() == 100 * 4 * (10 + 20 + 20) + 4 * 325
    # So are their gradients in the backward pass, plus all saved activations, the last layer's
    # gradients, the loss and its gradient.
    last_layer = 20 * 5 + 5
    saved = 100 * 4 * (10 + 20 + 5) + 4 * (325 + last_layer + 2)
    assert live.max() == saved + 100 * 4 * (20 + 20)
    assert timeline.phase_of(int(live.argmax())) == "backward"
    assert timeline.live_after(int(live.argmax())).sum() == 4 + 3 + 2 + 2 + 2


@pytest.mark.parametrize("batch", [2, 3])
def test_a_batch_derived_from_many_images_equals_that_batch(timeline: Timeline, batch: int) -> None:
    expected = recorded(batch)

    assert expected.kinds == timeline.kinds
    np.testing.assert_array_equal(expected.events, timeline.events)
    np.testing.assert_array_equal(expected.sizes(1), timeline.sizes(batch))


def test_sizes_are_rounded_up() -> None:
    recorder = Recorder()
    recorder.add_bytes([0, 1, 512, 513], "parameters")

    assert recorder.timeline().sizes(1, rounding=512).tolist() == [0, 512, 512, 1024]


def test_state_of_the_first_step_exists_from_the_beginning() -> None:
    recorder = Recorder()
    recorder.begin("optimizer", "workspace")
    recorder.add_bytes([10], "workspace", stays=False)
    recorder.add_bytes([3], "optimizer")
    recorder.begin("forward", "workspace")
    recorder.add_bytes([5], "activations")
    timeline = recorder.timeline(always=["optimizer"])

    assert timeline.live(timeline.sizes(1)).tolist() == [3, 13, 3, 8]
    assert timeline.phases == (("optimizer", 1), ("forward", 3))


def test_a_convolution_has_a_workspace_while_it_runs() -> None:
    with FakeTensorMode():
        layer = nn.Conv2d(3, 8, 1, bias=False)
        with Recorder(workspace=lambda _tensors: 1000) as recorder:
            output = layer(torch.empty(1, 3, 4, 4))
    timeline = recorder.timeline()

    assert timeline.live(timeline.sizes(0)).tolist()[-2:] == [1000 + 704, 704]
    assert output.shape == (1, 8, 4, 4)
