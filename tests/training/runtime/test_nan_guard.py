import math
from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from host_syncs import HostSyncs
from torch import Tensor, distributed
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect import DetectionTrainer

from class_maps import ConfigError
from training.config import TrainConfig
from training.engine.omr_trainer import OmrTrainer
from training.runtime import nan_guard
from training.runtime.nan_guard import NanGuard, on_host
from training.trainer import new_trainer, ready_trainer, train


def config(data: Path, out: Path) -> TrainConfig:
    return TrainConfig(
        data=data,
        out=out,
        model="omr-tiny",
        epochs=2,
        imgsz=64,
        batch=2,
        device="cpu",
        warmup_epochs=0,
        validate=False,
    )


@pytest.fixture
def trainer(dataset: Path, tmp_path: Path) -> OmrTrainer:
    """Before its first step."""
    made = ready_trainer(config(dataset, tmp_path / "run"))
    made.epoch, made.tloss = 0, None
    made.model.train()
    return made


def guard_of(trainer: OmrTrainer) -> NanGuard:
    assert trainer.guard is not None
    return trainer.guard


def go(trainer: OmrTrainer, *, bad: bool = False, step: Callable[[], None] | None = None) -> None:
    """A step of Ultralytics' loop, with the first batch, of which one pixel may be infinite."""
    batch = trainer.preprocess_batch(next(iter(trainer.train_loader)))
    if bad:
        batch["img"][0, 0, 0, 0] = math.inf
    trainer.state.batches_done += 1
    loss, trainer.loss_items = trainer.model(batch)
    trainer.loss = loss.sum()
    trainer.tloss = trainer.loss_items
    trainer.scaler.scale(trainer.loss).backward()
    (step or trainer.optimizer_step)()


def everything(trainer: OmrTrainer) -> dict[str, Tensor]:
    """All that a training goes on from."""
    names = {p: name for name, p in trainer.model.named_parameters()}
    of_optimizer = {
        f"optimizer {names[p]} {name}": value
        for p, own in trainer.optimizer.state.items()
        for name, value in own.items()
    }
    average = {f"average {k}": v for k, v in trainer.ema.ema.state_dict().items()}
    updates = torch.tensor(trainer.ema.updates)
    return deepcopy(
        dict(trainer.model.state_dict()) | average | of_optimizer | {"updates": updates}
    )


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def poisoned(monkeypatch: pytest.MonkeyPatch, batches: Collection[int] | None) -> None:
    """Make one pixel of these batches of a training infinite; None for all."""
    stock = DetectionTrainer.preprocess_batch
    n = 0

    def preprocess(self: DetectionTrainer, batch: dict[str, Any]) -> dict[str, Any]:
        nonlocal n
        batch = stock(self, batch)
        n += 1
        if batches is None or n in batches:
            batch["img"][0, 0, 0, 0] = math.inf
        return batch

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", preprocess)


def test_buffers_are_copied_in_groups_of_one_type(trainer: OmrTrainer) -> None:
    groups = guard_of(trainer)._buffers
    assert sum(map(len, groups)) == len(list(trainer.model.buffers()))
    types = [{buffer.dtype for buffer in group} for group in groups]
    assert sorted(map(str, types)) == ["{torch.float32}", "{torch.int64}"]


@pytest.mark.parametrize("names", [[], ["box"], ["box", "cls", "dfl"]])
def test_numbers_come_to_the_host_in_one_transfer(names: list[str]) -> None:
    numbers = {name: torch.tensor(1.5 + i) for i, name in enumerate(names)}
    with HostSyncs() as syncs:
        fetched = on_host(numbers)
    assert {name: float(value) for name, value in fetched.items()} == {
        name: float(value) for name, value in numbers.items()
    }
    assert syncs.names() == ["cpu"][: len(names)]


def test_an_infinite_pixel_would_spoil_a_stock_training(trainer: OmrTrainer) -> None:
    go(trainer)
    go(trainer, bad=True, step=lambda: BaseTrainer.optimizer_step(trainer))
    assert not all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_a_bad_batch_leaves_no_trace(
    trainer: OmrTrainer, capsys: pytest.CaptureFixture[str]
) -> None:
    go(trainer)
    before, losses = everything(trainer), trainer.tloss
    go(trainer, bad=True)
    assert_same(everything(trainer), before)
    assert all(p.grad is None for p in trainer.model.parameters())
    assert trainer.tloss is losses, "the epoch's mean is of the good batches"
    assert guard_of(trainer).skipped == 1
    line = "epoch 1, batch 2: loss or gradient not finite, step skipped: "
    assert line in capsys.readouterr().err


def test_good_steps_are_those_of_ultralytics(
    dataset: Path, tmp_path: Path, trainer: OmrTrainer
) -> None:
    stock = new_trainer(config(dataset, tmp_path / "stock"))
    stock._setup_train()
    stock.epoch, stock.tloss = 0, None
    stock.model.train()
    assert_same(everything(stock), everything(trainer))
    go(trainer, bad=True)
    for _ in range(2):
        batch = trainer.preprocess_batch(next(iter(trainer.train_loader)))
        for one, step in (
            (stock, lambda: BaseTrainer.optimizer_step(stock)),
            (trainer, trainer.optimizer_step),
        ):
            loss, one.loss_items = one.model(batch)
            one.loss, one.tloss = loss.sum(), one.loss_items
            one.loss.backward()
            step()
    assert_same(everything(stock), everything(trainer))


def test_a_training_goes_on_after_a_bad_batch(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    poisoned(monkeypatch, {1, 3, 6})  # the first of all, and the last of an epoch
    made = new_trainer(config(dataset, tmp_path / "run"))
    made.train()
    assert guard_of(made).skipped == 3
    assert guard_of(made).restores == 0
    assert made.ema.updates == 3, "of six batches"
    assert all(torch.isfinite(v).all() for v in made.ema.ema.state_dict().values())
    rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    assert len(rows) == 3, "no epoch twice"
    assert "nan" not in "".join(rows).lower()
    assert capsys.readouterr().err.count("step skipped") == 3


def test_three_bad_batches_in_a_row_return_to_the_last_good_state(
    trainer: OmrTrainer, capsys: pytest.CaptureFixture[str]
) -> None:
    at_start = everything(trainer)
    for _ in range(3):
        go(trainer)
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    for _ in range(2):
        go(trainer, bad=True)
    assert guard_of(trainer).restores == 0
    go(trainer, bad=True)
    assert guard_of(trainer).restores == 1
    now = everything(trainer)
    buffers = {name for name, _ in trainer.model.named_buffers()}
    moved = {name for name in now if name.startswith("optimizer") or name in buffers}
    assert_same(
        {name: value for name, value in now.items() if name not in moved},
        {name: value for name, value in at_start.items() if name not in moved},
    )
    assert not any(name.startswith("optimizer") for name in now), "it had not begun"
    assert [g["lr"] for g in trainer.optimizer.param_groups] == [lr / 2 for lr in rates]
    assert trainer.optimizer.param_groups[0]["initial_lr"] == 0.0005
    assert trainer.scheduler.base_lrs == [0.0005] * len(rates)
    line = (
        "epoch 1, batch 6: loss, gradient or weights not finite: restored the last good state "
        "with half the learning rate (1 of 3 times), step skipped: "
    )
    assert line in capsys.readouterr().err
    go(trainer)
    assert guard_of(trainer).skipped == 3
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_lost_weights_return_at_once(trainer: OmrTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nan_guard, "STEPS_BETWEEN_STATES", 1)
    go(trainer)
    go(trainer)
    before = everything(trainer)
    go(trainer)  # keeps what stands before it
    with torch.no_grad():
        trainer.model.model[3].conv.weight[0] = torch.nan
    go(trainer, bad=False)
    assert guard_of(trainer).restores == 1
    now = everything(trainer)
    buffers = {name for name, _ in trainer.model.named_buffers()}
    assert_same(*({n: v for n, v in state.items() if n not in buffers} for state in (now, before)))


def test_what_did_not_help_is_not_returned_to_again(
    trainer: OmrTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nan_guard, "STEPS_BETWEEN_STATES", 1)
    monkeypatch.setattr(nan_guard, "MAX_SKIPPED", 1)
    weight = trainer.model.model[3].conv.weight
    stood = []
    for _ in range(3):
        stood.append(weight.detach().clone())
        go(trainer)
    for wanted in (stood[2], stood[1], stood[1]):
        go(trainer, bad=True)
        assert torch.equal(weight, wanted)


def test_when_every_batch_is_bad_the_first_error_says_so(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, None)
    out = tmp_path / "run"
    with pytest.raises(ConfigError) as error:
        train(config(dataset, out))
    message = str(error.value)
    assert message.startswith(
        "epoch 1, batch 3: no batch so far has a finite loss and gradient, step skipped: "
    )
    assert message.endswith("; check these images, and try a lower --lr or --precision fp32")
    named = message.split("skipped: ")[1].split(";")[0].split(", ")
    assert len(named) == 2
    assert all(Path(name).parent == dataset / "images" / "train" for name in named)
    assert not out.exists()


def test_a_rate_that_is_far_too_high_is_given_up(dataset: Path, tmp_path: Path) -> None:
    made = new_trainer(replace(config(dataset, tmp_path / "run"), epochs=9))

    def raise_rate(trainer: OmrTrainer) -> None:
        for group in trainer.optimizer.param_groups:
            group["initial_lr"] = 1e30

    made.add_callback("on_train_start", raise_rate)
    with pytest.raises(
        ConfigError, match=r"not finite after restoring a good state 3 times, step skipped"
    ):
        made.train()
    assert all(torch.isfinite(v).all() for v in made.ema.ema.state_dict().values())


def test_what_a_scaler_tries_is_no_bad_step(trainer: OmrTrainer) -> None:
    go(trainer)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    weight = trainer.model.model[3].conv.weight
    before = weight.detach().clone()
    go(trainer)
    assert torch.equal(weight, before), "left out by the scaler itself"
    assert trainer.scaler.get_scale() == 2.0**126
    assert guard_of(trainer).skipped == 0
    go(trainer, bad=True)
    assert guard_of(trainer).skipped == 1
    assert trainer.scaler.get_scale() == 2.0**126, "it is not the scale's fault"


def test_statistics_that_no_loss_shows_are_put_back(trainer: OmrTrainer) -> None:
    go(trainer)
    trainer.scaler = torch.amp.GradScaler("cpu")  # nobody looks at the gradients
    before = everything(trainer)
    trainer.model.model[3].bn.running_mean[0] = math.inf
    go(trainer)
    assert guard_of(trainer).skipped == 1
    assert_same(everything(trainer), before)


def test_a_message_names_few_files(trainer: OmrTrainer) -> None:
    trainer.state.files = [f"{i}.png" for i in range(6)]
    assert nan_guard._skipped(trainer) == ("step skipped: 0.png, 1.png, 2.png, 3.png and 2 more")


def test_other_devices_bad_steps_count(
    trainer: OmrTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reduce(bad: Tensor, **_options: object) -> None:
        bad.fill_(1)

    store = tmp_path.joinpath("store").as_uri()
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        go(trainer)
        assert guard_of(trainer).skipped == 0
        assert trainer.ema.updates == 1
        before = everything(trainer)
        monkeypatch.setattr(distributed, "all_reduce", reduce)
        go(trainer)
    finally:
        distributed.destroy_process_group()
    assert guard_of(trainer).skipped == 1
    assert_same(everything(trainer), before)


def test_a_guard_has_no_files_of_the_test_before(trainer: OmrTrainer) -> None:
    trainer.state.files = ["0.png"]
    NanGuard(trainer)
    assert trainer.state.files == []


def test_what_was_halved_stays_halved_in_a_run_that_goes_on(
    trainer: OmrTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(trainer)
    for _ in range(3):
        go(trainer, bad=True)
    history = guard_of(trainer).history()
    assert history == {"skipped": 3, "restores": 1}
    lowered: list[float] = []
    monkeypatch.setattr(trainer.freezing, "lower_rates", lowered.append)
    resumed = NanGuard(trainer, history)
    assert (resumed.restores, resumed.skipped, lowered) == (1, 3, [0.5])
    trainer.guard = resumed
    for _ in range(3):  # there is a good state from the start
        go(trainer, bad=True)
    assert resumed.restores == 2


@pytest.mark.parametrize(
    ("metrics", "is_reported"),
    [
        (None, False),
        ({}, False),
        ({"metrics/mAP50(B)": 0.0, "val/box_loss": 1.5, "train/box_loss": math.nan}, False),
        ({"metrics/mAP50(B)": 0.0, "val/box_loss": math.nan}, True),
        ({"val/box_loss": 0.0, "val/cls_loss": math.inf}, True),
    ],
)
def test_a_validation_that_is_not_finite_is_reported(
    metrics: dict[str, float] | None, is_reported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr("training.runtime.nan_guard.LOGGER.warning", messages.append)
    nan_guard.warn_of_validation(metrics, 3)
    expected = (
        "epoch 3: validation losses not finite: the output of the network is NaN or Inf, and its "
        "metrics are too low"
    )
    assert messages == ([expected] if is_reported else [])
