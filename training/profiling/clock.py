"""Clock for consecutive phases, such as the parts of a training step."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.profiler import record_function

PREFIX = "omr: "
"""Prefix of the names that ``torch.profiler`` records for the phases."""


class PhaseClock:
    """Times phases of which each begins where the previous one ends.

    On a CPU, times are read from the host's clock. On a CUDA device, an event is recorded in the
    current stream, and all events are read at the end, so that the host never waits: a phase lasts
    until the GPU has completed it, even if the host is ahead.

    Args:
        device: Device of the computation.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._names: list[str | None] = []
        self._stamps: list[Any] = []
        self._range: record_function | None = None

    def begin(self, phase: str) -> None:
        """End the current phase and begin another one."""
        self._end_range()
        self._stamp(phase)
        self._range = record_function(PREFIX + phase)
        self._range.__enter__()

    def pause(self) -> None:
        """End the current phase; the time until the next one is not counted."""
        self._end_range()
        self._stamp(None)

    def totals(self) -> dict[str, float]:
        """Sum the milliseconds of all phases that have ended, by name, and discard their times."""
        if self._on_gpu:
            torch.cuda.synchronize()
            times = [self._stamps[0].elapsed_time(stamp) for stamp in self._stamps]
        else:
            times = [1000 * stamp for stamp in self._stamps]
        totals = phase_totals(self._names, times)
        self._names, self._stamps = [], []
        return totals

    def _stamp(self, phase: str | None) -> None:
        self._names.append(phase)
        if not self._on_gpu:
            self._stamps.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._stamps.append(event)

    def _end_range(self) -> None:
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None


def phase_totals(names: Sequence[str | None], times_ms: Sequence[float]) -> dict[str, float]:
    """Sum durations by phase.

    Args:
        names: Name of the phase that begins at each time; None for a pause.
        times_ms: Ascending times in milliseconds; the last one ends the last phase.

    Returns:
        Milliseconds of each phase.
    """
    totals: dict[str, float] = {}
    for name, begin, end in zip(names, times_ms, times_ms[1:], strict=False):
        if name is not None:
            totals[name] = totals.get(name, 0.0) + end - begin
    return totals
