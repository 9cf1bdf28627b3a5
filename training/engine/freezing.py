"""Frozen layers, and their unfreezing during training.

A frozen layer has no gradient and is not in the optimiser, and its batch normalisation ignores the
statistics of the batch. Layers are frozen from the input on. They are unfrozen at once or in
several steps, last layers first, each with a lower learning rate and its own warm-up: at the full
rate they would lose within a few steps what they have learnt.

Ultralytics' own ``freeze`` is not used: it keeps the parameters in the optimiser and never
unfreezes them. It also freezes before the model is wrapped in ``DistributedDataParallel``, which
from then on synchronises only the gradients of parameters that needed one at that moment. Here the
model is wrapped first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError

NEVER_TRAINED = ".dfl"
"""Part of the names of parameters that are always frozen: the values of the distance bins."""
LR_SCALE = 0.1
"""Default learning-rate factor of unfrozen layers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FreezeOptions:
    """Frozen layers, and the epochs and learning rates of their unfreezing.

    Raises:
        ConfigError: ``freeze`` does not name a part of a model, epochs are not increasing, or the
            numbers of epochs and of learning rates differ.
    """

    freeze: str = ""
    """``backbone``, ``neck`` (all layers before the head), or a number of layers; empty for
    none."""
    unfreeze_at: tuple[int, ...] = ()
    """Epochs, from 0, at which frozen layers are unfrozen in equal parts, last layers first; empty
    for never."""
    lr_scale: tuple[float, ...] = ()
    """Learning-rate factor for unfrozen layers, one value or one per step; empty for 0.1."""
    warmup_epochs: float = 1.0
    """Epochs in which the learning rate of unfrozen layers rises from 0."""

    def __post_init__(self) -> None:
        if self.freeze not in {"", "backbone", "neck"} and not self._n_layers:
            raise ConfigError(
                f"--freeze {self.freeze}: expected backbone, neck, or a number of layers"
            )
        if self.unfreeze_at and not self.freeze:
            raise ConfigError("--unfreeze-at: no layers are frozen; add --freeze")
        if any(later <= earlier for earlier, later in pairwise((0, *self.unfreeze_at))):
            raise ConfigError(
                f"--unfreeze-at {_listed(self.unfreeze_at)}: expected increasing epochs from 1 on"
            )
        if 0 < self._n_layers < len(self.unfreeze_at):
            raise ConfigError(
                f"--unfreeze-at: {len(self.unfreeze_at)} steps for {self._n_layers} frozen layers; "
                "give fewer epochs"
            )
        self._check_rates()

    def _check_rates(self) -> None:
        n_steps, scales = len(self.unfreeze_at), self.lr_scale
        if scales and not n_steps:
            raise ConfigError("--lr-scale: no layers are unfrozen; add --unfreeze-at")
        if len(scales) > 1 and len(scales) != n_steps:
            raise ConfigError(
                f"--lr-scale: {len(scales)} values for {n_steps} steps; give one value, or one per "
                "step"
            )
        if not all(0 < scale < math.inf for scale in scales):
            raise ConfigError(f"--lr-scale {_listed(scales)}: expected values above 0")
        if not 0 <= self.warmup_epochs < math.inf:
            raise ConfigError(f"--unfreeze-warmup {self.warmup_epochs:g}: expected 0 or more")

    @property
    def _n_layers(self) -> int:
        return int(self.freeze) if self.freeze.isdecimal() else 0

    def steps_done(self, epoch: int) -> int:
        """Count the unfreezing steps up to and including an epoch."""
        return sum(epoch >= begin for begin in self.unfreeze_at)

    def n_frozen(self, at_first: int, steps_done: int) -> int:
        """Count the layers, from the input on, that are frozen after a number of steps.

        Args:
            at_first: Layers frozen in epoch 0.
            steps_done: Number of unfreezing steps done.
        """
        n_steps = len(self.unfreeze_at)
        return at_first * (n_steps - steps_done) // n_steps if n_steps else at_first

    def scale(self, step: int) -> float:
        """Return the learning-rate factor of a step's layers."""
        return self.lr_scale[step if len(self.lr_scale) > 1 else 0] if self.lr_scale else LR_SCALE

    def warm_up(self, step: int, epochs_done: float) -> float:
        """Return the fraction of its learning rate that a step has reached in its warm-up.

        Args:
            step: Unfreezing step from 0.
            epochs_done: Epochs since the start of the training.
        """
        since = epochs_done - self.unfreeze_at[step]
        return min(since / self.warmup_epochs, 1.0) if self.warmup_epochs else 1.0


class Freezing:
    """Frozen layers of a model, and the parameter groups of its optimiser.

    Unfrozen layers get their own parameter groups, with the weight decay and other settings that
    the optimiser uses for such parameters.

    Args:
        model: Ultralytics' model, not wrapped.
        optimizer: Optimiser of all parameters, before its first step. Frozen ones are removed.
        options: Layers to freeze, and epochs to unfreeze them.

    Raises:
        ConfigError: The model has fewer layers before its head.
    """

    def __init__(self, model: DetectionModel, optimizer: Optimizer, options: FreezeOptions) -> None:
        self.options = options
        self._model, self._optimizer = model, optimizer
        self._n_at_first = n_layers(options.freeze, model.yaml)
        self._steps_done = 0
        self._average: nn.Module | None = None
        self._copies: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._names = {value: name for name, value in model.named_parameters()}
        n_steps = len(options.unfreeze_at)
        n_frozen = [options.n_frozen(self._n_at_first, i) for i in range(n_steps + 1)]
        self._steps = [
            self._groups(step, range(after, before))
            for step, (before, after) in enumerate(pairwise(n_frozen))
        ]
        self._n_first_groups = len(optimizer.param_groups)
        frozen = self.frozen_names()
        for group in optimizer.param_groups:
            group["params"] = [
                p for p in group["params"] if not _contains_any(self._names[p], frozen)
            ]
        self.set_epoch(0)

    @property
    def n_groups(self) -> int:
        """Number of parameter groups once all steps are done."""
        return self._n_first_groups + sum(map(len, self._steps))

    def frozen_names(self) -> list[str]:
        """List substrings that identify the frozen parameters by their names."""
        n_frozen = self.options.n_frozen(self._n_at_first, self._steps_done)
        return [f"model.{i}." for i in range(n_frozen)] + [NEVER_TRAINED]

    def set_epoch(self, epoch: int) -> bool:
        """Freeze and unfreeze the layers for an epoch.

        The optimiser discards its state of layers that are frozen again.

        Args:
            epoch: Epoch from 0; it may be earlier or later than the previous one.

        Returns:
            Whether the parameter groups of the optimiser have changed.
        """
        before, self._steps_done = self._steps_done, self.options.steps_done(epoch)
        n_kept = self._n_first_groups + sum(map(len, self._steps[: self._steps_done]))
        for group in self._optimizer.param_groups[n_kept:]:
            for value in group["params"]:
                self._optimizer.state.pop(value, None)
        del self._optimizer.param_groups[n_kept:]
        for groups in self._steps[before : self._steps_done]:
            for group in groups:
                self._optimizer.add_param_group(dict(group))
        frozen = self.frozen_names()
        for value, name in self._names.items():
            value.requires_grad = not _contains_any(name, frozen)
            if not value.requires_grad:
                value.grad = None
        self._average = None
        return before != self._steps_done

    def warm_up(self, epochs_done: float) -> None:
        """Scale the rates that the schedule just set for layers in their warm-up.

        Args:
            epochs_done: Epochs since the start of the training.
        """
        for group in self._optimizer.param_groups[self._n_first_groups :]:
            group["lr"] *= self.options.warm_up(group["unfreezing"], epochs_done)

    def lower_rates(self, factor: float) -> None:
        """Multiply the later learning rates of layers that are still frozen."""
        for group in (group for groups in self._steps for group in groups):
            for name in ("initial_lr", "lr"):
                group[name] *= factor

    def restore(self, average: nn.Module) -> None:
        """Copy frozen values into the average: averaging two equal numbers would round them.

        Args:
            average: Moving average of the model.
        """
        if self._average is not average:
            values, average_values = self._model.state_dict(), average.state_dict()
            frozen = self.frozen_names()
            names = [name for name in values if _contains_any(name, frozen)]
            self._average = average
            self._copies = [average_values[name] for name in names], [values[n] for n in names]
        if self._copies[0]:
            torch._foreach_copy_(*self._copies)

    def _groups(self, step: int, layers: range) -> list[dict[str, Any]]:
        """Build parameter groups for layers, with the settings of their present groups."""
        names = [f"model.{i}." for i in layers]
        groups = []
        for group in self._optimizer.param_groups:
            rate = group["lr"] * self.options.scale(step)
            values = [
                value
                for value in group["params"]
                if _contains_any(self._names[value], names)
                and NEVER_TRAINED not in self._names[value]
            ]
            if values:
                settings = {"lr": rate, "initial_lr": rate, "unfreezing": step}
                groups.append(group | {"params": values} | settings)
        return groups


def n_layers(freeze: str, architecture: Mapping[str, Any]) -> int:
    """Count the layers that are frozen at first.

    Args:
        freeze: Layers to freeze, as in :class:`FreezeOptions`.
        architecture: Lists of layers under ``backbone`` and ``head``; the last one is the detection
            head.

    Raises:
        ConfigError: The model has fewer layers before its head.
    """
    if not freeze:
        return 0
    n_backbone = len(architecture["backbone"])
    n_before_head = n_backbone + len(architecture["head"]) - 1
    if not freeze.isdecimal():
        return n_backbone if freeze == "backbone" else n_before_head
    if int(freeze) > n_before_head:
        raise ConfigError(
            f"--freeze {freeze}: the model has only {n_before_head} layers before its head"
        )
    return int(freeze)


def check_freezing(options: FreezeOptions, *, weights: DetectionModel | None, epochs: int) -> None:
    """Check that a training can freeze and unfreeze the requested layers.

    Args:
        options: Layers to freeze, and epochs to unfreeze them.
        weights: Model of the weights file; None to train from scratch.
        epochs: Epochs of the training.

    Raises:
        ConfigError: The model starts from scratch or has fewer layers, or an unfreezing epoch is
            not reached.
    """
    if not options.freeze:
        return
    if weights is None:
        raise ConfigError(
            "--freeze: the layers of a model from scratch have learnt nothing; give --weights "
            "FILE.pt"
        )
    n_layers(options.freeze, weights.yaml)
    late = [epoch for epoch in options.unfreeze_at if epoch >= epochs]
    if late:
        raise ConfigError(
            f"--unfreeze-at {_listed(late)}: the training ends after {epochs} epochs; give smaller "
            "numbers"
        )


def _contains_any(name: str, parts: Sequence[str]) -> bool:
    """Return whether a parameter's name contains one of the parts, as Ultralytics matches them."""
    return any(part in name for part in parts)


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
