"""Time in which a GPU executes kernels, from the events of ``torch.profiler``."""

from collections.abc import Iterable
from typing import Any

NOT_KERNELS = "Memcpy", "Memset", "Optimizer.", "ProfilerStep"
"""Prefixes of device events that are not kernels."""


def kernel_intervals(events: Iterable[Any]) -> list[tuple[float, float]]:
    """Select the kernels among a profiler's events.

    Args:
        events: Events of ``torch.profiler.profile.events()``.

    Returns:
        Begin and end of each kernel in microseconds.
    """
    return [
        (event.time_range.start, event.time_range.end)
        for event in events
        if event.device_type.name == "CUDA"
        and not event.name.startswith(NOT_KERNELS)
        and not getattr(event, "is_user_annotation", False)
    ]


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Measure the union of intervals, so that kernels that overlap count once.

    Args:
        intervals: Begin and end of each, in any order.

    Returns:
        Length of the union, in the unit of the intervals.
    """
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return total
