"""How soon small symbols are learned from scratch, with stock options and with omr's options.

    python -m benchmarks.cold_start DATA --steps 160 240 --imgsz 320 --batch 8

Trains once per start and number of steps, and prints AP50 on the training images as a table. It
shows whether a symbol is learned at all, not how well the model would work on other pages. All runs
keep every label.

* stock: head and assigner of Ultralytics
* sizes: boxes start at the sizes of the data
* nwd: the similarity ``ciou+nwd``, which gives weight to a box that narrowly misses its symbol
* signed: distance bins (DFL) below zero, so that a box need not contain its anchor point
* min-score: a minimum score for the best anchor point of every symbol

All four together are the defaults of ``omr train``.
"""

import argparse
import contextlib
import math
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import torch

from converters.formats.datasets import open_dataset
from converters.formats.yolo_dataset import YoloDataset
from converters.page import Page
from eval.metrics.coco import evaluate
from eval.reports.detection import DetectionReport
from training.assigners.similarity import EPS, MIN_SCORE
from training.config import TrainConfig
from training.losses.loss_options import STOCK, LossOptions
from training.predict.detector import predict
from training.trainer import train

STARTS = (
    "stock",
    "sizes",
    "sizes, nwd",
    "sizes, nwd, signed",
    "sizes, nwd, signed, min-score",
)
SHOWN = 12
"""Number of classes in the table, most frequent first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One training run and its scores."""

    start: str
    steps: int
    seconds: float
    report: DetectionReport


def main() -> None:
    """Parse the command line, train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that omr convert wrote")
    parser.add_argument("--steps", type=int, nargs="+", default=[160, 240])
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    parser.add_argument("--lr", type=float, default=0.003, help="learning rate")
    parser.add_argument("--imgsz", type=int, default=320, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = open_dataset(options.data)
    truths = list(dataset.pages("train"))
    rows = [
        run(dataset, truths, start, steps, options)
        for steps in options.steps
        for start in options.starts
    ]
    print_table(rows)
    print(f"\n{platform.processor() or platform.machine()}, {options.threads} threads,")
    print(f"torch {torch.__version__}, ultralytics {version('ultralytics')}")
    print(f"`python -m benchmarks.cold_start {' '.join(sys.argv[1:])}`")


def run(
    dataset: YoloDataset,
    truths: Sequence[Page],
    start: str,
    steps: int,
    options: argparse.Namespace,
) -> Row:
    """Train once, and score the training images."""
    epoch_steps = math.ceil(len(truths) / options.batch)
    epochs = max(round(steps / epoch_steps), 1)
    images = [(dataset.splits["train"] / page.image, page.image) for page in truths]
    with tempfile.TemporaryDirectory() as folder, _only(start):
        begin = time.monotonic()
        result = train(
            TrainConfig(
                data=options.data,
                out=Path(folder) / "run",
                model=options.model,
                epochs=epochs,
                imgsz=options.imgsz,
                batch=options.batch,
                device=options.device,
                lr=options.lr,
                warmup_epochs=1.0,
                translate=0.05,
                scale=0.1,
                size_prior="sizes" in start,
                similarity="ciou+nwd" if "nwd" in start else "ciou",
                validate=False,
            )
        )
        seconds = time.monotonic() - begin
        pages = list(predict(result.last, images, imgsz=options.imgsz, device=options.device))
    return Row(
        start=start,
        steps=epochs * epoch_steps,
        seconds=seconds,
        report=evaluate(truths, pages, dataset.names),
    )


@contextlib.contextmanager
def _only(start: str) -> Iterator[None]:
    """Disable all options that ``start`` does not name, with mocks."""
    with contextlib.ExitStack() as stack:
        if "signed" not in start:
            stack.enter_context(mock.patch("training.models.transfer.allow_below_zero"))
        options = partial(
            LossOptions,
            eps=EPS if "nwd" in start else STOCK.eps,
            min_score=MIN_SCORE if "min-score" in start else 0.0,
        )
        stack.enter_context(mock.patch("training.config.LossOptions", options))
        yield


def print_table(rows: Sequence[Row]) -> None:
    """Print AP50 of the most frequent classes, with a row per run."""
    present = [score for score in rows[0].report.classes if score.n_truths]
    shown = sorted(present, key=lambda score: -score.n_truths)[:SHOWN]
    head = ["start", "steps", "seconds", "weighted", "macro"]
    head += [f"{score.name} ({score.n_truths})" for score in shown]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        ap50 = {score.name: score.ap50 for score in row.report.classes}
        means = [row.report.instance_weighted.ap50, row.report.macro.ap50]
        figures = [f"{figure or 0:.2f}" for figure in [*means, *(ap50[s.name] for s in shown)]]
        print(f"| {row.start} | {row.steps} | {row.seconds:.0f} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
