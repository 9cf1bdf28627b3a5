"""The two compared trainers, set up to do the same work where possible."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ultralytics.data import dataset as ultralytics_dataset
from ultralytics.data.augment import RandomPerspective

from benchmarks.gpu.figures import Setup
from training.config import TrainConfig
from training.data.augmentation import MIN_VISIBLE
from training.trainer import train

MODEL = "yolo11n"
EPOCHS = 1000
"""Number of epochs, more than any measurement takes: the last one would be validated."""
LR = 0.001
TRANSLATE, SCALE, BRIGHTNESS = 0.1, 0.2, 0.2
"""Augmentation of both trainers."""
OFF = "mosaic close_mosaic mixup cutmix copy_paste hsv_h hsv_s degrees shear perspective fliplr"
"""Default augmentation of Ultralytics that ``omr train`` does not use."""


def without_label_caches() -> None:
    """Read labels without a ``.cache`` file, which several processes would write at once."""

    def missing(path: Path) -> dict[str, Any]:
        raise FileNotFoundError(path)

    def add_version(_prefix: str, _path: Path, content: dict[str, Any], version: str) -> None:
        content["version"] = version  # the only keys that are read later

    ultralytics_dataset.load_dataset_cache_file = missing
    ultralytics_dataset.save_dataset_cache_file = add_version


def keep_all_labels() -> None:
    """Let Ultralytics' augmentation keep the labels that ``omr train`` keeps.

    Its rule drops every box with a side of 2 px or less, which are most symbols of a full page, so
    that it would train on a fraction of the labels.
    """

    def visible(box1: NDArray[Any], box2: NDArray[Any], **_thresholds: float) -> NDArray[np.bool_]:
        sides, seen = box1[2:] - box1[:2], box2[2:] - box2[:2]  # (2, N)
        kept: NDArray[np.bool_] = (seen >= MIN_VISIBLE * sides).all(axis=0)
        return kept

    RandomPerspective.box_candidates = staticmethod(visible)


def train_omr(setup: Setup) -> None:
    """Train with ``omr train``."""
    config = TrainConfig(
        data=Path(setup.data),
        out=Path(setup.out) / "run",
        model=MODEL,
        epochs=EPOCHS,
        imgsz=setup.imgsz,
        batch=setup.batch,
        device=setup.device,
        workers=setup.workers,
        precision="fp32" if setup.precision == "fp32" else "bf16",
        lr=LR,
        translate=TRANSLATE,
        scale=SCALE,
        brightness=BRIGHTNESS,
        validate=False,
        lint=False,  # Ultralytics has no such checks, and setting up is not measured
    )
    train(config)


def train_yolo(setup: Setup) -> None:
    """Train with plain Ultralytics, with the same work as ``omr train`` where possible."""
    from ultralytics import YOLO

    if setup.all_labels:
        keep_all_labels()
    YOLO(f"{MODEL}.yaml").train(
        data=str(Path(setup.data).absolute() / "data.yaml"),
        project=str(Path(setup.out).absolute()),
        name="run",
        exist_ok=True,
        epochs=EPOCHS,
        imgsz=setup.imgsz,
        batch=setup.batch,
        nbs=setup.batch,  # one optimiser step per batch
        device=setup.device,
        workers=setup.workers,
        amp="bf16" if setup.precision == "bf16" else False,
        optimizer="AdamW",
        lr0=LR,
        warmup_bias_lr=0.0,
        pretrained=False,
        val=False,
        save=False,
        plots=False,
        deterministic=False,  # as in `omr train` on a GPU
        translate=TRANSLATE,
        scale=SCALE,
        hsv_v=BRIGHTNESS,
        **dict.fromkeys(OFF.split(), 0),
    )
