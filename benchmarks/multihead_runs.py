"""Trainings of :mod:`benchmarks.multihead`: what is compared, one run of it, and its figures."""

import random
import re
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import unwrap_model

from converters.formats.yolo import YoloDataset
from converters.page import Page
from eval.metrics.coco import evaluate
from eval.reports.detection import DetectionReport
from training.config import TrainConfig
from training.data import augmentation
from training.engine import omr_trainer
from training.engine.omr_trainer import OmrTrainer
from training.heads import head_config
from training.heads.grouped import SeparateDetect, divided
from training.heads.head_config import Group, HeadConfig
from training.heads.size_prior import ClassSize, level_priors, reach_of
from training.losses.detection import STOCK
from training.models.checkpoints import save_weights
from training.models.zoo import model_file
from training.predict.detections import NMS_IOU_THRESH
from training.predict.detector import predict
from training.trainer import train

THIN = ("stem", "barlineSingle", "tie", "beam")
SMALL = ("augmentationDot", "repeatDot")
EVERY = 3
"""Of the tiles held out, each third one is looked at while a training goes on."""
TILE_NAME = re.compile(r"(.+)__x(\d+)_y(\d+)")
OVERLAP = 0.2
"""Of tiles, as a share of their side."""
BORDER = 1.5
"""Pixels from a tile's border at which a box counts as cut by it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """What all trainings have in common."""

    tiles: YoloDataset
    pages: YoloDataset
    """The same pages, of the same scale, whole."""
    model: str
    epochs: int
    imgsz: int
    batch: int
    lr: float
    device: str
    steps: int
    """Steps from one look at the tiles held out to the next."""
    threads: int

    def settings(self) -> dict[str, Any]:
        """Give what a figure depends on, besides head and seed."""
        names = "model", "epochs", "imgsz", "batch", "lr", "device", "steps", "threads"
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One of the things that are compared."""

    heads: HeadConfig
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of ``TrainConfig``."""
    patched: tuple[tuple[object, str, object], ...] = ()
    """What is replaced while it trains: of which object, by what name, and with what."""


def variants(names: Sequence[str], groups: str, rig: Rig) -> dict[str, Variant]:
    """Make everything that can be compared.

    Args:
        names: Class names of the data.
        groups: Name or file of the head config whose groups are taken.
        rig: For the widths of equal cost.
    """
    separate = replace(head_config.load(groups), box="separate")
    separate.labels(names)
    dealt = list(names)
    random.Random(0).shuffle(dealt)
    chance = tuple(
        replace(group, classes=tuple(dealt[i :: len(separate.groups)]))
        for i, group in enumerate(separate.groups)
    )
    whole = HeadConfig(groups=(Group(name="all", classes=tuple(names)),))
    stock = replace(separate, box_encoding="stock")
    no_prior = {"size_prior": False}
    shared: Any = ((omr_trainer, "head_priors", shared_priors),)
    return {
        "single": Variant(heads=whole),
        "wide": Variant(heads=replace(whole, tower_width=equal_width(names, separate, rig))),
        "grouped": Variant(heads=replace(separate, box="shared")),
        "separate": Variant(heads=separate),
        "random": Variant(heads=replace(separate, groups=chance)),
        "stock start, stock bins": Variant(heads=stock, options=no_prior),
        "stock start": Variant(heads=separate, options=no_prior),
        "shared start, stock bins": Variant(heads=stock, patched=shared),
        "shared start": Variant(heads=separate, patched=shared),
        "own start, stock bins": Variant(heads=stock),
        "stock augmentation": Variant(
            heads=separate,
            patched=((augmentation, "visible_share", augmentation.kept_by_ultralytics),),
        ),
        "stock assigner": Variant(
            heads=separate, patched=((TrainConfig, "loss_options", lambda _config: STOCK),)
        ),
        "ciou": Variant(heads=separate, options={"similarity": "ciou"}),
        "stems by wasserstein": Variant(heads=of_stems(separate, similarity="nwd")),
        "stems by dilated iou": Variant(heads=of_stems(separate, similarity="dilated")),
        "stems by beta 3": Variant(heads=of_stems(separate, beta=3.0)),
        "p2": Variant(heads=separate, options={"model": f"{rig.model}-p2"}),
        "480 px": Variant(heads=separate, options={"imgsz": 480}),
    }


def of_stems(config: HeadConfig, **own: Any) -> HeadConfig:  # noqa: ANN401
    """Make the assigner treat the group that stems are in differently."""
    groups = (
        replace(group, **own) if "stem" in group.classes else group for group in config.groups
    )
    return replace(config, groups=tuple(groups))


def equal_width(names: Sequence[str], separate: HeadConfig, rig: Rig) -> float:
    """Find the width from which one class branch costs as much as the separate heads."""
    whole = HeadConfig(groups=(Group(name="all", classes=tuple(names)),))
    widths = [1 + step / 8 for step in range(80)]
    place = bisect_left(
        widths,
        cost(names, separate, rig),
        key=lambda width: cost(names, replace(whole, tower_width=width), rig),
    )
    return widths[place]


def cost(names: Sequence[str], config: HeadConfig, rig: Rig) -> int:
    """Count the multiplications and additions of a model's convolutions for one image."""
    model = DetectionModel(model_file(rig.model), nc=len(names), verbose=False)
    model.model[-1] = divided(model.model[-1], config.labels(names), config)
    counts = []

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        counts.append(layer.weight[0].numel() * output[0].numel())  # type: ignore[index]

    for part in model.modules():
        if isinstance(part, nn.Conv2d):  # activations are shared by all models
            part.register_forward_hook(count)
    model.train()
    with torch.no_grad():
        model(torch.zeros(1, 3, rig.imgsz, rig.imgsz))
    return sum(counts)


def run(name: str, variant: Variant, seed: int, rig: Rig) -> dict[str, Any]:
    """Train once; look at some tiles on the way, at all tiles and at whole pages at the end.

    Returns:
        Plain figures, as a line of the results has them.
    """
    given = {name: variant.options[name] for name in ("model", "imgsz") if name in variant.options}
    rig = replace(rig, **given)
    truths = list(rig.tiles.pages("val"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        kept: list[tuple[int, Path]] = []
        with trained_so(variant, place, kept, rig.steps):
            begin = time.monotonic()
            train(_config(variant, place, seed, rig))
            seconds = time.monotonic() - begin
        curve = {step: _score(rig, truths[::EVERY], file) for step, file in kept}
        found = _found(rig, truths, kept[-1][1])
    tiles = evaluate(truths, found, rig.tiles.names)
    whole_pages = list(rig.pages.pages("val"))
    pages = evaluate(whole_pages, joined(found, whole_pages), rig.pages.names)
    return {
        "name": name,
        "seed": seed,
        **rig.settings(),
        "gigaflops": 2e-9 * cost(rig.tiles.names, variant.heads, rig),
        "seconds": round(seconds),
        "curve": {step: _ap50(report) for step, report in curve.items()},
        "tiles": _figures(tiles),
        "pages": _figures(pages),
    }


def _config(variant: Variant, place: Path, seed: int, rig: Rig) -> TrainConfig:
    heads = place / "heads.yaml"
    heads.write_text(head_config.to_yaml(variant.heads), "utf-8")
    common: dict[str, Any] = {
        "data": rig.tiles.root,
        "out": place / "run",
        "model": rig.model,
        "heads": str(heads),
        "epochs": rig.epochs,
        "imgsz": rig.imgsz,
        "batch": rig.batch,
        "lr": rig.lr,
        "warmup_epochs": 0.1,
        "seed": seed,
        "device": rig.device,
        "validate": False,
    }
    return TrainConfig(**common | variant.options)


@contextmanager
def trained_so(
    variant: Variant, place: Path, kept: list[tuple[int, Path]], steps: int
) -> Iterator[None]:
    """Keep the averaged weights of every so many steps, and of the last one."""
    step, finish = OmrTrainer.optimizer_step, OmrTrainer.final_eval
    done = 0

    def keep(trainer: OmrTrainer) -> None:
        file = place / f"{done}.pt"
        save_weights(unwrap_model(trainer.ema.ema), file, train_args={})
        kept.append((done, file))

    def step_and_keep(trainer: OmrTrainer) -> None:
        nonlocal done
        step(trainer)
        done += 1
        if done % steps == 0:
            keep(trainer)

    def keep_and_finish(trainer: OmrTrainer) -> None:
        if not kept or kept[-1][0] != done:
            keep(trainer)
        finish(trainer)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(OmrTrainer, "optimizer_step", step_and_keep))
        stack.enter_context(mock.patch.object(OmrTrainer, "final_eval", keep_and_finish))
        for owner, name, other in variant.patched:
            stack.enter_context(mock.patch.object(owner, name, other))
        yield


def shared_priors(head: Detect, sizes: Sequence[ClassSize]) -> Tensor:
    """Start every group from the sizes of all classes, in place of ``head_priors``."""
    of_all = level_priors(sizes, head.stride.tolist(), reach_of(head))
    n_groups = len(head.labels) if isinstance(head, SeparateDetect) else 1
    return of_all.repeat(n_groups, 1, 1)


def _found(rig: Rig, truths: Sequence[Page], weights: Path) -> list[Page]:
    images = [(rig.tiles.splits["val"] / page.image, page.image) for page in truths]
    return list(predict(weights, images, imgsz=rig.imgsz, device=rig.device))


def _score(rig: Rig, truths: Sequence[Page], weights: Path) -> DetectionReport:
    return evaluate(truths, _found(rig, truths, weights), rig.tiles.names)


def joined(found: Sequence[Page], pages: Sequence[Page]) -> Iterator[Page]:
    """Put what was found in tiles together on their pages.

    A box that touches a border inside the page goes if it is shorter than the overlap of tiles: the
    next tile shows it whole. Of what two tiles show, the best of a class stays.

    Args:
        found: Tiles with scores.
        pages: The pages that they were cut from.
    """
    of_page = defaultdict(list)
    for page in found:
        match = TILE_NAME.fullmatch(page.image.stem)
        if not match:
            raise ValueError(f"{page.image}: not the name of a tile")
        of_page[match[1]].append((int(match[2]), int(match[3]), page))
    for page in pages:
        parts = [
            _shifted(part, (x, y), (page.width, page.height))
            for x, y, part in of_page[page.image.stem]
        ]
        boxes, labels, scores = (
            torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True)
        )
        kept = batched_nms(boxes, scores, labels, NMS_IOU_THRESH).numpy()
        yield Page(
            image=PurePosixPath(page.image),
            width=page.width,
            height=page.height,
            boxes_xyxy=boxes.numpy()[kept],
            labels=labels.numpy()[kept],
            scores=scores.numpy()[kept],
        )


def _shifted(part: Page, corner: tuple[int, int], size: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Boxes, labels and scores of a tile on its page, without those cut by an inner border."""
    low, high = part.boxes_xyxy[:, :2], part.boxes_xyxy[:, 2:]
    tile = np.array([part.width, part.height])
    starts, ends = np.array(corner) > 0, np.array(corner) + tile < np.array(size)
    cut = ((low < BORDER) & starts) | ((high > tile - BORDER) & ends)
    short = high - low < tile * OVERLAP
    kept = ~(cut & short).any(axis=1)
    shift = np.array([*corner, *corner])
    assert part.scores is not None
    return part.boxes_xyxy[kept] + shift, part.labels[kept], part.scores[kept]


def _figures(report: DetectionReport) -> dict[str, Any]:
    return {
        "macro": asdict(report.macro),
        "frequent_macro": asdict(report.frequent_macro),
        "instance_weighted": asdict(report.instance_weighted),
        "classes": {
            row.name: {"truths": row.n_truths, "ap": row.ap, "ap50": row.ap50}
            for row in report.classes
            if row.n_truths
        },
    }


def _ap50(report: DetectionReport) -> dict[str, float]:
    return {row.name: row.ap50 for row in report.classes if row.n_truths and row.ap50 is not None}


Figure = Callable[[dict[str, Any]], float | None]
