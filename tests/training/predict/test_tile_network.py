"""Tests of page reading with real networks: torch, ONNX, and the files of each."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detector_models import config, images, single, with_heads
from torch import nn

from class_maps import InputError
from converters.images import read_bgr
from omr.exporting import export_model
from reading.network import RECORD_KEY, Network, TileSymbols
from reading.onnx_network import CHECKSUM_KEY, OnnxNetwork
from settings.head_config import BoxBranch
from training.models.checkpoints import Weights, open_weights, save_weights
from training.predict.detector import predict
from training.predict.tile_network import TorchNetwork
from training.trainer import TrainResult

LOW = 0.001


@pytest.fixture(scope="module")
def onnx_file(trained: TrainResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_model(trained.last, file, "onnx")
    return file


@pytest.mark.parametrize("conf", [None, 0.375])
def test_both_know_the_threshold_of_the_training(
    conf: float | None, trained: TrainResult, tmp_path: Path
) -> None:
    weights = open_weights(trained.last)
    assert weights.training is not None
    training, args = replace(weights.training, conf=conf), {"task": "detect", "imgsz": 96}
    save_weights(weights.model, tmp_path / "w.pt", train_args=args, training=training)
    assert TorchNetwork(tmp_path / "w.pt", device="cpu").conf == conf
    assert TorchNetwork(tmp_path / "w.safetensors", device="cpu").conf == conf
    pytest.importorskip("onnx")
    export_model(tmp_path / "w.pt", tmp_path / "w.onnx", "onnx")
    assert OnnxNetwork(tmp_path / "w.onnx").conf == conf


def found(network: Network, dataset: Path, score_thresh: float = LOW) -> list[TileSymbols]:
    files = sorted((dataset / "images" / "val").iterdir())
    return list(network.find(np.stack([*map(read_bgr, files)]), score_thresh=score_thresh))


def test_torch_and_onnx_find_the_same(trained: TrainResult, dataset: Path, onnx_file: Path) -> None:
    torch_network, onnx_network = TorchNetwork(trained.last, device="cpu"), OnnxNetwork(onnx_file)
    assert torch_network.names == onnx_network.names
    assert torch_network.imgsz == onnx_network.imgsz == 96
    assert torch_network.preparations == onnx_network.preparations != ()
    pairs = list(zip(found(torch_network, dataset), found(onnx_network, dataset), strict=True))
    assert sum(len(ours.labels) for ours, _ in pairs) > 20
    for ours, theirs in pairs:
        # Equal scores are sorted by their last digits.
        order, other_order = (np.lexsort(s.boxes_xyxy.round(1).T) for s in (ours, theirs))
        assert (ours.labels[order] == theirs.labels[other_order]).all()
        difference = ours.boxes_xyxy[order] - theirs.boxes_xyxy[other_order]
        assert np.abs(difference).max() < 1e-3
        assert np.abs(ours.scores[order] - theirs.scores[other_order]).max() < 1e-5


def test_a_tile_is_read_as_an_image_of_the_same_size(trained: TrainResult, dataset: Path) -> None:
    files = sorted((dataset / "images" / "val").iterdir())
    pages = predict(
        trained.last,
        [(file, Path(file.name)) for file in files],  # type: ignore[misc]
        imgsz=96,
        device="cpu",
        score_thresh=LOW,
        batch=len(files),
    )
    for page, tile in zip(
        pages, found(TorchNetwork(trained.last, device="cpu"), dataset), strict=True
    ):
        assert page.scores is not None
        order, other_order = (np.lexsort(s.boxes_xyxy.round(1).T) for s in (page, tile))
        assert (page.labels[order] == tile.labels[other_order]).all()
        assert np.abs(page.scores[order] - tile.scores[other_order]).max() < 1e-5
        boxes_xyxy = tile.boxes_xyxy[other_order].clip(0, 96)
        assert np.abs(page.boxes_xyxy[order] - boxes_xyxy).max() < 1e-3


@pytest.mark.parametrize("box", [None, "shared", "separate"])
@pytest.mark.parametrize("name", ["omr-tiny", "yolo26n"])
def test_fused_layers_predict_the_same(name: str, box: BoxBranch | None, tmp_path: Path) -> None:
    model = with_heads(single(name), config(box)) if box else copy.deepcopy(single(name))
    model.names = {0: "c0", 1: "c1", 2: "c2"}
    save_weights(model, tmp_path / "w.pt", train_args={"task": "detect", "imgsz": 96})
    network, unfused = (
        TorchNetwork(tmp_path / "w.pt", device="cpu"),
        open_weights(tmp_path / "w.pt"),
    )
    norms = [nn.BatchNorm2d in map(type, m.modules()) for m in (network._model, unfused.model)]
    assert norms == [False, True]
    unfused.model.end2end = False
    with torch.no_grad():
        result, expected = (m(images(2, 96))[0] for m in (network._model, unfused.model))
    for rows, others in zip(result.mT.double(), expected.mT.double(), strict=True):  # (A, 4 + C)
        nearest = rows[torch.cdist(others, rows).argmin(dim=1)]  # some heads sort by score
        assert (nearest[:, :4] - others[:, :4]).abs().max() < 1e-3
        assert (nearest[:, 4:] - others[:, 4:]).abs().max() < 1e-5


def test_onnx_files_are_read_without_torch(onnx_file: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['ultralytics'] = None\n"
        "import numpy as np, omr\n"
        f"page = omr.predict(np.full((200, 150), 255, np.uint8), weights={str(onnx_file)!r}, "
        "staff_space='none')\n"
        "print(page.width, page.height, len(page.labels))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("150 200 0\n", "", 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is not a valid ONNX file: "), (b"\x80\x02nonsense", "is not a valid ONNX file: ")],
)
def test_damaged_files(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(InputError) as raised:
        OnnxNetwork(tmp_path / "a.onnx")
    assert str(raised.value).startswith(f"{tmp_path}/a.onnx: {reason}")
    assert "\n" not in str(raised.value)


def test_an_output_that_does_not_fit_the_class_names(onnx_file: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file)
    for entry in model.metadata_props:
        if entry.key == CHECKSUM_KEY:
            entry.key = "none"
        elif entry.key == "names":
            entry.value = str({i: f"c{i}" for i in range(9)})
        elif entry.key == RECORD_KEY:
            record = json.loads(entry.value)
            record["training"]["class_confs"] = [0.5, 0.5]
            entry.value = json.dumps(record)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(InputError) as raised:
        OnnxNetwork(tmp_path / "a.onnx")
    assert str(raised.value).startswith(
        f"{tmp_path}/a.onnx: expected an output of 13 rows for its classes, got "
    )


def test_networks_without_class_names_are_refused(onnx_file: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(InputError) as raised:
        OnnxNetwork(tmp_path / "a.onnx")
    assert str(raised.value) == (f"{tmp_path}/a.onnx: names no classes; export it with omr export")


@pytest.mark.parametrize("box", [None, "shared", "separate"])
def test_class_scores_are_the_probabilities_of_the_logits(box: BoxBranch | None) -> None:
    model = single("omr-tiny") if box is None else with_heads(single("omr-tiny"), config(box))
    weights = Weights(model=copy.deepcopy(model).eval(), training=None)
    network = TorchNetwork(weights, imgsz=64, device="cpu")
    tiles = (images(2, 64).permute(0, 2, 3, 1).flip(3) * 255).round().byte().numpy()
    copied = copy.deepcopy(model).eval()
    with torch.no_grad():
        logits = copied(torch.from_numpy(tiles).flip(3).permute(0, 3, 1, 2) / 255)[1]["scores"]
    for label in range(3):
        levels = network.class_scores(tiles, label)
        assert [level.shape for level in levels] == [(2, 8, 8), (2, 4, 4), (2, 2, 2)]
        flat = np.concatenate([level.reshape(2, -1) for level in levels], axis=1)
        np.testing.assert_allclose(flat, logits[:, label].sigmoid(), atol=1e-5)
