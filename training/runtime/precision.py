"""Precision of a training: the formats that a device supports, and the one to train in.

Weights, loss and optimiser stay in single precision (fp32); only the convolutions of the network
run in half precision. bf16 has the range of fp32 but fewer digits; fp16 has more digits than bf16
but a smaller range, so its loss has to be scaled. On CUDA a training in fp32 uses TF32 in its
convolutions, which is torch's default. Where results are compared,
:func:`training.runtime.devices.exact_fp32` is used.
"""

import torch

from class_maps import ConfigError
from settings.training import Precision
from training.runtime.offline import NO_AMP


def resolved(requested: Precision, device: torch.device) -> Precision:
    """Choose the precision to train in.

    Args:
        requested: Precision; ``auto`` is bf16 on a CUDA device that supports it, fp16 on one that
            does not, and fp32 on all others: a CPU is fast in bf16 only with special instructions.
        device: Device of the model.

    Returns:
        ``bf16``, ``fp16`` or ``fp32``.

    Raises:
        ConfigError: The device does not support the requested precision.
    """
    supported = _supported(device)
    if requested == "auto":
        return supported[0] if device.type == "cuda" else "fp32"
    if requested not in supported:
        raise ConfigError(
            f"--precision {requested}: not supported by device {device}; use "
            f"{' or '.join(supported)}"
        )
    return requested


def amp_argument(precision: Precision, device: torch.device) -> str | bool:
    """Return Ultralytics' ``amp`` argument for a precision.

    Ultralytics accepts ``bf16`` on CUDA only. On a CPU the trainer turns on autocast itself, after
    Ultralytics has decided that the loss needs no scaling.
    """
    if precision == "fp32" or device.type != "cuda":
        return False
    return precision


def _supported(device: torch.device) -> tuple[Precision, ...]:
    """Return the precisions that a device can train in, best first."""
    if device.type == "cpu":
        return "bf16", "fp32"
    if device.type != "cuda":
        return ("fp32",)
    if _has_bf16(device):
        return "bf16", "fp16", "fp32"
    fp16_works = not NO_AMP.search(torch.cuda.get_device_name(device))
    return ("fp16", "fp32") if fp16_works else ("fp32",)


def _has_bf16(device: torch.device) -> bool:
    """Return whether a CUDA device computes bf16 in hardware rather than emulating it."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
