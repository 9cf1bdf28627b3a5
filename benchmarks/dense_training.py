"""Time and memory of training on the fullest whole pages, with all classes.

    python -m benchmarks.dense_training FOLDER --pages 300 --keep 64 --batch 32

Engraves pages into FOLDER, keeps the fullest, trains yolo11n on them at 640 px with DeepScoresV2's
136 classes: once with ``omr train``, and once with the same trainer and Ultralytics' loss. The
latter has a memory limit, ``--limit-gb``, beyond which allocations fail, and with them the run.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from benchmarks.assigner import machine
from benchmarks.measuring import measure
from converters.formats.datasets import open_dataset
from training.density.pipeline_counts import symbol_spread

IMGSZ = 640


def main() -> None:
    """Prepare the pages, train on them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder to create, or one of an earlier run")
    parser.add_argument("--pages", type=int, default=300, help="pages to engrave")
    parser.add_argument("--keep", type=int, default=64, help="fullest pages to keep")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--limit-gb", type=float, default=20.0, help="limit of the stock loss")
    parser.add_argument("--stock", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stock:
        train_stock(options)
        return
    data = options.folder / "data"
    if not data.exists():
        prepare(options.folder, data, options.pages, options.keep)
    n_symbols = show_density(data)
    print("| loss | s | peak MB | symbols used | result |\n|---|---|---|---|---|")
    ours = options.folder / "run_omr"
    train = ["train", str(data), "--out", str(ours), "--imgsz", str(IMGSZ), "--no-validate"]
    train += ["--epochs", str(options.epochs), "--batch", str(options.batch), "--force"]
    seconds, peak = measure([sys.executable, "-m", "omr", *train])
    report = json.loads((ours / "augmentation.json").read_text("utf-8"))
    seen = sum(row["seen"] for row in report["augmented"].values())
    if seen != n_symbols * options.epochs:
        sys.exit(
            f"{seen} symbols were used in {options.epochs} epochs; expected {n_symbols} per epoch"
        )
    print(f"| omr train | {seconds:.0f} | {peak:.0f} | {seen:,}, all | trained |", flush=True)
    stock = [sys.executable, "-m", "benchmarks.dense_training", *sys.argv[1:]]
    stock += ["--stock", str(options.folder / "run_stock")]
    seconds, peak = measure(stock)
    log = (options.folder / "stock.txt").read_text("utf-8")
    print(f"| Ultralytics' | {seconds:.0f} | {peak:.0f} | | {log} |")
    print(f"\n{machine(torch.get_num_threads(), 'cpu', 'dense_training')}")


def prepare(folder: Path, data: Path, pages: int, keep: int) -> None:
    """Engrave and convert pages, and delete all but the fullest."""
    pages_folder = folder / "pages"
    for command in (
        ["engrave", pages_folder, "--pages", pages, "--style", "mixed"],
        ["convert", pages_folder, data, "--classes", "deepscores"],
    ):
        arguments = [str(part) for part in command]
        subprocess.run([sys.executable, "-m", "omr", *arguments], check=True, capture_output=True)
    labels = list((data / "labels" / "train").glob("*.txt"))
    n_symbols = {file: file.read_text("utf-8").count("\n") for file in labels}
    for file in sorted(labels, key=lambda file: n_symbols[file], reverse=True)[keep:]:
        file.unlink()
        (data / "images" / "train" / f"{file.stem}.png").unlink()


def show_density(data: Path) -> int:
    """Print the density of the pages, and return the number of symbols."""
    dataset = open_dataset(data)
    pages = list(dataset.pages("train"))
    symbols = symbol_spread([len(page.labels) for page in pages])
    if symbols is None:
        sys.exit(f"{data}: no pages")
    occur = len(np.unique(np.concatenate([page.labels for page in pages])))
    print(
        f"{len(pages)} pages, {symbols.mean:.0f} symbols per page, at most {symbols.max}; "
        f"{occur} of {len(dataset.names)} classes occur\n"
    )
    return sum(len(page.labels) for page in pages)


def train_stock(options: argparse.Namespace) -> None:
    """Train with the model's stock loss in limited memory, and write the outcome to a file."""
    from training.config import TrainConfig
    from training.trainer import train

    limit = int(options.limit_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    config = TrainConfig(
        data=options.folder / "data",
        out=options.stock,
        imgsz=IMGSZ,
        batch=options.batch,
        epochs=options.epochs,
        validate=False,
    )
    file = options.folder / "stock.txt"
    with mock.patch(
        "training.engine.omr_trainer.detection_criterion",
        lambda model, _options: model.init_criterion(),
    ):
        try:
            train(config, force=True)
            file.write_text("trained", "utf-8")
        except (MemoryError, RuntimeError) as error:
            if "memory" not in str(error):
                raise
            file.write_text("can't allocate memory", "utf-8")


if __name__ == "__main__":
    main()
