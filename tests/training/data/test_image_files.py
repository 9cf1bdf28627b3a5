import hashlib
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from ultralytics.utils.patches import imread

from class_maps import InputError, OmrError
from training.config import TrainConfig
from training.data.image_files import check_images
from training.data.worker_errors import without_worker_traceback
from training.trainer import new_trainer, ready_trainer, train

Draw = Callable[..., Path]


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def as_jpeg(path: Path, *, end: bytes = b"") -> Path:
    ok, data = cv2.imencode(".jpg", imread(path))
    assert ok
    jpeg = path.with_suffix(".jpg")
    jpeg.write_bytes(data.tobytes() + end)
    path.unlink()
    return jpeg


@pytest.fixture
def hostile(draw: Draw, tmp_path: Path) -> Path:
    """A data set with the side files of another program, which would run code or replace images."""
    data = draw(tmp_path / "data", n_images=2)
    payload = pickle.dumps(Payload(tmp_path / "ran"))
    for split in ("train", "val"):
        (data / f"labels/{split}.cache").write_bytes(payload)
        np.save(data / f"images/{split}/0.npy", np.zeros((96, 96, 3), np.uint8))
        (data / f"images/{split}/1.npy").write_bytes(payload)
        later = time.time() + 9
        for npy in (data / "images" / split).glob("*.npy"):
            os.utime(npy, (later, later))
    as_jpeg(data / "images/train/1.png", end=b"bytes of another program")
    return data


def test_side_files_are_neither_read_nor_written(hostile: Path, tmp_path: Path) -> None:
    before = hashes(hostile)
    config = TrainConfig(
        data=hostile, out=tmp_path / "run", model="omr-tiny", imgsz=96, device="cpu", epochs=1
    )
    train(config)
    assert hashes(hostile) == before
    assert not (tmp_path / "ran").exists()


def test_a_training_sees_the_image_and_not_the_array_beside_it(
    hostile: Path, tmp_path: Path
) -> None:
    config = TrainConfig(
        data=hostile, out=tmp_path / "run", model="omr-tiny", imgsz=96, device="cpu"
    )
    dataset = ready_trainer(config).test_loader.dataset
    for i, file in enumerate(dataset.im_files):
        pixels, size, resized = dataset.load_image(i)
        expected = imread(file)
        assert size == expected.shape[:2]
        assert resized == pixels.shape[:2] == (96, 96)
        if size == resized:
            np.testing.assert_array_equal(pixels, expected)
        else:
            np.testing.assert_array_equal(pixels, cv2.resize(expected, (96, 96)))


def test_bytes_behind_the_end_of_a_jpeg_are_kept(draw: Draw, tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=1)
    jpeg = as_jpeg(data / "images/train/0.png", end=b"\0" * 9)
    before = jpeg.read_bytes()
    check_images([str(jpeg)])
    assert jpeg.read_bytes() == before


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_an_error(suffix: str, draw: Draw, tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=1)
    path = data / "images/train/0.png"
    path = as_jpeg(path) if suffix == ".jpg" else path
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"0.* is damaged or truncated: .*; replace or remove it"):
        check_images([str(path)])
    assert path.read_bytes() == content[: len(content) // 2]


def test_the_first_of_several_is_named(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((9, 40), np.uint8))
    with pytest.raises(InputError) as error:
        check_images(map(str, tmp_path.iterdir()))
    assert str(error.value) == (
        f"{tmp_path}/a.png: is 40 x 9 px; expected at least 10 x 10 (2 more images have problems); "
        "replace or remove it"
    )


def test_no_images() -> None:
    check_images([])


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_of_another_size_stops_a_training(
    split: str, workers: int, draw: Draw, tmp_path: Path
) -> None:
    data = draw(tmp_path / "data", n_images=2)
    config = TrainConfig(
        data=data, out=tmp_path / "run", model="omr-tiny", imgsz=64, batch=1, device="cpu",
        epochs=1,
    )  # fmt: skip
    trainer = new_trainer(config)
    trainer.args.workers = workers  # Ultralytics uses none on a CPU
    path = data / "images" / split / "1.png"
    cv2.imwrite(str(path), np.zeros((96, 40, 3), np.uint8))
    with pytest.raises(OmrError) as error:
        trainer.train()
    assert str(error.value) == (
        f"{path}: is 40 x 96 px, but was 96 x 96 px when its labels were read; restore the image, "
        "or start again"
    )


def test_other_errors_of_workers_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="Caught KeyError"), without_worker_traceback():
        raise RuntimeError("Caught KeyError in DataLoader worker process 0.\nKeyError: 'a'")
