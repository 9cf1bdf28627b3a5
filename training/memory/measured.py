"""Memory of a training step, measured: real steps on the present device, with random content.

The steps are the trainer's: the model, our loss, backward, the guard, the optimiser and the average
of the weights. What the measured step finds is what any step after the first ones finds.
"""

import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from ultralytics.cfg import get_cfg
from ultralytics.utils.torch_utils import ModelEMA

from class_maps import ConfigError
from training.engine.nan_guard import NanGuard
from training.engine.precision import resolved
from training.losses.detection import PairCounter, detection_criterion
from training.memory.meta_model import trained_model
from training.memory.step import LOW, StepSpec, optimizer_of
from training.runtime.devices import memory_format_of

EARLIER_STEPS = 3
"""After them the optimiser has its states, and the guard two of its own."""
EARLIER_SIDE = 64
"""Pixels of their images on a CPU: what they leave behind does not depend on it."""
SIDES = 0.01, 0.05
"""Least side of a random box, and how much longer it may be, as shares of the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredStep:
    """What a real step needed."""

    device: str
    total_bytes: int
    """The peak in tensors. On a CPU those of the profiler, the guard's included; on a GPU
    ``torch.cuda.max_memory_allocated``."""
    reserved_bytes: int
    """CUDA: what torch's allocator held at most; else 0."""
    peak_phase: str
    """Part of the step with the peak; empty on a GPU, which does not say."""
    peaks: dict[str, int]
    """Highest in each part of the step, on a CPU; else empty."""
    pairs: int
    """Candidate pairs of the random boxes, to predict the same step."""

    def to_json(self) -> dict[str, Any]:
        """Give names and numbers."""
        return asdict(self)


def measure_step(spec: StepSpec, *, seed: int = 0) -> MeasuredStep:
    """Train a few steps on random pixels and boxes, and measure the last.

    Args:
        spec: What to train; ``accumulates`` is not looked at.
        seed: Of weights, pixels and boxes.

    Raises:
        ConfigError: No such model or device, or the device has no such precision.
        InputError: No such file with weights, or no detection model in it.
    """
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device here to measure on; leave --measure out, or use a CPU")
    resolved(spec.precision, torch.device(spec.device))
    with torch.random.fork_rng(devices=[0] if spec.device == "cuda" else []):
        torch.manual_seed(seed)
        return _on_gpu(spec) if spec.device == "cuda" else _on_cpu(spec)


def _on_cpu(spec: StepSpec) -> MeasuredStep:
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _silent():
        profiler.start()
    begins: list[tuple[int, str]] = []

    def part(name: str) -> None:
        begins.append((time.time_ns(), name))

    pairs = _steps(spec, part)
    with _silent():
        profiler.stop()
    peaks = _peaks(profiler.profiler.kineto_results.events(), begins)  # type: ignore[union-attr]
    peak_phase = max(peaks, key=lambda name: peaks[name])
    return MeasuredStep(
        device="cpu",
        total_bytes=peaks[peak_phase],
        reserved_bytes=0,
        peak_phase=peak_phase,
        peaks=peaks,
        pairs=pairs,
    )


def _peaks(events: Iterable[Any], begins: Sequence[tuple[int, str]]) -> dict[str, int]:
    """Highest sum of what was allocated and given back, in each part of a step."""
    memory = [event for event in events if event.name() == "[memory]"]
    changes = sorted((event.start_ns(), event.nbytes()) for event in memory)
    times = [when for when, _ in begins]
    peaks, live = {name: 0 for _, name in begins}, 0
    for when, n_bytes in changes:
        live += n_bytes
        place = bisect_right(times, when)
        if place:
            name = begins[place - 1][1]
            peaks[name] = max(peaks[name], live)
    return peaks


def _on_gpu(spec: StepSpec) -> MeasuredStep:
    # The workspace of matrix products stays from step to step; each step counts its own.
    getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()

    def part(name: str) -> None:
        if name == "inputs":
            torch.cuda.reset_peak_memory_stats()

    pairs = _steps(spec, part)
    torch.cuda.synchronize()
    return MeasuredStep(
        device=torch.cuda.get_device_name(),
        total_bytes=torch.cuda.max_memory_allocated() - before[0],
        reserved_bytes=torch.cuda.max_memory_reserved() - before[1],
        peak_phase="",
        peaks={},
        pairs=pairs,
    )


class _Training:
    """A trainer, as far as a step and the guard look at it."""

    def __init__(self, spec: StepSpec) -> None:
        self.spec, self.device = spec, torch.device(spec.device)
        self.order = memory_format_of(self.device, training=True)
        model = trained_model(spec.model, spec.n_classes, spec.heads, trust=spec.trust)
        model = model.to(self.device)
        self.model = model.to(memory_format=self.order)
        self.model.args = get_cfg()
        self.optimizer = optimizer_of(self.model, spec)
        # One without tensors where there is to be none.
        self.ema = ModelEMA(self.model) if spec.ema else SimpleNamespace(ema=nn.Module(), updates=0)
        self.criterion = detection_criterion(self.model.train(), spec.loss)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=spec.precision == "fp16")
        self.files: list[str] = []
        self.loss = torch.zeros((), device=self.device)
        self.tloss: dict[str, Tensor] = {}
        self.guard = NanGuard(self, steps_apart=1) if spec.guard else None

    def count_pairs(self, labels: dict[str, Tensor], side: int) -> int:
        """Count the candidate pairs of the boxes on images of this side in pixels."""
        counter = PairCounter.of_loss(self.spec.loss, self.model.stride.tolist())
        return counter.count(labels["bboxes"], (side, side))

    def step(self, labels: dict[str, Tensor], side: int, part: Callable[[str], None]) -> None:
        """Take a step on random pixels, and say when a part of it begins."""
        part("inputs")
        shape = self.spec.batch, 3, side, side
        batch: dict[str, Any] = labels | {"img": torch.randint(0, 256, shape, dtype=torch.uint8)}
        batch = {name: own.to(self.device) for name, own in batch.items()}
        if self.spec.device == "cuda":  # as the loader of a training does
            batch["n_pairs"] = self.count_pairs(labels, side)
        images = batch["img"].float() / 255
        batch["img"] = images.contiguous(memory_format=self.order)
        del images
        part("forward")
        half = LOW.get(self.spec.precision)
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            outputs = self.model(batch["img"])
            part("loss")
            losses, self.tloss = self.criterion(outputs, batch)
            self.loss = losses.sum()
            del outputs, losses
        part("backward")
        self.scaler.scale(self.loss).backward()
        part("optimizer")
        if self.guard is None or self.guard.allows_step(self):
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=10.0)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        if self.spec.ema:
            self.ema.update(self.model)


def _steps(spec: StepSpec, part: Callable[[str], None]) -> int:
    """Take the steps, tell the parts of the last one, and count its boxes' candidate pairs."""
    training = _Training(spec)
    labels = _random_labels(spec)
    small = min(EARLIER_SIDE, spec.side) if spec.device == "cpu" else spec.side
    for _ in range(EARLIER_STEPS):
        training.step(labels, small, lambda _name: None)
    training.step(labels, spec.side, part)
    return training.count_pairs(labels, spec.side)


def _random_labels(spec: StepSpec) -> dict[str, Tensor]:
    """Deal out boxes of 1 to 6 % of a side to the images in turn."""
    n = spec.boxes
    return {
        "batch_idx": torch.arange(n).remainder(spec.batch).float(),
        "cls": torch.randint(0, spec.n_classes, (n, 1)).float(),
        "bboxes": torch.cat((torch.rand(n, 2), SIDES[0] + SIDES[1] * torch.rand(n, 2)), dim=1),
    }


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the profiler's library from writing to the terminal when it starts and stops."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
