"""Activation functions compared: ``python -m benchmarks.activations DATA FILE``.

DATA is the output of ``omr convert --tile`` with held-out pages, and FILE gets a line per result.
Results with a line are not repeated, so that the comparison can be interrupted. For each model,
SiLU weights are continued with every activation function, and new models are trained with it:

* as swapped: the weights with the other function, unchanged otherwise
* recalibrated: with batch normalisation measured again on training images
* one epoch: after one epoch of training from there
* trained as long: from scratch, as many epochs as the SiLU model beside it

omr-tiny continues harmony-tiny, which comes with omr; yolo11n continues its own model from scratch.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.assigner import machine
from omr import TrainConfig, train
from settings.published import DEFAULT_WEIGHTS
from settings.run_files import MAP

ACTIVATIONS = "silu", "hardswish", "backbone=relu", "leaky:0.1", "relu"
MODELS = {"omr-tiny": DEFAULT_WEIGHTS, "yolo11n": ""}
"""SiLU weights that each model continues; empty for its model from scratch."""
CONTINUED, SCRATCH = "continued", "from scratch"
COLUMNS = {
    "as swapped": (CONTINUED, "before"),
    "recalibrated": (CONTINUED, "after"),
    "one epoch": (CONTINUED, "trained"),
    "trained as long": (SCRATCH, "trained"),
}
"""Columns of the table, by the run and the score that they show."""

Line = dict[str, Any]


def main() -> None:
    """Carry out the missing training runs, and print the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    for model in options.models:
        for start in (SCRATCH, CONTINUED):  # yolo11n continues its first run from scratch
            for activation in options.activations:
                _run(options, model, start, activation)
    print(_table(_lines(options.results)))
    print(f"\n{machine(options.threads, 'cpu', 'activations')}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that omr convert --tile wrote")
    parser.add_argument("results", type=Path, help="file with a line per training run")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--activations", nargs="+", default=ACTIVATIONS)
    parser.add_argument("--epochs", type=int, default=4, help="epochs from scratch")
    parser.add_argument("--recalibrate", type=int, default=48, help="training images")
    parser.add_argument("--imgsz", type=int, default=192, help="pixels")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.005, help="learning rate from scratch")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser.parse_args()


def _run(options: argparse.Namespace, model: str, start: str, activation: str) -> None:
    """Train and validate once, unless the results have a line of it."""
    key = {"model": model, "start": start, "activation": activation}
    if any(line.items() >= key.items() for line in _lines(options.results)):
        return
    continues = start == CONTINUED
    weights = MODELS[model] or str(_folder(options, model, SCRATCH, "silu") / "weights" / "last.pt")
    out = _folder(options, model, start, activation)
    config = TrainConfig(
        data=options.data,
        out=out,
        model=weights if continues else model,
        activation=activation,
        recalibrate=options.recalibrate if continues else 0,
        epochs=1 if continues else options.epochs,
        imgsz=options.imgsz,
        batch=options.batch,
        device="cpu",
        lr=options.lr / 5 if continues else options.lr,
        warmup_epochs=0.1,
        select="tile",
    )
    result = train(config, force=True)
    scores = result.recalibration or {}
    with (out / "results.csv").open(encoding="utf-8") as file:
        trained = float([*csv.DictReader(file)][-1][MAP])
    line = key | {when: scores.get(when) for when in ("before", "after")} | {"trained": trained}
    with options.results.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(line | {'seconds': round(result.seconds)})}\n")
    print(line, file=sys.stderr)


def _folder(options: argparse.Namespace, model: str, start: str, activation: str) -> Path:
    name = f"{model} {start} {activation}".replace(" ", "-").replace(":", "-")
    folder: Path = options.results.with_suffix(".runs") / name
    return folder


def _lines(results: Path) -> list[Line]:
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()]


def _table(lines: Sequence[Line]) -> str:
    """Format the scores of each model and activation function."""
    header = [
        f"| model | activation | {' | '.join(COLUMNS)} |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    return "\n".join([*header, *_rows(lines)])


def _rows(lines: Sequence[Line]) -> Iterator[str]:
    for model, activation in dict.fromkeys((line["model"], line["activation"]) for line in lines):
        by_start = {
            line["start"]: line
            for line in lines
            if (line["model"], line["activation"]) == (model, activation)
        }
        cells = (by_start.get(start, {}).get(score) for start, score in COLUMNS.values())
        shown = " | ".join("-" if cell is None else f"{cell:.3f}" for cell in cells)
        yield f"| {model} | `{activation}` | {shown} |"


if __name__ == "__main__":
    main()
