import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from class_maps import InputError
from converters import images
from converters.decoding import decode

SHAPE = 400, 300
IMAGE = np.kron(np.random.default_rng(0).integers(0, 256, (100, 75)), np.ones((4, 4))).astype("u1")


def encoded(image_format: str, **options: object) -> bytes:
    file = BytesIO()
    image = Image.fromarray(IMAGE)
    image.convert("1" if options.get("compression") == "group4" else "RGB").save(
        file, image_format, **options
    )
    return file.getvalue()


def cut_short(data: bytes) -> bytes:
    return data[: len(data) * 9 // 10]


def zeroed(data: bytes) -> bytes:
    """Content of a file with a sector that could not be read."""
    middle = len(data) // 2
    return data[:middle] + bytes(512) + data[middle + 512 :]


def with_a_hole(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + data[middle + 512 :]


def scrambled(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + np.random.default_rng(1).bytes(64) + data[middle + 64 :]


@pytest.mark.parametrize("read", ["read", "read_bgr", "copy", "check_complete"])
@pytest.mark.parametrize(
    ("suffix", "image_format", "options", "damage", "problem"),
    [
        (".jpg", "JPEG", {}, with_a_hole, "Corrupt JPEG data: premature end of data segment"),
        (".jpg", "JPEG", {}, cut_short, "image file is truncated"),
        (".png", "PNG", {}, zeroed, ""),
        (".png", "PNG", {}, cut_short, ""),
        (".bmp", "BMP", {}, cut_short, "image file is truncated"),
        (".tif", "TIFF", {}, cut_short, ""),
        (".tif", "TIFF", {"compression": "tiff_lzw"}, zeroed, "LZWDecode: "),
        (".tif", "TIFF", {"compression": "jpeg"}, zeroed, "JPEGLib: Corrupt JPEG data: "),
        (".tif", "TIFF", {"compression": "group4"}, scrambled, "Fax4Decode: "),
        (".webp", "WEBP", {}, cut_short, ""),
    ],
)
def test_damaged_images_are_rejected(
    read: str,
    suffix: str,
    image_format: str,
    options: dict[str, object],
    damage: Callable[[bytes], bytes],
    problem: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """OpenCV returns most of them, and libjpeg and libtiff wrote to stderr without naming a file."""
    path, copied = tmp_path / f"a{suffix}", tmp_path / f"copied{suffix}"
    path.write_bytes(damage(encoded(image_format, **options)))
    if read == "check_complete" and suffix == ".jpg" and damage is not cut_short:
        images.check_complete(path)  # would have to decode every image before a training run
        return
    with pytest.raises(InputError) as raised:
        images.copy(path, copied) if read == "copy" else getattr(images, read)(path)
    assert str(raised.value).startswith(f"{path}: is damaged or truncated: {problem}")
    assert "\n" not in str(raised.value)
    assert not copied.exists()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("suffix", "image_format", "options"),
    [
        (".jpg", "JPEG", {}),
        (".jpg", "JPEG", {"progressive": True}),
        (".png", "PNG", {}),
        (".bmp", "BMP", {}),
        (".tif", "TIFF", {}),
        (".tif", "TIFF", {"compression": "group4"}),
        (".webp", "WEBP", {}),
    ],
)
def test_bytes_after_the_end_are_accepted(
    suffix: str, image_format: str, options: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(image_format, **options) + b"trailer")
    assert images.check_complete(path) == SHAPE[::-1]
    images.copy(path, tmp_path / f"b{suffix}")
    assert (tmp_path / f"b{suffix}").read_bytes() == path.read_bytes()
    assert images.read_bgr(path).shape == (*SHAPE, 3)


def test_bytes_before_the_end_of_a_jpeg_are_accepted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Cameras write them."""
    path, data = tmp_path / "a.jpg", encoded("JPEG")
    path.write_bytes(data[:-2] + bytes(20) + data[-2:])
    assert images.read_bgr(path).shape == (*SHAPE, 3)
    assert capfd.readouterr().err == ""


def test_damage_is_attributed_to_its_image_by_threads(capfd: pytest.CaptureFixture[str]) -> None:
    intact, damaged = encoded("JPEG"), with_a_hole(encoded("JPEG"))
    contents = [damaged if i % 5 == 3 else intact for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        results = [*pool.map(lambda data: decode(data, cv2.IMREAD_UNCHANGED)[1], contents)]
    assert [bool(damage) for damage in results] == [i % 5 == 3 for i in range(200)]
    assert capfd.readouterr().err == ""


def test_what_other_threads_print_meanwhile_is_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    imdecode = cv2.imdecode

    def imdecode_meanwhile(data: NDArray[np.uint8], flags: int) -> object:
        decoded = imdecode(data, flags)
        os.write(2, b"Converting: 10 of 20\n")
        return decoded

    monkeypatch.setattr(cv2, "imdecode", imdecode_meanwhile)
    decode(encoded("JPEG"), cv2.IMREAD_UNCHANGED)
    assert capfd.readouterr().err == "Converting: 10 of 20\n"
    decode(with_a_hole(encoded("JPEG")), cv2.IMREAD_UNCHANGED)  # is decoded twice
    assert capfd.readouterr().err == "Converting: 10 of 20\n" * 2


def test_a_forked_process_has_its_stderr() -> None:
    code = """
import os
from converters.decoding import _stderr
with _stderr.shared():
    if not (child := os.fork()):
        os.write(2, b"from the child")
        os._exit(0)
    os.waitpid(child, 0)
    assert _stderr.text() == ""
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert done.stderr == b"from the child"
