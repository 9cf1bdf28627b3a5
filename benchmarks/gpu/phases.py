"""Phases of the training steps of a trainer, GPU utilisation, and host synchronisations."""

import threading
from collections.abc import Iterable
from typing import Any

import torch
from ultralytics.utils.torch_utils import unwrap_model

from benchmarks.assigner_cuda import KINDS
from training.profiling.clock import PhaseClock
from training.profiling.hooks import between, timed_assigner

SAMPLE_S = 0.05
"""Seconds between two samples of the utilisation."""


def hook_phases(trainer: Any, clock: PhaseClock) -> None:  # noqa: ANN401
    """Let a trainer report its phases, by wrapping the methods in which they begin and end.

    Args:
        trainer: Ultralytics' trainer or a subclass, within its first epoch. The wrappers stay.
        clock: Clock to report to.
    """
    model = unwrap_model(trainer.model)
    trainer.callbacks["on_train_batch_start"].append(lambda _trainer: clock.begin("prepare"))
    trainer.callbacks["on_train_batch_end"].append(lambda _trainer: clock.begin("load"))
    model.predict = between(model.predict, clock, "forward", "loss")
    model.loss = between(model.loss, clock, "forward", "backward")
    trainer.optimizer_step = between(trainer.optimizer_step, clock, "step", "log")
    model.criterion.assigner = timed_assigner(model.criterion.assigner, clock, "assign", "loss")


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


def host_waits(events: Iterable[Any]) -> int:
    """Count the host synchronisations in a profile.

    Args:
        events: Events of ``torch.profiler.profile.events()``. Waiting for the end of the profiled
            steps is among the events, but is not counted.
    """
    waits = sum(1 for event in events if event.name.startswith(KINDS["syncs"]))
    return max(waits - 1, 0)
