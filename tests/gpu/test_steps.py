"""Single steps of a training: the bf16 self-test, the NaN guard, several processes."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from device_cases import assert_near
from device_trainings import (
    MODELS,
    available,
    batches,
    config_of,
    heads_file,
    slow,
    take_step,
    weights_of,
)

from settings.training import Precision
from training.engine.omr_trainer import OmrTrainer
from training.engine.self_test import self_test
from training.runtime import distributed
from training.trainer import ready_trainer


@pytest.mark.gpu
@pytest.mark.parametrize("heads", ["one head", "separate heads"])
@pytest.mark.parametrize("model", MODELS)
def test_bf16_passes_its_test_at_a_random_start(
    model: str, heads: str, device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    options = {"heads": heads_file(tmp_path)} if heads == "separate heads" else {}
    config = config_of(dataset, tmp_path / "run", device, model=model, imgsz=96, **options)
    trainer = ready_trainer(config)
    batch = trainer.preprocess_batch(next(iter(trainer.test_loader)))
    result = self_test(trainer.model, batch)
    assert result.passed, str(result)
    assert result.loss != result.low_loss, f"bf16 was not used: {result}"


@pytest.fixture
def trainer_of(
    dataset: Path, device: torch.device, tmp_path: Path
) -> Callable[[Precision], OmrTrainer]:
    """Function that makes a trainer whose first step is taken."""

    def make(precision: Precision) -> OmrTrainer:
        used = available(precision, device)
        trainer = ready_trainer(config_of(dataset, tmp_path / "run", device, precision=used))
        trainer.epoch, trainer.tloss = 0, None
        trainer.model.train()
        take_step(trainer, next(batches(trainer)))
        return trainer

    return make


def bad_pixel(trainer: OmrTrainer, batch: dict[str, Any]) -> None:
    batch["img"][0, 0, 0, 0] = math.nan
    take_step(trainer, batch)


def bad_gradient(trainer: OmrTrainer, batch: dict[str, Any]) -> None:
    parameter = next(p for p in trainer.model.parameters() if p.requires_grad)
    hook = parameter.register_hook(lambda gradient: gradient * math.nan)
    take_step(trainer, batch)
    hook.remove()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("spoil", "precision"),
    [
        pytest.param(bad_pixel, "fp32", marks=slow),
        pytest.param(bad_pixel, "bf16", marks=slow),
        (bad_pixel, "fp16"),
        (bad_gradient, "fp32"),
        pytest.param(bad_gradient, "bf16", marks=slow),
    ],
)
def test_a_bad_step_leaves_the_weights_as_they_are(
    spoil: Callable[[OmrTrainer, dict[str, Any]], None],
    precision: Precision,
    trainer_of: Callable[[Precision], OmrTrainer],
) -> None:
    trainer = trainer_of(precision)
    assert trainer.guard is not None
    first, second, *_ = [*batches(trainer)] * 2
    before = weights_of(trainer)
    spoil(trainer, first)
    assert trainer.guard.skipped == 1
    for name, value in weights_of(trainer).items():
        assert torch.equal(value, before[name]), name
    take_step(trainer, second)
    after = weights_of(trainer)
    assert trainer.guard.skipped == 1
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(value, before[name]) for name, value in after.items())


@pytest.mark.gpu
def test_lost_weights_return_to_the_last_good_state(
    trainer_of: Callable[[Precision], OmrTrainer],
) -> None:
    trainer = trainer_of("fp32")
    assert trainer.guard is not None
    batch = next(batches(trainer))
    for _ in range(3):
        bad_pixel(trainer, dict(batch, img=batch["img"].clone()))
    assert (trainer.guard.skipped, trainer.guard.restores) == (3, 1)
    take_step(trainer, batch)
    assert trainer.guard.skipped == 3
    assert all(value.isfinite().all() for value in weights_of(trainer).values())


@pytest.fixture
def one_process(device: torch.device, tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone, with the device's backend."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store = tmp_path.joinpath("store").as_uri()
    dist.init_process_group(backend, init_method=store, rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.gpu(covers=["training.runtime.distributed:leave"])
@pytest.mark.usefixtures("one_process")
def test_totals_in_a_process_group(device: torch.device) -> None:
    for total, expected in ((0.25, 1.0), (7.0, 7.0)):
        result = distributed.total_a_rank(torch.tensor(total, device=device), least=1)
        assert_near("total", result, torch.tensor(expected))
    distributed.leave()
    assert not distributed.are_joined()


@pytest.mark.gpu
@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("precision", [pytest.param("bf16", marks=slow), "fp16"])
def test_a_step_in_a_process_group(
    precision: Precision, trainer_of: Callable[[Precision], OmrTrainer]
) -> None:
    """The total of the loss, the guard's flag and the self-test's verdict go through the group."""
    trainer = trainer_of(precision)
    assert trainer.guard is not None
    before = weights_of(trainer)
    take_step(trainer, next(batches(trainer)))
    assert trainer.guard.skipped == 0
    changed = [n for n, value in weights_of(trainer).items() if not torch.equal(value, before[n])]
    assert changed
