"""Ultralytics' arguments for a configuration."""

from typing import Any

import torch

from reading.max_det import suggested_max_det
from settings.run_files import STATE_FILE
from training.config import TrainConfig
from training.models.checkpoints import weights_file
from training.runs.resume_state import read
from training.runtime.devices import check_device, is_deterministic
from training.runtime.precision import amp_argument, resolved

NOT_USED = (
    *("hsv_h", "hsv_s", "shear", "perspective", "mixup", "cutmix", "copy_paste"),
    *("close_mosaic", "erasing", "multi_scale"),
)
"""Augmentation of Ultralytics that is always off."""


def overrides_of(config: TrainConfig, model: str, max_symbols: int) -> dict[str, Any]:
    """Translate a configuration into Ultralytics' arguments.

    Args:
        config: Training configuration.
        model: Ultralytics' model file, or a file with weights.
        max_symbols: Symbols of the fullest image.

    Raises:
        ConfigError: The device does not exist or does not support the precision.
        InputError: The state of a resumed run cannot be read.
    """
    out = config.out.absolute()
    device = torch.device(check_device(config.device))
    overrides: dict[str, Any] = {
        "task": "detect",
        "mode": "train",
        "model": model,
        "data": str(config.data.absolute()),
        "project": str(out.parent),
        "name": out.name,
        "save_dir": str(out),  # a resumed run may have been moved
        "exist_ok": True,
        "epochs": config.epochs,
        "imgsz": config.imgsz,
        "batch": config.batch,
        "device": config.device or None,
        "workers": config.workers,
        "seed": config.seed,
        "deterministic": is_deterministic(device, requested=config.deterministic),
        "val": config.validate,
        "patience": 0,  # no early stopping: the configuration sets the number of epochs
        "plots": False,
        "pretrained": weights_file(model)
        is not None,  # False would discard the weights of a resumed run, too
        "max_det": suggested_max_det(max_symbols),
    }
    overrides |= _optimisation(config, device) | _augmentation(config)
    if config.resume:
        overrides["resume"] = model
        state = read(out / "weights" / STATE_FILE, mapped=True)
        overrides["amp"] = amp_argument(state["used"], device)  # the result of its self-test
    return overrides


def _optimisation(config: TrainConfig, device: torch.device) -> dict[str, Any]:
    return {
        "optimizer": config.optimizer,
        "lr0": config.lr,
        "lrf": config.final_lr,
        "weight_decay": config.weight_decay,
        "warmup_epochs": 0,  # the warm-up is part of set_rate
        # To Ultralytics every batch is a step; OmrTrainer accumulates gradients itself.
        "nbs": config.batch,
        "amp": amp_argument(resolved(config.precision, device), device),
    }


def _augmentation(config: TrainConfig) -> dict[str, Any]:
    return {
        "translate": config.translate,
        "scale": config.scale,
        "hsv_v": config.brightness,
        # The transforms take these from the run options; here they are recorded.
        **{name: getattr(config, name) for name in ("fliplr", "flipud", "degrees", "mosaic")},
        **dict.fromkeys(NOT_USED, 0),
    }
