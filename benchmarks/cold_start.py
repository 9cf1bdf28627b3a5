"""How soon small symbols are learnt: a stock start of the boxes against one at the data's sizes.

    python -m benchmarks.cold_start DATA --steps 160 240 --imgsz 320 --batch 8

Trains from scratch once for each start and number of steps, and prints AP50 on the training
images as a Markdown table: whether a symbol is learnt at all, not how well it would be read on
another page. All of them keep every label.

* stock: Ultralytics' own head and assigner
* sizes: the boxes start at the data's sizes
* nearness: the assigner gives weight to a box that misses its symbol narrowly
* signed: a box need not contain its anchor point
* least: the best anchor of every symbol counts for a fair part; all four: what ``omr train`` does
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

from converters.formats.yolo import YoloDataset, open_dataset
from converters.page import Page
from eval.metrics.coco import evaluate
from eval.reports.detection import DetectionReport
from training.assigners.similarity import EPS, LEAST_SCORE
from training.config import TrainConfig
from training.losses.detection import STOCK, LossOptions
from training.predict.detector import predict
from training.trainer import train

STARTS = (
    "stock",
    "sizes",
    "sizes, nearness",
    "sizes, nearness, signed",
    "sizes, nearness, signed, least",
)
SHOWN = 12
"""Classes in the table, the most frequent ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One training and what it learnt."""

    start: str
    steps: int
    seconds: float
    report: DetectionReport


def main() -> None:
    """Read the command line, train, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that omr convert wrote")
    parser.add_argument("--steps", type=int, nargs="+", default=[160, 240])
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    parser.add_argument("--lr", type=float, default=0.003, help="learning rate")
    parser.add_argument("--imgsz", type=int, default=320, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
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
    """Train once and score the training images."""
    epoch_steps = math.ceil(len(truths) / options.batch)
    epochs = max(round(steps / epoch_steps), 1)
    images = [(dataset.splits["train"] / page.image, page.image) for page in truths]
    with tempfile.TemporaryDirectory() as folder, _without_the_rest(start):
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
                similarity="ciou+nwd" if "nearness" in start else "ciou",
                validate=False,
            )
        )
        seconds = time.monotonic() - begin
        found = list(predict(result.last, images, imgsz=options.imgsz, device=options.device))
    return Row(
        start=start,
        steps=epochs * epoch_steps,
        seconds=seconds,
        report=evaluate(truths, found, dataset.names),
    )


@contextlib.contextmanager
def _without_the_rest(start: str) -> Iterator[None]:
    """Switch off what ``start`` does not name: mocks in place of what would do it."""
    with contextlib.ExitStack() as stack:
        if "signed" not in start:
            stack.enter_context(mock.patch("training.models.transfer.allow_below_zero"))
        options = partial(
            LossOptions,
            eps=EPS if "nearness" in start else STOCK.eps,
            least_score=LEAST_SCORE if "least" in start else 0.0,
        )
        stack.enter_context(mock.patch("training.config.LossOptions", options))
        yield


def print_table(rows: Sequence[Row]) -> None:
    """Print AP50 of the most frequent classes, a line for each training."""
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
