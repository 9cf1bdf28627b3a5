"""Models in their initial state for training, with weights or on torch's ``meta`` device.

Tensors on the ``meta`` device have a shape but no storage, so that even the largest model takes no
memory, and no random weights have to be drawn. The head gets the form that it has in training.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import DFL
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError
from settings.activations import parse_activations
from settings.head_config import HeadConfig
from training.heads.grouped import GroupedDetect
from training.memory.step_spec import StepSpec
from training.models.building import build_network, network_like
from training.models.checkpoints import load_weights, weights_file
from training.models.meta_tensors import MetaTensors
from training.models.transfer import set_head, transfer
from training.models.zoo import model_file, read_model
from training.runtime.library_loggers import quiet


def trained_model(
    name: str,
    n_classes: int,
    heads: HeadConfig | None = None,
    *,
    real: bool = True,
    trust: bool = False,
    activation: str = "",
) -> DetectionModel:
    """Build a model in its initial state for training.

    Args:
        name: Value of ``omr train --model``.
        n_classes: Number of classes in the data.
        heads: Groups of classes; None for a single head, or for the head of the weights.
        real: Whether to initialise the weights; False builds a meta model. Weights from a file
            have values in either case.
        trust: Load pickled weights even if that executes their code.
        activation: Value of ``omr train --activation``.

    Returns:
        Model on the CPU, or on the ``meta`` device.

    Raises:
        ConfigError: The model or the activation is unknown, or the groups have another number of
            classes.
        InputError: The weights file is missing or does not contain a detection model.
    """
    file, chosen = model_file(name), parse_activations(activation)
    if weights := weights_file(name):
        source = load_weights(weights, trust=trust)
        return _from_weights(source, weights, n_classes, heads, chosen)
    names = _names(n_classes, heads, {})
    with quiet(), nullcontext() if real else MetaTensors({torch.tensor}):
        model = build_network(read_model(file), n_classes, chosen)
    head = model.model[-1]
    if head.reg_max > 1 and not real:
        head.dfl = DFL(head.reg_max)  # with values, because set_head reads them
    set_head(model, names, None, signed=heads is None or heads.box_encoding == "signed")
    with nullcontext() if real else MetaTensors({torch.tensor, torch.ones}):
        set_head(model, names, heads, signed=False)
    return model


def initial_model(spec: StepSpec, *, real: bool) -> DetectionModel:
    """Build the model of a training step, as :func:`trained_model`."""
    return trained_model(
        spec.model,
        spec.n_classes,
        spec.heads,
        real=real,
        trust=spec.trust,
        activation=spec.activation,
    )


def replace_tensors(model: DetectionModel, replacement: Callable[[Tensor], Tensor]) -> None:
    """Replace a model's tensors, except for the values of its distance bins, which are read later.

    Args:
        model: Model to change in place.
        replacement: Function from a parameter or buffer to its replacement.
    """
    bins = getattr(getattr(model.model[-1], "dfl", None), "conv", None)
    for module in model.modules():
        if module is bins:
            continue
        for name, old in module._parameters.items():
            if old is not None:
                new = nn.Parameter(replacement(old.detach()), requires_grad=old.requires_grad)
                module._parameters[name] = new
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = replacement(buffer)


def _from_weights(
    source: DetectionModel,
    file: Path,
    n_classes: int,
    heads: HeadConfig | None,
    chosen: Mapping[str, str],
) -> DetectionModel:
    """Build the initial model of a run that starts from weights."""
    names = _names(n_classes, heads, source.names)
    if isinstance(source.model[-1], GroupedDetect) and len(source.names) != n_classes:
        raise ConfigError(
            f"{file}: several heads for {len(source.names)} classes cannot be transferred to "
            f"{n_classes}; use weights with a single head"
        )
    with quiet():
        model = network_like(source, n_classes, chosen)
    transfer(source, model, names, heads)
    return model


def _names(
    n_classes: int, heads: HeadConfig | None, weight_names: Mapping[int, str]
) -> tuple[str, ...]:
    """Name the classes after the groups, or after the weights if these have as many classes."""
    if heads is None:
        known = len(weight_names) == n_classes
        return tuple(weight_names.values()) if known else tuple(map(str, range(n_classes)))
    names = tuple(name for group in heads.groups for name in group.classes)
    if len(names) != n_classes:
        raise ConfigError(f"heads: config has {len(names)} classes, but the data has {n_classes}")
    return names
