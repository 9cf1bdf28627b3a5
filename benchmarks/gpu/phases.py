"""Time of each phase of a training step, and GPU utilisation.

A step is a sequence of phases: data loader, forward pass, loss and so on. :class:`PhaseClock`
records when each begins, with CUDA events on a GPU and with the host's clock on a CPU.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ultralytics.utils.torch_utils import unwrap_model

from benchmarks.assigner_cuda import KINDS

SAMPLE_S = 0.05
"""Seconds between two samples of the utilisation."""
NOT_KERNELS = "Memcpy", "Memset", "Optimizer.", "ProfilerStep"
"""Prefixes of device events that are not kernels."""


class PhaseClock:
    """Times the phases of training steps.

    Args:
        device: Training device. On a CUDA device the phases are those of its stream: a phase lasts
            until the GPU has completed it, even if the host is ahead.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._names: list[str] = []
        self._stamps: list[Any] = []

    def begin(self, phase: str) -> None:
        """End the current phase and begin another one."""
        self._names.append(phase)
        if not self._on_gpu:
            self._stamps.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._stamps.append(event)

    def totals(self) -> dict[str, float]:
        """Sum the milliseconds of all phases that have ended, by name."""
        if self._on_gpu:
            torch.cuda.synchronize()
            times = [self._stamps[0].elapsed_time(stamp) for stamp in self._stamps]
        else:
            times = [1000 * stamp for stamp in self._stamps]
        return phase_totals(self._names, times)


def phase_totals(names: Sequence[str], times_ms: Sequence[float]) -> dict[str, float]:
    """Sum durations by phase.

    Args:
        names: Name of the phase that begins at each time.
        times_ms: Ascending times in milliseconds; the last one ends the last phase.

    Returns:
        Milliseconds of each phase.
    """
    totals: dict[str, float] = {}
    for name, begin, end in zip(names, times_ms, times_ms[1:], strict=False):
        totals[name] = totals.get(name, 0.0) + end - begin
    return totals


def hook_phases(trainer: Any, clock: PhaseClock) -> None:  # noqa: ANN401
    """Let a trainer report its phases, by wrapping the methods in which they begin and end.

    Args:
        trainer: Ultralytics' trainer or a subclass, within its first epoch. The wrappers stay.
        clock: Clock to report to.
    """
    model = unwrap_model(trainer.model)
    trainer.callbacks["on_train_batch_start"].append(lambda _trainer: clock.begin("prepare"))
    trainer.callbacks["on_train_batch_end"].append(lambda _trainer: clock.begin("load"))
    model.predict = _between(model.predict, clock, "forward", "loss")
    model.loss = _between(model.loss, clock, "forward", "backward")
    trainer.optimizer_step = _between(trainer.optimizer_step, clock, "step", "log")
    assigner = model.criterion.assigner
    if isinstance(assigner, torch.nn.Module):  # Ultralytics' own
        assigner.forward = _between(assigner.forward, clock, "assign", "loss")
    else:
        model.criterion.assigner = _TimedAssigner(assigner, clock)


class _TimedAssigner:
    """Wraps an assigner so that its phase is timed.

    Args:
        assigner: Assigner that does the work.
        clock: Clock to report to.
    """

    def __init__(self, assigner: Any, clock: PhaseClock) -> None:  # noqa: ANN401
        self._assigner = assigner
        self.assign = _between(assigner.assign, clock, "assign", "loss")

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._assigner, name)


def _between(
    function: Callable[..., Any], clock: PhaseClock, phase: str, phase_after: str
) -> Callable[..., Any]:
    """Wrap a function so that one phase begins before it and another one after it."""

    def timed(*args: object, **options: object) -> Any:  # noqa: ANN401
        clock.begin(phase)
        result = function(*args, **options)
        clock.begin(phase_after)
        return result

    return timed


class UtilisationSampler:
    """Samples the GPU utilisation by NVML while a block runs.

    ``mean`` is the average in percent afterwards; None on a CPU, or where NVML is not available.

    Args:
        device: Training device.
    """

    def __init__(self, device: torch.device) -> None:
        self.mean: float | None = None
        self._samples: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        if device.type == "cuda":
            self._thread.start()

    def stop(self) -> None:
        """Stop sampling, and average the samples."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._samples:
            self.mean = sum(self._samples) / len(self._samples)

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            try:
                self._samples.append(torch.cuda.utilization())
            except Exception:  # NVML's own error class exists only where NVML is installed
                return


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


def host_waits(events: Iterable[Any]) -> int:
    """Count the host synchronisations in a profile.

    Args:
        events: Events of ``torch.profiler.profile.events()``. Waiting for the end of the profiled
            steps is among the events, but is not counted.
    """
    waits = sum(1 for event in events if event.name.startswith(KINDS["syncs"]))
    return max(waits - 1, 0)


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
