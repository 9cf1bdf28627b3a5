"""Protects training from NaN and Inf: skips the step, or restores the last good state.

A single bad image gives a NaN loss, and one step with its gradient makes all weights NaN
permanently. So a step is skipped without any effect if its loss, gradients or BatchNorm statistics
are not finite. After several skipped steps in a row, or once the weights themselves are not finite,
the weights, their moving average and the optimiser are restored to a good state, and the learning
rate is halved. The order of the data continues, so that a bad batch is not repeated at once.

Two states are kept in main memory, not on the GPU: with Adam 32 bytes per parameter, which is 84 MB
for yolo11n and 1.8 GB for yolo11x, in the process of each device.

The verdict and the losses for the progress display are copied to the host together. On CUDA this is
the only host synchronisation per step.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError, short_list
from training.runtime.distributed import are_joined
from training.runtime.ultralytics_trainer import UltralyticsTrainer

MAX_SKIPPED = 3
"""Steps skipped in a row before the last good state is restored."""
MAX_RESTORES = 3
"""Restores before training is aborted."""
STEPS_BETWEEN_STATES = 100
"""Good steps from one saved state to the next."""
RATE_FACTOR = 0.5
"""Factor by which each restore multiplies the learning rate."""
MAX_FILES = 4
"""Maximum number of images named in a message."""

NOT_FINITE = "not finite"
"""Name of the verdict among the losses that are fetched with it."""


def on_host(numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy single numbers to the host in one transfer, as fp32.

    The results can still be added to numbers on the device without another synchronisation.

    Args:
        numbers: Tensors of shape ``()``, by name.
    """
    if not numbers:
        return {}
    together = torch.stack([number.detach().float() for number in numbers.values()])
    return dict(zip(numbers, together.cpu().unbind(), strict=True))


def warn_of_validation(metrics: Mapping[str, float] | None, epoch: int) -> None:
    """Warn if the losses of a validation are not finite: its predictions are missing, not wrong.

    Args:
        metrics: Values by column of ``results.csv``; None in processes other than the first.
        epoch: Epoch, from 1.
    """
    names = [name for name in metrics or {} if name.startswith("val/")]
    if metrics and not all(math.isfinite(metrics[name]) for name in names):
        LOGGER.warning(
            f"epoch {epoch}: validation losses not finite: the output of the network is NaN or "
            "Inf, and its metrics are too low"
        )


class _Batches(Protocol):
    """Record of the batches that make up the next step."""

    files: list[str]
    """Images of the batches since the last step."""
    batches_done: int
    """Batches of this epoch."""


class _LaterRates(Protocol):
    """Learning rates of layers that are still frozen."""

    def lower_rates(self, factor: float) -> None:
        """Multiply these rates by a factor."""


class GuardedTrainer(UltralyticsTrainer, Protocol):
    """Ultralytics' trainer with the additional attributes that the guard uses."""

    @property
    def state(self) -> _Batches:
        """Batches since the last step."""

    @property
    def freezing(self) -> _LaterRates:
        """Frozen layers, whose learning rates are lowered as well."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _SavedState:
    """Copy of weights and optimiser in main memory."""

    model: dict[str, Tensor]
    average: dict[str, Tensor]
    updates: int
    """Number of updates of the average."""
    optimizer: dict[Tensor, dict[str, Any]]


class NanGuard:
    """Guard that decides whether a step is taken, and restores weights that are not finite.

    Args:
        trainer: Trainer after its set-up; ``state.files`` lists the images since the last step.
        history: Result of :meth:`history` in the run that is resumed; None for a new run.
        steps_between_states: Good steps from one saved state to the next; None for the default,
            ``STEPS_BETWEEN_STATES``.
    """

    def __init__(
        self,
        trainer: GuardedTrainer,
        history: dict[str, int] | None = None,
        *,
        steps_between_states: int | None = None,
    ) -> None:
        history = history or {}
        self.skipped = history.get("skipped", 0)
        """Number of skipped steps."""
        self.restores = history.get("restores", 0)
        """Number of restored states."""
        self._model = unwrap_model(trainer.model)
        self._buffers = _by_dtype(self._model.buffers())
        self._statistics = [b for group in self._buffers for b in group if b.is_floating_point()]
        self._good_buffers = [[buffer.clone() for buffer in group] for group in self._buffers]
        self._losses: dict[str, Tensor] | None = None
        self._states: deque[_SavedState] = deque(maxlen=2)
        self._good_steps = 0
        self._steps_between_states = steps_between_states
        self._skipped_in_a_row = 0
        trainer.state.files = []
        if history:  # the state that was resumed is good
            self._states.append(_save(self._model, trainer))
            trainer.freezing.lower_rates(RATE_FACTOR**self.restores)

    def history(self) -> dict[str, int]:
        """Return the counts that a resumed run starts with."""
        return {"skipped": self.skipped, "restores": self.restores}

    def allows_step(self, trainer: GuardedTrainer) -> bool:
        """Check loss, gradients and statistics before a step is taken.

        Args:
            trainer: Trainer with the ``loss`` of the last batch and the gradients of all batches
                since the last step.

        Returns:
            Whether to take the step. If not, weights and statistics are those before the batch, or
            those of a good state.

        Raises:
            ConfigError: There is no good state, or it has been restored too often.
        """
        if self._is_finite(trainer):
            self._record_good(trainer)
            return True
        self.skipped += 1
        self._skipped_in_a_row += 1
        _copy(self._good_buffers, self._buffers)
        # The mean of the epoch's losses would stay NaN.
        losses = trainer.tloss or {}
        trainer.tloss = self._losses or {k: torch.zeros_like(v) for k, v in losses.items()}
        weights_lost = not torch.isfinite(get_total_norm(list(self._model.parameters())))
        if self._skipped_in_a_row >= MAX_SKIPPED or weights_lost:
            self._restore(trainer)
        else:
            LOGGER.warning(
                f"{_position(trainer)}: loss or gradient not finite, {_skipped(trainer)}"
            )
        trainer.state.files = []
        return False

    def _is_finite(self, trainer: UltralyticsTrainer) -> bool:
        """Fetch one bit from the device: whether everything that the step depends on is finite.

        ``trainer.tloss`` is fetched with it and stays on the host. With a gradient scaler the
        gradients are not checked: the scaler exceeds the range of fp16 on purpose to find its
        scale, and skips these steps itself.
        """
        total = trainer.loss.detach() + get_total_norm(self._statistics)
        if not trainer.scaler.is_enabled():
            gradients = (p.grad for p in self._model.parameters())
            total = total + get_total_norm([grad for grad in gradients if grad is not None])
        is_bad = (~torch.isfinite(total)).int()
        if are_joined():  # all processes make the same decision
            distributed.all_reduce(is_bad, op=distributed.ReduceOp.MAX)
        losses = on_host((trainer.tloss or {}) | {NOT_FINITE: is_bad})
        is_finite = not losses.pop(NOT_FINITE)
        trainer.tloss = losses
        return is_finite

    def _record_good(self, trainer: GuardedTrainer) -> None:
        """Record the weights before the step, which this batch has shown to be good."""
        interval = self._steps_between_states or STEPS_BETWEEN_STATES
        if self._good_steps % interval == 0:
            self._states.append(_save(self._model, trainer))
        self._good_steps += 1
        self._skipped_in_a_row = 0
        _copy(self._buffers, self._good_buffers)
        self._losses = trainer.tloss
        trainer.state.files = []

    def _restore(self, trainer: GuardedTrainer) -> None:
        position = _position(trainer)
        advice = "check these images, and try a lower --lr or --precision fp32"
        if not self._states:
            raise ConfigError(
                f"{position}: no batch so far has a finite loss and gradient, {_skipped(trainer)}; "
                f"{advice}"
            )
        if self.restores == MAX_RESTORES:
            raise ConfigError(
                f"{position}: loss, gradient or weights not finite after restoring a good state "
                f"{self.restores} times, {_skipped(trainer)}; {advice}"
            )
        # An older state the next time, unless good steps come in between.
        state = self._states.pop() if len(self._states) > 1 else self._states[0]
        _load(state, self._model, trainer)
        self.restores += 1
        self._skipped_in_a_row = 0
        for group in trainer.optimizer.param_groups:
            for name in ("initial_lr", "lr"):
                group[name] *= RATE_FACTOR
        trainer.freezing.lower_rates(RATE_FACTOR)
        trainer.scheduler.base_lrs = [lr * RATE_FACTOR for lr in trainer.scheduler.base_lrs]
        _copy(self._buffers, self._good_buffers)
        LOGGER.warning(
            f"{position}: loss, gradient or weights not finite: restored the last good state with "
            f"half the learning rate ({self.restores} of {MAX_RESTORES} times), {_skipped(trainer)}"
        )


def _position(trainer: GuardedTrainer) -> str:
    return f"epoch {trainer.epoch + 1}, batch {trainer.state.batches_done}"


def _skipped(trainer: GuardedTrainer) -> str:
    return f"step skipped: {short_list(trainer.state.files, MAX_FILES)}"


def _save(model: nn.Module, trainer: UltralyticsTrainer) -> _SavedState:
    return _SavedState(
        model=_copied(model.state_dict()),
        average=_copied(trainer.ema.ema.state_dict()),
        updates=trainer.ema.updates,
        optimizer={p: _copied(state) for p, state in trainer.optimizer.state.items()},
    )


def _copied(tensors: dict[str, Any]) -> dict[str, Any]:
    """Copy tensors to main memory without waiting for the device.

    On CUDA the copies are queued before later changes of the tensors. Only the same stream may read
    them, as :func:`_load` does.
    """
    return {
        name: value.detach().to("cpu", copy=True, non_blocking=True)
        if isinstance(value, Tensor)
        else value
        for name, value in tensors.items()
    }


def _by_dtype(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Group tensors for ``torch._foreach_copy_``: mixed types are copied one by one."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return [*groups.values()]


@torch.no_grad()
def _copy(sources: list[list[Tensor]], targets: list[list[Tensor]]) -> None:
    for source, target in zip(sources, targets, strict=True):
        torch._foreach_copy_(target, source)


@torch.no_grad()
def _load(state: _SavedState, model: nn.Module, trainer: UltralyticsTrainer) -> None:
    """Copy a state in place, as other objects hold these tensors; parameter groups stay."""
    model.load_state_dict(state.model)
    trainer.ema.ema.load_state_dict(state.average)
    trainer.ema.updates = state.updates
    optimizer_state = trainer.optimizer.state
    for parameter in list(optimizer_state):
        saved = state.optimizer.get(parameter)
        if saved is None:  # saved before the first step
            del optimizer_state[parameter]
            continue
        for name, value in saved.items():
            if isinstance(value, Tensor):
                optimizer_state[parameter][name].copy_(value)
            else:
                optimizer_state[parameter][name] = value
