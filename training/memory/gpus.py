"""GPUs by name, and the part of their memory that a training can use.

Not all of a GPU's nominal memory is available for tensors: some is taken by the driver, the CUDA
context and the desktop.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from class_maps import ConfigError, with_nearest
from training.runtime.precision import resolved

MIB, GIB = 2**20, 2**30
DRIVER_BYTES = 700 * MIB
"""Memory reserved by the driver; covers these observations: 494 MiB on an RTX 5090 (torch reports
31.36 GiB of 32,607 MiB), 599 MiB on an idle L40S, 729 MiB on a B200."""
CONTEXT_BYTES = 400 * MIB
"""CUDA context of a process that loads kernels lazily.
Source: https://github.com/pytorch/pytorch/issues/109888."""
LIBRARIES_BYTES = 300 * MIB
"""Allowance for the kernels of cuDNN and cuBLAS, which are loaded in the first steps."""
DESKTOP_BYTES = 1024 * MIB
"""Allowance for a desktop with a browser on the same GPU: nvidia-smi shows 850 to 950 MiB."""

_TABLE = Path(__file__).with_name("gpus.yaml")
_BRAND = re.compile(r"nvidia|geforce|tesla")
_IGNORED = re.compile(r"rtx|generation|sxm[2-5]?|pcie?|hbm\de?|[^a-z0-9]")
"""Parts of a name that are optional, because the table does not need them to identify a GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A GPU and its memory."""

    name: str
    total_bytes: int
    """Total memory that the driver reports."""
    usable_bytes: int
    """Memory available for the tensors of a training."""
    bf16: bool
    """Whether the GPU computes in bf16 natively."""
    device: Literal["cuda", "cpu"] = "cuda"
    """Device type in torch; "cpu" for a CPU with its main memory."""


def known_gpus() -> tuple[Gpu, ...]:
    """List the GPUs of the table; the name includes the memory size if there are two."""
    rows = _rows()
    sizes = Counter(row["name"] for row in rows)
    return tuple(_gpu(row, with_size=sizes[row["name"]] > 1) for row in rows)


def find_gpu(name: str) -> Gpu:
    """Find a GPU by its name.

    Args:
        name: Name such as ``rtx5090``, ``RTX 5090``, ``NVIDIA GeForce RTX 5090`` or
            ``A100-SXM4-40GB``; case, spaces and dashes do not matter.

    Raises:
        ConfigError: The GPU is not in the table, or it has two memory sizes and the name does not
            specify one.
    """
    matches = [gpu for row, gpu in zip(_rows(), known_gpus(), strict=True) if _matches(row, name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        sizes = " or ".join(_option(gpu.name) for gpu in matches)
        raise ConfigError(f"--gpu {name}: two memory sizes exist; use {sizes}")
    known = [_option(gpu.name) for gpu in known_gpus()]
    unknown = with_nearest([_option(name)], known)
    raise ConfigError(f"--gpu: unknown GPU: {unknown}; expected one of {', '.join(known)}")


def present_gpu(index: int = 0) -> Gpu | None:
    """Describe a CUDA device of this machine.

    Memory counts as usable if it is free now, or reserved by torch but unused. Memory of other
    processes is not usable.

    Args:
        index: Index of the CUDA device.

    Returns:
        The GPU, or None if CUDA is not available.
    """
    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info(index)  # creates the context, so that it is not free memory
    idle = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
    device = torch.cuda.get_device_properties(index)
    return Gpu(
        name=device.name,
        total_bytes=device.total_memory,
        usable_bytes=max(0, free + idle - LIBRARIES_BYTES),
        bf16=resolved("auto", torch.device(f"cuda:{index}")) == "bf16",
    )


@cache
def _rows() -> tuple[Mapping[str, Any], ...]:
    return tuple(yaml.safe_load(_TABLE.read_text("utf-8")))


def _gpu(row: Mapping[str, Any], *, with_size: bool) -> Gpu:
    total = row["mib"] * MIB
    reserved = DRIVER_BYTES + CONTEXT_BYTES + LIBRARIES_BYTES
    return Gpu(
        name=f"{row['name']} {row['gb']}GB" if with_size else row["name"],
        total_bytes=total,
        usable_bytes=total - reserved - (DESKTOP_BYTES if row["display"] else 0),
        bf16=row["bf16"],
    )


def _matches(row: Mapping[str, Any], name: str) -> bool:
    plain = _plain(row["name"])
    size = str(row["gb"])
    return _plain(name) in {plain, plain + size, f"{plain}{size}g", f"{plain}{size}gb"}


def _plain(name: str) -> str:
    return _IGNORED.sub("", _BRAND.sub("", name.lower()))


def _option(name: str) -> str:
    """Convert a name to a value of ``--gpu``: ``rtx5090``, ``a100-40gb``."""
    parts = re.split(r"[\s_-]+", _BRAND.sub("", name.lower()).strip())
    size = f"-{parts.pop()}" if parts[-1].endswith("gb") else ""
    return "".join(parts) + size
