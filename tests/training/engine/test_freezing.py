import csv
import os
import runpy
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import interrupted
from torch import nn
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError
from settings.freezing import FreezeOptions
from training.config import TrainConfig, read_config, save_config
from training.engine.freezing import check_freezing, n_layers
from training.engine.inputs import open_inputs
from training.engine.omr_trainer import OmrTrainer
from training.models.checkpoints import load_weights
from training.runs import resume_state
from training.trainer import TrainResult, build_trainer, run_options, train

HEADS = """
groups:
  - {name: heads, classes: [notehead]}
  - {name: lines, classes: [stem, beam]}
box: %s
"""


def tiny(data: Path, out: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    """Three batches an epoch, and no warm-up of all layers."""
    common: dict[str, Any] = {
        "imgsz": 64,
        "batch": 2,
        "device": "cpu",
        "warmup_epochs": 0,
        "validate": False,
    }
    return TrainConfig(data=data, out=out, **common | options)


def trainer_of(config: TrainConfig) -> OmrTrainer:
    """Build a trainer without the checks: from scratch, with frozen layers."""
    options = run_options(config)
    return build_trainer(config, options, open_inputs(options))


def set_up(config: TrainConfig) -> OmrTrainer:
    made = trainer_of(config)
    made._setup_train()
    return made


def copy_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_names(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in one if torch.equal(one[name], other[name])}


def layers(names: set[str]) -> set[int]:
    return {int(name.split(".")[1]) for name in names}


def in_optimizer(trainer: OmrTrainer) -> set[str]:
    names = {p: name for name, p in unwrap_model(trainer.model).named_parameters()}
    return {names[p] for group in trainer.optimizer.param_groups for p in group["params"]}


def test_the_parts_of_a_model_are_counted() -> None:
    architecture = {"backbone": [0] * 11, "head": [0] * 13}
    counted = [n_layers(freeze, architecture) for freeze in ("", "backbone", "neck", "4", "23")]
    assert counted == [0, 11, 23, 4, 23]
    with pytest.raises(
        ConfigError, match=r"^--freeze 24: the model has only 23 layers before its head$"
    ):
        n_layers("24", architecture)


def test_only_what_has_learnt_is_frozen(trained: TrainResult) -> None:
    options = FreezeOptions(freeze="neck", unfreeze_at=(2, 5))
    weights = load_weights(trained.last)
    check_freezing(options, weights=weights, epochs=6)
    check_freezing(FreezeOptions(), weights=None, epochs=1)
    with pytest.raises(ConfigError) as late:
        check_freezing(options, weights=weights, epochs=5)
    assert (
        str(late.value) == "--unfreeze-at 5: the training ends after 5 epochs; give smaller numbers"
    )
    with pytest.raises(ConfigError, match="the model has only 23 layers before its head"):
        check_freezing(FreezeOptions(freeze="99"), weights=weights, epochs=5)
    with pytest.raises(ConfigError) as new:
        check_freezing(options, weights=None, epochs=6)
    assert str(new.value) == (
        "--freeze: the layers of a model from scratch have learnt nothing; give --weights FILE.pt"
    )


@pytest.mark.parametrize("box", ["", "shared", "separate"])
def test_frozen_layers_stay_bit_equal(dataset: Path, tmp_path: Path, box: str) -> None:
    (tmp_path / "heads.yaml").write_text(HEADS % box)
    heads = str(tmp_path / "heads.yaml") if box else ""
    config = tiny(dataset, tmp_path / "run", epochs=2, freeze="backbone", heads=heads)
    trainer = trainer_of(config)
    seen: dict[str, Any] = {}

    def before(trainer: OmrTrainer) -> None:
        seen["model"], seen["average"] = copy_of(trainer.model), copy_of(trainer.ema.ema)

    def check(trainer: OmrTrainer) -> None:
        now = copy_of(trainer.model), copy_of(trainer.ema.ema)
        seen["same"] = [same_names(seen[k], v) for k, v in zip(seen, now, strict=False)]
        seen["grads"] = {n for n, p in trainer.model.named_parameters() if p.grad is not None}

    trainer.add_callback("on_train_start", before)
    trainer.add_callback("on_fit_epoch_end", check)
    trainer.train()
    names = set(seen["model"])
    frozen = {n for n in names if int(n.split(".")[1]) < 11 or ".dfl" in n}
    assert any("running_mean" in n for n in frozen)
    assert any("num_batches_tracked" in n for n in frozen)
    for same in seen["same"]:
        assert frozen <= same
    # Everything else has moved, but what the average leaves alone and what no symbol has reached.
    moved = names - seen["same"][0]
    assert layers(moved) == layers({n for n in names - frozen if "weight" in n})
    assert not in_optimizer(trainer) & frozen
    parameters = {n for n, _ in trainer.model.named_parameters()}
    assert in_optimizer(trainer) == parameters - frozen
    assert not seen["grads"] & frozen


def test_the_average_of_what_is_frozen_is_not_rounded(dataset: Path, tmp_path: Path) -> None:
    trainer = set_up(tiny(dataset, tmp_path, freeze="backbone"))
    average = copy_of(trainer.ema.ema)
    trainer.guard = None  # it wants to see the loss
    trainer._model_train()
    trainer.epoch, trainer.state.batches_done = 0, 1
    with torch.no_grad():  # rounded more than any average would
        for value in trainer.ema.ema.parameters():
            value.mul_(1.5)
    trainer.model(trainer.preprocess_batch(next(iter(trainer.train_loader))))[0].sum().backward()
    trainer.optimizer_step()
    same = same_names(average, copy_of(trainer.ema.ema))
    assert {n for n in average if int(n.split(".")[1]) < 11} <= same
    assert "model.23.dfl.conv.weight" in same


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD", "MuSGD"])
def test_layers_come_back_with_ultralytics_own_weight_decay(
    dataset: Path, tmp_path: Path, optimizer: str
) -> None:
    config = tiny(
        dataset,
        tmp_path,
        optimizer=optimizer,
        freeze="neck",
        unfreeze_at=(2, 4, 6),
        lr_scale=(0.1, 0.05, 0.01),
    )
    trainer = set_up(config)
    model = unwrap_model(trainer.model)
    names = {p: n for n, p in model.named_parameters()}
    stock = DetectionTrainer.build_optimizer(
        trainer, model, optimizer, lr=0.001, momentum=0.937, decay=0.0005
    )
    wanted = {names[p]: g for g in stock.param_groups for p in g["params"]}
    for epoch, first in ((0, 23), (2, 15), (4, 7), (6, 0)):
        trainer.freeze_for_epoch(epoch)
        trained = in_optimizer(trainer)
        assert layers(trained) == {i for i in layers(set(wanted)) if i >= first}
        assert trained == {n for n, p in model.named_parameters() if p.requires_grad}
        assert len(trained) == sum(len(g["params"]) for g in trainer.optimizer.param_groups)
    for group in trainer.optimizer.param_groups:
        for name in (names[p] for p in group["params"]):
            layer = int(name.split(".")[1])
            scale = next(s for s, i in ((1, 23), (0.1, 15), (0.05, 7), (0.01, 0)) if layer >= i)
            assert group["initial_lr"] == pytest.approx(wanted[name]["lr"] * scale)
            for key in ("weight_decay", "param_group", "betas", "momentum", "use_muon"):
                assert group.get(key) == wanted[name].get(key)
    assert trainer.freezing.n_groups == len(trainer.optimizer.param_groups)


def test_rates_of_layers_that_come_back(dataset: Path, tmp_path: Path) -> None:
    config = tiny(
        dataset, tmp_path / "run", epochs=4, freeze="backbone", unfreeze_at=(2,), lr_scale=(0.1,)
    )
    trainer = trainer_of(config)
    rates: list[tuple[float, ...]] = []
    copies = []

    def note_rates(trainer: OmrTrainer) -> None:
        groups = trainer.optimizer.param_groups
        rates.append(tuple(dict.fromkeys(group["lr"] for group in groups)))

    def note_weights(trainer: OmrTrainer) -> None:
        copies.append(copy_of(trainer.model))

    trainer.add_callback("on_train_batch_end", note_rates)
    trainer.add_callback("on_train_epoch_end", note_weights)
    trainer.train()
    falling = [0.001 * (1 - i / 12) for i in range(12)]
    share = [0, 1 / 3, 2 / 3, 1, 1, 1]
    wanted: list[tuple[float, ...]] = [(rate,) for rate in falling[:6]]
    wanted += [(rate, rate * 0.1 * part) for rate, part in zip(falling[6:], share, strict=True)]
    assert len(rates) == len(wanted)
    for own, hand in zip(rates, wanted, strict=True):
        assert own == pytest.approx(hand)
    statistics, weight = "model.0.bn.running_mean", "model.0.conv.weight"
    for name in (statistics, weight):
        assert torch.equal(copies[0][name], copies[1][name])
        assert not torch.equal(copies[1][name], copies[2][name])
    rows = list(csv.DictReader((tmp_path / "run/results.csv").read_text().splitlines()))
    assert [float(row["lr/pg3"]) > 0 for row in rows] == [False, False, True, True]
    assert all(None not in row and None not in row.values() for row in rows)


@pytest.mark.parametrize("killed_in", [0, 1])
def test_a_run_that_was_cut_off_goes_on_in_its_schedule(
    trained: TrainResult,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_in: int,
) -> None:
    config = tiny(
        dataset,
        tmp_path / "run",
        epochs=3,
        model=str(trained.last),
        freeze="neck",
        unfreeze_at=(1, 2),
        lr_scale=(0.5, 0.2),
    )
    interrupted(config, epoch=killed_in)
    groups = []
    start = resume_state.restore

    def restore(trainer: OmrTrainer, state: resume_state.State) -> None:
        start(trainer, state)
        groups.append([len(g["params"]) for g in trainer.optimizer.param_groups])
        assert groups[-1] == [len(g["params"]) for g in state["optimizer"]["param_groups"]]

    monkeypatch.setattr(resume_state, "restore", restore)
    assert train(replace(config, resume=True)).epochs == 3
    assert [len(sizes) for sizes in groups] == [3 * (killed_in + 1)]


def test_a_state_of_an_earlier_epoch_can_be_loaded(dataset: Path, tmp_path: Path) -> None:
    trainer = set_up(tiny(dataset, tmp_path, freeze="backbone", unfreeze_at=(1,)))
    frozen, state = in_optimizer(trainer), trainer.optimizer.state_dict()
    trainer.freeze_for_epoch(1)
    trainer._model_train()
    trainer.model(trainer.preprocess_batch(next(iter(trainer.train_loader))))[0].sum().backward()
    trainer.optimizer.step()
    weight = trainer.model.model[0].conv.weight
    assert weight in trainer.optimizer.state
    assert trainer.model.model[0].bn.training
    trainer.freeze_for_epoch(0)
    assert weight not in trainer.optimizer.state
    trainer.optimizer.load_state_dict(state)
    trainer._model_train()
    assert in_optimizer(trainer) == frozen
    assert weight not in trainer.optimizer.state
    assert weight.grad is None
    assert not trainer.model.model[0].bn.training
    trainer.scheduler.step()
    trainer.freeze_for_epoch(1)
    trainer.scheduler.step()
    assert len(trainer.optimizer.param_groups) == trainer.freezing.n_groups == 6


def test_a_configuration_is_read_as_it_was_saved(dataset: Path, tmp_path: Path) -> None:
    config = tiny(
        dataset, tmp_path, freeze="neck", unfreeze_at=(3, 6), lr_scale=(0.1, 0.05), nominal_batch=4
    )
    save_config(config)
    assert read_config(tmp_path) == config


TWO_PROCESSES = """
import sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from settings.freezing import FreezeOptions
from training.engine.freezing import Freezing

rank, port = int(sys.argv[1]), sys.argv[2]

def made():
    torch.manual_seed(0)
    model = nn.Module()
    model.model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2))
    model.forward = model.model.forward
    model.yaml = {"backbone": [0, 0], "head": [0]}
    return model

def trained(model, wrapped, images, scale):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    options = FreezeOptions(freeze="backbone", unfreeze_at=(1, 2), lr_scale=(0.5,))
    freezing = Freezing(model, optimizer, options)
    seen = []
    for epoch in range(4):
        freezing.set_epoch(epoch)
        (wrapped(images).square().sum() * scale).backward()
        seen.append([None if p.grad is None else p.grad.clone() for p in model.parameters()])
        optimizer.step()
        optimizer.zero_grad()
    return seen + [[p.detach().clone() for p in model.parameters()]]

torch.manual_seed(1)
images = torch.randn(6, 4)
alone = made()
wanted = trained(alone, alone, images, 1)
distributed.init_process_group(
    "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
)
both = made()
wrapped = DistributedDataParallel(both, find_unused_parameters=True)
got = trained(both, wrapped, images[rank * 3 : rank * 3 + 3], 2)
distributed.destroy_process_group()
for epoch, (hand, own) in enumerate(zip(wanted, got, strict=True)):
    frozen = {0: 4, 1: 2}.get(epoch, 0)
    assert [g is None for g in own] == [i < frozen for i in range(6)], (epoch, own)
    for one, other in zip(hand[frozen:], own[frozen:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
"""


def test_gradients_of_layers_that_come_back_are_those_of_all_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two.py").write_text(TWO_PROCESSES)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(tmp_path / "two.py"), "1", port]
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as other:
        monkeypatch.setattr(sys, "argv", ["two.py", "0", port])
        runpy.run_path(str(tmp_path / "two.py"))
        errors = other.communicate(timeout=120)[1]
    assert other.returncode == 0, errors
