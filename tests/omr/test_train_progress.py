import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_data import make_dataset
from terminal import drawn_lines, last_lines, run_in_terminal

from omr import console
from omr.train_progress import LineDisplay, TableDisplay, training_display
from settings.run_files import MAP, MAP50, PAGE_MAP
from training.engine.display import TrainingStart, TrainingStep

START = TrainingStart(
    model="yolo11n",
    n_heads=4,
    boxes="size prior",
    activations="backbone 36 silu, neck 23 silu, head 18 silu",
    transfer="",
    recalibration="",
    n_images=3532,
    n_symbols=412_345,
    epochs_done=12,
    n_epochs=100,
    scores_pages=False,
)
STEP = TrainingStep(
    epoch=13,
    n_epochs=100,
    step=442,
    n_steps=884,
    losses={"box_loss": 4.99949, "cls_loss": 12.3456, "dfl_loss": 987.65},
    rate=0.00033,
    memory_bytes=3 * 2**30 + 2**29,
)
METRICS = {MAP50: 0.4567, MAP: 0.2345, "fitness": 0.3}
PAGES = replace(START, scores_pages=True)
PAGE_METRICS = METRICS | {PAGE_MAP: 0.1234}
ULTRALYTICS = re.compile(
    r"ultralytics|engine/trainer|summary|GFLOPs|Freezing|optimizer:|Overriding|dataloader|"
    r"Logging results|Results saved|Starting training|completed|Instances|it/s|s/it|[━─]",
    re.IGNORECASE,
)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as the only element of a list."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> TableDisplay:
    """Display on a terminal of 80 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console.err, "width", 80)
    monkeypatch.setattr(console.err, "is_interactive", True)
    return TableDisplay()


def test_lines_are_complete_and_aligned(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    display = training_display()
    assert isinstance(display, LineDisplay)  # nothing that pytest captures is a terminal
    display.start(START)
    clock[0] += 60
    display.show_step(STEP)
    display.show_validation(3, 40)
    clock[0] += 30
    display.show_epoch(replace(STEP, step=884), METRICS)
    clock[0] += 4000
    display.show_epoch(replace(STEP, epoch=14, step=884), {})
    display.stop()
    losses = "box 4.999  cls 12.35  dfl 987.6  lr 3.30e-04"
    assert capsys.readouterr() == (
        "",
        "yolo11n, 4 heads, size prior; 3,532 images, 412,345 symbols; resumed after 12 of 100 epochs\n"
        "activations: backbone 36 silu, neck 23 silu, head 18 silu\n"
        f"epoch  13/100  {losses}  step 442/884  2:55:00 left  3.5 GiB\n"
        "validated 3 of 40 batches\n"
        f"epoch  13/100  {losses}  mAP50 0.457  mAP50-95 0.234  1:30  3.5 GiB\n"
        f"epoch  14/100  {losses}  1:06:40  3.5 GiB\n",
    )


def test_lines_show_the_page_score_if_pages_are_scored(capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay()
    display.start(PAGES)
    display.show_epoch(STEP, PAGE_METRICS)
    assert "3.30e-04  page AP 0.123  tile AP 0.234  0:00" in capsys.readouterr().err


def test_the_table_shows_the_page_score_if_pages_are_scored(
    clock: list[float], table: TableDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    table.start(PAGES)
    clock[0] += 60
    table.show_step(STEP)
    table.show_epoch(STEP, PAGE_METRICS)
    table.stop()
    assert last_lines(capsys.readouterr().err)[-2:] == [
        "  epoch    box    cls    dfl        lr  page AP  tile AP          time    memory",
        " 13/100  4.999  12.35  987.6  3.30e-04    0.123    0.234          1:00   3.5 GiB",
    ]


def test_lines_are_ten_seconds_apart(clock: list[float]) -> None:
    display = LineDisplay()
    display.start(START)
    due = []
    for _ in range(25):
        clock[0] += 1
        due.append(display.is_due())
        if due[-1]:
            display.show_step(STEP)
    assert [i + 1 for i, is_due in enumerate(due) if is_due] == [10, 20]


def test_the_table_has_a_row_per_epoch(
    clock: list[float], table: TableDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    table.start(START)
    clock[0] += 60
    table.show_step(STEP)
    first = drawn_lines(capsys.readouterr().err)
    assert first == [
        "yolo11n, 4 heads, size prior; 3,532 images, 412,345 symbols; resumed after 12 of",
        "  100 epochs",
        "activations: backbone 36 silu, neck 23 silu, head 18 silu",
        "  epoch    box    cls    dfl        lr  mAP50  mAP50-95          time    memory",
        " 13/100  4.999  12.35  987.6  3.30e-04     step 442/884  2:55:00 left   3.5 GiB",
    ]
    clock[0] += 60
    table.show_validation(3, 40)
    table.show_epoch(replace(STEP, step=884), METRICS)
    clock[0] += 1
    table.show_step(replace(STEP, epoch=14, step=1))
    table.show_epoch(replace(STEP, epoch=14, step=884), {})
    table.stop()
    shown = capsys.readouterr().err
    assert " 13/100  4.999  12.35  987.6  3.30e-04         val 3/40" in shown
    assert last_lines(shown) == [
        " 13/100  4.999  12.35  987.6  3.30e-04  0.457     0.234          2:00   3.5 GiB",
        " 14/100  4.999  12.35  987.6  3.30e-04      -         -          0:01   3.5 GiB",
    ]


def test_the_widest_row_fits_80_columns(
    clock: list[float], table: TableDisplay, capsys: pytest.CaptureFixture[str]
) -> None:
    table.start(replace(START, epochs_done=0))
    clock[0] += 42
    widest = replace(
        STEP,
        epoch=100,
        step=1234,
        n_steps=9999,
        losses=dict.fromkeys(STEP.losses, 98_765.4),
        memory_bytes=123 * 2**30,
    )
    table.show_step(widest)
    row = drawn_lines(capsys.readouterr().err)[-1]
    assert len(row) == 80
    assert row == "100/100  1e+05  1e+05  1e+05  3.30e-04   step 1234/9999     0:00 left  123.0 GiB"
    table.stop()


def test_the_table_is_updated_four_times_a_second(clock: list[float], table: TableDisplay) -> None:
    table.start(START)
    n_updates = 0
    for _ in range(100):
        clock[0] += 0.01
        if table.is_due():
            table.show_step(STEP)
            n_updates += 1
    table.stop()
    assert n_updates == 4


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Command of a short training, without its run folder."""
    root = tmp_path_factory.mktemp("drawn")
    (root / "heads.yaml").write_text(
        "groups:\n- {name: heads, classes: [notehead]}\n- {name: lines, classes: [stem, beam]}\n"
    )
    data = make_dataset(root / "data", side=64, n_symbols=4)
    network = ["--model", "omr-tiny", "--imgsz", "64", "--heads", str(root / "heads.yaml")]
    command = [sys.executable, "-m", "omr", "train", str(data), *network]
    return [*command, "--epochs", "2", "--warmup-epochs", "1", "--batch", "2", "--device", "cpu"]


def test_a_training_in_a_terminal(words: list[str], tmp_path: Path) -> None:
    command = [*words, "--out", str(tmp_path / "run"), "--json"]
    written = run_in_terminal(command, columns=80, stdout=tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["epochs"] == 2
    shown = [line for line in drawn_lines(written) if str(tmp_path) not in line]
    assert max(map(len, shown)) <= 80
    assert not ULTRALYTICS.search("\n".join(shown))
    lines = last_lines(written)
    assert lines[0] == "omr-tiny, 2 heads, size prior; 6 images, 24 symbols; 2 epochs"
    assert lines[1] == "activations: backbone 19 silu, neck 8 silu, head 18 silu"
    assert lines[2].split() == [
        "epoch",
        "box",
        "cls",
        "dfl",
        "lr",
        "mAP50",
        "mAP50-95",
        "time",
        "memory",
    ]
    assert [line.split()[0] for line in lines[3:5]] == ["1/2", "2/2"]
    assert lines[-1] == f"next: omr eval {tmp_path / 'run/weights/best.pt'} {words[4]}"


def test_a_training_in_a_pipe(words: list[str], tmp_path: Path) -> None:
    command = [*words, "--out", str(tmp_path / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["epochs"] == 2
    assert not re.search(r"[\r\x1b]", done.stderr)
    assert not ULTRALYTICS.search(done.stderr.replace(str(tmp_path), ""))
    lines = done.stderr.splitlines()
    assert lines[0] == "omr-tiny, 2 heads, size prior; 6 images, 24 symbols; 2 epochs"
    epochs = [line for line in lines if " mAP50-95 " in line]
    assert [line.split()[:2] for line in epochs] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert lines[-1].startswith("next: omr eval ")
