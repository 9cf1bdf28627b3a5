"""Description of the machine of a run."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

PACKAGES = "torch", "torchvision", "ultralytics", "numpy", "opencv-python", "opencv-python-headless"
ROOT = Path(__file__).parents[2]


def machine(device: str, commit: str = "") -> dict[str, str]:
    """Describe card, driver, processor and versions.

    Args:
        device: ``cuda`` or ``cpu``.
        commit: Version of this project; empty to ask git.
    """
    description = {
        "card": "none; measured on the CPU",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "commit": commit or _first_line(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
    }
    if device == "cuda" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        description["card"] = f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        description["driver"] = _first_line(query)
        description["cuda"] = str(torch.version.cuda)
        description["cudnn"] = str(torch.backends.cudnn.version())
    for name in PACKAGES:
        try:
            description[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return description


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _first_line(command: list[str]) -> str:
    """Return the first line of a command's output, or ``unknown`` if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (done.stdout.splitlines() or ["unknown"])[0].strip()
