"""The processes of a training on several devices, one for each, called ranks.

Ultralytics starts them itself for CUDA devices. ``torchrun`` starts them as well, and then CPUs
will do: two processes on one machine train as two GPUs do.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from ultralytics.utils import RANK

from class_maps import ConfigError
from training.runtime.multiples import check_multiple

LONGEST_WAIT = timedelta(hours=3)
"""For another rank, as Ultralytics has it: one may read labels while the others wait."""


def n_started() -> int:
    """Count the processes that ``torchrun`` started for this training; 0 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if RANK >= 0 else 0


def n_devices(device: str) -> int:
    """Count the devices of a training.

    Args:
        device: As the user wrote it.
    """
    return n_started() or len(device.split(","))


def is_first() -> bool:
    """Whether this process writes the files and speaks; of one process it is that one."""
    return RANK in {-1, 0}


def are_joined() -> bool:
    """Whether this process talks to others about a training."""
    return distributed.is_available() and distributed.is_initialized()


def check_ranks(device: str, batch: int) -> None:
    """Make sure that the processes, the devices and the batch fit each other.

    Args:
        device: As the user wrote it.
        batch: Images a step, over all devices.

    Raises:
        ConfigError: They do not.
    """
    n_processes = n_started()
    named = device.split(",")
    if n_processes == 1:
        raise ConfigError("torchrun started one process: start omr train without it")
    if n_processes and device != "cpu" and len(named) != n_processes:
        raise ConfigError(
            f"torchrun started {n_processes} processes, and --device names {len(named)} devices: "
            "name as many, or cpu"
        )
    n_ranks = n_devices(device)
    check_multiple("batch", batch, n_ranks, f"the {n_ranks} devices")


def join_on_cpu() -> None:
    """Let the processes that ``torchrun`` started talk to each other."""
    distributed.init_process_group("gloo", timeout=LONGEST_WAIT)


def leave() -> None:
    """Wait until every rank is done, then end what :func:`join_on_cpu` or Ultralytics began."""
    if are_joined():
        on_cpu = distributed.get_backend() == "gloo"
        distributed.barrier(device_ids=None if on_cpu else [torch.cuda.current_device()])
        distributed.destroy_process_group()


@contextlib.contextmanager
def cpu_wrapper() -> Iterator[None]:
    """Let Ultralytics wrap a model on the CPU: it names a device number, and a CPU has none."""
    place: Any = nn.parallel
    stock = place.DistributedDataParallel
    place.DistributedDataParallel = _CpuParallel
    try:
        yield
    finally:
        place.DistributedDataParallel = stock


class _CpuParallel(nn.parallel.DistributedDataParallel):
    def __init__(self, module: nn.Module, device_ids: object, **options: Any) -> None:  # noqa: ANN401
        del device_ids
        super().__init__(module, **options)


def total_a_rank(total: Tensor, *, least: float) -> Tensor:
    """The mean over all ranks of a sum over a batch, in a training; else the sum itself.

    Ranks average their gradients, and Ultralytics multiplies each rank's loss by their number.
    Divided by this mean, the losses of the ranks give the gradient of the joined batch; divided by
    a sum of its own, each rank would count its symbols the more, the fewer it has.

    Args:
        total: This rank's sum, one number.
        least: What the sum over all ranks counts as at least.
    """
    # A validation is no step that ranks take together: one may have a batch more than another.
    if not torch.is_grad_enabled() or not are_joined():
        return total.clamp(min=least)
    total = total.detach().clone()
    distributed.all_reduce(total)
    return total.clamp(min=least) / distributed.get_world_size()
