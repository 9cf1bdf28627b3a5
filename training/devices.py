"""Devices by the words that a user writes."""

import torch

from class_maps import ConfigError


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
