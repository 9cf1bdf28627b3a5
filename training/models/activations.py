"""Activation functions of a model: counted by use, described by part, replaced and verified.

An activation function has no tensors, so the tensors of one network fit into another with other
functions, which then computes something else. Ultralytics lets all convolutions share one module
object, so that a list of distinct modules contains it once; here each use counts.

A description maps parts to names, such as ``{"backbone": "relu", "neck": "silu", "head": "silu"}``.
A use that differs from its part has an entry of its own under the name of its layer.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from class_maps import ConfigError, short_list
from settings.activations import LEAKY, PARTS, leaky_name, leaky_slope

KINDS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    LEAKY: nn.LeakyReLU,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
    "mish": nn.Mish,
}
"""Module of each activation function."""
GATES = {"ChannelAttention", "SpatialAttention"}
"""Layers of Ultralytics whose sigmoid weights a map, rather than following a convolution."""
MOST_LAYERS = 5
"""Maximum number of layers that a message names."""

Uses = dict[str, str]
"""Name of the activation function of each use, by the name of its module."""


def common_code(description: Mapping[str, str]) -> str:
    """Return the activation function of all layers as a model file of Ultralytics names it.

    Args:
        description: Activation functions of a model.

    Returns:
        For example ``nn.ReLU()``; empty if there are several, or one without a name here.
    """
    functions = {*description.values()}
    name = functions.pop() if len(functions) == 1 else ""
    kind, _, slope = name.partition(":")
    return f"nn.{KINDS[kind].__name__}({slope})" if kind in KINDS else ""


def activation_module(name: str) -> nn.Module:
    """Build the module of an activation function.

    Args:
        name: Name as in a description, such as ``silu`` or ``leaky:0.1``.

    Raises:
        ValueError: The name is unknown.
    """
    slope = leaky_slope(name)
    if slope is not None:
        return nn.LeakyReLU(slope)
    if name not in KINDS or name == LEAKY:
        raise ValueError(f"unknown activation: {name}")
    return KINDS[name]()


def activation_name(kind: str, slope: float = 0.0) -> str:
    """Return the name of an activation function in descriptions.

    Args:
        kind: Class of its module, such as ``LeakyReLU``.
        slope: Slope for negative values of a ``LeakyReLU``.

    Returns:
        Name in ``NAMES``, ``leaky`` with its slope; ``kind`` itself for any other function.
    """
    names = {module.__name__: name for name, module in KINDS.items()}
    name = names.get(kind, kind)
    return leaky_name(slope) if name == LEAKY else name


def is_activation(name: str, kind: str, parent: str) -> bool:
    """Return whether a module is the activation function of a layer.

    Args:
        name: Name of the module in its parent, such as ``act``.
        kind: Class of the module.
        parent: Class of its parent.
    """
    if parent in GATES:
        return False
    is_known = kind in {module.__name__ for module in KINDS.values()}
    return is_known or (name == "act" and kind != nn.Identity.__name__)


def activation_uses(model: nn.Module) -> Uses:
    """List every use of an activation function, by the name of its module.

    Args:
        model: Model of Ultralytics, or a part of one.
    """
    return {layer: _name_of(module) for layer, _, module in _activations(model)}


def activation_counts(model: Any) -> dict[str, dict[str, int]]:  # noqa: ANN401
    """Count the uses of each activation function in each part of a model.

    Args:
        model: Model of Ultralytics, with its model file as ``yaml``.
    """
    return counts_of(activation_uses(model), model.yaml)


def counts_of(
    uses: Mapping[str, str], architecture: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """Count uses by part and activation function.

    Args:
        uses: Result of :func:`activation_uses`.
        architecture: Content of the model file.
    """
    counts: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    for layer, name in uses.items():
        counts[part_of(layer, architecture)][name] += 1
    return {part: dict(sorted(counter.items())) for part, counter in counts.items()}


def part_of(layer: str, architecture: Mapping[str, Any]) -> str:
    """Return the part of a model that a layer belongs to.

    Args:
        layer: Name of a module in the model, such as ``model.3.conv``.
        architecture: Content of the model file.
    """
    n_backbone, n_other = len(architecture["backbone"]), len(architecture["head"])
    index = int(layer.split(".")[1])
    if index < n_backbone:
        return "backbone"
    return "head" if index == n_backbone + n_other - 1 else "neck"


def activations_of(model: Any) -> dict[str, str]:  # noqa: ANN401
    """Describe the activation functions of a model.

    Args:
        model: Model of Ultralytics, with its model file as ``yaml``.

    Returns:
        Most frequent function by part, and other functions by layer.
    """
    return described(activation_uses(model), model.yaml)


def described(uses: Mapping[str, str], architecture: Mapping[str, Any]) -> dict[str, str]:
    """Describe activation functions, as :func:`activations_of`.

    Args:
        uses: Result of :func:`activation_uses`.
        architecture: Content of the model file.
    """
    counts = counts_of(uses, architecture)
    by_part = {part: max(names, key=lambda n: names[n]) for part, names in counts.items() if names}
    exceptions = {
        layer: name for layer, name in uses.items() if name != by_part[part_of(layer, architecture)]
    }
    return by_part | exceptions


def overridden(
    description: Mapping[str, str], chosen: Mapping[str, str], architecture: Mapping[str, Any]
) -> dict[str, str]:
    """Return a description with other functions for some parts, for all layers of each.

    Args:
        description: Description to start from.
        chosen: Activation function of each part to change.
        architecture: Content of the model file.
    """
    kept = {
        key: name
        for key, name in description.items()
        if key in PARTS or part_of(key, architecture) not in chosen
    }
    return kept | dict(chosen)


def set_activations(model: Any, wanted: Mapping[str, str]) -> None:  # noqa: ANN401
    """Replace the activation functions of a model, in place; each use gets a module of its own.

    Args:
        model: Model of Ultralytics, with its model file as ``yaml``.
        wanted: Description; parts that it lacks are not changed.

    Raises:
        ValueError: An activation function is unknown.
    """
    for layer, parent, old in list(_activations(model)):
        name = _wanted(layer, model.yaml, wanted)
        if name not in (None, _name_of(old)):
            new = activation_module(name)
            if hasattr(new, "inplace"):
                vars(new)["inplace"] = bool(getattr(old, "inplace", False))
            setattr(parent, layer.rpartition(".")[2], new)


def check_activations(model: Any, wanted: Mapping[str, str], where: str) -> None:  # noqa: ANN401
    """Check every use of an activation function in a model.

    Args:
        model: Model of Ultralytics, with its model file as ``yaml``.
        wanted: Description; parts that it lacks may have any function.
        where: Model or file that is checked, for the error message.

    Raises:
        ConfigError: A use differs.
    """
    check_uses(activation_uses(model), model.yaml, wanted, where)


def check_uses(
    uses: Mapping[str, str],
    architecture: Mapping[str, Any],
    wanted: Mapping[str, str],
    where: str,
) -> None:
    """Check uses of activation functions, as :func:`check_activations`."""
    others = [
        f"{layer} is {name}, expected {expected}"
        for layer, name in uses.items()
        if (expected := _wanted(layer, architecture, wanted)) not in (None, name)
    ]
    if others:
        raise ConfigError(
            f"{where}: {len(others)} of {len(uses)} activations differ: "
            f"{short_list(others, MOST_LAYERS)}; report this as a bug of omr"
        )


def _wanted(layer: str, architecture: Mapping[str, Any], wanted: Mapping[str, str]) -> str | None:
    """Return the activation function that a description has for a use; None for any."""
    return wanted.get(layer, wanted.get(part_of(layer, architecture)))


def _name_of(module: Any) -> str:  # noqa: ANN401
    return activation_name(type(module).__name__, getattr(module, "negative_slope", 0.0))


def _activations(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Yield the layer, the parent and the module of every use, shared modules once per use."""
    for name, parent in model.named_modules(remove_duplicate=False):
        for child, module in parent._modules.items():
            if module and is_activation(child, type(module).__name__, type(parent).__name__):
                yield f"{name}.{child}" if name else child, parent, module
