"""Processes for training on several devices, one per device, called ranks.

Ultralytics starts them itself for the CUDA devices of one machine. ``torchrun`` can start them too,
on several machines and also on a CPU: two processes on one machine train like two GPUs.
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
from eval.html.number_format import counted
from training.runtime.multiples import check_multiple

LONGEST_WAIT = timedelta(hours=3)
"""Timeout for another rank, as in Ultralytics: one may read labels while the others wait."""


def n_started() -> int:
    """Count the processes that ``torchrun`` started for this run; 0 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1")) if RANK >= 0 else 0


def rank() -> int:
    """Return the number of this process among those of all machines; 0 for the only process."""
    return max(int(RANK), 0)


def n_devices(device: str) -> int:
    """Count the training devices of all machines.

    Args:
        device: Value of ``--device``.
    """
    return n_started() or len(device.split(","))


def is_first() -> bool:
    """Return whether this process writes files and logs (rank 0, or the only process)."""
    return RANK in {-1, 0}


def are_joined() -> bool:
    """Return whether this process communicates with others."""
    return distributed.is_available() and distributed.is_initialized()


def check_ranks(device: str, batch: int) -> None:
    """Check that processes, devices and batch match.

    Args:
        device: Value of ``--device``, the same on all machines.
        batch: Images per step, over all devices.

    Raises:
        ConfigError: ``torchrun`` started another number of processes on this machine than there are
            devices, or the batch cannot be divided among all processes.
    """
    n_processes = n_started()
    if n_processes == 1:
        raise ConfigError("torchrun started a single process; run omr train without it")
    n_here = int(os.environ.get("LOCAL_WORLD_SIZE", n_processes))
    n_named = len(device.split(",")) if device else 0
    if n_processes and device != "cpu" and n_named != n_here:
        raise ConfigError(
            f"expected cpu, or {counted(n_here, 'device', 'devices')}, one per process that "
            "torchrun started on this machine",
            option="--device",
            value=device or None,
        )
    n_ranks = n_devices(device)
    check_multiple("--batch", batch, n_ranks, f"the number of devices, {n_ranks}")


def join_on_cpu() -> None:
    """Connect the processes that ``torchrun`` started."""
    distributed.init_process_group("gloo", timeout=LONGEST_WAIT)


def is_lost_connection(error: BaseException) -> bool:
    """Check whether an error means that another process of the run has ended, or did not start.

    gloo has no error type of its own; its messages start with the source file that raises them.
    """
    is_of_gloo = isinstance(error, RuntimeError) and "/gloo/" in str(error)
    return is_of_gloo or isinstance(error, distributed.DistError)


def leave() -> None:
    """Wait until every rank is done, then close the connection between them."""
    if are_joined():
        on_cpu = distributed.get_backend() == "gloo"
        distributed.barrier(device_ids=None if on_cpu else [torch.cuda.current_device()])
        distributed.destroy_process_group()


@contextlib.contextmanager
def cpu_wrapper() -> Iterator[None]:
    """Let Ultralytics wrap a model on the CPU, although it passes the number of a device."""
    module: Any = nn.parallel
    stock = module.DistributedDataParallel
    module.DistributedDataParallel = _CpuParallel
    try:
        yield
    finally:
        module.DistributedDataParallel = stock


class _CpuParallel(nn.parallel.DistributedDataParallel):
    def __init__(self, module: nn.Module, device_ids: object, **options: Any) -> None:  # noqa: ANN401
        del device_ids
        super().__init__(module, **options)


def total_a_rank(total: Tensor, *, least: float) -> Tensor:
    """Return the mean over all ranks of a sum over a batch; outside of training, the sum itself.

    Ranks average their gradients, and Ultralytics multiplies each rank's loss by their number.
    If losses are divided by this mean, the result is the gradient of the whole batch. If each rank
    divided by its own sum, symbols on ranks with fewer symbols would have more weight.

    Args:
        total: Sum of this rank, a single number.
        least: Lower limit of the sum over all ranks.
    """
    # Ranks do not validate in lockstep: one may have more batches than another.
    if not torch.is_grad_enabled() or not are_joined():
        return total.clamp(min=least)
    total = total.detach().clone()
    distributed.all_reduce(total)
    return total.clamp(min=least) / distributed.get_world_size()
