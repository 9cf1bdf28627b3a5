"""Choice of the number of epochs, and the files and tables of the learning step."""

import copy
from pathlib import Path
from typing import Any

import pytest
from ultralytics.utils.callbacks import base as callbacks

from benchmarks.gpu import coco_like, learning
from benchmarks.gpu.data import fullest, write_data_yaml
from benchmarks.gpu.results import Results, read_results
from benchmarks.gpu.timed_training import EpochPlan, follow_plan
from training.config import TrainConfig
from training.trainer import train


@pytest.mark.parametrize(
    ("seconds", "ends", "expected"),
    [
        (0, [10], [1]),
        (5, [10], [1]),  # an epoch takes longer than the time limit
        (100, [20], [5]),
        (100, [20, 30], [5, 9]),  # the first epoch was slow, the others take 10 s
        (100, [30, 40.2], [3, 8]),  # 59.8 s are left for epochs of 10.2 s: six take a bit more
        (100, [20, 30, 40, 45], [5, 9, 9, 9]),  # a fast late epoch does not add epochs
        (100, [20, 30, 40, 45, 75], [5, 9, 9, 9, 7]),  # a slow one removes some
    ],
)
def test_epochs_fill_the_time(seconds: float, ends: list[float], expected: list[int]) -> None:
    plan = EpochPlan(seconds)
    assert [plan.end_epoch(end) for end in ends] == expected


@pytest.mark.slow
def test_the_learning_rate_comes_down_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "default_callbacks", copy.deepcopy(callbacks.default_callbacks))
    data = tmp_path / "data"
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (data / kind / split).mkdir(parents=True)
        for number in range(8):
            coco_like.draw_image(data, split, number)
    write_data_yaml(data, {label: f"class{label}" for label in range(80)})

    class ThreeEpochs(EpochPlan):
        def end_epoch(self, elapsed_s: float) -> int:
            return 3

    follow_plan(ThreeEpochs(0))
    config = TrainConfig(
        data=data,
        out=tmp_path / "run",
        model="omr-tiny",
        epochs=200,
        imgsz=64,
        batch=4,
        warmup_epochs=0.1,
        device="cpu",
        validate=False,
    )
    train(config)
    n_epochs, last_rate = learning.epochs_and_rates(tmp_path / "run")
    assert n_epochs == 3
    assert last_rate == pytest.approx(0.001 / 6, rel=1e-5)  # the last of 6 steps


@pytest.mark.parametrize(
    ("limit", "expected"), [(40.0, -10.0), (100.0, 50.0), (230.0, 180.0), (500.0, 180.0)]
)
def test_a_training_leaves_time_to_start_and_to_score(limit: float, expected: float) -> None:
    assert learning.fitted(learning.FULL, limit).seconds == expected


def test_a_run_without_a_finished_epoch_has_no_rates_and_no_weights(tmp_path: Path) -> None:
    assert learning.epochs_and_rates(tmp_path) == (0, None)
    assert learning.newest_weights(tmp_path) is None


@pytest.mark.parametrize(
    ("files", "expected"), [(["last.pt"], "last.pt"), (["last.pt", "best.pt"], "best.pt")]
)
def test_an_interrupted_run_has_its_last_weights(
    files: list[str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "weights").mkdir()
    for name in files:
        (tmp_path / "weights" / name).touch()
    assert learning.newest_weights(tmp_path) == tmp_path / "weights" / expected


@pytest.mark.parametrize("names", [["best.pt"], ["best.pt", "best.safetensors"]])
def test_plain_data_is_copied_if_it_exists(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text(name)
    copied = learning.copy_weights(tmp_path / "best.pt", tmp_path / "weights")
    assert copied == tmp_path / "weights" / names[-1]
    assert copied.read_text() == names[-1]


def test_weights_that_are_too_large_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "MAX_WEIGHTS_MIB", 0)
    weights = tmp_path / "best.pt"
    weights.write_text("large")
    with pytest.raises(SystemExit) as error:
        learning.copy_weights(weights, tmp_path / "weights")
    assert str(error.value) == f"{weights}: larger than 0 MiB; choose a smaller model"


def class_row(name: str, n_truths: int, ap50: float | None) -> dict[str, Any]:
    return {"name": name, "truths": n_truths, "ap50": ap50}


def mean_row(ap50: float | None) -> dict[str, Any]:
    return {"ap50": ap50, "ap": None if ap50 is None else ap50 / 2}


def report(weighted: float | None, *classes: dict[str, Any]) -> dict[str, Any]:
    means = {"instance_weighted": mean_row(weighted)}
    return means | {
        "frequent_macro": mean_row(0.8),
        "macro": mean_row(0.5),
        "classes": list(classes),
    }


def test_the_costliest_classes_come_first() -> None:
    assert learning.costliest_classes(report(None), 3) == []
    classes = class_row("stem", 75, 0.96), class_row("tie", 25, 0.8), class_row("clefC", 0, None)
    costs = learning.costliest_classes(report(0.92, *classes), 3)
    assert [cost[:3] for cost in costs] == [("tie", 25, 0.8), ("stem", 75, 0.96)]
    assert [cost[3] for cost in costs] == pytest.approx([0.05, 0.03])
    assert learning.costliest_classes(report(0.92, *classes), 1) == costs[:1]


@pytest.mark.parametrize(
    ("weighted", "on_gpu", "figure", "met"),
    [
        (None, True, "", None),
        (0.97, True, "0.970", True),
        (0.9699, True, "0.970", False),
        (0.99, False, "0.990", None),
    ],
    ids=["no truths", "met", "missed", "on a CPU"],
)
def test_the_goal_is_the_mean_by_instances(
    weighted: float | None, on_gpu: bool, figure: str, met: bool | None, tmp_path: Path
) -> None:
    results = Results(tmp_path / "out.json")
    learning.add_scores(results, report(weighted, class_row("stem", 4, 0.5)), on_gpu=on_gpu)
    content = read_results(results.path)
    assert [(goal["figure"], goal["met"]) for goal in content["goals"]] == [(figure, met)]
    scores, costs = content["tables"]
    assert scores["rows"][1:] == [
        ["by classes with 30 truths and more", 0.8, 0.4],
        ["by classes", 0.5, 0.25],
    ]
    assert costs["rows"] == [["stem", 4, 0.5, 0.5]]


def test_the_fullest_pages_are_kept(tmp_path: Path) -> None:
    assert fullest(tmp_path, 2) == []
    for name, n_rows in (("a", 2), ("b", 9), ("c", 0), ("d", 9)):
        (tmp_path / f"{name}.txt").write_text("0 0.5 0.5 0.1 0.1\n" * n_rows)
    assert fullest(tmp_path, 3) == ["b", "d", "a"]
