"""Pure parts of the throughput measurement, with values computed by hand, and one run."""

import copy
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from ultralytics.data import dataset as ultralytics_dataset
from ultralytics.data.augment import RandomPerspective
from ultralytics.utils.callbacks import base as callbacks
from ultralytics.utils.torch_utils import unset_deterministic

from benchmarks.gpu import coco_like, throughput, trainers, training_run, variants
from benchmarks.gpu.data import write_data_yaml
from benchmarks.gpu.figures import PHASES, Figures, Setup, read_figures
from benchmarks.gpu.phases import hook_phases, host_waits
from benchmarks.gpu.results import Results, read_results
from benchmarks.gpu.training_run import Window
from training.profiling.clock import PhaseClock

SETUP = Setup(
    trainer="omr",
    data="",
    out="",
    batch=8,
    imgsz=64,
    workers=0,
    device="cpu",
    warm_up=1,
    steps=2,
    max_seconds=9,
)


def figures(images_per_s: float = 100.0, **other: Any) -> Figures:  # noqa: ANN401
    one = Figures(
        batch=8,
        images_per_s=images_per_s,
        step_ms=80.0,
        symbols_per_image=7.26,
        peak_gib=None,
        one_by_one=False,
        utilisation=None,
    )
    return replace(one, **other)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], 0),
        (["cudaDeviceSynchronize"], 0),
        (["cudaLaunchKernel", "cudaStreamSynchronize", "cudaDeviceSynchronize"], 1),
        (["cudaEventSynchronize", "cudaStreamSynchronize", "cudaDeviceSynchronize"], 2),
    ],
)
def test_the_end_of_a_profile_is_not_a_synchronisation_of_the_training(
    names: list[str], expected: int
) -> None:
    assert host_waits([SimpleNamespace(name=name) for name in names]) == expected


class _Assigner:
    def assign(self, *_inputs: object) -> str:
        return "assigned"


class _DenseAssigner(torch.nn.Module):
    def forward(self) -> str:
        return "assigned"


class _Model(torch.nn.Module):
    def __init__(self, assigner: object) -> None:
        super().__init__()
        self.criterion = SimpleNamespace(assigner=assigner)

    def predict(self) -> str:
        return "predicted"

    def loss(self) -> str:
        self.predict()
        assigner = self.criterion.assigner
        dense = isinstance(assigner, torch.nn.Module)
        return str(assigner() if dense else assigner.assign(None, None, None))


@pytest.mark.parametrize("assigner", [_Assigner(), _DenseAssigner()], ids=["sparse", "dense"])
def test_every_phase_of_a_step_is_reported(
    assigner: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = PhaseClock(torch.device("cpu"))
    begun: list[str] = []
    monkeypatch.setattr(clock, "begin", begun.append)
    model = _Model(assigner)
    events: dict[str, list[object]] = {"on_train_batch_start": [], "on_train_batch_end": []}
    trainer = SimpleNamespace(model=model, callbacks=events, optimizer_step=lambda: None)
    hook_phases(trainer, clock)
    trainer.callbacks["on_train_batch_start"][0](trainer)
    assert model.loss() == "assigned"
    trainer.optimizer_step()
    trainer.callbacks["on_train_batch_end"][0](trainer)
    assert begun == [
        *("prepare", "forward", "forward", "loss", "assign", "loss", "backward"),
        *("step", "log", "load"),
    ]


class _Ticks:
    """Clock that advances by a second per step, and by 10 per synchronisation."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self, *, sync: bool) -> float:
        self.now += 10 if sync else 1
        return self.now


def test_a_window_begins_after_the_warm_up_and_waits_for_the_device() -> None:
    clock = _Ticks()
    window = Window(warm_up=2, steps=3, max_seconds=100, clock=clock)
    ended = [window.add(images=4, symbols=40) for _ in range(5)]
    assert ended == [False, False, False, False, True]
    assert (window.steps, window.images, window.symbols) == (3, 12, 120)
    # from 10, when the device was ready after the warm-up, to 10 after the 3 s of the steps
    assert window.seconds == 13
    assert clock.now == 23


def test_a_window_ends_early_when_its_time_is_up() -> None:
    window = Window(warm_up=1, steps=100, max_seconds=2, clock=_Ticks())
    assert [window.add(4, 40) for _ in range(3)] == [False, False, True]
    assert window.steps == 2


def test_a_window_starts_over_when_the_batch_changes() -> None:
    window = Window(warm_up=1, steps=2, max_seconds=100, clock=_Ticks())
    window.add(8, 80)
    window.add(8, 80)
    window.restart()
    assert [window.add(4, 40) for _ in range(3)] == [False, False, True]
    assert window.images == 8


def test_figures_survive_the_file_and_a_missing_one_is_none(tmp_path: Path) -> None:
    one = figures(phases_ms={"load": 1.5}, kernel_ms=60.0)
    file = tmp_path / "figures.json"
    assert read_figures(file) is None
    file.write_text(json.dumps(asdict(one)))
    assert read_figures(file) == one
    assert one.busy == 75


def test_the_ratio_is_that_of_the_medians() -> None:
    ratio, text = throughput.speed_ratio(
        [figures(90.0), figures(100.0), figures(400.0)], [figures(20.0), figures(30.0)]
    )
    assert ratio == 4
    assert text == "4.00 times: 100.0 and 25.0 images/s, batch 8"


def test_a_row_has_a_cell_for_each_column() -> None:
    plan = throughput.Plan(kind="omr", data="whole", repeated=True)
    row = throughput.throughput_row(plan, figures(kernel_ms=60.0, peak_gib=1.234), SETUP)
    assert row == ("omr (again)", 100.0, 80.0, 8, "fp32", 0, 7, 1.2, None, 75.0, None, None)
    assert len(row) == len(throughput.COLUMNS)


def test_phase_cells_are_in_order_and_end_with_their_sum() -> None:
    assert throughput.phase_cells({}) == (None,) * 9
    cells = throughput.phase_cells({"log": 1.0, "load": 2.25})
    assert cells == (2.2, *[None] * 6, 1.0, 3.2)


def test_the_goals_of_full_pages_compare_the_same_labels_and_batch(tmp_path: Path) -> None:
    results = Results(tmp_path / "out.json")
    work = throughput.Throughput(results, SETUP, tmp_path, deadline=0.0)

    def add(kind: str, one: Figures) -> None:
        work._add(throughput.Plan(kind=kind, data="whole"), one)  # type: ignore[arg-type]

    add("omr", figures(60.0, kernel_ms=76.0))
    add("yolo", figures(1.0))  # trains on fewer labels, so it is not compared
    assert results.goals == []
    add("yolo, all labels", figures(10.0))
    content = read_results(results.path)
    assert [goal["figure"] for goal in content["goals"]] == [
        "6.00 times: 60.0 and 10.0 images/s, batch 8",
        "95 % on full pages",
    ]
    assert [goal["met"] for goal in content["goals"]] == [None, True]  # no speed goal on a CPU
    assert [table["title"] for table in content["tables"]] == [
        "Throughput, full pages",
        "Where the time goes, full pages: ms per step",
    ]


def test_yolo_can_keep_the_labels_that_omr_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RandomPerspective, "box_candidates", RandomPerspective.box_candidates)
    trainers.keep_all_labels()
    nothing = np.zeros((4, 0))
    assert RandomPerspective.box_candidates(nothing, nothing, area_thr=0.1).tolist() == []
    stem = [10, 10, 11, 50]
    cut = [10, 10, 20, 20]
    before = np.array([stem, cut, cut], dtype=float).T
    after = np.array([stem, [10, 10, 12.5, 20], [10, 10, 12.4, 20]]).T
    assert RandomPerspective.box_candidates(before, after, area_thr=0.1).tolist() == [
        True,
        True,
        False,
    ]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a YOLO folder of 20 training images with the density of COCO."""
    folder = tmp_path_factory.mktemp("coco_like")
    for split, n in (("train", 20), ("val", 2)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(n):
            coco_like.draw_image(folder, split, number)
    write_data_yaml(folder, {label: f"class{label}" for label in range(80)})
    return folder


def test_coco_like_images_have_labels_inside_of_them(drawn: Path) -> None:
    files = sorted((drawn / "labels" / "train").iterdir())
    rows = np.concatenate([np.loadtxt(file, ndmin=2) for file in files])
    assert 5 <= len(rows) / len(files) <= 10
    centres, sizes = rows[:, 1:3], rows[:, 3:]
    assert (centres - sizes / 2 >= -1e-6).all()
    assert (centres + sizes / 2 <= 1 + 1e-6).all()
    assert len(list((drawn / "images" / "train").glob("*.jpg"))) == 20


@pytest.fixture
def _own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore what a measurement changes in Ultralytics and torch in its own process."""
    monkeypatch.setattr(callbacks, "default_callbacks", copy.deepcopy(callbacks.default_callbacks))
    for name in ("load_dataset_cache_file", "save_dataset_cache_file"):
        monkeypatch.setattr(ultralytics_dataset, name, getattr(ultralytics_dataset, name))
    monkeypatch.setattr(RandomPerspective, "box_candidates", RandomPerspective.box_candidates)
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    threads = torch.get_num_threads()
    yield
    unset_deterministic()
    variants.use_tf32(True)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_own_process")
@pytest.mark.parametrize("trainer", ["omr", "yolo"])
def test_a_training_is_measured(
    trainer: Literal["omr", "yolo"], drawn: Path, tmp_path: Path
) -> None:
    setup = replace(SETUP, trainer=trainer, data=str(drawn), out=str(tmp_path))
    setup = replace(setup, detail_steps=1, all_labels=True)
    training_run.run(setup)
    one = read_figures(tmp_path / "figures.json")
    assert one is not None
    assert one.batch == 8
    assert one.images_per_s > 0
    assert 5 <= one.symbols_per_image <= 10
    assert set(one.phases_ms) == set(PHASES)
    assert one.busy is None
    assert (tmp_path / "ready").exists()
    assert not list(drawn.rglob("*.cache"))
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.usefixtures("_own_process")
def test_every_variant_is_timed(drawn: Path, tmp_path: Path) -> None:
    variants.run(replace(SETUP, data=str(drawn), out=str(tmp_path), steps=1))
    rows = json.loads((tmp_path / "variants.json").read_text())
    assert [name for name, _, _ in rows] == [variant.name for variant in variants.ON_CPU]
    assert all(step_ms >= host_ms > 0 for _, step_ms, host_ms in rows)
