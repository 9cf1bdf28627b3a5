"""Largest batch that fits on a GPU, and alternatives when not even one image fits.

The predicted memory of a step is compared with the GPU memory available for tensors, minus a safety
margin. The batch is assumed to be the fullest of a thousand.
"""

import os
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, sqrt

import torch

from class_maps import ConfigError
from eval.reports.density_report import StepMemory
from settings.training import STRIDE
from training.memory.gpus import GIB, MIB, Gpu, present_gpu
from training.memory.host import host_memory
from training.memory.step import memory_over_batch, predict_step
from training.memory.step_spec import StepSpec
from training.runtime.devices import devices_of

HEADROOM = 0.1
"""Fraction of the usable memory that stays free, because predictions may be wrong by as much."""
NOMINAL_BATCH = 64
"""Target number of images per optimiser step, as in Ultralytics; also the largest batch tried."""
MAX_WORKERS = 16
"""Upper limit of the default number of loader processes."""
HOST_RESERVE_BYTES = 1024 * MIB
"""Main memory reserved for Python, torch and the images being loaded."""
SIZES = "nsmlx"
"""Size suffixes of Ultralytics' models, smallest first."""

StepOf = Callable[[int], StepSpec]
"""Function from a batch size to the step of the fullest of a thousand such batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Batch to train with, and its memory."""

    batch: int
    """Images per batch."""
    accumulate: int
    """Batches per optimiser step: enough to reach the nominal batch, but no more than an epoch
    has."""
    largest: int
    """Largest batch that fits."""
    memory: StepMemory
    """Predicted memory of a step with ``batch`` images."""


def present_device(device: str = "") -> Gpu:
    """Describe the local device that training would use: a CUDA device, or the CPU.

    Args:
        device: Value of ``omr train --device``. Of several devices the one with the least memory
            is returned, because each gets the same number of images.

    Raises:
        ConfigError: The device does not exist.
    """
    devices = map(torch.device, devices_of(device))
    gpus = [present_gpu(device.index) for device in devices if device.type == "cuda"]
    if available := [gpu for gpu in gpus if gpu]:
        return min(available, key=lambda gpu: gpu.usable_bytes)
    memory = host_memory()
    return Gpu(
        name="this CPU",
        total_bytes=memory.total,
        usable_bytes=max(0, memory.available - HOST_RESERVE_BYTES),
        bf16=False,
        device="cpu",
    )


def limit_of(gpu: Gpu) -> int:
    """Compute how many bytes a step may take on a GPU, leaving the safety margin."""
    return int(gpu.usable_bytes * (1 - HEADROOM))


def find_launch(
    step_of: StepOf, gpu: Gpu, n_images: int, nominal_batch: int = NOMINAL_BATCH
) -> Launch:
    """Find the largest batch that fits on a GPU.

    Args:
        step_of: Function from a batch size to its step.
        gpu: GPU to fit the batch on.
        n_images: Images per epoch, an upper bound of the batch size.
        nominal_batch: Target number of images per optimiser step, another upper bound.

    Raises:
        ConfigError: Not even one image fits; the message suggests settings that would fit.
        InputError: See :func:`training.memory.step.predict_step`.
    """
    limit = limit_of(gpu)
    most = max(1, min(n_images, nominal_batch))
    fullest = step_of(most)

    def need(batch: int) -> int:
        return memory_over_batch(fullest, [batch])[0].total_bytes

    largest = bisect_right(range(1, most + 1), limit, key=need)
    # The fullest small batch has more symbols per image than the fullest large one: check it alone.
    while largest and not fits(step_of(largest), gpu):
        largest -= 1
    if not largest:
        raise ConfigError(_too_large(step_of(1), gpu))
    batch = largest
    # A data set that fits into one batch is not rounded. A rounded batch may need more memory than
    # a slightly larger one, because gaps between tensors do not grow evenly.
    if largest < n_images and fits(step_of(round_batch(largest)), gpu):
        batch = round_batch(largest)
    return Launch(
        batch=batch,
        accumulate=ceil(most / batch),
        largest=largest,
        memory=predict_step(step_of(batch)),
    )


def fits(step: StepSpec, gpu: Gpu) -> bool:
    """Check whether a step fits on a GPU, leaving the safety margin."""
    return predict_step(step).total_bytes <= limit_of(gpu)


def round_batch(batch: int) -> int:
    """Round a batch size down to a multiple of 8, or of 2, which suits matrix products."""
    multiple = 8 if batch >= 8 else 2 if batch >= 2 else 1
    return batch // multiple * multiple


def workers_for(n_images: int) -> int:
    """Choose the number of loader processes: one per core, at most 16 and at most one per image."""
    return min(MAX_WORKERS, len(os.sched_getaffinity(0)), max(n_images, 1))


def _too_large(one: StepSpec, gpu: Gpu) -> str:
    """Build the error for an image that does not fit, with smaller settings that would."""
    limit, need = limit_of(gpu), predict_step(one).total_bytes
    options = []
    if imgsz := _largest_side(one, need, gpu):
        options.append(f"--imgsz {imgsz}")
    if model := _smaller_model(one, gpu):
        options.append(f"--model {model}")
    return (
        f"{one.model} at {one.side} px: not even a batch of 1 fits on {gpu.name}: it needs "
        f"{need / GIB:.1f} GiB, but only {limit / GIB:.1f} of {gpu.usable_bytes / GIB:.1f} GiB "
        f"may be used; use {' or '.join(options) or 'a GPU with more memory'}"
    )


def _largest_side(one: StepSpec, need: int, gpu: Gpu) -> int | None:
    """Find roughly the largest ``imgsz`` with which one image fits; memory grows with its square.

    Returns:
        Pixels, or None if no size fits.
    """
    side = int(one.side * sqrt(min(limit_of(gpu) / need, 1))) // STRIDE * STRIDE
    while side >= STRIDE:
        if fits(replace(one, imgsz=side), gpu):
            return side
        side = min(side - STRIDE, int(side * 0.8) // STRIDE * STRIDE)
    return None


def _smaller_model(one: StepSpec, gpu: Gpu) -> str | None:
    """Find the largest smaller model of the same family with which one image fits."""
    family, size = one.model[:-1], one.model[-1:]
    if size not in SIZES or not family.startswith("yolo"):
        return None
    for smaller in reversed(SIZES[: SIZES.index(size)]):
        if fits(replace(one, model=family + smaller), gpu):
            return family + smaller
    return None
