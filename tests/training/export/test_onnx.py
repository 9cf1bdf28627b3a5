"""Heads in onnxruntime against the same in torch."""

import copy
import errno
import importlib.util
import re
from pathlib import Path

import pytest
import torch
from detector_models import N_CLASSES, config, images, single, with_heads
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from class_maps import MissingExtraError
from reading.onnx_network import CHECKSUM_KEY, NO_CHECKSUM
from settings.head_config import BoxBranch
from training.export.onnx import export_onnx
from training.heads.distance_bins import bin_values

SIDE = 96


def built(name: str, box: BoxBranch | None) -> DetectionModel:
    return (with_heads(single(name), config(box, gate="cbam")) if box else single(name)).eval()


def in_order_of(found: Tensor, expected: Tensor) -> Tensor:
    """Put predictions in another order: rounding may turn that of the best."""
    order = torch.cdist(expected.T, found.T).argmin(dim=1)
    assert order.sort().values.tolist() == list(range(found.shape[1]))
    return found[:, order]


@pytest.mark.parametrize("box", [None, "shared", "separate"])
@pytest.mark.parametrize("name", ["yolo11n", "yolo26n", "yolov7-tiny"])
def test_onnx_gives_what_torch_gives(name: str, box: BoxBranch | None, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = built(name, box)
    if name != "yolo26n":
        assert bin_values(model.model[-1])[0] == -2
    with torch.no_grad():
        expected = model(images(1, SIDE))[0]
    state = copy.deepcopy(model.state_dict())
    file = tmp_path / "model.onnx"
    export_onnx(model, file, imgsz=SIDE)
    assert list(tmp_path.iterdir()) == [file]
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images(1, SIDE).numpy()})
    assert found.shape == expected.shape == (1, 4 + N_CLASSES, 189)
    best = in_order_of(torch.from_numpy(found[0]), expected[0])
    torch.testing.assert_close(best, expected[0], rtol=1e-4, atol=1e-4)
    again = model.state_dict()
    assert all(torch.equal(again[key], value) for key, value in state.items())


def test_an_exported_file_says_what_it_is_but_not_where_it_was_made(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = built("yolo11n", "separate")
    model.args = {"data": "/home/somebody/data"}
    model.names = {i: f"c{i}" for i in range(N_CLASSES)}
    file = tmp_path / "model.onnx"
    file.write_text("of an earlier export")
    killed = tmp_path / ".model.onnx"
    killed.mkdir()
    (killed / "model.onnx").write_text("of a killed export")
    export_onnx(model, file, imgsz=SIDE)
    assert list(tmp_path.iterdir()) == [file]
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    assert said["names"] == str(model.names)
    assert re.fullmatch("sha256:[0-9a-f]{64}", said[CHECKSUM_KEY])
    assert said[CHECKSUM_KEY] != NO_CHECKSUM
    assert (said["task"], said["stride"], said["imgsz"]) == ("detect", "32", f"[{SIDE}, {SIDE}]")
    assert "somebody" not in str(said)
    assert model.args == {"data": "/home/somebody/data"}


def test_an_error_is_raised_but_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    model = single("omr-tiny")
    caplog.clear()
    monkeypatch.setattr("torch.onnx.export", fail)
    with pytest.raises(OSError, match="No space left on device"):
        export_onnx(model, tmp_path / "model.onnx", imgsz=SIDE)
    assert caplog.messages == []
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_a_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    with pytest.raises(MissingExtraError, match=r"need onnx, which is not installed; pip install"):
        export_onnx(built("yolo11n", None), tmp_path / "model.onnx", imgsz=SIDE)
    assert not list(tmp_path.iterdir())
