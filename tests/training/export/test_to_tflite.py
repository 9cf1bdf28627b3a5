"""Tests of what is done before and after the quantiser, with files built operator by operator."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tflite_files import Graph, schema

from training.export.to_tflite import fold_leaky_relu, keep_int16, precise_operators

interpreter = pytest.importorskip("ai_edge_litert.interpreter")

SHAPE = 1, 4, 4, 2
IN, OUT, OTHER = 0.1, 0.05, 0.2
"""Scales of the input and of two outputs."""


def activated(
    n_readers: int = 2, *, is_read_in_float: bool = False, quantized: str = "int8"
) -> bytes:
    """Build a LeakyReLU in float32 between quantised tensors, as ai-edge-quantizer does."""
    graph = Graph()
    pixels = graph.tensor(SHAPE, scale=IN)
    before, after = graph.tensor(SHAPE), graph.tensor(SHAPE)
    graph.operator("DEQUANTIZE", [pixels], before)
    options = schema.LeakyReluOptionsT()
    options.alpha = 0.1
    graph.operator("LEAKY_RELU", [before], after, options)
    scales = (OUT, OTHER)[:n_readers]
    outputs = [graph.tensor(SHAPE, scale=scale, quantized=quantized) for scale in scales]
    for output in outputs:
        graph.operator("QUANTIZE", [after], output)
    if is_read_in_float:
        outputs.append(graph.tensor(SHAPE))
        graph.operator("ABS", [after], outputs[-1])
    return graph.to_bytes([pixels], outputs)


def run(content: bytes) -> tuple[list[str], dict[str, NDArray[np.float32]]]:
    """Return the operators of a file, and its outputs for all levels of int8 up to 16."""
    network = interpreter.Interpreter(model_content=content)
    runner = network.get_signature_runner()
    levels = np.arange(-16, 16, dtype=np.int8).reshape(SHAPE)
    details = runner.get_output_details()
    outputs = {
        name: value * (details[name]["quantization"][0] or 1)
        for name, value in runner(args_0=levels).items()
    }
    names = [operator["op_name"] for operator in network._get_ops_details()]
    return [name for name in names if name != "DELEGATE"], outputs


@pytest.mark.parametrize(
    ("n_readers", "operators"), [(1, ["LEAKY_RELU"]), (2, ["LEAKY_RELU", "QUANTIZE"])]
)
def test_a_leaky_relu_is_computed_in_int8(n_readers: int, operators: list[str]) -> None:
    content = activated(n_readers)
    before, expected = run(content)
    assert before == ["DEQUANTIZE", "LEAKY_RELU", *["QUANTIZE"] * n_readers]
    after, result = run(fold_leaky_relu(content))
    assert after == operators
    values = np.arange(-16, 16).reshape(SHAPE) * IN
    exact = np.where(values < 0, 0.1 * values, values)
    for (name, value), scale in zip(result.items(), (OUT, OTHER), strict=False):
        np.testing.assert_allclose(value, expected[name], atol=1.01 * scale)
        np.testing.assert_allclose(value, exact, atol=0.51 * OUT + 0.51 * scale)


def test_a_leaky_relu_from_int8_to_int16_is_computed_in_int16() -> None:
    content = activated(1, quantized="int16")
    before, expected = run(content)
    assert before == ["DEQUANTIZE", "LEAKY_RELU", "QUANTIZE"]
    after, result = run(fold_leaky_relu(content))
    assert after == ["QUANTIZE", "LEAKY_RELU"]
    np.testing.assert_allclose(result["output_0"], expected["output_0"], atol=1.01 * OUT)
    shared = activated(1, quantized="int16", is_read_in_float=True)
    assert run(fold_leaky_relu(shared))[0] == run(shared)[0]


def test_an_output_keeps_int16() -> None:
    graph = Graph()
    pixels = graph.tensor(SHAPE, scale=IN)
    precise = graph.tensor(SHAPE, scale=IN / 128, quantized="int16")
    graph.operator("QUANTIZE", [pixels], precise)
    rounded = graph.tensor(SHAPE, scale=OTHER)
    graph.operator("QUANTIZE", [precise], rounded)
    other = graph.tensor(SHAPE, scale=OTHER)
    graph.operator("QUANTIZE", [pixels], other)
    content = graph.to_bytes([pixels], [rounded, other])
    before, coarse = run(content)
    after, result = run(keep_int16(content))
    assert (before, after) == (["QUANTIZE"] * 3, ["QUANTIZE"] * 2)
    values = np.arange(-16, 16).reshape(SHAPE) * IN
    np.testing.assert_allclose(result["output_0"], values, atol=1e-6)
    np.testing.assert_array_equal(result["output_1"], coarse["output_1"])
    assert keep_int16(keep_int16(content)) == keep_int16(content)
    assert np.abs(coarse["output_0"] - values).max() > 0.4 * OTHER


def test_the_last_convolution_and_the_activation_before_it_are_precise() -> None:
    graph = Graph()
    pixels = graph.tensor(SHAPE)
    first, second, sigmoid, silu = (graph.tensor(SHAPE) for _ in range(4))
    rounded, remainder, total = (graph.tensor(SHAPE) for _ in range(3))
    graph.operator("CONV_2D", [pixels], first)
    graph.operator("CONV_2D", [first], second)
    graph.operator("LOGISTIC", [second], sigmoid)
    graph.operator("MUL", [second, sigmoid], silu)
    graph.operator("CONV_2D", [silu], rounded)
    graph.operator("CONV_2D", [silu], remainder)
    graph.operator("ADD", [rounded, remainder], total)
    swished, scores = graph.tensor(SHAPE), graph.tensor(SHAPE)
    graph.operator("HARD_SWISH", [first], swished)
    graph.operator("CONV_2D", [swished], scores)
    content = graph.to_bytes([pixels], [total, scores])
    assert precise_operators(content, f"t{total}") == {
        f"t{total}": "ADD",
        f"t{rounded}": "CONV_2D",
        f"t{remainder}": "CONV_2D",
        f"t{silu}": "MUL",
        f"t{sigmoid}": "LOGISTIC",
    }
    assert precise_operators(content, f"t{scores}") == {f"t{scores}": "CONV_2D"}
    assert precise_operators(content, f"t{pixels}") == {}


def test_other_files_stay_as_they_are() -> None:
    graph = Graph()
    pixels, output = graph.tensor(SHAPE, scale=IN), graph.tensor(SHAPE)
    graph.operator("DEQUANTIZE", [pixels], output)
    without = graph.to_bytes([pixels], [output])
    assert fold_leaky_relu(without) == without
    in_float = activated(1, is_read_in_float=True)
    before, expected = run(in_float)
    after, result = run(fold_leaky_relu(in_float))
    assert after == before
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)
