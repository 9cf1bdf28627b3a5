"""What a call costs on a CUDA device: memory, kernels launched, words to the host."""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

Result = TypeVar("Result")

KINDS = {
    "launches": ("cudaLaunchKernel", "cuLaunchKernel"),
    "syncs": ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
    "copies": ("Memcpy DtoH",),
}
"""Beginnings of names in a profile: kernels launched, waits of the host for the device, and copies
from the device to the host."""


def added_mb(call: Callable[[], Result]) -> tuple[float, Result]:
    """MB that a call adds to torch's tensors at most, and its result."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20, result


def counts(call: Callable[[], object]) -> dict[str, int]:
    """Count the kernels, waits and copies of a call; those of the profiler itself are taken off."""
    _profiled(call)  # what is set up at the first use of a profiler or a kernel is no one's cost
    found, own = _profiled(call), _profiled(lambda: None)
    return {kind: found[kind] - own[kind] for kind in KINDS}


def _profiled(call: Callable[[], object]) -> Counter[str]:
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        call()
    found: Counter[str] = Counter()
    for event in profiled.key_averages():
        for kind, names in KINDS.items():
            if event.key.startswith(names):
                found[kind] += event.count
    return found
