import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from second_run import during
from torch import Tensor, nn

from class_maps import ConfigError
from training import lr_finder
from training.assigners.assignment import Assignment
from training.config import TrainConfig
from training.engine.learning_rate import Rate, resolved_rate, used_warmup
from training.engine.omr_trainer import OmrTrainer
from training.lr_finder import (
    RangeTest,
    find_rate,
    range_test,
    rising_rates,
    running_means,
)
from training.trainer import ready_trainer


def tiny(data: Path, out: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    """Three batches an epoch."""
    common: dict[str, Any] = {"imgsz": 64, "batch": 2, "device": "cpu", "validate": False}
    return TrainConfig(data=data, out=out, model="omr-tiny", **common | options)


@pytest.mark.parametrize(
    ("text", "batch", "lr", "warmup"),
    [
        ("0.0031", 256, 0.0031, 3.0),
        ("auto", 16, 0.001, 3.0),
        ("auto", 64, 0.002, 3.0),
        ("auto:sqrt", 4, 0.0005, 3.0),
        ("auto:sqrt", 256, 0.004, 5.0),
        ("auto:linear", 4, 0.00025, 3.0),
        ("auto:linear", 127, 0.0079375, 3.0),
        ("auto:linear", 128, 0.008, 5.0),
    ],
)
def test_a_rate_follows_its_rule(text: str, batch: int, lr: float, warmup: float) -> None:
    rate = resolved_rate(text, batch=batch, warmup_epochs=3.0)
    assert rate.lr == pytest.approx(lr)
    assert rate.warmup_epochs == warmup


def test_a_warm_up_that_was_asked_for_stays() -> None:
    def warmup(epochs: float, *, given: bool) -> float:
        return resolved_rate("auto", batch=128, warmup_epochs=epochs, given=given).warmup_epochs

    assert warmup(1.0, given=True) == 1.0
    assert warmup(1.0, given=False) == 5.0
    assert warmup(10.0, given=False) == 10.0


def test_a_rule_says_what_it_did() -> None:
    assert resolved_rate("0.01", batch=64, warmup_epochs=3.0) == Rate(lr=0.01, warmup_epochs=3.0)
    rule = resolved_rate("auto", batch=64, warmup_epochs=3.0).rule
    assert rule == "sqrt rule from 0.001 at 16 images per step to 64"


@pytest.mark.parametrize("text", ["", "fast", "auto:", "auto:cube", "linear"])
def test_a_rate_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolved_rate(text, batch=16, warmup_epochs=3.0)
    assert str(error.value) == (f"--lr {text}: expected a number, auto, auto:sqrt, auto:linear")


@pytest.mark.parametrize(("nominal", "nearest"), [(20, "16 or 32"), (4, "16")])
def test_a_nominal_batch_is_whole_batches(tmp_path: Path, nominal: int, nearest: str) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig(data=tmp_path, out=tmp_path, nominal_batch=nominal)
    assert str(error.value) == (
        f"--nominal-batch {nominal}: must be a multiple of --batch 16; use {nearest}"
    )


def test_a_nominal_batch_is_not_negative(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig(data=tmp_path, out=tmp_path, nominal_batch=-16)
    assert str(error.value) == "--nominal-batch -16: expected an integer of at least 0"


def test_a_step_has_the_nominal_batch_and_an_epoch_leaves_nothing(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = ready_trainer(tiny(dataset, tmp_path, epochs=2, nominal_batch=4))
    monkeypatch.setattr(trainer, "_setup_train", lambda: None)  # done
    steps, left = [], []

    def note_step(trainer: OmrTrainer) -> None:
        steps.append(trainer.ema.updates)

    def note_rest(trainer: OmrTrainer) -> None:
        left.append(any(p.grad is not None for p in trainer.model.parameters()))

    trainer.add_callback("on_train_batch_end", note_step)
    trainer.add_callback("on_train_epoch_end", note_rest)
    trainer.train()
    # Two batches, then the third alone, in the warm-up as after it.
    assert steps == [0, 1, 2, 2, 3, 4]
    assert left == [False, False]
    assert trainer.optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.0005)


def test_gathered_gradients_are_those_of_the_joined_batch(dataset: Path, tmp_path: Path) -> None:
    """Up to the normaliser: each batch's loss is divided by its own sum of target scores."""
    trainer = ready_trainer(tiny(dataset, tmp_path, nominal_batch=4))
    trainer.model.train()
    for module in trainer.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # it looks at a batch as a whole
    normalisers = note_normalisers(trainer)
    one, other = list(trainer.train_loader)[:2]
    parts = [gradient(trainer, batch) for batch in (one, other)]
    whole = gradient(trainer, joined(one, other))
    first, second, both = normalisers
    assert both == pytest.approx(first + second)
    assert min(normalisers) > 1
    shares = first / both * 2, second / both * 2
    torch.testing.assert_close(whole, parts[0] * shares[0] + parts[1] * shares[1])
    weights = [value.clone() for value in trainer.model.parameters()]
    trainer.epoch, trainer.state.batches_done = 0, 1
    backward(trainer, one)
    trainer.optimizer_step()
    same = zip(weights, trainer.model.parameters(), strict=True)
    assert all(torch.equal(before, now) for before, now in same)
    backward(trainer, other)
    torch.testing.assert_close(taken_gradient(trainer), parts[0] + parts[1])
    # The same images twice: equal normalisers, so equal gradients.
    twice = gradient(trainer, joined(one, one))
    torch.testing.assert_close(twice, 2 * parts[0])


def note_normalisers(trainer: OmrTrainer) -> list[float]:
    """Keep what each loss is divided by."""
    assigner, sums = trainer.model.criterion.assigner, []

    class Noting:
        def assign(self, *args: Any) -> Assignment:  # noqa: ANN401
            found: Assignment = assigner.assign(*args)
            sums.append(float(found.weights.sum()))
            return found

    trainer.model.criterion.assigner = Noting()
    return sums


def joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    batch = {k: torch.cat([one[k], other[k]]) for k in ("img", "cls", "bboxes")}
    batch["batch_idx"] = torch.cat([one["batch_idx"], other["batch_idx"] + len(one["img"])])
    return batch | {"im_file": [*one["im_file"], *other["im_file"]]}


def backward(trainer: OmrTrainer, batch: dict[str, Any]) -> None:
    trainer.model(trainer.preprocess_batch(dict(batch)))[0].sum().backward()


def taken_gradient(trainer: OmrTrainer) -> Tensor:
    """Give the gradient of all parameters, and leave none."""
    of_parameters = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    trainer.optimizer.zero_grad()
    return torch.cat(of_parameters)


def gradient(trainer: OmrTrainer, batch: dict[str, Any]) -> Tensor:
    backward(trainer, batch)
    return taken_gradient(trainer)


def test_the_rates_of_a_test_rise_by_a_factor() -> None:
    rates = rising_rates()
    assert len(rates) == 100
    assert (rates[0], rates[-1]) == pytest.approx((1e-6, 1))
    assert rates[1] / rates[0] == pytest.approx(rates[99] / rates[98])


def test_losses_are_smoothed_from_both_sides() -> None:
    assert running_means([]) == []
    assert running_means([7.0, 7.0, 7.0]) == pytest.approx([7, 7, 7])
    assert running_means([1.0, 3.0]) == pytest.approx([1, 3.9 / 1.9])
    found = RangeTest(rates=(0.1, 1.0), losses=(1.0, 3.0))
    assert found.smoothed == pytest.approx([(1 + 3.7 / 1.9) / 2, (3.9 / 1.9 + 3) / 2])


def losses_of(*values: float) -> Iterator[float]:
    yield from values


def test_a_test_of_one_step_suggests_nothing() -> None:
    found = range_test(lambda _rate: 5.0, [0.1])
    assert found == RangeTest(rates=(0.1,), losses=(5.0,))
    assert (found.steepest, found.tenth_of_lowest, found.suggestion) == (None, None, None)


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    losses = losses_of(1, 2, 3, 4)
    found = range_test(lambda _rate: next(losses), [0.1, 0.2, 0.4, 0.8])
    assert found.suggestion is None


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_a_test_ends_where_the_loss_is_no_number(end: float) -> None:
    losses = losses_of(3, 2, end, 1)
    found = range_test(lambda _rate: next(losses), [0.1, 0.2, 0.4, 0.8])
    assert found.losses == (3, 2)
    assert found.rates == (0.1, 0.2)
    with pytest.raises(
        ConfigError, match=r"^--find-lr: the loss of the first step is not finite; check"
    ):
        range_test(lambda _rate: end, [0.1])


def test_a_test_ends_where_the_loss_is_four_times_the_lowest() -> None:
    # The means: 1, then (.9 + 3) / 1.9 = 2.05, then (3.51 / 1 + 40 / 1) / 2.71 = 16.1
    losses = losses_of(1, 3, 40, 1)
    found = range_test(lambda _rate: next(losses), [0.1, 0.2, 0.4, 0.8])
    assert found.losses == (1, 3, 40)


def test_the_suggestion_of_a_known_curve() -> None:
    """A loss that falls as tanh over the rate's logarithm, steepest at 1e-3, and rises from 1e-1."""

    def loss(rate: float) -> float:
        return (
            10 - 4 * math.tanh(2 * (math.log10(rate) + 3)) + max(0, math.log10(rate) + 1) ** 2 * 20
        )

    found = range_test(loss, rising_rates())
    assert found.steepest == pytest.approx(1e-3, rel=0.3)
    assert found.tenth_of_lowest is not None
    assert 1e-3 < found.tenth_of_lowest < 2e-2  # the lowest of the smoothed loss is flat
    assert found.suggestion == float(f"{found.steepest:.1e}")


def test_finding_a_rate_leaves_figures_and_no_run(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.lr_finder.N_STEPS", 5)  # of three batches
    out = tmp_path / "rate"
    config = tiny(dataset, out, nominal_batch=4, epochs=1)
    found = find_rate(config)
    assert {file.name for file in out.iterdir()} == {"lr.json"}
    assert json.loads((out / "lr.json").read_text()) == json.loads(json.dumps(found.to_json()))
    assert len(found.rates) == 5
    assert all(map(math.isfinite, found.losses))
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ConfigError) as again:
        find_rate(config)
    assert str(again.value) == (
        f"{out}: already contains lr.json; choose another folder, or use --force to replace it"
    )
    assert find_rate(config, force=True).losses == found.losses
    (out / "mine").touch()
    with pytest.raises(ConfigError) as full:
        find_rate(config, force=True)
    assert str(full.value) == (
        f"{out}: contains files other than lr.json and lr.html; choose another folder"
    )


def test_a_second_test_is_refused_before_it_starts(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(dataset, tmp_path / "rate")

    def second() -> None:
        with pytest.raises(ConfigError, match=f"^{config.out}: another omr process"):
            find_rate(config, force=True)
        raise KeyboardInterrupt

    during(monkeypatch, lr_finder, "temporary_trainer", second)
    with pytest.raises(KeyboardInterrupt):
        find_rate(config)
    assert not config.out.exists()


def test_a_rate_is_not_found_on_several_devices(dataset: Path, tmp_path: Path) -> None:
    config = replace(tiny(dataset, tmp_path), device="0,1")
    with pytest.raises(ConfigError) as error:
        find_rate(config)
    assert str(error.value) == (
        "--find-lr: runs on one device; give one --device, without torchrun"
    )


@pytest.mark.parametrize(
    ("epochs", "warmup", "used"),
    [(1, 3.0, 0.1), (1, 0.05, 0.05), (2, 3.0, 1.0), (2, 0.5, 0.5), (9, 3.0, 3.0)],
)
def test_the_last_epoch_has_no_warm_up(epochs: int, warmup: float, used: float) -> None:
    assert used_warmup(epochs, warmup) == used
