"""Score of a small model after three minutes of training on engraved pages on a GPU.

    python -m benchmarks.gpu.learning --work WORK --out FILE.json --weights DIR [--small]

Trains on the tiles of ``benchmarks.gpu.data``, scores the held-out tiles with ``omr eval``, and
copies the weights. Pieces and music font of the held-out pages do not occur in training.
"""

import argparse
import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.data import TILE
from benchmarks.gpu.results import Results, data_step_parser, wait_for_data

AP50_GOAL = 0.97
"""Goal: minimum instance-weighted AP50."""
END_S = 5.0
"""Seconds to wait for the end of a terminated training run."""
MAX_WORKERS = 16
MAX_WEIGHTS_MIB = 16
WORST_CLASSES = 10
"""Number of classes to list: the classes that reduce the instance-weighted AP50 most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Training settings."""

    model: str
    batch: int
    lr: float
    warmup_epochs: float
    seconds: float
    """Seconds for all epochs."""
    start_s: float
    """Seconds from the start of the process to the first step."""
    reserve_s: float
    """Seconds of the limit that are reserved for scoring."""


# omr-tiny reaches an AP50 of .91 in 1,330 steps of 8 tiles with a rate of .005, and its widths are
# chosen for such a short run. A GPU takes several times as many steps of 128 tiles in the time,
# which pays off in yolo11n's 2.6 million parameters. By the rule of `--lr auto` the rate would be
# .0028; music bears a higher one.
FULL = Recipe(
    model="yolo11n",
    batch=128,
    lr=0.004,
    warmup_epochs=1.0,
    seconds=180.0,
    start_s=15.0,
    reserve_s=35.0,
)
SMALL = Recipe(
    model="omr-tiny",
    batch=8,
    lr=0.005,
    warmup_epochs=0.1,
    seconds=15.0,
    start_s=30.0,
    reserve_s=30.0,
)


def fitted(recipe: Recipe, limit: float) -> Recipe:
    """Shorten training so that it ends, and the model is scored, within a limit.

    Args:
        recipe: Training settings.
        limit: Time limit in seconds, including scoring.
    """
    return replace(recipe, seconds=min(recipe.seconds, limit - recipe.start_s - recipe.reserve_s))


def train(recipe: Recipe, seconds: float, data: Path, run: Path, where: list[str]) -> bool:
    """Train all epochs, or until the time is up.

    Args:
        recipe: Training settings.
        seconds: Seconds after which training is terminated.
        data: YOLO folder with the tiles.
        run: Run folder to create.
        where: Options of device and loader processes.

    Returns:
        Whether all epochs were trained.

    Raises:
        SystemExit: Training failed; the message contains the end of its log.
    """
    command = [sys.executable, "-m", "benchmarks.gpu.timed_training", str(data), str(run), *where]
    for name in ("model", "batch", "lr", "warmup_epochs", "seconds"):
        command += [f"--{name.replace('_', '-')}", str(getattr(recipe, name))]
    command += ["--imgsz", str(TILE)]
    log_file = run.parent / "training.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            process.wait(timeout=max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            process.terminate()  # not killed: its loader processes end with it
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
            return False
    if process.returncode:
        sys.exit(f"{log_file}:\n{log_file.read_text('utf-8', 'replace')[-2000:]}")
    return True


def newest_weights(run: Path) -> Path | None:
    """Find the weights to score: those of the whole run, or of its last complete epoch."""
    candidates = (run / "weights" / name for name in ("best.pt", "last.pt"))
    return next((file for file in candidates if file.is_file()), None)


def score(weights: Path, data: Path, out: Path, where: list[str], seconds: float) -> dict[str, Any]:
    """Score weights on the held-out tiles with ``omr eval``.

    Args:
        weights: Checkpoint.
        data: YOLO folder with the tiles.
        out: Folder for the report.
        where: Options of the device.
        seconds: Time limit.

    Returns:
        The report.

    Raises:
        SystemExit: The command failed, or took too long.
    """
    command = [sys.executable, "-m", "omr", "eval", str(weights), str(data), "--out", str(out)]
    command += ["--unit", "tile", "--imgsz", str(TILE), "--batch", "64", "--force", *where]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=max(seconds, 5.0))
    except subprocess.TimeoutExpired:
        sys.exit(f"not scored within {seconds:.0f} s: {weights}")
    if result.returncode:
        sys.exit(f"{' '.join(command)}: exit status {result.returncode}\n{result.stderr[-2000:]}")
    report: dict[str, Any] = json.loads((out / "report.json").read_text("utf-8"))
    return report


def epochs_and_rates(run: Path) -> tuple[int, float | None]:
    """Read the number of epochs of a run, and the learning rate of the last one."""
    file = run / "results.csv"
    if not file.is_file():
        return 0, None
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(lines)]
    return len(rows), float(rows[-1]["lr/pg0"]) if rows else None


def costliest_classes(report: dict[str, Any], n: int) -> list[tuple[str, int, float, float]]:
    """Find the classes that reduce the instance-weighted AP50 most.

    Args:
        report: Report of ``omr eval``.
        n: Classes to list.

    Returns:
        Name, number of ground-truth symbols, AP50, and the increase of the instance-weighted AP50
        if the AP50 of the class were 1; largest increase first.
    """
    rows = [row for row in report["classes"] if row["truths"] and row["ap50"] is not None]
    total = sum(row["truths"] for row in rows)
    costs = [
        (row["name"], row["truths"], row["ap50"], row["truths"] * (1 - row["ap50"]) / total)
        for row in rows
    ]
    return sorted(costs, key=lambda cost: -cost[3])[:n]


def add_scores(results: Results, report: dict[str, Any], *, on_gpu: bool) -> None:
    """Fill the tables with a report of ``omr eval``, and record the goal."""
    means = {
        "by instances": report["instance_weighted"],
        "by classes with 30 truths and more": report["frequent_macro"],
        "by classes": report["macro"],
    }
    results.table("Scores on held-out pieces in a held-out font", ("mean", "AP50", "AP50-95"))
    for name, mean in means.items():
        results.row(name, *(three_digits(mean[figure]) for figure in ("ap50", "ap")))
    weighted = means["by instances"]["ap50"]
    met = weighted >= AP50_GOAL if on_gpu and weighted is not None else None
    figure = "" if weighted is None else f"{weighted:.3f}"
    results.goal(f"AP50 by instances after the training, at least {AP50_GOAL:g}", figure, met)
    title = "Classes that cost most of the AP50 by instances"
    results.table(title, ("class", "truths", "AP50", "cost"))
    for name, n_truths, ap50, cost in costliest_classes(report, WORST_CLASSES):
        results.row(name, n_truths, three_digits(ap50), round(cost, 4))


def three_digits(value: float | None) -> float | None:
    """Round to three digits; None stays None."""
    return None if value is None else round(value, 3)


def copy_weights(weights: Path, folder: Path) -> Path:
    """Copy weights, as plain data if such a file exists next to the checkpoint.

    Raises:
        SystemExit: The file is too large to be transferred.
    """
    plain = weights.with_suffix(".safetensors")
    source = plain if plain.is_file() else weights
    if source.stat().st_size > MAX_WEIGHTS_MIB * 2**20:
        sys.exit(f"{source}: larger than {MAX_WEIGHTS_MIB} MiB; choose a smaller model")
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source, folder))


def measure(recipe: Recipe, options: argparse.Namespace, results: Results, deadline: float) -> None:
    """Train, copy the weights and score, writing every figure as soon as it is known."""
    data, folder = options.work / "tiles", options.work / "learning"
    folder.mkdir(parents=True)
    device = "0" if options.device == "cuda" else options.device
    workers = max(1, min(MAX_WORKERS, (os.cpu_count() or 1) - 1))
    where = ["--device", device]
    begin = time.monotonic()
    seconds = deadline - begin - recipe.reserve_s
    try:
        complete = train(recipe, seconds, data, folder / "run", [*where, "--workers", str(workers)])
    finally:  # for the log of the run, because the folder is temporary
        print((folder / "training.log").read_text("utf-8", "replace"), flush=True)
    columns = "model", "batch", "lr", "epochs", "last lr", "training tiles", "loader", "s"
    results.table("Training", columns)
    n_epochs, last_rate = epochs_and_rates(folder / "run")
    n_tiles = sum(1 for _ in (data / "images" / "train").iterdir())
    elapsed = round(time.monotonic() - begin, 1)
    shown_rate = None if last_rate is None else float(f"{last_rate:.3g}")
    results.row(
        recipe.model, recipe.batch, recipe.lr, n_epochs, shown_rate, n_tiles, workers, elapsed
    )
    if not complete:
        results.note("The training was cut off by the time limit: its last epoch is scored.")
    weights = newest_weights(folder / "run")
    if weights is None:
        sys.exit(f"no epoch was finished within {seconds:.0f} s")
    copy_weights(weights, options.weights)
    report = score(weights, data, folder / "score", where, deadline - time.monotonic())
    add_scores(results, report, on_gpu=device != "cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all measurements within the time limit."""
    parser = data_step_parser(__doc__.splitlines()[0], "a few steps, for a CPU", None)
    parser.add_argument("--weights", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--seconds", type=float, help="time for all epochs; default: the recipe's")
    options = parser.parse_args(arguments)
    recipe = SMALL if options.small else FULL
    if options.seconds is not None:
        recipe = replace(recipe, seconds=options.seconds)
    limit = options.limit or recipe.seconds + recipe.start_s + recipe.reserve_s
    deadline = time.monotonic() + limit
    results = Results(options.out)
    wait_for_data(options.work, ("tiles",), limit / 4)
    measure(fitted(recipe, deadline - time.monotonic()), options, results, deadline)


if __name__ == "__main__":
    main()
