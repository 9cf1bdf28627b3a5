"""Models without numbers: everything about a network but what stands in its weights.

Such a model is built with tensors that have a shape and no storage, so that even the largest takes
no memory and no time for random numbers. Its head gets the form that a training gives it.
"""

import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from ultralytics.nn.modules.block import DFL
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError
from training.heads.grouped import GroupedDetect
from training.heads.head_config import HeadConfig
from training.models.checkpoints import is_weights, load_weights
from training.models.description import activation_kept
from training.models.transfer import set_head, transfer
from training.models.zoo import model_file
from training.runtime.library_loggers import quiet


def trained_model(
    name: str,
    n_classes: int,
    heads: HeadConfig | None = None,
    *,
    real: bool = True,
    trust: bool = False,
) -> DetectionModel:
    """Build a model as it is at the start of a training.

    Args:
        name: As ``omr train --model`` takes it.
        n_classes: Of the data.
        heads: Groups of classes; None for a single head, or for that of the weights.
        real: With numbers. Without, the weights have shapes only; a file with weights is read, so
            that its model has numbers in any case.
        trust: Let a pickle that cannot be read otherwise run its code.

    Returns:
        On the CPU, or on torch's ``meta`` device.

    Raises:
        ConfigError: No such model, or the groups are not of so many classes.
        InputError: No such file, or no detection model in it.
    """
    file = model_file(name, trust=trust)
    if is_weights(name):
        return _from_weights(load_weights(Path(name), trust=trust), Path(name), n_classes, heads)
    names = _names(n_classes, heads, {})
    with quiet(), activation_kept(), nullcontext() if real else _Shapes({torch.tensor}):
        model = DetectionModel(file, nc=n_classes, verbose=False)
    head = model.model[-1]
    if head.reg_max > 1 and not real:
        head.dfl = DFL(head.reg_max)  # whose weights are looked at
    set_head(model, names, None, signed=heads is None or heads.box_encoding == "signed")
    with nullcontext() if real else _Shapes({torch.tensor, torch.ones}):
        set_head(model, names, heads, signed=False)
    return model


def replace_tensors(model: DetectionModel, made: Callable[[Tensor], Tensor]) -> None:
    """Give a model other tensors, but for the bins of its distances, which have to be numbers.

    Args:
        model: Changed in place.
        made: From a parameter or a buffer to what takes its place.
    """
    bins = getattr(getattr(model.model[-1], "dfl", None), "conv", None)
    for module in model.modules():
        if module is bins:
            continue
        for name, own in module._parameters.items():
            if own is not None:
                new = nn.Parameter(made(own.detach()), requires_grad=own.requires_grad)
                module._parameters[name] = new
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = made(buffer)


def _from_weights(
    source: DetectionModel, file: Path, n_classes: int, heads: HeadConfig | None
) -> DetectionModel:
    """Build what a training from weights starts with."""
    names = _names(n_classes, heads, source.names)
    if isinstance(source.model[-1], GroupedDetect) and len(source.names) != n_classes:
        raise ConfigError(
            f"{file}: has heads for {len(source.names)} classes, not for {n_classes}; "
            "start from a single head's"
        )
    with quiet(), activation_kept():
        model = DetectionModel(copy.deepcopy(source.yaml), nc=n_classes, verbose=False)
    transfer(source, model, names, heads)
    return model


def _names(
    n_classes: int, heads: HeadConfig | None, of_weights: Mapping[int, str]
) -> tuple[str, ...]:
    """Name the classes: as the groups do, or as the weights do if they are as many."""
    if heads is None:
        known = len(of_weights) == n_classes
        return tuple(of_weights.values()) if known else tuple(map(str, range(n_classes)))
    names = tuple(name for group in heads.groups for name in group.classes)
    if len(names) != n_classes:
        raise ConfigError(f"heads: for {len(names)} classes, and there are {n_classes}")
    return names


class _Shapes(TorchFunctionMode):
    """Makes new floating tensors without storage.

    Args:
        real: Functions whose tensors have numbers all the same.
    """

    def __init__(self, real: set[Callable[..., Tensor]]) -> None:
        super().__init__()
        self.real = real

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = dict(kwargs or {})
        makes = func in _device_constructors() and func not in self.real
        if makes and kwargs.get("device") is None and kwargs.get("dtype") is not torch.int64:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
