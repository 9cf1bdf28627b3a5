from collections.abc import Callable

import pytest
import torch

from class_maps import ConfigError
from settings.training import Precision
from training.runtime import precision
from training.runtime.precision import amp_argument, resolved

CPU = torch.device("cpu")
CUDA = torch.device("cuda:0")
MPS = torch.device("mps")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], None]:
    """Pretends that there is a CUDA device."""

    def pretend(name: str, has_bf16: bool) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: name)
        monkeypatch.setattr(precision, "_has_bf16", lambda _device: has_bf16)

    return pretend


@pytest.mark.parametrize(
    ("name", "has_bf16", "of_auto"),
    [
        ("NVIDIA H200", True, "bf16"),
        ("Tesla T4", False, "fp16"),
        ("NVIDIA GeForce GTX 1660", False, "fp32"),
    ],
)
def test_auto_takes_the_best_of_a_gpu(
    name: str,
    has_bf16: bool,
    of_auto: Precision,
    gpu: Callable[[str, bool], None],
) -> None:
    gpu(name, has_bf16)
    assert resolved("auto", CUDA) == of_auto
    assert resolved(of_auto, CUDA) == of_auto
    assert amp_argument(of_auto, CUDA) == (False if of_auto == "fp32" else of_auto)


def test_auto_is_single_precision_elsewhere() -> None:
    for device in (CPU, MPS):
        assert resolved("auto", device) == "fp32"
        assert amp_argument("fp32", device) is False
    assert resolved("bf16", CPU) == "bf16"
    assert amp_argument("bf16", CPU) is False, "Ultralytics has it for CUDA alone"


@pytest.mark.parametrize(
    ("asked", "device", "message"),
    [
        ("bf16", CUDA, "--precision bf16: not supported by device cuda:0; use fp16 or fp32"),
        ("fp16", CPU, "--precision fp16: not supported by device cpu; use bf16 or fp32"),
        ("fp16", MPS, "--precision fp16: not supported by device mps; use fp32"),
    ],
)
def test_what_a_device_cannot_do(
    asked: Precision, device: torch.device, message: str, gpu: Callable[[str, bool], None]
) -> None:
    gpu("Tesla T4", False)
    with pytest.raises(ConfigError) as error:
        resolved(asked, device)
    assert str(error.value) == message
