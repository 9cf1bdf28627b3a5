"""Tests of networks in TFLite format: a small one that is worked out by hand, and invalid files."""

import builtins
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_files import NAMES, SIDE, SIGMOID_OF_TWO, STRIDE, write_network

from class_maps import ConfigError, InputError, MissingExtraError
from omr.scoring.exported_weights import open_exported_weights
from reading.decoding import Level, decoding_file
from reading.exported_network import open_exported
from reading.tflite_network import TfliteNetwork

pytest.importorskip("ai_edge_litert")


def tile(*white: tuple[int, int]) -> Any:  # noqa: ANN401
    """Draw a black tile in BGR order with cells whose red channel is 255."""
    result = np.zeros((SIDE, SIDE, 3), np.uint8)
    for row, column in white:
        result[row * STRIDE : (row + 1) * STRIDE, column * STRIDE : (column + 1) * STRIDE, 2] = 255
    return result


@pytest.mark.parametrize("types", [{}, {"is_int8": False}, {"are_boxes_int16": True}])
def test_the_symbols_of_a_network_worked_out_by_hand(
    types: dict[str, bool], tmp_path: Path
) -> None:
    network = open_exported(write_network(tmp_path / "w.tflite", **types))
    assert (network.names, network.imgsz, network.preparations) == (NAMES, SIDE, ())
    tiles = np.stack([tile(), tile((0, 1)), tile((1, 0), (0, 0))])
    empty, one, two = network.find(tiles, score_thresh=0.25)
    assert len(empty.labels) == 0
    assert one.boxes_xyxy.tolist() == [[32, 0, 64, 32]] * 2
    assert one.labels.tolist() == [0, 1]
    assert one.scores == pytest.approx([SIGMOID_OF_TWO] * 2, abs=0.01)
    assert two.boxes_xyxy[two.labels == 0].tolist() == [[0, 0, 32, 32], [0, 32, 32, 64]]
    assert list(network.find(tiles[:0], score_thresh=0.25)) == []


def test_channels_and_groups_of_the_description_count(tmp_path: Path) -> None:
    file = write_network(tmp_path / "w.tflite", channels=(1, 0), classes=("a", "b"))
    (swapped,) = TfliteNetwork(file).find(tile((0, 0))[None], score_thresh=0.25)
    assert swapped.labels.tolist() == [0, 1]
    file = write_network(tmp_path / "w.tflite", groups=((0,), (1,)))
    with pytest.raises(InputError, match=r"output_0: expected shape \(1, 2, 2, 8\), got"):
        TfliteNetwork(file)


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"imgsz": 96}, "input: expected shape (1, 96, 96, 3), got (1, 64, 64, 3)"),
    ({"input": "images"}, "input: expected shape (1, 64, 64, 3), got ()"),
    ({"bins": (0.0, 1.0)}, "output_0: expected shape (1, 2, 2, 8), got (1, 2, 2, 4)"),
    (
        {"levels": (Level(stride=32, boxes="output_1", scores="output_0"),)},
        "output_1: expected shape (1, 2, 2, 4), got (1, 2, 2, 2)",
    ),
    (
        {"levels": (Level(stride=32, boxes="output_0", scores="output_2"),)},
        "output_2: expected shape (1, 2, 2, 2), got none",
    ),
]


@pytest.mark.parametrize(("changes", "message"), MISFITS)
def test_a_description_of_another_network(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = write_network(tmp_path / "w.tflite", **changes)
    with pytest.raises(InputError) as raised:
        TfliteNetwork(file)
    assert str(raised.value) == f"{file}: {message}; export the weights again"


def test_a_file_of_another_program_has_no_description(tmp_path: Path) -> None:
    file = write_network(tmp_path / "w.tflite")
    decoding_file(file).unlink()
    with pytest.raises(InputError) as raised:
        open_exported(file)
    assert str(raised.value) == (
        f"{file}: no w.tflite.json beside it, which describes the outputs; export the weights with "
        "omr export --format tflite"
    )
    with pytest.raises(InputError, match="no such weights"):
        open_exported(tmp_path / "none.tflite")


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"format": "coco"}', b"\xff"])
def test_a_description_in_another_format(content: bytes, tmp_path: Path) -> None:
    file = write_network(tmp_path / "w.tflite")
    decoding_file(file).write_bytes(content)
    with pytest.raises(InputError, match=r"w\.tflite\.json: does not describe a network: .+ again"):
        TfliteNetwork(file)


@pytest.mark.parametrize(
    "changes",
    [{"channels": (0, 0)}, {"channels": (0,)}, {"groups": ((0, 1), (1,))}, {"groups": ()}],
)
def test_labels_must_be_complete(changes: dict[str, Any], tmp_path: Path) -> None:
    file = write_network(tmp_path / "w.tflite", **changes)
    with pytest.raises(InputError, match="groups and channels must contain every label once"):
        TfliteNetwork(file)


@pytest.mark.parametrize("size", [0, 7, 500, -1])
def test_a_truncated_or_changed_file_is_never_run(size: int, tmp_path: Path) -> None:
    file = write_network(tmp_path / "w.tflite")
    content = file.read_bytes()
    file.write_bytes(content[:size] if size >= 0 else content[:-1] + b"?")
    with pytest.raises(InputError, match=r"is damaged, or not the file that w\.tflite\.json"):
        TfliteNetwork(file)


def test_a_file_in_another_format(tmp_path: Path) -> None:
    file = write_network(tmp_path / "w.tflite")
    file.write_bytes(b"onnx")
    digest = "b" * 64
    description = decoding_file(file).read_bytes()
    old = re.search(rb'"sha256":"(\w+)"', description)
    assert old is not None
    import hashlib

    digest = hashlib.sha256(b"onnx").hexdigest()
    decoding_file(file).write_bytes(description.replace(old[1], digest.encode()))
    with pytest.raises(InputError, match="is not a valid TFLite file: "):
        TfliteNetwork(file)


def test_only_the_cpu_runs_it(tmp_path: Path) -> None:
    file = write_network(tmp_path / "w.tflite")
    assert TfliteNetwork(file, device="cpu").imgsz == SIDE
    with pytest.raises(ConfigError, match=r"--device 0: a \.tflite file is run on the CPU"):
        TfliteNetwork(file, device="0")
    with pytest.raises(ConfigError, match=r"has an input of 64 px; drop the option"):
        open_exported_weights(file, imgsz=96, device="")


def test_thresholds_of_a_damaged_record(tmp_path: Path) -> None:
    training = {"training": {"preparations": [None], "conf": 0.5, "class_confs": [0.5]}}
    file = write_network(tmp_path / "w.tflite", training=training)
    with pytest.raises(InputError, match="damaged training record: one threshold per class"):
        TfliteNetwork(file)
    training["training"]["class_confs"] = [0.25, 0.75]
    file = write_network(tmp_path / "w.tflite", training=training)
    assert TfliteNetwork(file).class_confs == (0.25, 0.75)


def test_without_litert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_network(tmp_path / "w.tflite")
    original = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        if name.startswith("ai_edge_litert"):
            raise ImportError(name)
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"needs ai-edge-litert, .*omr-toolkit\[tflite\]"):
        TfliteNetwork(file)
