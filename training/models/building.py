"""Networks built from model files, without a trace in Ultralytics' global state."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from training.heads.grouped import GROUP, use_depthwise_towers
from training.models.activations import (
    activations_of,
    check_activations,
    overridden,
    set_activations,
)
from training.models.variants import DEPTHWISE


def build_network(
    content: Mapping[str, Any], n_classes: int, activations: Mapping[str, str] | None = None
) -> DetectionModel:
    """Build a network with a single head and initial values.

    Args:
        content: Content of a model file; not changed.
        n_classes: Number of classes.
        activations: Activation functions by part, as in a description; those of the model file for
            parts that it lacks.

    Raises:
        ValueError: An activation function is unknown.
    """
    content = copy.deepcopy(dict(content))
    with activation_kept():
        model = DetectionModel(content, ch=content.get("channels", 3), nc=n_classes, verbose=False)
    if content.get(DEPTHWISE):
        use_depthwise_towers(model.model[-1])
    set_activations(model, activations or {})
    check_activations(model, activations or {}, "the new network")
    return model


def network_like(
    source: DetectionModel, n_classes: int, activations: Mapping[str, str]
) -> DetectionModel:
    """Build a network of the architecture of another one, with initial values.

    Args:
        source: Network to resemble; if its head has several groups, the result has a single head.
        n_classes: Number of classes.
        activations: Activation functions by part; those of ``source`` for parts that it lacks.

    Raises:
        ValueError: An activation function is unknown.
    """
    grouped = overridden(activations_of(source), activations, source.yaml)
    single = {GROUP.sub("", layer): name for layer, name in grouped.items()}
    return build_network(source.yaml, n_classes, single)


@contextlib.contextmanager
def activation_kept() -> Iterator[None]:
    """Limit the activation named in a model file to its own model, even after an error.

    Ultralytics evaluates it and stores it in a class for every model that the process builds.
    """
    before = Conv.default_act
    try:
        yield
    finally:
        Conv.default_act = before
