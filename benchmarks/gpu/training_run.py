"""Speed of one training run, measured in a separate process.

``benchmarks.gpu.throughput`` starts it. The process sets up the run, waits for a line on stdin, and
measures: first an undisturbed window of steps, then a few steps by phase, then a few steps under
the profiler. It writes its figures to a JSON file after each of these parts.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch.profiler import ProfilerActivity, profile
from ultralytics.utils.callbacks import base as callbacks

from benchmarks.gpu.figures import Figures, Setup
from benchmarks.gpu.phases import UtilisationSampler, hook_phases, host_waits
from benchmarks.gpu.trainers import train_omr, train_yolo, without_label_caches
from training.profiling.clock import PhaseClock
from training.profiling.kernels import covered, kernel_intervals


class Measured(Exception):  # noqa: N818  # not an error: ends a measured training
    """Signals that all figures of a run are complete."""


class Window:
    """Window of steps from which the throughput is computed.

    Args:
        warm_up: Steps before the window.
        steps: Steps of the window.
        max_seconds: Seconds after which the window ends early.
        clock: Function that returns the time in seconds; ``sync`` waits for the device first.
    """

    def __init__(
        self, *, warm_up: int, steps: int, max_seconds: float, clock: Callable[..., float]
    ) -> None:
        self._warm_up, self._n_steps, self._max_seconds = warm_up, steps, max_seconds
        self._clock = clock
        self.begin: float | None = None
        self.restart()

    def restart(self) -> None:
        """Restart with the warm-up, because the batch has changed."""
        self._seen, self.steps, self.images, self.symbols = 0, 0, 0, 0
        self.begin, self.seconds = None, 0.0

    def add(self, images: int, symbols: int) -> bool:
        """Count a step that has just ended.

        Args:
            images: Images of the step.
            symbols: Labels of the step.

        Returns:
            Whether the window has ended.
        """
        self._seen += 1
        if self.begin is None:
            if self._seen == self._warm_up:
                self.begin = self._clock(sync=True)
            return False
        self.steps += 1
        self.images += images
        self.symbols += symbols
        late = self._clock(sync=False) - self.begin >= self._max_seconds
        if self.steps < self._n_steps and not late:
            return False
        self.seconds = self._clock(sync=True) - self.begin
        return True


class Measurement:
    """Callbacks that measure a training run and write its figures.

    Args:
        setup: Setup of the measured run.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.device = torch.device("cpu" if setup.device == "cpu" else f"cuda:{setup.device}")
        self.figures: Figures | None = None
        self._images = self._symbols = 0
        self._batch = setup.batch
        self._detail_step = 0
        self._sampler: UtilisationSampler | None = None
        self._phases = PhaseClock(self.device)
        self._profile: Any = None
        self._window = Window(
            warm_up=setup.warm_up,
            steps=setup.steps,
            max_seconds=setup.max_seconds,
            clock=self._now,
        )

    def _now(self, *, sync: bool) -> float:
        if sync and self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def wait(self, trainer: Any) -> None:  # noqa: ANN401
        """Prepare the measurement, and wait for the other measurements to end.

        Args:
            trainer: Trainer before its first step.
        """
        trainer.save_model = lambda: False
        prepare = trainer.preprocess_batch

        def counted(batch: dict[str, Any]) -> Any:  # noqa: ANN401
            self._images, self._symbols = len(batch["img"]), len(batch["cls"])
            return prepare(batch)

        trainer.preprocess_batch = counted
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # other processes measure first
        (Path(self.setup.out) / "ready").touch()
        if not sys.stdin.readline():  # the parent process has ended
            raise Measured
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def step(self, trainer: Any) -> None:  # noqa: ANN401
        """Record a step.

        Args:
            trainer: Trainer after a step.

        Raises:
            Measured: This was the last step that is needed.
        """
        if self.figures is not None:
            self._step_in_detail(trainer, self.figures)
            return
        if trainer.batch_size != self._batch:
            self._batch = trainer.batch_size
            self._window.restart()
        ended = self._window.add(self._images, self._symbols)
        if self._window.begin is not None and self._sampler is None:
            self._sampler = UtilisationSampler(self.device)
        if ended:
            self._end_window(trainer)

    def _end_window(self, trainer: Any) -> None:  # noqa: ANN401
        window, on_gpu = self._window, self.device.type == "cuda"
        if self._sampler:
            self._sampler.stop()
        assigner = getattr(getattr(trainer.model, "criterion", None), "assigner", None)
        self.figures = figures = Figures(
            batch=self._batch,
            images_per_s=window.images / window.seconds,
            step_ms=1000 * window.seconds / window.steps,
            symbols_per_image=window.symbols / window.images,
            peak_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
            one_by_one=bool(getattr(assigner, "_oom_warned", False)),
            utilisation=self._sampler.mean if self._sampler else None,
        )
        self._write(figures)
        if not self.setup.detail_steps:
            end(trainer)
        hook_phases(trainer, self._phases)
        self._phases.begin("load")

    def _step_in_detail(self, trainer: Any, figures: Figures) -> None:  # noqa: ANN401
        """Measure phases, then kernels."""
        steps = self.setup.detail_steps
        self._detail_step += 1
        if self._detail_step == steps:
            self._phases.begin("load")  # ends the last phase of the step
            totals = self._phases.totals()
            figures.phases_ms = {name: ms / steps for name, ms in totals.items()}
            self._write(figures)
            if self.device.type != "cuda":
                end(trainer)
            self._profile = profile(activities=[ProfilerActivity.CUDA])
            self._profile.start()
        elif self._detail_step == 2 * steps:
            self._profile.stop()  # waits for the device
            events = self._profile.events()
            intervals = kernel_intervals(events)
            if intervals:  # no kernels: the profiler does not see the device
                figures.kernel_ms = covered(intervals) / 1000 / steps
                figures.kernels_per_step = len(intervals) / steps
                figures.waits_per_step = host_waits(events) / steps
            self._write(figures)
            end(trainer)

    def _write(self, figures: Figures) -> None:
        file = Path(self.setup.out) / "figures.json"
        part = file.with_suffix(".part")
        part.write_text(json.dumps(asdict(figures)), "utf-8")
        part.replace(file)


def end(trainer: Any) -> NoReturn:  # noqa: ANN401
    """End a run and its loader at once, because the loader would keep the processor busy.

    Raises:
        Measured: Always.
    """
    trainer.train_loader.close()
    raise Measured


def run(setup: Setup) -> None:
    """Measure a training run and write its figures to ``figures.json`` in its folder."""
    measurement = Measurement(setup)
    without_label_caches()
    default = callbacks.default_callbacks
    # Functions, because trainers copy their callbacks, and bound methods with their object.
    default["on_train_start"].append(lambda trainer: measurement.wait(trainer))
    default["on_train_batch_end"].append(lambda trainer: measurement.step(trainer))
    with contextlib.suppress(Measured):
        train_omr(setup) if setup.trainer == "omr" else train_yolo(setup)


def main() -> None:
    """Parse the setup from the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setup", help="fields of Setup as JSON")
    run(Setup(**json.loads(parser.parse_args().setup)))
    os._exit(0)  # nothing is left to be saved, and a normal exit takes seconds on a GPU


if __name__ == "__main__":
    main()
