"""Profile of the training steps of a configuration, as ``omr profile`` prints it.

Main path: :func:`profile_training` → :class:`_Profiler` → :func:`take_step`. The steps are those of
``omr train`` with a learning rate of 0, so that the network, and with it the work of the assigner,
is the same in every step.
"""

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.profiler import ProfilerActivity, supported_activities
from torch.profiler import profile as torch_profile
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import InputError
from converters.tracking import Track, untracked
from training.config import TrainConfig
from training.data.label_files import no_symbols
from training.engine.omr_trainer import OmrTrainer
from training.heads.grouped import SeparateDetect
from training.losses.assigner_factory import PairCounter
from training.losses.detection import wrap_assigners
from training.memory.batch_search import present_device
from training.memory.dense_assigner import dense_assigner_bytes
from training.memory.gpus import GIB
from training.memory.profile import WARMUP_STEPS
from training.profiling.advice import Situation, advise
from training.profiling.clock import PhaseClock
from training.profiling.densities import DenseBatch, batches_by_density
from training.profiling.hooks import timed_assigner
from training.profiling.kernels import covered, kernel_intervals
from training.profiling.times import DensityTimes, StepProfile, StepTimes
from training.runtime.library_loggers import muted_stderr
from training.single_steps import (
    batches,
    check_one_device,
    in_precision,
    temporary_trainer,
)

BUSY_STEPS, TRACE_STEPS = 5, 2
"""Steps from which the GPU utilisation is measured, and steps of a trace."""
STEPS_PER_DENSITY = 3
"""Divisor of the steps for those with one batch and one loss."""

Criterion = Callable[[Any, dict[str, Any]], tuple[Tensor, dict[str, Tensor]]]
"""Training loss with the interface of Ultralytics' ``v8DetectionLoss``."""


def profile_training(
    config: TrainConfig,
    *,
    steps: int,
    trace: Path | None = None,
    track: Track[int] = untracked,
) -> StepProfile:
    """Measure the parts of training steps; the run folder is not created.

    Args:
        config: Configuration of the training run.
        steps: Number of steps to measure, at least 1.
        trace: File for a trace of two steps, as JSON for https://ui.perfetto.dev; None for none.
        track: Wrapper around the numbers of the steps that shows progress.

    Raises:
        ConfigError: There are several devices, or the training run could not be started.
        InputError: A data set or the weights cannot be read or do not match, or the training images
            have no symbols.
    """
    check_one_device(config, "omr profile")
    with temporary_trainer(
        replace(config, validate=False, lint=False, tensorboard=False)
    ) as trainer:
        if not trainer.inputs.counts["train"].symbols:
            datasets = [source.dataset for source in trainer.multi_dataset.sources]
            raise InputError(no_symbols(datasets, "train"), path=config.data)
        for group in trainer.optimizer.param_groups:
            group["lr"] = 0.0
        return _Profiler(trainer, config, track).profile(steps, trace)


def take_step(
    trainer: OmrTrainer, criterion: Criterion, batch: dict[str, Any], begin: Callable[[str], None]
) -> None:
    """Take a training step as Ultralytics' loop does.

    Args:
        trainer: Trainer of :func:`~training.single_steps.temporary_trainer`.
        criterion: Training loss.
        batch: Batch of the training loader.
        begin: Function that is called with the name of each part that begins.
    """
    begin("to device")
    batch = trainer.preprocess_batch(dict(batch))
    with in_precision(trainer):
        begin("forward")
        outputs = trainer.model(batch["img"])
        begin("rest of loss")
        losses, trainer.tloss = criterion(outputs, batch)
        trainer.loss = losses.sum()
    begin("backward")
    trainer.scaler.scale(trainer.loss).backward()
    begin("optimiser")
    trainer.optimizer_step()


class _Profiler:
    """Takes and measures steps.

    Args:
        trainer: Trainer of :func:`~training.single_steps.temporary_trainer`.
        config: Configuration of the training run.
        track: Wrapper around the numbers of the steps that shows progress.
    """

    def __init__(self, trainer: OmrTrainer, config: TrainConfig, track: Track[int]) -> None:
        self._trainer, self._config, self._track = trainer, config, track
        self._model = unwrap_model(trainer.model)
        self._loader = trainer.train_loader
        self._upcoming = batches(trainer)
        self._clock = PhaseClock(trainer.device)
        self._criterion: Criterion = self._timed(self._model.criterion)
        self._n_images = self._n_symbols = 0

    def profile(self, steps: int, trace: Path | None) -> StepProfile:
        """Measure steps with the batches of the loader, then with batches of each density."""
        n_warmup = WARMUP_STEPS + min(_loaded_ahead(self._loader), len(self._loader))
        n_per_density = max(steps // STEPS_PER_DENSITY, 1)
        dense = batches_by_density(self._trainer)
        n_busy = 0 if self._trainer.device.type == "cpu" else min(steps, BUSY_STEPS)
        total = n_warmup + steps + n_busy + (TRACE_STEPS if trace else 0)
        total += len(dense) * 2 * (1 + n_per_density)
        with closing(step for step in self._track(range(total), total)) as self._progress:
            self._loader_steps(n_warmup)
            self._clock.totals()
            self._n_images = self._n_symbols = 0
            self._loader_steps(steps)
            times = StepTimes.of_totals(self._clock.totals(), steps, self._n_images)
            result = StepProfile(
                model=self._config.model,
                device=str(self._trainer.device),
                precision=self._trainer.state.precision,
                imgsz=self._config.imgsz,
                batch=self._loader.batch_size,
                workers=self._loader.num_workers,
                steps=steps,
                symbols_per_image=self._n_symbols / self._n_images,
                times=times,
                gpu_busy=self._busy(n_busy, times.step_ms) if n_busy else None,
                densities=(),
                advice="",
            )
            if trace:
                self._write_trace(trace)
            densities = tuple(self._density(one, n_per_density) for one in dense)
        return replace(result, densities=densities, advice=advise(self._situation(result)))

    def _situation(self, result: StepProfile) -> Situation:
        sides = [max(labels["shape"]) for labels in self._loader.dataset.labels]
        return Situation(
            profile=result,
            cores=len(os.sched_getaffinity(0)),
            image_side=round(float(np.median(sides))),
            assigner=self._config.assigner,
            on_cpu=self._trainer.device.type == "cpu",
        )

    def _timed(self, criterion: Any) -> Criterion:  # noqa: ANN401
        """Let the clock time the assigners of a loss."""
        wrap = partial(
            timed_assigner, clock=self._clock, phase="assigner", phase_after="rest of loss"
        )
        wrap_assigners(criterion, wrap)
        timed: Criterion = criterion
        return timed

    def _loader_steps(self, n: int) -> None:
        for _ in range(n):
            self._clock.begin("load")
            batch = next(self._upcoming)
            self._n_images += len(batch["img"])
            self._n_symbols += len(batch["cls"])
            take_step(self._trainer, self._criterion, batch, self._clock.begin)
            next(self._progress, None)
        self._clock.pause()

    def _busy(self, n: int, step_ms: float) -> float | None:
        """Measure the fraction of the time in which the GPU executes kernels.

        The profiler slows down the host, so its kernels are compared with steps without it.

        Returns:
            Fraction; None if the profiler cannot access the GPU.
        """
        profiler = self._profiled([ProfilerActivity.CUDA], n)
        intervals = kernel_intervals(profiler.events())
        return min(covered(intervals) / 1000 / n / step_ms, 1.0) if intervals else None

    def _write_trace(self, file: Path) -> None:
        profiler = self._profiled(supported_activities(), TRACE_STEPS)
        profiler.export_chrome_trace(str(file))
        # The profiler does not report a full disk.
        if not file.read_bytes().rstrip().endswith(b"}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    def _profiled(self, activities: Iterable[ProfilerActivity], n: int) -> torch_profile:
        """Take steps under the profiler of torch."""
        profiler = torch_profile(activities=activities)
        with muted_stderr():
            profiler.start()
        self._loader_steps(n)
        with muted_stderr():
            profiler.stop()
        self._clock.totals()
        return profiler

    def _density(self, dense: DenseBatch, n: int) -> DensityTimes:
        """Measure steps with one batch, with both losses."""
        height, width = dense.batch["img"].shape[2:]
        strides = self._model.stride.tolist()
        counter = PairCounter.of_loss(self._trainer.options.loss, strides)
        boxes = dense.batch["bboxes"].cpu()
        n_images = len(dense.batch["img"])
        n_anchors = sum(int(height // stride) * int(width // stride) for stride in strides)
        reason = self._refusal(n_images, dense.symbols_max, n_anchors)
        return DensityTimes(
            name=dense.name,
            symbols_per_image=len(boxes) / n_images,
            symbols_max=dense.symbols_max,
            omr=self._batch_times(dense, self._criterion, n),
            omr_pairs=counter.count(boxes, (height, width)),
            ultralytics=None
            if reason
            else self._batch_times(dense, self._timed(self._model.init_criterion()), n),
            ultralytics_pairs=n_images * dense.symbols_max * n_anchors,
            reason=reason,
        )

    def _refusal(self, n_images: int, symbols_max: int, n_anchors: int) -> str:
        """Return why a batch cannot be used with Ultralytics' loss; empty if it can."""
        head = self._model.model[-1]
        if isinstance(head, SeparateDetect):
            return "not available for heads with separate boxes"
        need = dense_assigner_bytes(None, n_images, symbols_max, n_anchors, head.nc)
        device = present_device(self._config.device)
        if need <= device.usable_bytes:
            return ""
        return (
            f"out of memory: its assigner takes {need / GIB:.1f} GiB, "
            f"{device.usable_bytes / GIB:.1f} GiB are free"
        )

    def _batch_times(self, dense: DenseBatch, criterion: Criterion, n: int) -> StepTimes:
        for step in range(n + 1):
            if step == 1:
                self._clock.pause()
                self._clock.totals()  # the first step allocates memory
            take_step(self._trainer, criterion, dense.batch, self._clock.begin)
            next(self._progress, None)
        self._clock.pause()
        return StepTimes.of_totals(self._clock.totals(), n, n * len(dense.batch["img"]))


def _loaded_ahead(loader: Any) -> int:  # noqa: ANN401
    """Return how many batches a loader prepares in advance, which the first steps use up."""
    return int(loader.num_workers * (loader.prefetch_factor or 0))
