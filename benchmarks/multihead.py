"""One head against several: ``python -m benchmarks.multihead DATA``.

DATA is what ``omr convert`` wrote, with pages held out. Every head is trained from nothing with the
same data, steps and seeds, and scored on the pages held out:

* single: one head
* wide: one head whose class branch is so much wider that it costs as much as the separate heads
* grouped: a class branch for each of the four groups of ``harmony``, one box branch
* separate: a box branch for each group, too, which starts at the sizes of its own classes
* random: separate, the classes dealt out to four groups by chance
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import torch
import yaml
from ultralytics.nn.tasks import DetectionModel

from benchmarks.assigner import machine
from converters.page import Page
from converters.yolo import YoloDataset, open_dataset
from eval.detection import DetectionReport, evaluate
from training.heads import head_config
from training.heads.grouped import divided
from training.heads.head_config import Group, HeadConfig
from training.models import model_file
from training.predictor import predict
from training.score_trainer import ScoreTrainer
from training.trainer import TrainConfig, train

HEADS = ("single", "wide", "grouped", "separate", "random")
THIN = ("stem", "beam", "tie", "barlineSingle", "barlineDouble", "barlineFinal", "staff")
"""Classes with a side of a few pixels."""
LEARNT = 0.5
"""AP50 from which a class counts as learnt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training, scored after each of its epochs."""

    head: str
    seed: int
    seconds: float
    steps: tuple[int, ...]
    reports: tuple[DetectionReport, ...]


def main() -> None:
    """Train and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that omr convert wrote")
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS)
    parser.add_argument("--groups", default="harmony", help="head config whose groups are taken")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", default="omr-tiny")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--imgsz", type=int, default=320, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--assigner", default="tal")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    configs = head_configs(dataset.names, options)
    runs = []
    for seed in options.seeds:
        for head in options.heads:
            runs.append(run(dataset, head, configs[head], seed, options))
            note(runs[-1])
    print(table(runs, options.heads, dataset.names))
    print(f"\n{machine(torch.get_num_threads(), options.device, 'multihead')}")


def head_configs(names: Sequence[str], options: argparse.Namespace) -> dict[str, HeadConfig | None]:
    """Make the config of every kind of head."""
    separate = replace(head_config.load(options.groups), box="separate")
    separate.labels(names)
    dealt = list(names)
    random.Random(0).shuffle(dealt)
    groups = tuple(
        replace(group, classes=tuple(dealt[i :: len(separate.groups)]))
        for i, group in enumerate(separate.groups)
    )
    whole = HeadConfig(groups=(Group(name="all", classes=tuple(names)),))
    return {
        "single": None,
        "wide": replace(whole, tower_width=equal_width(names, whole, separate, options.model)),
        "grouped": replace(separate, box="shared"),
        "separate": separate,
        "random": replace(separate, groups=groups),
    }


def equal_width(
    names: Sequence[str], single: HeadConfig, separate: HeadConfig, model: str
) -> float:
    """Find the width at which one class branch has as many weights as the separate heads."""
    wanted = n_weights(names, separate, model)
    widths = [1 + step / 8 for step in range(64)]
    return min(
        widths,
        key=lambda width: abs(n_weights(names, replace(single, tower_width=width), model) - wanted),
    )


def n_weights(names: Sequence[str], config: HeadConfig, model: str) -> int:
    """Count the weights of a model's head."""
    built = DetectionModel(model_file(model), nc=len(names), verbose=False)
    head = divided(built.model[-1], config.labels(names), config)
    return sum(parameter.numel() for parameter in head.parameters())


def run(
    dataset: YoloDataset,
    head: str,
    config: HeadConfig | None,
    seed: int,
    options: argparse.Namespace,
) -> Run:
    """Train once; score the pages held out with the weights of every epoch."""
    truths = list(dataset.pages("val"))
    steps = -(-len(dataset.image_paths("train")) // options.batch)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "heads.yaml"
        if config:
            file.write_text(yaml.safe_dump(as_yaml(config)), "utf-8")
        begin = time.monotonic()
        with mock.patch.object(ScoreTrainer, "save_model", keeping(folder)):
            train(
                TrainConfig(
                    data=options.data,
                    out=folder / "run",
                    model=options.model,
                    heads=str(file) if config else "",
                    epochs=options.epochs,
                    imgsz=options.imgsz,
                    batch=options.batch,
                    lr=options.lr,
                    warmup_epochs=0.1,
                    seed=seed,
                    assigner=options.assigner,
                    device=options.device,
                    validate=False,
                )
            )
        seconds = time.monotonic() - begin
        weights = [folder / f"{epoch}.pt" for epoch in range(options.epochs)]
        reports = tuple(score(dataset, truths, file, options) for file in weights)
    return Run(
        head=head,
        seed=seed,
        seconds=seconds,
        steps=tuple(steps * (epoch + 1) for epoch in range(options.epochs)),
        reports=reports,
    )


def as_yaml(config: HeadConfig) -> dict[str, object]:
    """Write a config as its file would."""
    return {
        "groups": [
            {"name": group.name, "classes": list(group.classes), "weight": group.weight}
            for group in config.groups
        ],
        "box": config.box,
        "tower": {"width": config.tower_width, "depth": config.tower_depth},
    }


def keeping(folder: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Make a ``save_model`` that keeps the weights of every epoch."""
    save = ScoreTrainer.save_model

    def save_and_keep(trainer: ScoreTrainer) -> bool:
        saved = save(trainer)
        (folder / f"{trainer.epoch}.pt").write_bytes(trainer.last.read_bytes())
        return saved

    return save_and_keep


def score(
    dataset: YoloDataset, truths: Sequence[Page], weights: Path, options: argparse.Namespace
) -> DetectionReport:
    """Score weights on the pages held out."""
    images = [(dataset.splits["val"] / page.image, page.image) for page in truths]
    found = list(predict(weights, images, imgsz=options.imgsz, device=options.device))
    return evaluate(truths, found, dataset.names)


def note(done: Run) -> None:
    """Say on stderr what a training came to: all of them together take long."""
    report = done.reports[-1]
    figures = {"ap": report.macro.ap, "ap50": report.macro.ap50, "s": round(done.seconds)}
    print(json.dumps({"head": done.head, "seed": done.seed, **figures}), file=sys.stderr)


def table(runs: Sequence[Run], heads: Sequence[str], names: Sequence[str]) -> str:
    """Lay out mean and range over the seeds."""
    thin = [name for name in THIN if name in names]
    titles = ["head", "AP by classes", "AP50 by classes", "AP50 by frequent classes"]
    titles += ["AP by instances", *(f"AP50 {name}" for name in thin), "classes learnt after", "s"]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for head in heads:
        own = [run for run in runs if run.head == head]
        last = [run.reports[-1] for run in own]
        cells = [
            spread([report.macro.ap for report in last]),
            spread([report.macro.ap50 for report in last]),
            spread([report.frequent_macro.ap50 for report in last]),
            spread([report.instance_weighted.ap for report in last]),
            *(spread([ap50_of(report, name) for report in last]) for name in thin),
            "; ".join(
                f"{steps}: {statistics.mean(n_learnt(run.reports[i]) for run in own):.1f}"
                for i, steps in enumerate(own[0].steps)
            ),
            f"{statistics.mean(run.seconds for run in own):.0f}",
        ]
        lines.append(f"| {head} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ap50_of(report: DetectionReport, name: str) -> float | None:
    """AP50 of one class."""
    return next(row.ap50 for row in report.classes if row.name == name)


def n_learnt(report: DetectionReport) -> int:
    """Count the classes whose AP50 is at least :data:`LEARNT`."""
    return sum((row.ap50 or 0) >= LEARNT for row in report.classes)


def spread(values: Sequence[float | None]) -> str:
    """Mean and range."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{statistics.mean(known):.3f} ({min(known):.3f}-{max(known):.3f})"


if __name__ == "__main__":
    main()
