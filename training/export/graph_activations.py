"""Activation functions in an ONNX graph, read from its operators rather than from names of nodes.

An activation function has no weights, and an exporter may write it as one operator or as several.
Therefore the operators behind each convolution are compared with the patterns of known functions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from settings.activations import leaky_name

WEIGHT = ".conv.weight"
"""End of the name of the weights of a convolution that has an activation function."""
NO_ACTIVATION = "none"
"""Name of the function of a layer without one."""
SINGLE = {"Relu": "relu", "HardSwish": "hardswish", "Gelu": "gelu", "Mish": "mish", "Swish": "silu"}
"""Activation functions of one operator without attributes."""
GATED = {("Sigmoid",): "silu", ("HardSigmoid",): "hardswish", ("Softplus", "Tanh"): "mish"}
"""Activation functions that multiply their input by the result of one or more operators."""

Consumers = Mapping[str, Sequence[Any]]
"""Operators that read each tensor, by the name of the tensor."""


def graph_activations(file: Path) -> dict[str, str]:
    """List the activation functions in an ONNX graph.

    Args:
        file: ONNX file whose weights have the names that they have in torch.

    Returns:
        Activation function of each layer of convolution and batch normalisation, by the name of
        its activation module, such as ``model.0.act``; ``none`` for a layer without one.
    """
    import onnx

    graph = onnx.load(file).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"
    }
    consumers = defaultdict[str, list[Any]](list)
    for node in graph.node:
        for name in node.input:
            consumers[name].append(node)
    return {
        f"{node.input[1].removesuffix(WEIGHT)}.act": _function(node.output[0], consumers, constants)
        for node in graph.node
        if node.op_type == "Conv" and node.input[1].endswith(WEIGHT)
    }


def _function(tensor: str, consumers: Consumers, constants: Mapping[str, Any]) -> str:
    """Return the activation function that is applied to a tensor."""
    from onnx import numpy_helper

    nodes = consumers[tensor]
    kinds = sorted(node.op_type for node in nodes)
    if len(nodes) == 1:
        node, kind = nodes[0], kinds[0]
        if kind in SINGLE:
            return SINGLE[kind]
        if kind == "LeakyRelu":
            return leaky_name(node.attribute[0].f)
        if kind == "Clip":
            limits = [float(numpy_helper.to_array(constants[name])) for name in node.input[1:]]
            return "relu6" if limits == [0, 6] else f"clip from {limits[0]:g} to {limits[1]:g}"
    for operators, name in GATED.items():
        if kinds == sorted((operators[0], "Mul")) and _is_gated(tensor, operators, consumers):
            return name
    if kinds == ["Div", "Mul"]:
        divided = next(node.output[0] for node in nodes if node.op_type == "Div")
        return "gelu" if [node.op_type for node in consumers[divided]] == ["Erf"] else NO_ACTIVATION
    return NO_ACTIVATION


def _is_gated(tensor: str, operators: Sequence[str], consumers: Consumers) -> bool:
    """Return whether a tensor is multiplied by the result of operators on it."""
    nodes, name = consumers[tensor], tensor
    for operator in operators:
        name = next(node.output[0] for node in nodes if node.op_type == operator)
        nodes = consumers[name]
        if not nodes:
            return False
    return any(node.op_type == "Mul" and {*node.input} == {tensor, name} for node in nodes)
