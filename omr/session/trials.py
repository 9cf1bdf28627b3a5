"""Trials of the runs of a session, in a process of their own that can fail without ending it.

The process reads the runs as JSON from standard input, and answers with a line of JSON for the
devices and for each run. If it is killed, the run whose line is missing is the cause.
"""

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec

from omr.failures import message_of
from omr.resolved_config import resolved_config
from omr.session.child import CPU
from omr.settings_options import with_recorded_imgsz
from settings.yaml_file import checked_settings


class TrialRequest(msgspec.Struct):
    """Run to try."""

    name: str
    settings: dict[str, Any]


class Trial(msgspec.Struct, kw_only=True):
    """Outcome of a trial."""

    name: str
    problem: str = ""
    """Reason why the run cannot start; empty if it can."""
    memory_bytes: int = 0
    """Predicted memory of the fullest step."""
    weights_bytes: int = 0
    activations: dict[str, dict[str, int]] = {}
    """Number of uses of each activation function in each part of the network."""
    network: str = ""
    """Hash of the network's layers and initial weights."""


class TrialDevices(msgspec.Struct):
    """Devices that the process sees: ``cpu``, or the indices of the GPUs."""

    devices: list[str]


def run_trials() -> None:
    """Try the runs on standard input, and print the outcomes."""
    requests = msgspec.json.decode(sys.stdin.buffer.read(), type=list[TrialRequest])
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # libraries print on stdout

        def answer(content: msgspec.Struct) -> None:
            answers.write(msgspec.json.encode(content) + b"\n")
            answers.flush()

        devices = _devices()
        answer(TrialDevices(devices))
        for request in requests:
            answer(_tried(request, _smallest(devices)))


def _devices() -> list[str]:
    import torch

    return [str(i) for i in range(torch.cuda.device_count())] or [CPU]


def _smallest(devices: list[str]) -> str:
    """Return the device with the least memory: a run that fits there fits everywhere."""
    import torch

    if devices == [CPU]:
        return CPU
    return min(devices, key=lambda i: torch.cuda.get_device_properties(int(i)).total_memory)


def _tried(request: TrialRequest, device: str) -> Trial:
    from training.trial_run import try_run

    values, _ = checked_settings(request.settings)
    values |= {"out": Path("trial"), "device": device}  # the folder is not created
    try:
        result = try_run(resolved_config(with_recorded_imgsz(values)))
    except Exception as error:
        with contextlib.suppress(OSError):
            traceback.print_exc()
        unexpected = f"unexpected {type(error).__name__}: {error}"
        return Trial(name=request.name, problem=message_of(error) or unexpected)
    return Trial(
        name=request.name,
        memory_bytes=result.memory.total_bytes,
        weights_bytes=result.weights_bytes,
        activations=result.activations,
        network=result.network,
    )
