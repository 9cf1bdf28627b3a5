"""Memory of a training step, measured on the device with random images and boxes.

The steps are those of ``omr train``: model, loss, backward pass, NaN guard, optimiser and moving
average of the weights. A few steps precede the measured one, so that it is like any later training
step.
"""

import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from ultralytics.cfg import get_cfg
from ultralytics.utils.torch_utils import ModelEMA

from class_maps import ConfigError
from training.losses.assigner_factory import PairCounter
from training.losses.detection import detection_criterion
from training.memory.fake_step import optimizer_of
from training.memory.meta_model import initial_model
from training.memory.step_spec import HALF_DTYPES, StepSpec
from training.runtime.devices import memory_format_of
from training.runtime.nan_guard import NanGuard
from training.runtime.precision import resolved

WARMUP_STEPS = 3
"""Steps after which the optimiser has its state, and the guard has saved two states."""
WARMUP_SIDE = 64
"""Image side of the warm-up steps on a CPU in pixels, on which their state does not depend."""
SIDES = 0.01, 0.05
"""Minimum side of a random box, and the range above it, as fractions of the image side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfiledStep:
    """Measured memory of a training step."""

    device: str
    total_bytes: int
    """Peak of the tensors. On a CPU as profiled, including the guard; on a GPU
    ``torch.cuda.max_memory_allocated``."""
    reserved_bytes: int
    """Peak of the memory that torch's CUDA allocator reserved; 0 on a CPU."""
    peak_phase: str
    """Phase of the step with the peak; empty on a GPU, where the phase is not known."""
    peaks: dict[str, int]
    """Peak of each phase on a CPU; empty on a GPU."""
    pairs: int
    """Candidate pairs of the random boxes, with which the same step can be predicted."""

    def to_json(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON."""
        return asdict(self)


def profile_step(spec: StepSpec, *, seed: int = 0) -> ProfiledStep:
    """Train a few steps on random pixels and boxes, and measure the memory of the last.

    Args:
        spec: Step to measure; ``accumulates`` is ignored.
        seed: Seed of weights, pixels and boxes.

    Raises:
        ConfigError: The model is unknown, or the device does not exist or lacks the precision.
        InputError: The weights file is missing or does not contain a detection model.
    """
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--measure: no CUDA device available; omit it, or use --device cpu")
    resolved(spec.precision, torch.device(spec.device))
    with torch.random.fork_rng(devices=[0] if spec.device == "cuda" else []):
        torch.manual_seed(seed)
        return _on_gpu(spec) if spec.device == "cuda" else _on_cpu(spec)


def _on_cpu(spec: StepSpec) -> ProfiledStep:
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _muted_stderr():
        profiler.start()
    begins: list[tuple[int, str]] = []

    def begin(phase: str) -> None:
        begins.append((time.time_ns(), phase))

    pairs = _run_steps(spec, begin)
    with _muted_stderr():
        profiler.stop()
    peaks = _peaks(profiler.profiler.kineto_results.events(), begins)  # type: ignore[union-attr]
    peak_phase = max(peaks, key=lambda name: peaks[name])
    return ProfiledStep(
        device="cpu",
        total_bytes=peaks[peak_phase],
        reserved_bytes=0,
        peak_phase=peak_phase,
        peaks=peaks,
        pairs=pairs,
    )


def _peaks(events: Iterable[Any], begins: Sequence[tuple[int, str]]) -> dict[str, int]:
    """Compute the peak of the allocated bytes in each phase of a step."""
    memory = [event for event in events if event.name() == "[memory]"]
    changes = sorted((event.start_ns(), event.nbytes()) for event in memory)
    times = [time_ns for time_ns, _ in begins]
    peaks, live = {phase: 0 for _, phase in begins}, 0
    for time_ns, n_bytes in changes:
        live += n_bytes
        n_begun = bisect_right(times, time_ns)
        if n_begun:
            phase = begins[n_begun - 1][1]
            peaks[phase] = max(peaks[phase], live)
    return peaks


def _on_gpu(spec: StepSpec) -> ProfiledStep:
    # The workspace of matrix products persists between steps; free it, so that this step allocates
    # it.
    getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()

    def begin(phase: str) -> None:
        if phase == "inputs":
            torch.cuda.reset_peak_memory_stats()

    pairs = _run_steps(spec, begin)
    torch.cuda.synchronize()
    return ProfiledStep(
        device=torch.cuda.get_device_name(),
        total_bytes=torch.cuda.max_memory_allocated() - before[0],
        reserved_bytes=torch.cuda.max_memory_reserved() - before[1],
        peak_phase="",
        peaks={},
        pairs=pairs,
    )


class _Training:
    """The attributes of a trainer that a step and the NaN guard use."""

    def __init__(self, spec: StepSpec) -> None:
        self.spec, self.device = spec, torch.device(spec.device)
        self.order = memory_format_of(self.device, training=True)
        model = initial_model(spec, real=True)
        model = model.to(self.device)
        self.model = model.to(memory_format=self.order)
        self.model.args = get_cfg()
        self.optimizer = optimizer_of(self.model, spec)
        # The guard expects a moving average; without one, it gets a model without tensors.
        self.ema = ModelEMA(self.model) if spec.ema else SimpleNamespace(ema=nn.Module(), updates=0)
        self.criterion = detection_criterion(self.model.train(), spec.loss)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=spec.precision == "fp16")
        self.state = SimpleNamespace(files=[], batches_done=0)
        self.loss = torch.zeros((), device=self.device)
        self.tloss: dict[str, Tensor] = {}
        self.guard = NanGuard(cast("Any", self), steps_between_states=1) if spec.guard else None

    def count_pairs(self, labels: dict[str, Tensor], side: int) -> int:
        """Count the candidate pairs of the boxes; ``side`` is the image side in pixels."""
        counter = PairCounter.of_loss(self.spec.loss, self.model.stride.tolist())
        return counter.count(labels["bboxes"], (side, side))

    def step(self, labels: dict[str, Tensor], side: int, begin: Callable[[str], None]) -> None:
        """Train a step on random pixels, and call ``begin`` with the name of each phase."""
        begin("inputs")
        shape = self.spec.batch, 3, side, side
        batch: dict[str, Any] = labels | {"img": torch.randint(0, 256, shape, dtype=torch.uint8)}
        batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
        if self.spec.device == "cuda":  # like the data loader in training
            batch["n_pairs"] = self.count_pairs(labels, side)
        images = batch["img"].float() / 255
        batch["img"] = images.contiguous(memory_format=self.order)
        del images
        begin("forward")
        half = HALF_DTYPES.get(self.spec.precision)
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            outputs = self.model(batch["img"])
            begin("loss")
            losses, self.tloss = self.criterion(outputs, batch)
            self.loss = losses.sum()
            del outputs, losses
        begin("backward")
        self.scaler.scale(self.loss).backward()
        begin("optimizer")
        if self.guard is None or self.guard.allows_step(cast("Any", self)):
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=10.0)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad()
        if self.spec.ema:
            self.ema.update(self.model)


def _run_steps(spec: StepSpec, begin: Callable[[str], None]) -> int:
    """Train all steps, report the phases of the last one, and count its candidate pairs."""
    training = _Training(spec)
    labels = _random_labels(spec)
    warmup_side = min(WARMUP_SIDE, spec.side) if spec.device == "cpu" else spec.side
    for _ in range(WARMUP_STEPS):
        training.step(labels, warmup_side, lambda _phase: None)
    training.step(labels, spec.side, begin)
    return training.count_pairs(labels, spec.side)


def _random_labels(spec: StepSpec) -> dict[str, Tensor]:
    """Draw boxes of 1 to 6 % of the image side, and distribute them evenly over the images."""
    n = spec.boxes
    return {
        "batch_idx": torch.arange(n).remainder(spec.batch).float(),
        "cls": torch.randint(0, spec.n_classes, (n, 1)).float(),
        "bboxes": torch.cat((torch.rand(n, 2), SIDES[0] + SIDES[1] * torch.rand(n, 2)), dim=1),
    }


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Suppress the terminal output of the profiler's library when it starts and stops."""
    stderr = os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
