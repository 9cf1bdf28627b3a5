"""Small TFLite files, built operator by operator."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from converters.files.hashes import sha256
from reading.decoding import Decoding, Level, decoding_file

flatbuffers = pytest.importorskip("flatbuffers")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

SIDE, STRIDE = 64, 32
"""Input size of :func:`write_network`, and its only stride."""
NAMES = "note", "stem"
SIGMOID_OF_TWO = 0.8808


class Graph:
    """A TFLite file in the making, with the signature that ``omr export`` writes."""

    def __init__(self) -> None:
        self.buffers = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[Any] = []

    def tensor(
        self,
        shape: tuple[int, ...],
        *,
        scale: float | None = None,
        zero_point: int = 0,
        values: Any = None,  # noqa: ANN401
        quantized: str = "int8",
    ) -> int:
        """Add a tensor of the type of its values; without values, quantised if it has a scale."""
        tensor = schema.TensorT()
        tensor.shape, tensor.name = list(shape), f"t{len(self.tensors)}"
        without = "float32" if scale is None else quantized
        kind = without if values is None else str(values.dtype)
        tensor.type = getattr(schema.TensorType, kind.upper())
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([scale], np.float32)
            tensor.quantization.zeroPoint = np.array([zero_point], np.int64)
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(
        self,
        kind: str,
        inputs: list[int],
        output: int,
        options: Any = None,  # noqa: ANN401
    ) -> None:
        """Add an operator, such as ``LEAKY_RELU`` with ``LeakyReluOptionsT``."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = code.builtinCode
        code.version = 3 if kind == "CONV_2D" else 2  # the first ones with int8
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.codes)
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self.codes.append(code)
        self.operators.append(operator)

    def to_bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Return the file, with outputs ``output_0``, ``output_1`` ..."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = inputs, outputs
        signature = schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.inputs = [_named("args_0", inputs[0])]
        signature.outputs = [_named(f"output_{i}", tensor) for i, tensor in enumerate(outputs)]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes, model.signatureDefs = self.codes, [signature]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _named(name: str, tensor: int) -> Any:  # noqa: ANN401
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry


def network_bytes(*, is_int8: bool = True, are_boxes_int16: bool = False) -> bytes:
    """Return a network of one level, whose class logits are 16 times a pixel's brightness, minus 14.

    A white cell has logits of 2, a black one of -14. Every box has distances of half a cell.
    """
    graph = Graph()
    scale = 1 / 255 if is_int8 else None
    pixels = graph.tensor((1, SIDE, SIDE, 3), scale=scale, zero_point=-128)
    cells = SIDE // STRIDE
    boxes = _convolution(graph, pixels, [0.0] * 4, 0.5, (1, cells, cells, 4), 1 / 64, is_int8)
    if are_boxes_int16:
        boxes, rounded = graph.tensor((1, cells, cells, 4), scale=2**-14, quantized="int16"), boxes
        graph.operator("QUANTIZE", [rounded], boxes)
    scores = _convolution(graph, pixels, [16.0] * 2, -14.0, (1, cells, cells, 2), 1 / 8, is_int8)
    return graph.to_bytes([pixels], [boxes, scores])


def _convolution(
    graph: Graph,
    pixels: int,
    gains: list[float],
    bias: float,
    shape: tuple[int, ...],
    scale: float,
    is_int8: bool,
) -> int:
    """Add a convolution that multiplies the first channel of a cell's first pixel by a gain."""
    weights = np.zeros((len(gains), 1, 1, 3), np.float32)
    weights[..., 0, 0, 0] = gains
    biases = np.full(len(gains), bias, np.float32)
    if is_int8:
        step = max(*gains, 1.0) / 127
        levels = np.rint(weights / step).astype(np.int8)
        filters = graph.tensor(levels.shape, scale=step, values=levels)
        offsets = np.rint(biases * 255 / step).astype(np.int32)
        bias_tensor = graph.tensor(biases.shape, scale=step / 255, values=offsets)
        result = graph.tensor(shape, scale=scale)
    else:
        filters = graph.tensor(weights.shape, values=weights)
        bias_tensor = graph.tensor(biases.shape, values=biases)
        result = graph.tensor(shape)
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = STRIDE
    options.padding = schema.Padding.VALID
    graph.operator("CONV_2D", [pixels, filters, bias_tensor], result, options)
    return result


def write_network(
    file: Path,
    *,
    is_int8: bool = True,
    are_boxes_int16: bool = False,
    **changes: Any,  # noqa: ANN401
) -> Path:
    """Write :func:`network_bytes` with its description.

    Args:
        file: File to write.
        is_int8: Whether the file is quantised.
        are_boxes_int16: Whether the box logits of a quantised file are in int16.
        **changes: Fields of the description that differ.
    """
    file.write_bytes(network_bytes(is_int8=is_int8, are_boxes_int16=are_boxes_int16))
    decoding = Decoding(
        sha256=sha256(file),
        input="args_0",
        imgsz=SIDE,
        classes=NAMES,
        levels=(Level(stride=STRIDE, boxes="output_0", scores="output_1"),),
        bins=(),
        groups=((0, 1),),
        channels=(0, 1),
    )
    changed = msgspec.structs.replace(decoding, **changes)
    decoding_file(file).write_bytes(msgspec.json.encode(changed))
    return file
