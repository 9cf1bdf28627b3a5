"""Choices in training compared over seeds: ``python -m benchmarks.training_choices DATA FILE``.

DATA is the output of ``omr convert --tile`` with held-out pages, and FILE gets a line per training
run. Runs with a line are not repeated, so that the comparison can be interrupted. Every run trains
omr-tiny from scratch on the same number of images, and is scored on the held-out pages:

* default: defaults of ``omr train``: the rate falls linearly to zero, the weights are averaged
* cosine: the rate falls along a half cosine to zero
* balanced: with ``--balance-classes``
* large batch: batches of double size, and so half the steps

From the runs with defaults, the last weights are scored as well as their average.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from ultralytics.utils.torch_utils import unwrap_model

from benchmarks.assigner import machine
from eval.reports.detection import FREQUENT
from omr import TrainConfig, score_model, train
from training.engine.learning_rate import warmed_up
from training.models.checkpoints import save_weights
from training.runs.checkpoint_files import save_epoch

DEFAULT, LAST = "default", "last weights"
CHOICES = DEFAULT, "cosine", "balanced", "large batch"
MEANS = {
    "instance_weighted": "instance-weighted mean",
    "frequent_macro": f"macro mean, classes with {FREQUENT} or more ground-truth symbols",
    "macro": "macro mean",
}
"""Means of a report, and their titles."""


def main() -> None:
    """Carry out the missing training runs, and print the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        for choice in options.choices:
            if (choice, seed) not in {(line["choice"], line["seed"]) for line in _lines(options)}:
                _append(options.results, _run(choice, seed, options))
    print(_table(_lines(options)))
    print(f"\n{machine(options.threads, 'cpu', 'training_choices')}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that omr convert --tile wrote")
    parser.add_argument("results", type=Path, help="file with a line per training run")
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=CHOICES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--imgsz", type=int, default=256, help="pixels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.005, help="learning rate")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser.parse_args()


def _run(choice: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train once, and score the weights; return a line per scored file."""
    with tempfile.TemporaryDirectory() as temporary:
        last = Path(temporary) / "last.pt"
        with _cosine() if choice == "cosine" else _kept(last):
            config = TrainConfig(
                data=options.data,
                out=Path(temporary) / "run",
                model="omr-tiny",
                epochs=options.epochs,
                imgsz=options.imgsz,
                batch=options.batch * (2 if choice == "large batch" else 1),
                device="cpu",
                lr=options.lr,
                warmup_epochs=0.1,
                balance_classes=choice == "balanced",
                validate=False,
                seed=seed,
            )
            result = train(config)
        scored = {choice: result.last} | ({LAST: last} if choice == DEFAULT else {})
        return [
            {"choice": name, "seed": seed, "seconds": round(result.seconds)}
            | _figures(weights, options)
            for name, weights in scored.items()
        ]


@contextmanager
def _cosine() -> Iterator[None]:
    """Let the rate fall along a half cosine."""
    with mock.patch("training.engine.callbacks.rate_factor", cosine_factor):
        yield


def cosine_factor(batches_done: int, *, n_batches: int, n_warmup: int, final: float) -> float:
    """Return the factor of the learning rate; replaces ``rate_factor``."""
    if batches_done < n_warmup:
        return warmed_up(batches_done, n_warmup)
    progress = (batches_done - n_warmup) / (n_batches - n_warmup)
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


@contextmanager
def _kept(file: Path) -> Iterator[None]:
    """Save the last weights beside their average."""

    def save_both(trainer: Any, state: Any, **options: Any) -> None:  # noqa: ANN401
        save_epoch(trainer, state, **options)
        model = unwrap_model(trainer.model)
        save_weights(model, file, train_args=vars(trainer.args), training=state.training)

    with mock.patch("training.engine.omr_trainer.save_epoch", save_both):
        yield


def _figures(weights: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Score weights on the held-out pages."""
    report = score_model(weights, options.data, unit="page", device="cpu").report
    return {key: asdict(getattr(report, key))["ap50"] for key in MEANS} | {
        "classes": {row.name: [row.n_truths, row.ap50] for row in report.classes if row.n_truths}
    }


def _lines(options: argparse.Namespace) -> list[dict[str, Any]]:
    if not options.results.is_file():
        return []
    lines = map(json.loads, options.results.read_text("utf-8").splitlines())
    return [line for line in lines if line["seed"] in options.seeds]


def _append(results: Path, lines: Sequence[dict[str, Any]]) -> None:
    with results.open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
    print(lines[0]["choice"], lines[0]["seed"], file=sys.stderr)


def _table(lines: Sequence[dict[str, Any]]) -> str:
    """Format the mean and the range of the AP50 over the seeds, with a row per choice."""
    rows = [f"| | runs | {' | '.join(MEANS.values())} |", "|---|---|---|---|---|"]
    for choice in dict.fromkeys(line["choice"] for line in lines):
        runs = [line for line in lines if line["choice"] == choice]
        cells = [_mean_and_range([line[key] for line in runs]) for key in MEANS]
        rows.append(f"| {choice} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _mean_and_range(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


if __name__ == "__main__":
    main()
