"""Frozen layers, and their unfreezing during training.

A frozen layer has no gradient and is not in the optimiser, and its batch normalisation ignores the
statistics of the batch. Layers are frozen from the input on. They are unfrozen at once or in
several steps, last layers first, each with a lower learning rate and its own warm-up: at the full
rate, the layers would lose within a few steps what they have learned.

Ultralytics' own ``freeze`` is not used: it keeps the parameters in the optimiser and never
unfreezes them. It also freezes before the model is wrapped in ``DistributedDataParallel``, which
from then on synchronises only the gradients of parameters that needed one at that moment. Here the
model is wrapped first.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError
from eval.html.number_format import counted
from settings.freezing import FreezeOptions, comma_separated

NEVER_TRAINED = ".dfl"
"""Part of the names of parameters that are always frozen: the values of the distance bins."""


class Freezing:
    """Frozen layers of a model, and the parameter groups of its optimiser.

    Unfrozen layers get their own parameter groups, with the weight decay and other settings that
    the optimiser uses for such parameters.

    Args:
        model: Ultralytics' model, not wrapped.
        optimizer: Optimiser of all parameters, before its first step. Frozen parameters are
            removed.
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
            epochs_done: Epochs since the start of training.
        """
        for group in self._optimizer.param_groups[self._n_first_groups :]:
            group["lr"] *= self.options.warm_up(group["unfreezing"], epochs_done)

    def lower_rates(self, factor: float) -> None:
        """Multiply the later learning rates of layers that are still frozen."""
        for group in (group for groups in self._steps for group in groups):
            for name in ("initial_lr", "lr"):
                group[name] *= factor

    def restore(self, average: nn.Module) -> None:
        """Copy frozen values into the moving average: averaging two equal numbers would round them.

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
    """Check that a training run can freeze and unfreeze the requested layers.

    Args:
        options: Layers to freeze, and epochs to unfreeze them.
        weights: Model of the weights file; None to train from scratch.
        epochs: Number of training epochs.

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
            f"--unfreeze-at {comma_separated(late)}: the training ends after "
            f"{counted(epochs, 'epoch', 'epochs')}; give smaller numbers"
        )


def _contains_any(name: str, parts: Sequence[str]) -> bool:
    """Return whether a parameter's name contains one of the parts, as Ultralytics matches them."""
    return any(part in name for part in parts)
