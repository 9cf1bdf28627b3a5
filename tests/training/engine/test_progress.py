import csv
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from recording_display import RecordingDisplay
from ultralytics.utils import LOGGER

from settings.run_files import MAP, MAP50
from training.config import TrainConfig
from training.engine.display import TrainingStart
from training.lr_finder import find_rate
from training.trainer import train

HEADS = """
groups:
- {name: heads, classes: [notehead]}
- {name: lines, classes: [stem, beam]}
box: separate
"""


@pytest.fixture(scope="module")
def config(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Two epochs of three steps."""
    return TrainConfig(
        data=dataset,
        out=tmp_path_factory.mktemp("runs") / "run",
        model="omr-tiny",
        epochs=2,
        imgsz=64,
        batch=2,
        warmup_epochs=1,
        device="cpu",
    )


def test_a_display_follows_the_training_and_nothing_else_is_printed(
    config: TrainConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    heads = tmp_path / "heads.yaml"
    heads.write_text(HEADS)
    display = RecordingDisplay()
    train(replace(config, heads=str(heads)), make_display=lambda: display)
    assert capfd.readouterr() == ("", "")
    start = TrainingStart(
        model="omr-tiny",
        n_heads=2,
        boxes="size prior",
        activations="backbone 19 silu, neck 8 silu, head 24 silu",
        transfer="",
        recalibration="",
        n_images=6,
        n_symbols=54,
        epochs_done=0,
        n_epochs=2,
        scores_pages=False,
    )
    assert (display.starts, display.n_stops) == ([start], 1)
    positions = [(step.epoch, step.step, step.n_steps) for step in display.steps]
    assert positions == [(epoch, step, 3) for epoch in (1, 2) for step in (1, 2, 3)]
    assert display.validations == [(1, 3), (2, 3), (3, 3)] * 2
    with (config.out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, (step, metrics) in zip(rows, display.epochs, strict=True):
        assert step.epoch == int(row["epoch"])
        assert step.losses == {
            name: pytest.approx(float(row[f"train/{name}"]), rel=1e-4) for name in step.losses
        }
        assert list(step.losses) == ["box_loss", "cls_loss", "dfl_loss"]
        assert step.rate == pytest.approx(float(row["lr/pg0"]), rel=1e-4)
        assert step.memory_bytes > 2**25
        assert metrics[MAP50] == float(row[MAP50])
        assert metrics[MAP] == float(row[MAP])


def test_accumulated_batches_are_one_step(config: TrainConfig, tmp_path: Path) -> None:
    display = RecordingDisplay()
    changed = replace(config, out=tmp_path / "run", nominal_batch=4, validate=False, epochs=1)
    train(changed, make_display=lambda: display)
    assert [(step.step, step.n_steps) for step in display.steps] == [(1, 2), (1, 2), (2, 2)]
    assert [metrics for _, metrics in display.epochs] == [{}]
    assert display.validations == []


def test_the_start_describes_weights_and_boxes(config: TrainConfig, tmp_path: Path) -> None:
    display = RecordingDisplay()
    weights = str(tmp_path / "first/weights/last.pt")
    short = replace(config, epochs=1, validate=False)
    first = replace(short, out=tmp_path / "first", size_prior=False)
    for changed in (first, replace(short, out=tmp_path / "second", model=weights)):
        train(changed, make_display=lambda: display)
    of_first, of_second = display.starts
    assert (of_first.model, of_first.boxes, of_first.transfer) == ("omr-tiny", "no prior", "")
    assert (of_second.model, of_second.boxes) == (weights, "boxes from weights")
    assert of_second.transfer.startswith(f"{weights}: copied: ")


def test_a_resumed_run_tells_so(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = RecordingDisplay(), RecordingDisplay()
    config = replace(config, out=tmp_path / "run")

    def interrupt(*_: object) -> None:
        raise ValueError("interrupted")

    monkeypatch.setattr(RecordingDisplay, "show_epoch", interrupt)
    with pytest.raises(ValueError, match="interrupted"):
        train(config, make_display=lambda: first)
    assert first.n_stops == 1
    monkeypatch.undo()
    train(replace(config, resume=True), make_display=lambda: second)
    (start,) = second.starts
    assert (start.model, start.boxes, start.transfer) == ("omr-tiny", "size prior", "")
    assert (start.epochs_done, start.n_epochs) == (1, 2)
    assert [step.epoch for step in second.steps] == [2, 2, 2]


def test_the_same_warning_reaches_the_user_once(
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def warn(*_: object) -> None:
        LOGGER.warning("a problem")
        print("a stray line")  # noqa: T201

    monkeypatch.setattr(RecordingDisplay, "show_step", warn)
    train(replace(config, out=tmp_path / "run"), make_display=RecordingDisplay)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("a problem") == 1
    assert err.count("a stray line") == 6


def test_a_range_test_prints_nothing_itself(
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("training.lr_finder.N_STEPS", 4)
    seen = []

    def track(rates: Iterable[float], n: int) -> Iterable[float]:
        seen.append(n)
        return rates

    find_rate(replace(config, out=tmp_path / "rate"), track=track)
    assert seen == [4]
    assert capfd.readouterr() == ("", "")
