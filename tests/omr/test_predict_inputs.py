"""Tests of ``omr predict`` with unusual files: images of every kind, and weights of other programs."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ink_network import InkNetwork
from numpy.typing import NDArray
from pdf_files import encrypted_pdf
from PIL import Image
from typer.testing import CliRunner, Result
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, OmrError
from converters.manifest import Preparation
from omr import prediction
from omr.cli import app
from training.models.zoo import model_file

BOX = (40, 64, 56, 72)
MUSIC = Preparation(tile=64, staff_space=12.0, class_map="harmony", class_map_sha256="")


@pytest.fixture
def _ink_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replace the network of every weights file."""
    network = InkNetwork(preparations=(MUSIC,))
    monkeypatch.setattr(prediction, "open_network", lambda *_, **__: network)
    (tmp_path / "w.onnx").touch()


def run(tmp_path: Path, *arguments: object, weights: str = "w.onnx") -> Result:
    """Read the pages of ``in`` to ``out``."""
    words = tmp_path / "in", tmp_path / "out", "--weights", tmp_path / weights, *arguments
    return CliRunner().invoke(app, ["predict", *map(str, words), "--overlay", "none"])


def error_of(result: Result, kind: type[OmrError]) -> str:
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def coco(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    return content


def page() -> NDArray[np.uint8]:
    """Return white paper with a black patch."""
    pixels = np.full((160, 300), 255, np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 0
    return pixels


def cmyk(file: Path) -> None:
    Image.fromarray(page()).convert("CMYK").save(file, "JPEG", quality=100)


def sixteen_bits(file: Path) -> None:
    cv2.imwrite(str(file), page().astype(np.uint16) * 257)


def transparent(file: Path) -> None:
    """Write ink on transparent paper that is black where nobody sees it."""
    Image.fromarray(np.stack([page() * 0, 255 - page()], axis=2)).save(file)


def turned(file: Path) -> None:
    """Write the page as a camera that was held upright stores it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(page()).copy()).save(file, quality=100, exif=exif)


def palette(file: Path) -> None:
    image = Image.fromarray((page() == 0).astype(np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(file)


def one_bit(file: Path) -> None:
    Image.fromarray(page()).convert("1").save(file)


@pytest.mark.usefixtures("_ink_network")
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jpg", cmyk),
        ("a.png", sixteen_bits),
        ("a.tif", sixteen_bits),
        ("a.png", transparent),
        ("a.jpg", turned),
        ("a.png", palette),
        ("a.tif", one_bit),
    ],
)
def test_images_of_every_kind(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / name)
    result = run(tmp_path, "--staff-space", "none")
    assert result.exit_code == 0, result.output
    [image], [symbol] = coco(tmp_path)["images"], coco(tmp_path)["annotations"]
    assert (image["width"], image["height"]) == (300, 160)
    assert symbol["bbox"] == [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]]


@pytest.mark.usefixtures("_ink_network")
def test_a_page_of_one_pixel(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("L", (1, 1), 255).save(tmp_path / "in/a.png")
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert "note: a.png: blank: all its pixels have the same colour" in result.stderr
    assert coco(tmp_path)["annotations"] == []


def large_png(width: int, height: int) -> bytes:
    """Return the start of a PNG of any size, without its pixels."""
    header = struct.pack(">4sIIBBBBB", b"IHDR", width, height, 1, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I4s", 1, b"IDAT")


@pytest.mark.usefixtures("_ink_network")
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "a.png",
            large_png(21_000, 30_000),
            "has 21000 x 30000 px, more than --max-pixels 300,000,000; reduce its resolution, or "
            "raise the limit",
        ),
        ("{in}/a.pdf", encrypted_pdf(), "needs a password; save it without one"),
        ("a.jpg", b"", "is damaged or not an image in a supported format"),
    ],
)
def test_pages_that_cannot_be_read(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    name = name.format(**{"in": tmp_path / "in"})
    (tmp_path / "in" / name).write_bytes(content)
    message = error_of(run(tmp_path), OmrError)
    assert message == f"no page could be read: {name}: {reason}"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_ink_network")
def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    message = error_of(run(tmp_path), ConfigError)
    assert message == f"{tmp_path}/in: contains no images and no PDF files"
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def photo_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of Ultralytics with classes that omr does not know."""
    model = DetectionModel(model_file("omr-tiny"), nc=2, verbose=False)
    model.names, model.args = {0: "person", 1: "bicycle"}, get_cfg()
    file = tmp_path_factory.mktemp("weights") / "yolo.pt"
    torch.save({"model": model, "train_args": {"imgsz": 64}}, file)
    return file


def test_weights_of_other_programs(photo_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(page()).save(tmp_path / "in/a.png")
    (tmp_path / "w.pt").symlink_to(photo_weights)
    message = error_of(run(tmp_path, weights="w.pt"), ConfigError)
    assert message == (
        f"{tmp_path}/w.pt: the weights do not record how the pages of their training were "
        "prepared; give the staff space of their training with --scale staff-space:PX, or read "
        "pages in their own size with --staff-space none"
    )
    result = run(tmp_path, "--staff-space", "none", "--conf", 0, weights="w.pt")
    assert result.exit_code == 0, result.output
    content = coco(tmp_path)
    assert [category["name"] for category in content["categories"]] == ["person", "bicycle"]
    assert content["annotations"]
