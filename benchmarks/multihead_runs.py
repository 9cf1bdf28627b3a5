"""Variants of :mod:`benchmarks.multihead`, a training run of each, and its figures."""

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

from converters.formats.yolo_dataset import YoloDataset
from converters.page import Page
from eval.metrics.coco import evaluate
from eval.reports.detection import DetectionReport
from reading.suppression import NMS_IOU_THRESH
from settings import head_config
from settings.head_config import Group, HeadConfig
from training.config import TrainConfig
from training.data import augmentation
from training.engine import omr_trainer
from training.engine.omr_trainer import OmrTrainer
from training.heads.grouped import SeparateDetect, divided
from training.heads.size_prior import ClassSize, level_priors, reach_of
from training.losses.loss_options import STOCK
from training.models.checkpoints import save_weights
from training.models.zoo import model_file
from training.predict.detector import predict
from training.trainer import train

THIN = ("stem", "barlineSingle", "tie", "beam")
SMALL = ("augmentationDot", "repeatDot")
EVERY = 3
"""Interval of the held-out tiles that are evaluated during training."""
TILE_NAME = re.compile(r"(.+)__x(\d+)_y(\d+)")
OVERLAP = 0.2
"""Overlap of tiles as a fraction of their side."""
BORDER = 1.5
"""Distance in pixels from a tile's border within which a box counts as cut."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rig:
    """Common settings of all training runs."""

    tiles: YoloDataset
    pages: YoloDataset
    """The same pages, uncut and at the same scale."""
    model: str
    epochs: int
    imgsz: int
    batch: int
    lr: float
    device: str
    steps: int
    """Steps between evaluations."""
    threads: int

    def settings(self) -> dict[str, Any]:
        """List the settings that figures depend on, besides head and seed."""
        names = "model", "epochs", "imgsz", "batch", "lr", "device", "steps", "threads"
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Variant of a training run."""

    heads: HeadConfig
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of ``TrainConfig``."""
    patched: tuple[tuple[object, str, object], ...] = ()
    """Attributes replaced during the run: object, attribute name and replacement."""


def variants(names: Sequence[str], groups: str, rig: Rig) -> dict[str, Variant]:
    """Create all variants.

    Args:
        names: Class names of the data.
        groups: Name or file of the head config that defines the groups.
        rig: Settings, which determine the width of equal cost.
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


def of_stems(config: HeadConfig, **changes: Any) -> HeadConfig:  # noqa: ANN401
    """Change assigner options of the group that contains stems."""
    groups = (
        replace(group, **changes) if "stem" in group.classes else group for group in config.groups
    )
    return replace(config, groups=tuple(groups))


def equal_width(names: Sequence[str], separate: HeadConfig, rig: Rig) -> float:
    """Find the width at which one class branch costs as much as the separate heads."""
    whole = HeadConfig(groups=(Group(name="all", classes=tuple(names)),))
    widths = [1 + step / 8 for step in range(80)]
    index = bisect_left(
        widths,
        cost(names, separate, rig),
        key=lambda width: cost(names, replace(whole, tower_width=width), rig),
    )
    return widths[index]


def cost(names: Sequence[str], config: HeadConfig, rig: Rig) -> int:
    """Count the multiplications and additions of a model's convolutions for one image."""
    model = DetectionModel(model_file(rig.model), nc=len(names), verbose=False)
    model.model[-1] = divided(model.model[-1], config.labels(names), config)
    counts = []

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        counts.append(layer.weight[0].numel() * output[0].numel())  # type: ignore[index]

    for part in model.modules():
        if isinstance(part, nn.Conv2d):  # activations cost the same in all models
            part.register_forward_hook(count)
    model.train()
    with torch.no_grad():
        model(torch.zeros(1, 3, rig.imgsz, rig.imgsz))
    return sum(counts)


def run(name: str, variant: Variant, seed: int, rig: Rig) -> dict[str, Any]:
    """Train once; evaluate some tiles during training, and all tiles and whole pages afterwards.

    Returns:
        Figures for a line of the results file.
    """
    changed = {
        name: variant.options[name] for name in ("model", "imgsz") if name in variant.options
    }
    rig = replace(rig, **changed)
    truths = list(rig.tiles.pages("val"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        saved: list[tuple[int, Path]] = []
        with saving_weights(variant, folder, saved, rig.steps):
            begin = time.monotonic()
            train(_config(variant, folder, seed, rig))
            seconds = time.monotonic() - begin
        curve = {step: _score(rig, truths[::EVERY], file) for step, file in saved}
        predictions = _predictions(rig, truths, saved[-1][1])
    tiles = evaluate(truths, predictions, rig.tiles.names)
    whole_pages = list(rig.pages.pages("val"))
    pages = evaluate(whole_pages, merged(predictions, whole_pages), rig.pages.names)
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


def _config(variant: Variant, folder: Path, seed: int, rig: Rig) -> TrainConfig:
    heads = folder / "heads.yaml"
    heads.write_text(head_config.to_yaml(variant.heads), "utf-8")
    common: dict[str, Any] = {
        "data": rig.tiles.root,
        "out": folder / "run",
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
def saving_weights(
    variant: Variant, folder: Path, saved: list[tuple[int, Path]], steps: int
) -> Iterator[None]:
    """Apply a variant, and save the averaged weights every ``steps`` steps and at the end."""
    step, finish = OmrTrainer.optimizer_step, OmrTrainer.final_eval
    done = 0

    def save(trainer: OmrTrainer) -> None:
        file = folder / f"{done}.pt"
        save_weights(unwrap_model(trainer.ema.ema), file, train_args={})
        saved.append((done, file))

    def step_and_save(trainer: OmrTrainer) -> None:
        nonlocal done
        step(trainer)
        done += 1
        if done % steps == 0:
            save(trainer)

    def save_and_finish(trainer: OmrTrainer) -> None:
        if not saved or saved[-1][0] != done:
            save(trainer)
        finish(trainer)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(OmrTrainer, "optimizer_step", step_and_save))
        stack.enter_context(mock.patch.object(OmrTrainer, "final_eval", save_and_finish))
        for owner, name, replacement in variant.patched:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield


def shared_priors(head: Detect, sizes: Sequence[ClassSize]) -> Tensor:
    """Start every group from the sizes of all classes; replaces ``head_priors``."""
    priors = level_priors(sizes, head.stride.tolist(), reach_of(head))
    n_groups = len(head.labels) if isinstance(head, SeparateDetect) else 1
    return priors.repeat(n_groups, 1, 1)


def _predictions(rig: Rig, truths: Sequence[Page], weights: Path) -> list[Page]:
    images = [(rig.tiles.splits["val"] / page.image, page.image) for page in truths]
    return list(predict(weights, images, imgsz=rig.imgsz, device=rig.device))


def _score(rig: Rig, truths: Sequence[Page], weights: Path) -> DetectionReport:
    return evaluate(truths, _predictions(rig, truths, weights), rig.tiles.names)


def merged(tiles: Sequence[Page], pages: Sequence[Page]) -> Iterator[Page]:
    """Merge predictions on tiles to predictions on their pages.

    A box that touches a border inside the page is dropped if it is shorter than the overlap of
    tiles, because the next tile contains the whole symbol. Duplicates are removed by NMS per class.

    Args:
        tiles: Predictions on tiles.
        pages: Pages that the tiles were cut from.
    """
    page_tiles = defaultdict(list)
    for page in tiles:
        match = TILE_NAME.fullmatch(page.image.stem)
        if not match:
            raise ValueError(f"{page.image}: not a tile name")
        page_tiles[match[1]].append((int(match[2]), int(match[3]), page))
    for page in pages:
        parts = [
            _shifted(part, (x, y), (page.width, page.height))
            for x, y, part in page_tiles[page.image.stem]
        ]
        boxes, labels, scores = (
            torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True)
        )
        selected = batched_nms(boxes, scores, labels, NMS_IOU_THRESH).numpy()
        yield Page(
            image=PurePosixPath(page.image),
            width=page.width,
            height=page.height,
            boxes_xyxy=boxes.numpy()[selected],
            labels=labels.numpy()[selected],
            scores=scores.numpy()[selected],
        )


def _shifted(part: Page, corner: tuple[int, int], size: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Move a tile's boxes, labels and scores to its page, without boxes cut by an inner border."""
    low, high = part.boxes_xyxy[:, :2], part.boxes_xyxy[:, 2:]
    tile = np.array([part.width, part.height])
    starts, ends = np.array(corner) > 0, np.array(corner) + tile < np.array(size)
    cut = ((low < BORDER) & starts) | ((high > tile - BORDER) & ends)
    short = high - low < tile * OVERLAP
    whole = ~(cut & short).any(axis=1)
    shift = np.array([*corner, *corner])
    assert part.scores is not None
    return part.boxes_xyxy[whole] + shift, part.labels[whole], part.scores[whole]


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
