"""Conversion of a recorded network to TFLite.

Runs as a process with the tools for NPUs on its path, see :mod:`training.export.npu_tools`, and
therefore imports nothing of omr::

    python -P to_tflite.py FOLDER

``FOLDER`` contains ``program.pt2``, and for a network in int8 also ``samples.npy``, RGB images of
shape ``(N, S, S, 3)``, and ``ranges.json``, the lowest and highest value of outputs by name. The
result is ``FOLDER/model.tflite``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROGRAM, SAMPLES, RANGES, MODEL = "program.pt2", "samples.npy", "ranges.json", "model.tflite"
SIGNATURE = "serving_default"
INPUT = "args_0"
"""Name of the input that LiteRT gives to the first argument."""
IMAGES_AT_ONCE = 8
"""Number of images in memory in float32."""


def main(folder: Path) -> None:
    """Convert the network in a folder."""
    content = converted(folder / PROGRAM)
    samples = folder / SAMPLES
    if samples.is_file():
        ranges = json.loads((folder / RANGES).read_text("utf-8"))
        content = fold_leaky_relu(quantized(content, np.load(samples, mmap_mode="r"), ranges))
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
    content: bytes, samples: NDArray[np.uint8], ranges: Mapping[str, Sequence[float]]
) -> bytes:
    """Quantise weights and activations to int8.

    Args:
        content: TFLite file in float32.
        samples: RGB images that determine the range of every activation, shape ``(N, S, S, 3)``.
        ranges: Lowest and highest value of outputs, instead of the range in the images. Values
            beyond saturate.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import calibrator, quantizer, recipe

    int8 = quantizer.Quantizer(content, recipe.static_wi8_ai8())
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED  # ten times as fast as the default
    statistics: dict[str, Any] = {}
    for first in range(0, len(samples), IMAGES_AT_ONCE):
        images = samples[first : first + IMAGES_AT_ONCE].astype(np.float32) / 255
        data = {SIGNATURE: [{INPUT: image[None]} for image in images]}
        statistics = int8.calibrate(data, previous_calibration_result=statistics, mode=mode)
    outputs = Interpreter(model_content=content).get_signature_runner().get_output_details()
    for name, (low, high) in ranges.items():
        values = statistics[outputs[name]["name"]]
        values["min"] = np.full_like(values["min"], low)
        values["max"] = np.full_like(values["max"], high)
    return bytes(int8.quantize(statistics).quantized_model)


def fold_leaky_relu(content: bytes) -> bytes:
    """Replace each LeakyReLU in float32 between int8 tensors by a LeakyReLU in int8.

    TFLite and NPUs have this operator in int8; only the quantiser does not support it, and
    surrounds it with DEQUANTIZE and QUANTIZE.

    Args:
        content: Quantised TFLite file.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    operator = schema.BuiltinOperator
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    if operator.LEAKY_RELU not in codes:
        return content
    for buffer in model.buffers:  # large weights are stored behind the flatbuffer
        if buffer.offset and buffer.size:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        _fold(graph, lambda node: codes[node.opcodeIndex], operator)
    builder = flatbuffers.Builder(len(content))
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
        unused |= _fold_node(node, before, after, readers)
    graph.operators = [node for node in graph.operators if id(node) not in unused]


def _fold_node(node: Any, before: Any, after: list[Any], readers: dict[int, list[Any]]) -> set[int]:  # noqa: ANN401
    """Connect a LeakyReLU to int8 tensors, and return the ids of operators that are not needed."""
    node.inputs, node.outputs = [before.inputs[0]], [after[0].outputs[0]]
    for quantize in after[1:]:  # from int8 to another scale
        quantize.inputs = [after[0].outputs[0]]
    is_shared = len(readers[int(before.outputs[0])]) > 1
    return {id(after[0])} if is_shared else {id(after[0]), id(before)}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
