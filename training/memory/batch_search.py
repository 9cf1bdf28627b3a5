"""What to launch on a GPU: the batch that fits, and what to do where none does.

The prediction is held against what a GPU has left for tensors, less a margin for what it does not
know; a batch counts as full as one in a thousand is.
"""

import os
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, sqrt

import torch

from class_maps import ConfigError
from settings.training import STRIDE
from training.memory.gpus import GIB, MIB, Gpu, present_gpu
from training.memory.host import host_memory
from training.memory.step import StepMemory, StepSpec, memory_over_batch, predict_step
from training.runtime.devices import devices_of

HEADROOM = 0.1
"""Share of the usable memory that is left free: predictions are to be right within so much."""
NOMINAL_BATCH = 64
"""Images a step that are aimed at, as Ultralytics does; a larger batch is not suggested."""
MOST_WORKERS = 16
"""Processes that load images, as the training's default."""
HOST_RESERVE_BYTES = 1024 * MIB
"""Of main memory, for Python, torch and the images that are being loaded."""
SIZES = "nsmlx"
"""Of Ultralytics' models, by size."""

StepOf = Callable[[int], StepSpec]
"""From a number of images to the step of a batch of so many, as full as one in a thousand is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """The batch to launch with, and what it needs."""

    batch: int
    """Images at a time."""
    accumulate: int
    """Batches a step, so that a step has the nominal batch's images or a little more, and no more
    batches than an epoch has."""
    largest: int
    """Images that would fit."""
    memory: StepMemory
    """Of ``batch``."""


def present_device(device: str = "") -> Gpu:
    """Look at what a training would run on here: a CUDA device, or the CPU and the main memory.

    Args:
        device: As ``omr train --device`` takes it; of several the one with the least memory, for
            each gets as many images.

    Raises:
        ConfigError: It is not there.
    """
    chosen = map(torch.device, devices_of(device))
    gpus = [present_gpu(found.index) for found in chosen if found.type == "cuda"]
    if there := [gpu for gpu in gpus if gpu]:
        return min(there, key=lambda gpu: gpu.usable_bytes)
    memory = host_memory()
    return Gpu(
        name="this CPU",
        total_bytes=memory.total,
        usable_bytes=max(0, memory.available - HOST_RESERVE_BYTES),
        bf16=False,
        device="cpu",
    )


def limit_of(gpu: Gpu) -> int:
    """Tell how many bytes a step may take on a GPU, so that a margin is left."""
    return int(gpu.usable_bytes * (1 - HEADROOM))


def find_launch(
    step_of: StepOf, gpu: Gpu, n_images: int, nominal_batch: int = NOMINAL_BATCH
) -> Launch:
    """Find the largest batch that fits on a GPU.

    Args:
        step_of: Gives the step of a batch.
        gpu: Where it is to run.
        n_images: Of an epoch: a batch has no more.
        nominal_batch: Images a step; a larger batch is not suggested.

    Raises:
        ConfigError: Not even one image fits; it says what would.
        InputError: As :func:`training.memory.step.predict_step`.
    """
    limit = limit_of(gpu)
    most = max(1, min(n_images, nominal_batch))
    full = step_of(most)

    def need(batch: int) -> int:
        return memory_over_batch(full, [batch])[0].total_bytes

    largest = bisect_right(range(1, most + 1), limit, key=need)
    # A batch of few images is fuller for its size: it is held against its own fullest.
    while largest and not fits(step_of(largest), gpu):
        largest -= 1
    if not largest:
        raise ConfigError(_too_large(step_of(1), gpu))
    batch = largest
    # Of few images all go at once. A few less may need a little more, for gaps do not grow evenly.
    if largest < n_images and fits(step_of(even(largest)), gpu):
        batch = even(largest)
    return Launch(
        batch=batch,
        accumulate=ceil(most / batch),
        largest=largest,
        memory=predict_step(step_of(batch)),
    )


def fits(step: StepSpec, gpu: Gpu) -> bool:
    """Tell whether a step fits on a GPU, with the margin left."""
    return predict_step(step).total_bytes <= limit_of(gpu)


def even(batch: int) -> int:
    """Round a batch down to a multiple of 8, or of 2: matrix products like it."""
    step = 8 if batch >= 8 else 2 if batch >= 2 else 1
    return batch // step * step


def workers_for(n_images: int) -> int:
    """Suggest how many processes load images."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)), max(n_images, 1))


def _too_large(one: StepSpec, gpu: Gpu) -> str:
    """Say that one image does not fit, and what would."""
    limit, need = limit_of(gpu), predict_step(one).total_bytes
    ways = []
    if imgsz := _largest_side(one, need, gpu):
        ways.append(f"--imgsz {imgsz}")
    if model := _smaller_model(one, gpu):
        ways.append(f"--model {model}")
    help_ = f"it would with {' or '.join(ways)}" if ways else "take a GPU with more memory"
    return (
        f"{one.model} at {one.side} px: not even a batch of 1 fits on {gpu.name}: it needs "
        f"{need / GIB:.1f} GiB, and {limit / GIB:.1f} GiB of {gpu.usable_bytes / GIB:.1f} "
        f"may be used; {help_}"
    )


def _largest_side(one: StepSpec, need: int, gpu: Gpu) -> int | None:
    """An ``imgsz`` at which one image fits, about the largest; activations grow with its square."""
    side = int(one.side * sqrt(min(limit_of(gpu) / need, 1))) // STRIDE * STRIDE
    while side >= STRIDE:
        if fits(replace(one, imgsz=side), gpu):
            return side
        side = min(side - STRIDE, int(side * 0.8) // STRIDE * STRIDE)
    return None


def _smaller_model(one: StepSpec, gpu: Gpu) -> str | None:
    """The largest model of the same family of which one image fits."""
    family, size = one.model[:-1], one.model[-1:]
    if size not in SIZES or not family.startswith("yolo"):
        return None
    for smaller in reversed(SIZES[: SIZES.index(size)]):
        if fits(replace(one, model=family + smaller), gpu):
            return family + smaller
    return None
