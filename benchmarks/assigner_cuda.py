"""Cost of a call on a CUDA device: memory, kernel launches and host synchronisations."""

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
"""Prefixes of event names in a profile: kernel launches, host synchronisations, and copies from the
device to the host."""


def added_mb(call: Callable[[], Result]) -> tuple[float, Result]:
    """Measure the peak in MB that a call adds to torch's tensors, and return its result."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20, result


def counts(call: Callable[[], object]) -> dict[str, int]:
    """Count the kernels, synchronisations and copies of a call, without those of the profiler."""
    _profiled(call)  # the first use of the profiler and the kernels has additional events
    events, of_profiler = _profiled(call), _profiled(lambda: None)
    return {kind: events[kind] - of_profiler[kind] for kind in KINDS}


def _profiled(call: Callable[[], object]) -> Counter[str]:
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        call()
    events: Counter[str] = Counter()
    for event in profiled.key_averages():
        for kind, names in KINDS.items():
            if event.key.startswith(names):
                events[kind] += event.count
    return events
