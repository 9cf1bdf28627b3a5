"""Keeps a training from what is no number: leaves a step out, or goes back to the last good state.

One bad image gives a loss that is NaN, and one step with its gradient a network that is NaN for
good. A step whose loss, gradients or BatchNorm statistics are not finite is not taken, and the
batch leaves no trace. After several such steps in a row, or when the weights themselves are no
longer finite, weights, their average and the optimiser return to a state that is known to be good,
and the learning rate is halved. The order of the data goes on, so that a bad batch does not come
again at once.

Two states are kept in main memory, not on the GPU: with Adam 32 bytes a parameter, which is 84 MB
for yolo11n and 1.8 GB for yolo11x, in the process of each device.

The verdict and the losses that the progress bar shows travel to the host together: on CUDA that is
the only time per step that the host waits for the device.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError, some
from training.runtime.distributed import are_joined

MOST_SKIPPED = 3
"""Steps left out in a row, after which the last good state returns."""
MOST_RETURNS = 3
"""In a training, after which it is given up."""
STEPS_APART = 100
"""Good steps from one kept state to the next."""
RATE_FACTOR = 0.5
"""Of the learning rate, at each return."""
MOST_FILES = 4
"""Images that a message names."""


BAD = "not finite"
"""Name of the verdict among the losses that are fetched with it."""


def on_host(numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring single numbers to the host in one transfer, as fp32.

    The results can still be added to numbers on the device, which does not wait for that.

    Args:
        numbers: Tensors of shape ``()``, by name.
    """
    if not numbers:
        return {}
    together = torch.stack([number.detach().float() for number in numbers.values()])
    return dict(zip(numbers, together.cpu().unbind(), strict=True))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _State:
    """What a training needs to go on from, in main memory."""

    model: dict[str, Tensor]
    average: dict[str, Tensor]
    updates: int
    """Of the average."""
    optimizer: dict[nn.Parameter, dict[str, Any]]


class NanGuard:
    """Decides whether a step is taken, and undoes what made the weights unusable.

    Args:
        trainer: Set up; its ``files`` are the images of the batches since the last step.
        history: Of a run that goes on, what :meth:`history` gave.
        steps_apart: Good steps from one kept state to the next; None for ``STEPS_APART``.
    """

    def __init__(
        self,
        trainer: BaseTrainer,
        history: dict[str, int] | None = None,
        *,
        steps_apart: int | None = None,
    ) -> None:
        history = history or {}
        self.skipped = history.get("skipped", 0)
        """Steps left out."""
        self.returns = history.get("returns", 0)
        """To a good state."""
        self._model = unwrap_model(trainer.model)
        self._buffers = _by_dtype(self._model.buffers())
        self._statistics = [b for group in self._buffers for b in group if b.is_floating_point()]
        self._kept_buffers = [[buffer.clone() for buffer in group] for group in self._buffers]
        self._losses: dict[str, Tensor] | None = None
        self._states: deque[_State] = deque(maxlen=2)
        self._good_steps = 0
        self._steps_apart = steps_apart
        self._in_a_row = 0
        trainer.files = []
        if history:  # what was saved is good
            self._states.append(_state(self._model, trainer))
            trainer.freezing.lower_rates(RATE_FACTOR**self.returns)

    def history(self) -> dict[str, int]:
        """Tell what a run that goes on has to know."""
        return {"skipped": self.skipped, "returns": self.returns}

    def allows_step(self, trainer: BaseTrainer) -> bool:
        """Look at what a step would be taken from, before it is taken.

        Args:
            trainer: Its ``loss`` is of the last batch, its gradients of all since the last step.

        Returns:
            Whether the step is to be taken. If not, weights and statistics are as they were before
            the batch, or those of a good state.

        Raises:
            ConfigError: There is no good state to return to, or not again.
        """
        if self._is_finite(trainer):
            self._note_good(trainer)
            return True
        self.skipped += 1
        self._in_a_row += 1
        _copy(self._kept_buffers, self._buffers)
        # The mean of the epoch's losses would stay NaN.
        trainer.tloss = self._losses or {k: torch.zeros_like(v) for k, v in trainer.tloss.items()}
        weights_lost = not torch.isfinite(get_total_norm(list(self._model.parameters())))
        if self._in_a_row >= MOST_SKIPPED or weights_lost:
            self._return(trainer)
        else:
            LOGGER.warning(f"{_place(trainer)}: loss or gradient not finite, {_left_out(trainer)}")
        trainer.files = []
        return False

    def _is_finite(self, trainer: BaseTrainer) -> bool:
        """Fetch one bit from the device, whether all that the step depends on is finite.

        ``trainer.tloss`` comes along, and is on the host from then on. A scaler tries how far it
        can go: gradients beyond the range of fp16 are part of that, and it skips their steps
        itself.
        """
        total = trainer.loss.detach() + get_total_norm(self._statistics)
        if not trainer.scaler.is_enabled():
            own = (p.grad for p in self._model.parameters())
            total = total + get_total_norm([grad for grad in own if grad is not None])
        bad = (~torch.isfinite(total)).int()
        if are_joined():  # all do the same
            distributed.all_reduce(bad, op=distributed.ReduceOp.MAX)
        trainer.tloss = on_host(trainer.tloss | {BAD: bad})
        return not trainer.tloss.pop(BAD)

    def _note_good(self, trainer: BaseTrainer) -> None:
        """Keep what this batch has shown to be good: the weights before the step, not after it."""
        if self._good_steps % (self._steps_apart or STEPS_APART) == 0:
            self._states.append(_state(self._model, trainer))
        self._good_steps += 1
        self._in_a_row = 0
        _copy(self._buffers, self._kept_buffers)
        self._losses = trainer.tloss
        trainer.files = []

    def _return(self, trainer: BaseTrainer) -> None:
        place = _place(trainer)
        advice = "look at the images; try a lower --lr, or --precision fp32"
        if not self._states:
            raise ConfigError(
                f"{place}: no batch so far has a finite loss and gradient, {_left_out(trainer)}; "
                f"{advice}"
            )
        if self.returns == MOST_RETURNS:
            raise ConfigError(
                f"{place}: loss, gradient or weights not finite after {self.returns} returns to a "
                f"good state, {_left_out(trainer)}; {advice}"
            )
        # An older one the next time, unless good steps come in between.
        state = self._states.pop() if len(self._states) > 1 else self._states[0]
        _restore(state, self._model, trainer)
        self.returns += 1
        self._in_a_row = 0
        for group in trainer.optimizer.param_groups:
            for name in ("initial_lr", "lr"):
                group[name] *= RATE_FACTOR
        trainer.freezing.lower_rates(RATE_FACTOR)
        trainer.scheduler.base_lrs = [lr * RATE_FACTOR for lr in trainer.scheduler.base_lrs]
        _copy(self._buffers, self._kept_buffers)
        LOGGER.warning(
            f"{place}: loss, gradient or weights not finite: back to the last good state, with "
            f"half the learning rate ({self.returns} of {MOST_RETURNS} times), {_left_out(trainer)}"
        )


def _place(trainer: BaseTrainer) -> str:
    return f"epoch {trainer.epoch + 1}, batch {trainer.batches_done}"


def _left_out(trainer: BaseTrainer) -> str:
    return f"step left out: {some(trainer.files, MOST_FILES)}"


def _state(model: nn.Module, trainer: BaseTrainer) -> _State:
    return _State(
        model=_copied(model.state_dict()),
        average=_copied(trainer.ema.ema.state_dict()),
        updates=trainer.ema.updates,
        optimizer={p: _copied(own) for p, own in trainer.optimizer.state.items()},
    )


def _copied(tensors: dict[str, Any]) -> dict[str, Any]:
    """Copy tensors to main memory; the host does not wait.

    On CUDA the copies are made in their turn, before later changes of the tensors. Only the same
    stream may read them, as :func:`_restore` does.
    """
    return {
        name: value.detach().to("cpu", copy=True, non_blocking=True)
        if isinstance(value, Tensor)
        else value
        for name, value in tensors.items()
    }


def _by_dtype(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Group tensors for ``torch._foreach_copy_``: of mixed types it copies them one by one."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return [*groups.values()]


@torch.no_grad()
def _copy(sources: list[list[Tensor]], targets: list[list[Tensor]]) -> None:
    for source, target in zip(sources, targets, strict=True):
        torch._foreach_copy_(target, source)


@torch.no_grad()
def _restore(state: _State, model: nn.Module, trainer: BaseTrainer) -> None:
    """Copy in place: others hold these tensors too. The optimiser's groups stay as they are."""
    model.load_state_dict(state.model)
    trainer.ema.ema.load_state_dict(state.average)
    trainer.ema.updates = state.updates
    of_optimizer = trainer.optimizer.state
    for parameter in list(of_optimizer):
        kept = state.optimizer.get(parameter)
        if kept is None:  # before its first step
            del of_optimizer[parameter]
            continue
        for name, value in kept.items():
            if isinstance(value, Tensor):
                of_optimizer[parameter][name].copy_(value)
            else:
                of_optimizer[parameter][name] = value
