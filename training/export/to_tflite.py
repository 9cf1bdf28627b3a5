"""Conversion of a recorded network to TFLite.

Runs as a process with the tools for NPUs on its path, see :mod:`training.export.npu_tools`, and
therefore imports nothing of omr::

    python -P to_tflite.py FOLDER

``FOLDER`` contains ``program.pt2``, and for a network in int8 also ``samples.npy``, RGB images of
shape ``(N, S, S, 3)``, and ``outputs.json`` with ``ranges``, the lowest and highest value of
outputs by name, and ``precise``, the names of outputs in int16. The result is
``FOLDER/model.tflite``.
"""

import copy
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROGRAM, SAMPLES, OUTPUTS, MODEL = "program.pt2", "samples.npy", "outputs.json", "model.tflite"
SIGNATURE = "serving_default"
INPUT = "args_0"
"""Name of the input that LiteRT gives to the first argument."""
IMAGES_AT_ONCE = 8
"""Number of images in memory in float32."""
CONVOLUTIONS = "CONV_2D", "DEPTHWISE_CONV_2D"
UNQUANTIZED = "LEAKY_RELU"
"""Operator that the quantiser does not support, see :func:`fold_leaky_relu`."""
INT16_OPERATORS = (*CONVOLUTIONS, UNQUANTIZED, "ADD", "CONCATENATION", "LOGISTIC", "MUL", "RELU")
"""Operators of a branch that may be in int16."""
INT8_IN_INT16 = 128
"""Steps of int16 per step of int8, with which int16 covers int8 with any zero point."""
HEADROOM = 2.0
"""Range of values in int16 relative to that in the calibration images. There are enough steps for
larger values in other images."""


def main(folder: Path) -> None:
    """Convert the network in a folder."""
    content = converted(folder / PROGRAM)
    samples = folder / SAMPLES
    if samples.is_file():
        outputs = json.loads((folder / OUTPUTS).read_text("utf-8"))
        images = np.load(samples, mmap_mode="r")
        content = keep_int16(fold_leaky_relu(quantized(content, images, **outputs)))
    (folder / MODEL).write_bytes(content)


def converted(program: Path) -> bytes:
    """Convert a recorded network to TFLite in float32."""
    import litert_torch
    import torch

    recorded = torch.export.load(program)
    (inputs,), _ = recorded.example_inputs
    model = litert_torch.convert(recorded.module(check_guards=False), (inputs,))
    file = program.with_name(MODEL)
    model.export(str(file))
    return file.read_bytes()


def quantized(
    content: bytes,
    samples: NDArray[np.uint8],
    *,
    ranges: Mapping[str, Sequence[float]],
    precise: Sequence[str],
) -> bytes:
    """Quantise weights to int8, and activations to int8 or int16.

    Args:
        content: TFLite file in float32.
        samples: RGB images that determine the range of every activation, shape ``(N, S, S, 3)``.
        ranges: Lowest and highest value of outputs, instead of the range in the images. Values
            beyond saturate.
        precise: Outputs in int16, see :func:`precise_operators`.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, quantizer

    details = Interpreter(model_content=content).get_signature_runner().get_output_details()
    int16 = {
        tensor: kind
        for name in precise
        for tensor, kind in precise_operators(content, details[name]["name"]).items()
    }
    int8 = quantizer.Quantizer(content, _recipe(int16))
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED  # ten times as fast as the default
    statistics: dict[str, Any] = {}
    for first in range(0, len(samples), IMAGES_AT_ONCE):
        images = samples[first : first + IMAGES_AT_ONCE].astype(np.float32) / 255
        data = {SIGNATURE: [{INPUT: image[None]} for image in images]}
        statistics = int8.calibrate(data, previous_calibration_result=statistics, mode=mode)
    for name, (low, high) in ranges.items():
        values = statistics[details[name]["name"]]
        values["min"] = np.full_like(values["min"], low)
        values["max"] = np.full_like(values["max"], high)
    for tensor in int16:
        values = statistics[tensor]
        values["min"], values["max"] = HEADROOM * values["min"], HEADROOM * values["max"]
    return bytes(int8.quantize(statistics).quantized_model)


def _recipe(int16: Mapping[str, str]) -> Any:  # noqa: ANN401
    """Return the settings of the quantiser, with the operators in int16 by their outputs."""
    from ai_edge_quantizer import recipe, recipe_manager

    kinds = recipe.TFLOperationName
    manager = recipe_manager.RecipeManager()
    every = ".*", kinds.ALL_SUPPORTED
    manager.add_static_config(*every, activation_num_bits=8, weight_num_bits=8)
    for tensor, kind in int16.items():
        if kind != UNQUANTIZED:
            operator = f"^{re.escape(tensor)};?$", kinds[kind]
            manager.add_static_config(*operator, activation_num_bits=16, weight_num_bits=8)
    return manager.get_quantization_recipe()


def precise_operators(content: bytes, output: str) -> dict[str, str]:
    """List the operators that compute an output in int16, by the names of their output tensors.

    These are the last convolution and the activation before it, whose rounding is most of what
    remains once the output is in int16. The convolution before is not worth its time in int16. An
    operator that NPUs do not have in int16 ends the list earlier.

    Args:
        content: TFLite file in float32.
        output: Name of the output tensor.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = _codes(model)
    (graph,) = model.subgraphs
    names = [tensor.name.decode() for tensor in graph.tensors]
    writers = {int(tensor): node for node in graph.operators for tensor in node.outputs}
    result: dict[str, str] = {}
    waiting = [(names.index(output), False)]
    while waiting:
        tensor, is_before = waiting.pop()
        node = writers.get(tensor)
        if node is None or (kind := kinds[codes[node.opcodeIndex]]) not in INT16_OPERATORS:
            continue
        is_convolution = kind in CONVOLUTIONS
        if not (is_convolution and is_before):
            result[names[tensor]] = kind
            waiting += [(int(before), is_before or is_convolution) for before in node.inputs]
    return result


def _codes(model: Any) -> list[int]:  # noqa: ANN401
    """Return the operator of each entry of a file's operator table."""
    return [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]


def keep_int16(content: bytes) -> bytes:
    """Remove the conversions of outputs from int16 to int8, which the quantiser appends.

    Args:
        content: Quantised TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = _opened(content)
    codes, operator = _codes(model), schema.BuiltinOperator
    (graph,) = model.subgraphs
    sources = {
        int(node.outputs[0]): int(node.inputs[0])
        for node in graph.operators
        if codes[node.opcodeIndex] == operator.QUANTIZE
        and graph.tensors[int(node.inputs[0])].type == schema.TensorType.INT16
        and int(node.outputs[0]) in graph.outputs
    }
    if not sources:
        return content
    graph.operators = [node for node in graph.operators if int(node.outputs[0]) not in sources]
    graph.outputs = [sources.get(int(tensor), tensor) for tensor in graph.outputs]
    for signature in model.signatureDefs:
        for entry in signature.outputs:
            entry.tensorIndex = sources.get(int(entry.tensorIndex), entry.tensorIndex)
    return _packed(model)


def fold_leaky_relu(content: bytes) -> bytes:
    """Replace each LeakyReLU in float32 between quantised tensors by a quantised LeakyReLU.

    TFLite and NPUs have this operator in int8 and int16; only the quantiser does not support it,
    and surrounds it with DEQUANTIZE and QUANTIZE.

    Args:
        content: Quantised TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = _opened(content)
    codes, operator = _codes(model), schema.BuiltinOperator
    if operator.LEAKY_RELU not in codes:
        return content
    for graph in model.subgraphs:
        _fold(graph, lambda node: codes[node.opcodeIndex], operator)
    return _packed(model)


def _opened(content: bytes) -> Any:  # noqa: ANN401
    """Read a TFLite file for changes, with its weights."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:  # large weights are stored behind the flatbuffer
        if buffer.offset and buffer.size:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    return model


def _packed(model: Any) -> bytes:  # noqa: ANN401
    """Return the TFLite file of a model."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _fold(graph: Any, code_of: Any, operator: Any) -> None:  # noqa: ANN401
    """Fold the LeakyReLUs of one graph, in place."""
    readers: dict[int, list[Any]] = {}
    writer = {int(tensor): node for node in graph.operators for tensor in node.outputs}
    for node in graph.operators:
        for tensor in node.inputs:
            readers.setdefault(int(tensor), []).append(node)
    unused: set[int] = set()
    for node in graph.operators:
        if code_of(node) != operator.LEAKY_RELU:
            continue
        before, after = writer.get(int(node.inputs[0])), readers.get(int(node.outputs[0]), [])
        around = [(before, operator.DEQUANTIZE), *((n, operator.QUANTIZE) for n in after)]
        if not after or any(n is None or code_of(n) != code for n, code in around):
            continue
        is_shared = len(readers[int(node.inputs[0])]) > 1
        unused |= _fold_node(graph.tensors, node, before, after, is_shared=is_shared)
    graph.operators = [node for node in graph.operators if id(node) not in unused]


def _fold_node(
    tensors: Sequence[Any],
    node: Any,  # noqa: ANN401
    before: Any,  # noqa: ANN401
    after: Sequence[Any],
    *,
    is_shared: bool,
) -> set[int]:
    """Connect a quantised LeakyReLU, and return the ids of operators that are not needed."""
    from ai_edge_litert import schema_py_generated as schema

    source, target = tensors[int(before.inputs[0])], tensors[int(after[0].outputs[0])]
    if source.type == target.type:
        node.inputs = [before.inputs[0]]
        unused = {id(after[0])} if is_shared else {id(after[0]), id(before)}
    elif is_shared or target.type != schema.TensorType.INT16:
        return set()
    else:
        _convert(before, after[0], tensors[int(node.inputs[0])], source, target)
        unused = {id(after[0])}
    node.outputs = [after[0].outputs[0]]
    for quantize in after[1:]:  # from int8 to another scale
        quantize.inputs = [after[0].outputs[0]]
    return unused


def _convert(dequantize: Any, quantize: Any, result: Any, source: Any, target: Any) -> None:  # noqa: ANN401
    """Turn a conversion of int8 to float32 into one to int16, the type of ``target``."""
    for name in ("opcodeIndex", "builtinOptionsType", "builtinOptions"):
        setattr(dequantize, name, getattr(quantize, name))
    result.type, result.quantization = target.type, copy.deepcopy(target.quantization)
    result.quantization.scale = np.asarray(source.quantization.scale, np.float32) / INT8_IN_INT16


if __name__ == "__main__":
    main(Path(sys.argv[1]))
