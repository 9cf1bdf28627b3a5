"""Batch normalisation of existing weights, measured again before training.

The running means and variances of batch normalisation belong to the activation functions that the
weights were trained with. With other functions, layers receive other values, and the stored
statistics distort them. Measuring them again on a few training images needs no gradients.

Shapes: B images of a batch, H and W the height and width of the network's input in pixels.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError
from eval.html.number_format import counted
from reading.read_ahead import read_ahead
from settings.run_files import MAP, PAGE_MAP
from training.engine.running_trainer import RunningTrainer
from training.predict.image_batches import collate, equal_sizes, network_input, read_resized
from training.runtime.devices import exact_fp32, memory_format_of


def recalibrate(trainer: RunningTrainer, n_images: int) -> dict[str, Any]:
    """Measure batch normalisation again, in the trained model and in its moving average.

    Args:
        trainer: Trainer after its set-up, before its first step.
        n_images: Training images to measure on, without augmentation; all if there are fewer.

    Returns:
        Number of ``images``, and the validation score ``before`` and ``after``: the mean AP50-95
        that selects the best epoch, None without validation.

    Raises:
        ConfigError: The images are too few and too small.
        InputError: An image cannot be read.
    """
    model = unwrap_model(trainer.model)
    files = [*trainer.inputs.image_labels("train")]
    chosen = np.unique(np.linspace(0, len(files) - 1, min(n_images, len(files))).round())
    before = _score(trainer)
    measure_statistics(model, _batches(trainer, [files[int(i)] for i in chosen]))
    trainer.ema.ema.load_state_dict(model.state_dict())
    return {"images": len(chosen), "before": before, "after": _score(trainer)}


def recalibration_text(recalibration: Mapping[str, Any]) -> str:
    """Describe the result of :func:`recalibrate` in a line."""
    images = counted(recalibration["images"], "image", "images")
    text = f"batch normalisation measured on {images}"
    if recalibration["before"] is None:
        return text
    scores = (f"{recalibration[when]:.3f}" for when in ("before", "after"))
    return f"{text}: mAP50-95 {' -> '.join(scores)}"


def measure_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of batch normalisation with means over batches.

    Args:
        model: Network; its mode and the momentum of its layers are kept.
        batches: Inputs of the network on its device, shape ``(B, 3, H, W)``.

    Raises:
        ConfigError: ``batches`` is empty.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta, states = [norm.momentum for norm in norms], [m.training for m in model.modules()]
    try:
        model.train()  # both branches of a head with two, and the statistics of each batch
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        with torch.no_grad(), exact_fp32():
            n_batches = sum(model(images) is not None for images in batches)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, state in zip(model.modules(), states, strict=True):
            module.training = state
    if not n_batches:
        raise ConfigError("--recalibrate: the images are too small; use more, or a larger --imgsz")


def _batches(trainer: RunningTrainer, files: list[str]) -> Iterator[Tensor]:
    """Yield images of one size each, where every channel of every level has several values."""
    stride = int(max(unwrap_model(trainer.model).stride.tolist()))
    order = memory_format_of(trainer.device, training=True)
    images = [(Path(file), PurePosixPath(file)) for file in files]
    batch = max(trainer.args.batch // max(trainer.world_size, 1), 1)
    imgsz = trainer.args.imgsz
    for resized in read_ahead(images, lambda image: read_resized(*image, imgsz), batch):
        for indices in equal_sizes(resized, stride):
            pixels = collate([resized[i] for i in indices], stride)
            n_images, height, width, _ = pixels.shape
            if n_images * height * width > stride**2:
                yield network_input(pixels, trainer.device, order)


def _score(trainer: RunningTrainer) -> float | None:
    """Validate the moving average; None without validation, and in processes but the first."""
    if not trainer.args.val:
        return None
    criterion: Any = unwrap_model(trainer.model).criterion
    names = getattr(criterion, "one2many", criterion).loss_names  # of a head with two branches
    trainer.loss = torch.zeros((), device=trainer.device)  # read by Ultralytics' validation
    trainer.loss_items = dict.fromkeys(names, trainer.loss)
    trainer.epoch, best = trainer.start_epoch, trainer.best_fitness
    metrics, _ = trainer.validate()
    trainer.best_fitness, trainer.state.conf = best, None
    return metrics.get(PAGE_MAP, metrics[MAP]) if metrics else None
