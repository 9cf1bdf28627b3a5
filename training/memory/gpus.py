"""GPUs by name, and how much of their memory a training can have.

Not all that a GPU is sold with is there for tensors: the driver, the CUDA context and the desktop
take their part before the first one.
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
from training.engine.precision import resolved

MIB, GIB = 2**20, 2**30
DRIVER_BYTES = 700 * MIB
"""What the driver keeps to itself. Room for what was seen: 494 MiB of an RTX 5090 (torch finds
31.36 GiB of 32,607 MiB), 599 MiB of an L40S (free with nothing running), 729 MiB of a B200."""
CONTEXT_BYTES = 400 * MIB
"""A process that uses CUDA, with kernels loaded when they are needed.
Source: https://github.com/pytorch/pytorch/issues/109888."""
LIBRARIES_BYTES = 300 * MIB
"""An allowance for the kernels of cuDNN and cuBLAS, which come with the first steps."""
DESKTOP_BYTES = 1024 * MIB
"""Room for a desktop with a browser on the same GPU: prints of nvidia-smi show 850 to 950 MiB."""

_TABLE = Path(__file__).with_name("gpus.yaml")
_MAKER = re.compile(r"nvidia|geforce|tesla")
_NO_NAME = re.compile(r"rtx|generation|sxm[2-5]?|pcie?|hbm\de?|[^a-z0-9]")
"""What may stand in a name or not, and says nothing that the table needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A GPU and its memory."""

    name: str
    total_bytes: int
    """As the driver reports it."""
    usable_bytes: int
    """What is left for the tensors of a training."""
    bf16: bool
    """Whether it computes bf16 itself."""
    device: Literal["cuda", "cpu"] = "cuda"
    """In torch's words; a CPU stands for one, with the main memory."""


def known_gpus() -> tuple[Gpu, ...]:
    """List the GPUs of the table; those that come in two sizes have it in their names."""
    rows = _rows()
    sizes = Counter(row["name"] for row in rows)
    return tuple(_gpu(row, with_size=sizes[row["name"]] > 1) for row in rows)


def find_gpu(name: str) -> Gpu:
    """Find a GPU by its name.

    Args:
        name: Such as ``rtx5090``, ``RTX 5090``, ``NVIDIA GeForce RTX 5090`` or ``A100-SXM4-40GB``;
            case, spaces and dashes do not matter.

    Raises:
        ConfigError: It is not in the table, or comes in two sizes and the name has none.
    """
    found = [gpu for row, gpu in zip(_rows(), known_gpus(), strict=True) if _is_called(row, name)]
    if len(found) == 1:
        return found[0]
    if found:
        sizes = " or ".join(_option(gpu.name) for gpu in found)
        raise ConfigError(f"gpu: {name} comes in two sizes: take {sizes}")
    known = [_option(gpu.name) for gpu in known_gpus()]
    asked = with_nearest([_option(name)], known)
    raise ConfigError(f"gpu: unknown: {asked}; there are: {', '.join(known)}")


def present_gpu(index: int = 0) -> Gpu | None:
    """Look at a CUDA device of this machine.

    Its usable bytes are those that are free now and those that torch holds and does not use: what
    others have taken is counted as gone.

    Args:
        index: Of the device.

    Returns:
        None where there is none.
    """
    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info(index)  # makes the context, so that its bytes are not free
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
    taken = DRIVER_BYTES + CONTEXT_BYTES + LIBRARIES_BYTES
    return Gpu(
        name=f"{row['name']} {row['gb']}GB" if with_size else row["name"],
        total_bytes=total,
        usable_bytes=total - taken - (DESKTOP_BYTES if row["display"] else 0),
        bf16=row["bf16"],
    )


def _is_called(row: Mapping[str, Any], name: str) -> bool:
    plain = _plain(row["name"])
    size = str(row["gb"])
    return _plain(name) in {plain, plain + size, f"{plain}{size}g", f"{plain}{size}gb"}


def _plain(name: str) -> str:
    return _NO_NAME.sub("", _MAKER.sub("", name.lower()))


def _option(name: str) -> str:
    """A name as it is written behind ``--gpu``: ``rtx5090``, ``a100-40gb``."""
    words = re.split(r"[\s_-]+", _MAKER.sub("", name.lower()).strip())
    size = f"-{words.pop()}" if words[-1].endswith("gb") else ""
    return "".join(words) + size
