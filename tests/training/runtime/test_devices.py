from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tf32 import tf32_is_on

from training.runtime import devices
from training.runtime.devices import exact_fp32, is_deterministic, memory_format_of


@pytest.mark.parametrize(
    ("device", "training", "memory_format"),
    [
        ("cpu", True, torch.channels_last),
        ("cuda", True, torch.channels_last),
        ("mps", True, torch.contiguous_format),
        ("cpu", False, torch.channels_last),
        ("cuda", False, torch.contiguous_format),
    ],
)
def test_memory_format(device: str, training: bool, memory_format: torch.memory_format) -> None:
    assert memory_format_of(torch.device(device), training=training) == memory_format


@pytest.mark.parametrize(
    ("device", "requested", "expected"),
    [("cpu", False, True), ("cpu", True, True), ("cuda", False, False), ("cuda", True, True)],
)
def test_a_gpu_is_deterministic_on_request(device: str, requested: bool, expected: bool) -> None:
    assert is_deterministic(torch.device(device), requested=requested) == expected


def backends(*, new: bool, rounds: bool) -> Any:  # noqa: ANN401
    """Torch's switches as in 2.9 and later, or before."""
    name, rounding, exact = devices.NEW_SWITCH if new else devices.OLD_SWITCH
    switch = SimpleNamespace(**{name: rounding if rounds else exact})
    return SimpleNamespace(cudnn=SimpleNamespace(conv=switch) if new else switch)


@pytest.mark.parametrize("rounds", [True, False])
@pytest.mark.parametrize("new", [True, False])
def test_fp32_is_exact_inside_and_as_before_outside(
    new: bool, rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, before = backends(new=new, rounds=rounds), backends(new=new, rounds=rounds)
    monkeypatch.setattr(torch, "backends", made)
    with exact_fp32():
        assert made == backends(new=new, rounds=False)
    assert made == before


def test_the_switches_are_those_of_this_torch() -> None:
    assert tf32_is_on()
    with exact_fp32():
        assert not tf32_is_on()
        torch.nn.functional.conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1))
    assert tf32_is_on()
