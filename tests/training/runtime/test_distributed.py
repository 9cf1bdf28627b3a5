"""Two processes on the CPU, over gloo, train as one does."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
import torch
from finished_run import WEIGHTS, rows
from killed_run import Kill, forkserver, trainer
from rank_steps import CASES, N_RANKS, batch, gradients, model, on_a_rank
from rank_trainings import join_ranks, start_ranks

from class_maps import ConfigError
from training.config import TrainConfig
from training.models.checkpoints import open_weights
from training.runtime import distributed

Draw = Callable[..., Path]


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    context = forkserver()
    processes = [
        context.Process(target=on_a_rank, args=(rank, str(folder))) for rank in range(N_RANKS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(N_RANKS)]


@pytest.mark.parametrize("name", CASES)
def test_a_step_on_two_ranks_is_one_of_the_joined_batch(
    name: str, of_ranks: list[dict[str, Any]]
) -> None:
    kind, objects = CASES[name]
    net = model(kind)
    loss = net(batch(objects))[0].sum()
    loss.backward()
    wanted = gradients(net)
    mean = sum(float(found[name][0]) for found in of_ranks) / N_RANKS
    assert math.isclose(mean, float(loss.detach()), rel_tol=1e-5)
    for found in of_ranks:
        own = found[name][1]
        for key, gradient in wanted.items():
            scale = float(gradient.abs().max())
            torch.testing.assert_close(own[key], gradient, rtol=1e-5, atol=1e-5 * max(scale, 1e-3))
        # The wrapper gives zeros to what had no part in the loss.
        assert all(not own[key].any() for key in own.keys() - wanted.keys())


def test_one_process_counts_for_itself() -> None:
    assert distributed.total_a_rank(torch.tensor(0.2), least=1) == 1
    assert distributed.total_a_rank(torch.tensor(7.0), least=1) == 7
    assert distributed.n_started() == 0
    assert distributed.is_first()


PER_PROCESS = "one per process that torchrun started on this machine"


@pytest.mark.parametrize(
    ("started", "device", "size", "problem"),
    [
        (0, "cpu", 1, None),
        (0, "", 3, None),
        (0, "0,1", 4, None),
        (2, "cpu", 4, None),
        (2, "0,1", 4, None),
        (0, "0,1", 5, "--batch 5: must be a multiple of the number of devices, 2; use 4 or 6"),
        (2, "cpu", 1, "--batch 1: must be a multiple of the number of devices, 2; use 2"),
        (1, "cpu", 4, "torchrun started a single process; run omr train without it"),
        (2, "0", 4, f"--device 0: expected cpu, or 2 devices, {PER_PROCESS}"),
        (2, "", 4, f"--device: expected cpu, or 2 devices, {PER_PROCESS}"),
    ],
)
def test_processes_devices_and_batch_fit(
    started: int, device: str, size: int, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "n_started", lambda: started)
    check(device, size, problem)


@pytest.mark.parametrize(
    ("device", "size", "problem"),
    [
        ("cpu", 4, None),
        ("0", 4, None),
        ("0", 2, "--batch 2: must be a multiple of the number of devices, 4; use 4"),
        ("0,1,2,3", 4, f"--device 0,1,2,3: expected cpu, or 1 device, {PER_PROCESS}"),
    ],
)
def test_devices_are_those_of_one_machine(
    device: str, size: int, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "n_started", lambda: 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    check(device, size, problem)


def check(device: str, size: int, problem: str | None) -> None:
    if problem is None:
        distributed.check_ranks(device, size)
        return
    with pytest.raises(ConfigError) as raised:
        distributed.check_ranks(device, size)
    assert str(raised.value) == problem


def test_a_lost_process_is_an_error_and_the_run_resumes_on_any_machines(
    draw: Draw, tmp_path: Path
) -> None:
    config = TrainConfig(
        data=draw(tmp_path / "data", n_images=8, side=64, n_symbols=4),
        out=tmp_path / "whole",
        model="omr-tiny",
        epochs=2,
        imgsz=64,
        batch=4,
        device="cpu",
    )
    whole = start_ranks(config)
    config = replace(config, out=tmp_path / "run")
    in_epoch_2 = Kill(trainer, "optimizer_step", call=3)
    assert join_ranks(start_ranks(config, machines=2, patches=(in_epoch_2,))) == [1, -SIGKILL]
    assert (tmp_path / "run.error.0").read_text() == (
        f"{config.out}: another process of the run has ended; see its messages, and resume the run "
        "with --resume"
    )
    assert join_ranks(start_ranks(replace(config, resume=True), machines=2)) == [0, 0]
    assert join_ranks(whole) == [0, 0]
    assert rows(config.out) == rows(tmp_path / "whole")
    for name in WEIGHTS:
        contents = [(tmp_path / run / "weights" / name).read_bytes() for run in ("run", "whole")]
        assert contents[0] == contents[1], name


CHILD = """
import sys
from training.runtime.distributed import RANK
from training.engine.omr_trainer import OmrTrainer
folder = sys.argv.pop()
end = OmrTrainer.final_eval
def keep(trainer):
    import torch
    torch.save(trainer.model.module.state_dict(), f"{folder}/{RANK}.pt")
    end(trainer)
OmrTrainer.final_eval = keep
from omr.cli import app
app()
"""


def test_torchrun_trains_on_two_processes(draw: Draw, tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=8, side=64, n_symbols=4)
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words = ["train", data, "--out", tmp_path / "run", "--model", "omr-tiny", "--device", "cpu"]
    words += ["--epochs", 2, "--imgsz", 64, "--batch", 4, "--json", tmp_path]
    command = [*launcher, "--nproc-per-node", str(N_RANKS), str(script), *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ}, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)  # of one process only
    for start in ("omr-tiny, 1 head, ", "epoch   1/2  ", "epoch   2/2  "):
        assert done.stderr.count(f"\n{start}") + done.stderr.startswith(start) == 1, done.stderr
    assert result["epochs"] == 2
    assert sum(found["seen"] for found in result["augmented"].values()) == 2 * 8 * 4
    first, second = (torch.load(tmp_path / f"{i}.pt", weights_only=True) for i in range(N_RANKS))
    statistics = "running_mean", "running_var"  # each rank's own, as Ultralytics has it
    for name, value in first.items():
        assert name.endswith(statistics) or torch.equal(value, second[name]), name
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["starts"][0]["devices"] == N_RANKS
    assert len((tmp_path / "run" / "results.csv").read_text().splitlines()) == 3
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        "args.yaml",
        "augmentation.json",
        "omr.yaml",
        "results.csv",
        "run.json",
        "train_images.txt",
        "weights",
    }
    training = open_weights(tmp_path / "run" / "weights" / "last.pt").training
    assert training is not None
    assert len(training.images) == 8
