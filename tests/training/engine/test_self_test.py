import random
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn.modules.conv import Conv

from class_maps import ConfigError
from training.config import TrainConfig, read_config
from training.engine import self_test as self_test_module
from training.engine.omr_trainer import OmrTrainer
from training.engine.self_test import SelfTest, self_test
from training.trainer import ready_trainer, train

PASSED = SelfTest(loss=1, low_loss=1, cosine=1)


def config(data: Path, out: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    settings: dict[str, Any] = {
        "model": "omr-tiny",
        "epochs": 1,
        "imgsz": 64,
        "batch": 4,
        "device": "cpu",
    }
    return TrainConfig(data=data, out=out, **settings | options)


@pytest.fixture(scope="module")
def trainer(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> OmrTrainer:
    return ready_trainer(config(dataset, tmp_path_factory.mktemp("run") / "run"))


def test_nothing_is_made_where_the_device_cannot(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="--precision fp16: not supported by device cpu; use bf16 or fp32"
    ):
        train(config(dataset, tmp_path / "run", precision="fp16"))
    assert not (tmp_path / "run").exists()


def test_a_precision_that_there_is_not(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="--precision int8: expected one of auto, bf16, fp16, fp32"
    ):
        config(dataset, tmp_path, precision="int8")


class Plain(nn.Module):
    """Two layers, of which the first is the trunk; the loss is the mean of the outputs."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        trunk, head = nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)
        trunk.weight = nn.Parameter(weights)
        head.weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))
        self.model = nn.Sequential(trunk, head)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"feats": images, "scores": self.model(images)}

    def loss(self, _batch: object, outputs: dict[str, Tensor]) -> tuple[Tensor, None]:
        return outputs["scores"].float().mean(), None


def test_numbers_that_bf16_has_give_equal_figures() -> None:
    model = Plain(torch.tensor([[0.5, 1.0], [2.0, -1.0]]))
    found = self_test(model, {"img": torch.tensor([[1.0, 2.0]])})
    # (0.5 + 2) * 1 + (2 - 2) * -2
    assert (found.loss, found.low_loss) == (2.5, 2.5)
    assert found.cosine == pytest.approx(1)
    assert found.passed


def test_numbers_that_bf16_has_not_are_rounded() -> None:
    # 1 + 2^-9 is 1 in bf16, so that the outputs cancel: 1.001953125 - 2 * .5
    model = Plain(torch.tensor([[1 + 2**-9, 0.0], [0.5, 0.0]]))
    found = self_test(model, {"img": torch.tensor([[1.0, 0.0]])})
    assert (found.loss, found.low_loss) == (2**-9, 0.0)
    assert not found.passed, "the loss is another one"


@pytest.mark.parametrize(
    ("figures", "passed"),
    [
        ((10.0, 10.1, 0.9), True),
        ((10.0, 11.1, 0.9), False),
        ((10.0, 8.9, 0.9), False),
        ((10.0, 10.0, 0.39), False),
        ((10.0, 10.0, float("nan")), False),
        ((10.0, float("nan"), 0.9), False),
        ((10.0, float("inf"), 0.9), False),
        ((float("nan"), float("nan"), 0.9), False),
        ((0.0, 0.0, 1.0), True),
    ],
)
def test_when_the_test_passes(figures: tuple[float, float, float], passed: bool) -> None:
    loss, low_loss, cosine = figures
    assert SelfTest(loss=loss, low_loss=low_loss, cosine=cosine).passed is passed


def test_boxes_go_to_the_same_points_in_both(trainer: OmrTrainer) -> None:
    n = 0
    stock = type(trainer.model.criterion.assigner).assign

    def count(*args: Any) -> object:  # noqa: ANN401
        nonlocal n
        n += 1
        return stock(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.model.criterion.assigner), "assign", count)
        self_test(trainer.model, self_test_module._test_batch(trainer))
    assert n == 1


def test_a_frozen_trunk_leaves_the_heads_gradients() -> None:
    model = Plain(torch.eye(2))
    model.model[0].requires_grad_(False)
    assert self_test(model, {"img": torch.ones(1, 2)}).cosine == pytest.approx(1)


def test_a_real_network_passes_and_stays_as_it_is(trainer: OmrTrainer) -> None:
    before = deepcopy(trainer.model.state_dict())
    states = torch.get_rng_state(), random.getstate()
    found = self_test(trainer.model, self_test_module._test_batch(trainer))
    assert found.passed
    assert 0.9 < found.cosine < 1, "bf16 is another computation"
    assert found.loss != found.low_loss
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_a_network_that_bf16_breaks_does_not_pass(trainer: OmrTrainer) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.nan if x.dtype == torch.bfloat16 else x

    model = deepcopy(trainer.model)
    conv = model.model[1].conv
    model.model[1].conv = nn.Sequential(conv, Broken())
    assert not self_test(model, self_test_module._test_batch(trainer)).passed


@pytest.fixture
def dtypes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, torch.dtype]]:
    """What convolutions give, in training and in validation."""
    seen: list[tuple[bool, torch.dtype]] = []
    stock = Conv.forward

    def watched(self: nn.Module, x: Tensor) -> Tensor:
        output: Tensor = stock(self, x)
        seen.append((self.training, output.dtype))
        return output

    monkeypatch.setattr(Conv, "forward", watched)
    return seen


def test_bf16_trains_on_a_cpu_and_validates_in_fp32(
    dataset: Path,
    tmp_path: Path,
    dtypes: list[tuple[bool, torch.dtype]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(self_test_module, "self_test", lambda _model, _batch: PASSED)
    result = train(config(dataset, tmp_path / "run", precision="bf16"))
    assert result.precision == "bf16"
    assert set(dtypes) == {(True, torch.bfloat16), (False, torch.float32)}
    assert read_config(tmp_path / "run").precision == "bf16"


@pytest.mark.parametrize(("used", "amp"), [("bf16", False), ("fp16", True)])
def test_a_validation_after_bf16_is_in_fp32(
    used: str, amp: bool, trainer: OmrTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer.state, "precision", used)
    monkeypatch.setattr(trainer, "amp", True)
    with self_test_module.fp32_after_bf16(trainer):
        assert trainer.amp is amp, "Ultralytics' validator looks here, and takes fp16"
    assert trainer.amp is True


def test_auto_goes_back_where_the_test_fails(
    dataset: Path,
    tmp_path: Path,
    dtypes: list[tuple[bool, torch.dtype]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(self_test_module, "resolved", lambda _asked, _device: "bf16")
    failed = SelfTest(loss=10, low_loss=12, cosine=0.8)
    monkeypatch.setattr(self_test_module, "self_test", lambda _model, _batch: failed)
    result = train(config(dataset, tmp_path / "run"))
    assert result.precision == "fp32"
    assert {dtype for _, dtype in dtypes} == {torch.float32}
    line = (
        "bf16: loss 12 in bf16 and 10 in fp32, cosine of the gradients 0.800 (at least 0.4): "
        "too far from fp32; training in fp32"
    )
    assert line in capsys.readouterr().err


def test_what_was_asked_for_is_kept_with_a_warning(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = SelfTest(loss=10, low_loss=10, cosine=0.1)
    monkeypatch.setattr(self_test_module, "self_test", lambda _model, _batch: failed)
    made = ready_trainer(config(dataset, tmp_path / "run", precision="bf16"))
    assert (made.state.precision, made.amp) == ("bf16", True)
    assert "too far from fp32; kept as requested" in capsys.readouterr().err


@pytest.mark.parametrize(("amp", "used"), [(False, "fp32"), ("bf16", "bf16")])
def test_a_run_that_goes_on_keeps_what_its_test_came_to(
    amp: str | bool, used: str, trainer: OmrTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_test_module, "resolved", lambda _asked, _device: "bf16")
    monkeypatch.setattr(trainer, "resume", True)
    monkeypatch.setattr(trainer.args, "amp", amp)
    assert self_test_module.start_precision(trainer) == used


def test_one_device_that_fails_fails_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_test_module._passed_everywhere(True)
    assert not self_test_module._passed_everywhere(False)

    def gather(of_all: list[bool], own: bool) -> None:
        of_all[:] = [own, False]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    assert not self_test_module._passed_everywhere(True)


def test_ultralytics_has_no_say(dataset: Path, tmp_path: Path) -> None:
    made = ready_trainer(replace(config(dataset, tmp_path / "run"), precision="fp32"))
    assert isinstance(made, BaseTrainer)
    assert (made.state.precision, made.amp, made.args.amp) == ("fp32", False, False)
    assert not made.scaler.is_enabled()
