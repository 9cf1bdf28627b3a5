"""Devices: their names on the command line, the order of tensors in memory, and exact fp32.

cuDNN's search for the fastest convolution (``torch.backends.cudnn.benchmark``) stays off: it would
run again for every new input shape, of which a validation has many, and take working memory that
no prediction of memory knows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from class_maps import ConfigError

NEW_SWITCH: tuple[str, Any, Any] = ("fp32_precision", "tf32", "ieee")
"""Attribute that switches the TF32 of convolutions, its value with TF32 and without."""
OLD_SWITCH: tuple[str, Any, Any] = ("allow_tf32", True, False)
"""The same of torch before 2.9."""


def memory_format_of(device: torch.device, *, training: bool) -> torch.memory_format:
    """Choose the order of a model's weights and images in memory.

    Channels last (NHWC) is what tensor cores compute on. Ultralytics trains so on CUDA, and
    measured 1.2 times the throughput of NCHW for yolo11 and yolo26 on a Tesla T4 with AMP
    (https://github.com/ultralytics/ultralytics/pull/25362); it also suits a CPU's training.
    Prediction computes in exact fp32, which has no tensor cores, and stays NCHW.

    Args:
        device: Device of the model.
        training: Whether the model is trained, or only predicts.
    """
    if training and device.type in {"cpu", "cuda"}:
        return torch.channels_last
    return torch.contiguous_format


def is_deterministic(device: torch.device, *, asked: bool) -> bool:
    """Decide whether a training is restricted to torch's deterministic algorithms.

    On CUDA they sort the indices of every scatter and exclude the fastest convolutions, and some
    operations have none. Only a CPU promises that a resumed run ends with the same bits, so a GPU
    uses them on request.

    Args:
        device: Device of the model.
        asked: Whether the user asked for them.
    """
    return asked or device.type != "cuda"


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Compute fp32 convolutions on CUDA with all their digits instead of in TF32.

    By default torch rounds the inputs of fp32 convolutions to the 10 bits of TF32 on Ampere and
    newer GPUs, but not those of matrix products. A training in fp32 keeps that default, which is
    faster. Prediction and validation use this context, so that scores agree across GPUs and with a
    CPU to rounding. Inside it, torch >= 2.9 raises where ``torch.backends.cudnn.allow_tf32`` is
    read.
    """
    cudnn: Any = torch.backends.cudnn
    is_new = hasattr(cudnn, "conv")  # torch >= 2.9, which does not let both interfaces be mixed
    switch = cudnn.conv if is_new else cudnn
    name, rounding, exact = NEW_SWITCH if is_new else OLD_SWITCH
    before = getattr(switch, name)
    if before == rounding:
        setattr(switch, name, exact)
    try:
        yield
    finally:
        if before == rounding:
            setattr(switch, name, rounding)


def check_device(device: str) -> str:
    """Make sure that the devices of a training are there; give the first of them.

    Args:
        device: As :func:`devices_of` takes it.

    Raises:
        ConfigError: As :func:`devices_of` does.
    """
    return devices_of(device)[0]


def devices_of(device: str) -> tuple[str, ...]:
    """Make sure that the devices of a training are there; give all of them, in torch's words.

    Args:
        device: ``cpu``, ``mps``, ``0``, ``0,1`` ...; empty for the first CUDA device, or the CPU.

    Raises:
        ConfigError: It is not written like that, or not there.
    """
    here = torch.cuda.device_count()
    if not device:
        return ("cuda:0" if here else "cpu",)
    if device in {"cpu", "mps"}:
        return (device,)
    numbers = [number.strip() for number in device.split(",")]
    if not all(number.isdigit() for number in numbers):
        raise ConfigError(f"device: expected cpu, 0, or 0,1 and so on, got {device}")
    missing = [number for number in numbers if int(number) >= here]
    if missing:
        raise ConfigError(
            f"device: not there: {', '.join(missing)}; {here} CUDA devices found, try cpu"
        )
    return tuple(f"cuda:{number}" for number in numbers)
