"""Devices: their names on the command line, the memory format of tensors, and exact fp32.

cuDNN's search for the fastest convolution (``torch.backends.cudnn.benchmark``) stays off: it would
run again for every new input shape, of which a validation has many, and use memory that cannot be
predicted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from class_maps import ConfigError

NEW_SWITCH: tuple[str, Any, Any] = ("fp32_precision", "tf32", "ieee")
"""Attribute that controls TF32 in convolutions, and its values with and without TF32."""
OLD_SWITCH: tuple[str, Any, Any] = ("allow_tf32", True, False)
"""Attribute and values in torch before 2.9."""


def memory_format_of(device: torch.device, *, training: bool) -> torch.memory_format:
    """Choose the memory format of a model's weights and images.

    Tensor cores compute in channels last (NHWC). Ultralytics uses it for training on
    CUDA, and measured 1.2 times the throughput of NCHW for yolo11 and yolo26 on a Tesla T4 with AMP
    (https://github.com/ultralytics/ultralytics/pull/25362). It also suits CPUs: prediction takes
    0.8 times as long. Prediction on CUDA computes in exact fp32, without tensor cores, and stays
    NCHW.

    Args:
        device: Device of the model.
        training: Whether the model is trained rather than used for prediction.
    """
    if device.type == "cpu" or (training and device.type == "cuda"):
        return torch.channels_last
    return torch.contiguous_format


def is_deterministic(device: torch.device, *, requested: bool) -> bool:
    """Decide whether training is restricted to torch's deterministic algorithms.

    On CUDA they sort the indices of every scatter and exclude the fastest convolutions, and some
    operations have no deterministic algorithm. Only on a CPU is a resumed run guaranteed to be
    bit-identical, so on a GPU deterministic algorithms are used only on request.

    Args:
        device: Device of the model.
        requested: Whether the user requested deterministic algorithms.
    """
    return requested or device.type != "cuda"


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Compute fp32 convolutions on CUDA in full precision instead of TF32.

    By default torch rounds the inputs of fp32 convolutions, but not of matrix products, to the 10
    bits of TF32 on Ampere and newer GPUs. Training in fp32 keeps that default, which is faster.
    Prediction and validation use this context, so that scores agree to within rounding across GPUs,
    and with a CPU. Inside this context, torch >= 2.9 raises an error where
    ``torch.backends.cudnn.allow_tf32`` is read.
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
    """Check that the training devices exist, and return the first of them.

    Args:
        device: Devices in the form of :func:`devices_of`.

    Raises:
        ConfigError: The format is invalid, or a device does not exist.
    """
    return devices_of(device)[0]


def devices_of(device: str) -> tuple[str, ...]:
    """Check that the training devices exist, and return torch's names of all of them.

    Args:
        device: ``cpu``, ``mps``, ``0``, ``0,1`` ...; empty for the first CUDA device, or the CPU.

    Raises:
        ConfigError: The format is invalid, or a device does not exist.
    """
    n_available = torch.cuda.device_count()
    if not device:
        return ("cuda:0" if n_available else "cpu",)
    if device in {"cpu", "mps"}:
        return (device,)
    numbers = [number.strip() for number in device.split(",")]
    if not all(number.isdigit() for number in numbers):
        raise ConfigError(f"--device {device}: expected cpu, or numbers such as 0 or 0,1")
    missing = [number for number in numbers if int(number) >= n_available]
    if missing:
        raise ConfigError(
            f"--device {device}: no CUDA device {', '.join(missing)}; {n_available} available, or "
            "use cpu"
        )
    return tuple(f"cuda:{number}" for number in numbers)
