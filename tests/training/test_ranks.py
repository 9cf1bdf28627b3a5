"""Two processes on the CPU, over gloo, train as one does."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import IterableSimpleNamespace

from class_maps import ConfigError
from training import ranks
from training.heads.grouped import divided
from training.heads.head_config import Group, HeadConfig
from training.losses.detection import LossOptions, detection_criterion
from training.models import model_file

Draw = Callable[..., Path]
N_RANKS = 2
GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "epochs": 3}
HEADS = HeadConfig(
    groups=(Group(name="heads", classes=("a",)), Group(name="lines", classes=("b", "c"))),
    box="separate",
)


def model(kind: str) -> DetectionModel:
    """A small network whose BatchNorm does not look at the batch: ranks have halves of it."""
    torch.manual_seed(1)
    name = "yolo26n" if kind == "two branches" else "omr-tiny"
    net = DetectionModel(model_file(name), nc=3, verbose=False)
    if kind == "separate":
        net.model[-1] = divided(net.model[-1], ((0,), (1, 2)), HEADS)
    net.args = IterableSimpleNamespace(**GAINS)
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    net.criterion = detection_criterion(net, LossOptions())
    return net


def batch(objects: tuple[int, ...]) -> dict[str, Tensor]:
    """Four images, with so many objects each."""
    generator = torch.Generator().manual_seed(2)
    images = torch.repeat_interleave(torch.arange(4), torch.tensor(objects))
    n = len(images)
    return {
        "img": torch.rand(4, 3, 64, 64, generator=generator),
        "batch_idx": images.float(),
        "cls": torch.randint(3, (n, 1), generator=generator).float(),
        "bboxes": torch.rand(n, 4, generator=generator) * 0.3 + 0.2,
    }


def half(whole: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    own = (whole["batch_idx"] // 2) == rank
    part = {key: whole[key][own] for key in ("batch_idx", "cls", "bboxes")}
    part["batch_idx"] = part["batch_idx"] - 2 * rank
    return part | {"img": whole["img"][2 * rank : 2 * rank + 2]}


CASES = {
    f"{kind}, {objects}": (kind, objects)
    for kind, objects in (
        ("single", (0, 0, 0, 0)),
        ("single", (5, 1, 2, 0)),
        ("single", (4, 3, 0, 0)),
        ("separate", (5, 1, 2, 0)),
        ("separate", (0, 0, 1, 6)),
        ("two branches", (5, 1, 2, 0)),
    )
}


def on_a_rank(rank: int, folder: str) -> None:
    """Take one step's loss and gradients of every case as a trainer on two devices does."""
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", N_RANKS)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=N_RANKS)
    found = {}
    for name, (kind, objects) in CASES.items():
        with ranks.cpu_wrapper():
            net = nn.parallel.DistributedDataParallel(
                model(kind), device_ids=[None], find_unused_parameters=True
            )
        loss = net(half(batch(objects), rank))[0].sum() * N_RANKS  # as Ultralytics' trainer does
        loss.backward()
        found[name] = loss.detach(), gradients(net.module)
    torch.save(found, f"{folder}/{rank}.pt")
    with torch.no_grad():  # a validation, in which rank 1 has nothing to do
        if rank == 0:
            assert ranks.total_a_rank(torch.tensor(0.5), least=1) == 1
    ranks.leave()
    assert not distributed.is_initialized()


def gradients(net: nn.Module) -> dict[str, Tensor]:
    return {k: p.grad for k, p in net.named_parameters() if p.grad is not None}


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.trainer", "training.score_trainer"])
    processes = [
        context.Process(target=on_a_rank, args=(rank, str(folder))) for rank in range(N_RANKS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    yield [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(N_RANKS)]


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
    assert ranks.total_a_rank(torch.tensor(0.2), least=1) == 1
    assert ranks.total_a_rank(torch.tensor(7.0), least=1) == 7
    assert ranks.n_started() == 0
    assert ranks.is_first()


@pytest.mark.parametrize(
    ("started", "device", "size", "problem"),
    [
        (0, "cpu", 1, None),
        (0, "", 3, None),
        (0, "0,1", 4, None),
        (2, "cpu", 4, None),
        (2, "0,1", 4, None),
        (0, "0,1", 5, "batch (5): must be a multiple of the 2 devices; use 6"),
        (2, "cpu", 1, "batch (1): must be a multiple of the 2 devices; use 2"),
        (1, "cpu", 4, "torchrun started one process: start omr train without it"),
        (
            2,
            "0",
            4,
            "torchrun started 2 processes, and --device names 1 devices: name as many, or cpu",
        ),
    ],
)
def test_processes_devices_and_batch_fit(
    started: int, device: str, size: int, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "n_started", lambda: started)
    if problem is None:
        ranks.check_ranks(device, size)
        return
    with pytest.raises(ConfigError) as raised:
        ranks.check_ranks(device, size)
    assert str(raised.value) == problem


CHILD = """
import sys
from training.ranks import RANK
from training.score_trainer import ScoreTrainer
folder = sys.argv.pop()
end = ScoreTrainer.final_eval
def keep(trainer):
    import torch
    torch.save(trainer.model.module.state_dict(), f"{folder}/{RANK}.pt")
    end(trainer)
ScoreTrainer.final_eval = keep
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
        "weights",
    }
