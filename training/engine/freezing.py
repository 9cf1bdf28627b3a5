"""Frozen layers, and when they are trained again.

A frozen layer has no gradient, is not in the optimiser, and its batch normalisation neither uses
the batch nor counts it. The layers from the input on are frozen. They come back at once or in
steps, those next to the head first, each step with a lower learning rate and a warm-up of its own:
at the full rate they lose in a few steps what they had learnt.

Ultralytics' own ``freeze`` is not used: it leaves the parameters in the optimiser, and knows no
end. It also freezes before the model is wrapped in ``DistributedDataParallel``, which gathers for
ever only the gradients of what needs one at that moment. Here the model is wrapped first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError
from training.models.checkpoints import is_weights, load_weights

NEVER_TRAINED = ".dfl"
"""Part of the names of what is always frozen: the values of the bins."""
LR_SCALE = 0.1
"""Learning rate of layers that come back, as a share of the others', unless said otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FreezeOptions:
    """Which layers are frozen, until when, and how they come back.

    Raises:
        ConfigError: ``freeze`` is no part of a model, epochs do not rise, or the numbers of epochs
            and of learning rates do not fit.
    """

    freeze: str = ""
    """``backbone``; ``neck``, which is all before the head; or how many layers; empty for none."""
    unfreeze_at: tuple[int, ...] = ()
    """Epochs, from 0, with which a step of the layers comes back, the last ones first, in parts of
    equal number; empty for never."""
    lr_scale: tuple[float, ...] = ()
    """Learning rate of a step's layers as a share of the others'; one for all or one for each;
    empty for 0.1."""
    warmup_epochs: float = 1.0
    """Epochs in which a step's learning rate rises from 0."""

    def __post_init__(self) -> None:
        if self.freeze not in {"", "backbone", "neck"} and not self._n_given:
            raise ConfigError(
                f"freeze: {self.freeze}: expected backbone, neck, or a number of layers"
            )
        if self.unfreeze_at and not self.freeze:
            raise ConfigError("unfreeze_at: nothing is frozen; add freeze, or leave it out")
        if any(later <= earlier for earlier, later in pairwise((0, *self.unfreeze_at))):
            raise ConfigError(f"unfreeze_at: {_listed(self.unfreeze_at)}: must rise, from 1 on")
        if 0 < self._n_given < len(self.unfreeze_at):
            raise ConfigError(
                f"unfreeze_at: {len(self.unfreeze_at)} steps for {self._n_given} layers; give fewer"
            )
        self._check_rates()

    def _check_rates(self) -> None:
        n_steps, scales = len(self.unfreeze_at), self.lr_scale
        if scales and not n_steps:
            raise ConfigError("lr_scale: no layer comes back; add unfreeze_at, or leave it out")
        if len(scales) > 1 and len(scales) != n_steps:
            raise ConfigError(
                f"lr_scale: {len(scales)} rates for {n_steps} steps; give one, or one for each"
            )
        if not all(0 < scale < math.inf for scale in scales):
            raise ConfigError(f"lr_scale: {_listed(scales)}: must be above 0")
        if not 0 <= self.warmup_epochs < math.inf:
            raise ConfigError(f"unfreeze_warmup: {self.warmup_epochs:g}: must be 0 or above")

    @property
    def _n_given(self) -> int:
        return int(self.freeze) if self.freeze.isdecimal() else 0

    def steps_done(self, epoch: int) -> int:
        """Count the steps that layers have come back in, that with this epoch too."""
        return sum(epoch >= begin for begin in self.unfreeze_at)

    def n_frozen(self, at_first: int, steps_done: int) -> int:
        """Count the layers, from the input on, that are still frozen after some steps.

        Args:
            at_first: How many there are in epoch 0.
            steps_done: Of ``unfreeze_at``.
        """
        n_steps = len(self.unfreeze_at)
        return at_first * (n_steps - steps_done) // n_steps if n_steps else at_first

    def scale(self, step: int) -> float:
        """Give the learning rate of a step's layers, as a share of the others'."""
        return self.lr_scale[step if len(self.lr_scale) > 1 else 0] if self.lr_scale else LR_SCALE

    def warm_up(self, step: int, epochs_done: float) -> float:
        """Give the share of its learning rate that a step has so far in its warm-up.

        Args:
            step: From 0.
            epochs_done: Since the start of the training.
        """
        since = epochs_done - self.unfreeze_at[step]
        return min(since / self.warmup_epochs, 1.0) if self.warmup_epochs else 1.0


class Freezing:
    """The frozen layers of a model, and what its optimiser has of the others.

    Layers that come back get groups of parameters of their own, with the weight decay and whatever
    else the optimiser has for their kind.

    Args:
        model: Ultralytics', not wrapped.
        optimizer: Of all parameters, before its first step. What is frozen is taken out.
        options: Which layers, and until when.

    Raises:
        ConfigError: The model has fewer layers before its head.
    """

    def __init__(self, model: DetectionModel, optimizer: Optimizer, options: FreezeOptions) -> None:
        self.options = options
        self._model, self._optimizer = model, optimizer
        self._at_first = n_layers(options.freeze, model.yaml)
        self._steps_done = 0
        self._average: nn.Module | None = None
        self._copies: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._names = {value: name for name, value in model.named_parameters()}
        still = [options.n_frozen(self._at_first, i) for i in range(len(options.unfreeze_at) + 1)]
        self._steps = [
            self._groups(step, range(left, before))
            for step, (before, left) in enumerate(pairwise(still))
        ]
        self._n_first = len(optimizer.param_groups)
        frozen = self.frozen_names()
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if not _is_in(self._names[p], frozen)]
        self.go_to(0)

    @property
    def n_groups(self) -> int:
        """How many groups of parameters the optimiser has in the end."""
        return self._n_first + sum(map(len, self._steps))

    def frozen_names(self) -> list[str]:
        """List parts of names, one of which the name of every frozen parameter has."""
        n_frozen = self.options.n_frozen(self._at_first, self._steps_done)
        return [f"model.{i}." for i in range(n_frozen)] + [NEVER_TRAINED]

    def go_to(self, epoch: int) -> bool:
        """Freeze and unfreeze what an epoch asks for, coming from whatever other.

        Layers that are frozen again lose what the optimiser knew of them.

        Args:
            epoch: From 0.

        Returns:
            Whether the optimiser has other groups of parameters than before.
        """
        before, self._steps_done = self._steps_done, self.options.steps_done(epoch)
        kept = self._n_first + sum(map(len, self._steps[: self._steps_done]))
        for group in self._optimizer.param_groups[kept:]:
            for value in group["params"]:
                self._optimizer.state.pop(value, None)
        del self._optimizer.param_groups[kept:]
        for groups in self._steps[before : self._steps_done]:
            for group in groups:
                self._optimizer.add_param_group(dict(group))
        frozen = self.frozen_names()
        for value, name in self._names.items():
            value.requires_grad = not _is_in(name, frozen)
            if not value.requires_grad:
                value.grad = None
        self._average = None
        return before != self._steps_done

    def warm_up(self, epochs_done: float) -> None:
        """Lower the rates of layers that came back not long ago, from what they were just set to.

        Args:
            epochs_done: Since the start of the training.
        """
        for group in self._optimizer.param_groups[self._n_first :]:
            group["lr"] *= self.options.warm_up(group["unfreezing"], epochs_done)

    def lower_rates(self, factor: float) -> None:
        """Let the layers that are still frozen come back with a share of their learning rate."""
        for group in (group for groups in self._steps for group in groups):
            for name in ("initial_lr", "lr"):
                group[name] *= factor

    def restore(self, average: nn.Module) -> None:
        """Copy what is frozen into the model's average: to average two equal numbers rounds them.

        Args:
            average: A copy of the model.
        """
        if self._average is not average:
            own, others = self._model.state_dict(), average.state_dict()
            frozen = self.frozen_names()
            names = [name for name in own if _is_in(name, frozen)]
            self._average = average
            self._copies = [others[name] for name in names], [own[name] for name in names]
        if self._copies[0]:
            torch._foreach_copy_(*self._copies)

    def _groups(self, step: int, layers: range) -> list[dict[str, Any]]:
        """Make groups of some layers, like those that the optimiser has them in."""
        names = [f"model.{i}." for i in layers]
        groups = []
        for group in self._optimizer.param_groups:
            rate = group["lr"] * self.options.scale(step)
            own = [
                value
                for value in group["params"]
                if _is_in(self._names[value], names) and NEVER_TRAINED not in self._names[value]
            ]
            if own:
                settings = {"lr": rate, "initial_lr": rate, "unfreezing": step}
                groups.append(group | {"params": own} | settings)
        return groups


def n_layers(freeze: str, architecture: Mapping[str, Any]) -> int:
    """Count the layers that are frozen at first.

    Args:
        freeze: As in :class:`FreezeOptions`.
        architecture: A model's ``backbone`` and ``head``, which ends with the detection head.

    Raises:
        ConfigError: The model has fewer layers before its head.
    """
    if not freeze:
        return 0
    n_backbone = len(architecture["backbone"])
    most = n_backbone + len(architecture["head"]) - 1
    if not freeze.isdecimal():
        return n_backbone if freeze == "backbone" else most
    if int(freeze) > most:
        raise ConfigError(f"freeze: {freeze}: the model has {most} layers before its head")
    return int(freeze)


def check_freezing(
    options: FreezeOptions, *, weights: str, epochs: int, trust: bool = False
) -> None:
    """Make sure that a training can be frozen as it is asked for.

    Args:
        options: What to freeze, and until when.
        weights: File that the model is filled from; or the name of one that is not.
        epochs: Of the training.
        trust: Whether the file may run code when it is loaded.

    Raises:
        ConfigError: The layers are not there or have learnt nothing, or come back too late.
        InputError: The weights cannot be read.
    """
    if not options.freeze:
        return
    if not is_weights(weights):
        raise ConfigError(
            "freeze: the layers of a model from scratch have learnt nothing; give --weights FILE.pt"
        )
    n_layers(options.freeze, load_weights(Path(weights), trust=trust).yaml)
    late = [epoch for epoch in options.unfreeze_at if epoch >= epochs]
    if late:
        raise ConfigError(
            f"unfreeze_at: {_listed(late)}: the training ends after {epochs} epochs; give less"
        )


def _is_in(name: str, parts: Sequence[str]) -> bool:
    """Tell whether a parameter's name has one of some parts; Ultralytics looks in this way too."""
    return any(part in name for part in parts)


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
