from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from drawn_data import repeat_training_images
from numpy.typing import NDArray
from PIL import Image
from tf32 import tf32_is_on
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, InputError
from converters.images import read_bgr
from converters.page import Page
from training.config import TrainConfig
from training.predict import detector
from training.predict.detections import Detections
from training.predict.detector import detect, predict
from training.trainer import TrainResult, train


def images_of(folder: Path) -> list[tuple[Path, PurePosixPath]]:
    return [(path, PurePosixPath(path.name)) for path in sorted(folder.iterdir())]


def test_no_images(trained: TrainResult) -> None:
    assert list(predict(trained.last, [], imgsz=96, device="cpu")) == []


def test_a_page_for_each_image(trained: TrainResult, dataset: Path) -> None:
    images = images_of(dataset / "images" / "val")
    pages = list(
        predict(trained.last, images, imgsz=96, batch=4, device="cpu", score_thresh=0, max_det=50)
    )
    assert [page.image for page in pages] == [name for _, name in images]
    for page in pages:
        assert page.scores is not None
        assert (page.width, page.height) == (96, 96)
        assert len(page.labels) == 50
        assert (np.diff(page.scores) <= 0).all()
        assert page.boxes_xyxy.min() >= 0
        assert page.boxes_xyxy.max() <= 96


@pytest.mark.parametrize("sizes", [[], [(96, 96)], [(96, 40), (40, 96), (96, 90), (20, 90)]])
def test_batched_is_the_same_as_one_by_one(
    sizes: list[tuple[int, int]], trained: TrainResult, dataset: Path, tmp_path: Path
) -> None:
    whole = read_bgr(dataset / "images" / "val" / "0.png")
    for i, (height, width) in enumerate(sizes):
        cv2.imwrite(str(tmp_path / f"{i}.png"), whole[:height, :width])
    images = images_of(dataset / "images" / "val") + images_of(tmp_path)

    def found(batch: int) -> list[NDArray[np.float64]]:
        """Every box, by place: after two epochs the scores are too much alike to sort by."""
        every: dict[str, Any] = {"score_thresh": 0, "max_det": 10**6}
        pages = predict(trained.last, images, imgsz=96, batch=batch, device="cpu", **every)
        rows = [np.concatenate([p.labels[:, None], p.boxes_xyxy], axis=1) for p in pages]
        return [row[np.lexsort(row.round().T)] for row in rows]

    for several, single in zip(found(8), found(1), strict=True):
        assert len(several) == len(single) > 20
        assert np.allclose(several, single, atol=0.01)


def test_images_are_read_a_batch_at_a_time(trained: TrainResult, dataset: Path) -> None:
    images = iter(images_of(dataset / "images" / "val"))
    pages = predict(trained.last, images, imgsz=96, batch=2, device="cpu")
    next(pages)
    assert len(list(images)) == 2, "one batch is in use, and the next one read ahead"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_images_are_read_as_they_look(suffix: str, trained: TrainResult, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # a quarter turn, as phones write it
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (96, 32), "white").save(path, exif=tags)
    [page] = predict(trained.last, [(path, PurePosixPath(path.name))], imgsz=96, device="cpu")
    assert (page.width, page.height) == (32, 96)


def test_prediction_is_in_exact_fp32() -> None:
    seen = []

    def model(images: torch.Tensor) -> tuple[torch.Tensor]:
        seen.append(tf32_is_on())
        return (torch.zeros(len(images), 6, 10),)

    detect(model, torch.zeros(1, 3, 32, 32), score_thresh=0.5, max_det=10)
    assert seen == [False]
    assert tf32_is_on()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_weights_and_images_have_the_memory_format(
    memory_format: torch.memory_format,
    trained: TrainResult,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check(model: DetectionModel, images: torch.Tensor, **_: object) -> list[Detections]:
        for tensor in (images, *(p for p in model.parameters() if p.ndim == 4)):
            assert tensor.is_contiguous(memory_format=memory_format)
        return []

    monkeypatch.setattr(detector, "detect", check)
    images = images_of(dataset / "images" / "val")[:1]
    with pytest.raises(ValueError, match="zip"):  # one image, and no detections for it
        list(predict(trained.last, images, imgsz=96, device="cpu", memory_format=memory_format))


def test_boxes_are_in_pixels_of_the_file(
    trained: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 200, 3), np.uint8))
    found = Detections(
        boxes_xyxy=torch.tensor([[10.0, 20, 30, 200]]),
        labels=torch.tensor([1]),
        scores=torch.tensor([0.5]),
    )
    monkeypatch.setattr(detector, "detect", lambda *_, **__: [found])
    images = [(tmp_path / "a.png", PurePosixPath("scores/a.png"))]
    (page,) = predict(trained.last, images, imgsz=100, device="cpu")
    assert isinstance(page, Page)
    assert page.image == PurePosixPath("scores/a.png")
    assert page.boxes_xyxy.tolist() == [[20, 40, 60, 100]]


@pytest.mark.slow
def test_a_model_learns_a_drawing_by_heart(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=4, side=64, n_symbols=3)
    repeat_training_images(data, 40)
    result = train(
        TrainConfig(
            data=data,
            out=tmp_path / "run",
            model="omr-tiny",
            epochs=5,
            imgsz=64,
            batch=4,
            device="cpu",
            lr=0.01,
            warmup_epochs=0.1,
            translate=0.0,
            scale=0.0,
            brightness=0.0,
            validate=False,
        )
    )
    images = [
        (file, name) for file, name in images_of(data / "images/train") if "-copy" not in file.stem
    ]
    pages = predict(result.last, images, imgsz=64, device="cpu", score_thresh=0.25)
    hits = 0
    for page in pages:
        rows = (data / "labels" / "train" / page.image.with_suffix(".txt")).read_text().split()
        truth = np.array(rows, dtype=float).reshape(-1, 5)
        for label, x, y, *_ in truth:
            inside = (page.boxes_xyxy[:, :2] < [x * 64, y * 64]).all(axis=1)
            inside &= (page.boxes_xyxy[:, 2:] > [x * 64, y * 64]).all(axis=1)
            hits += bool((inside & (page.labels == label)).any())
    assert hits >= 10, "of 12 symbols"


def test_errors(trained: TrainResult, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    for name, problem in (
        ("a.png", "is damaged or not an image in a supported format"),
        ("gone.png", "no such image"),
    ):
        with pytest.raises(InputError, match=f"{name}: {problem}"):
            list(predict(trained.last, [(tmp_path / name, PurePosixPath(name))], imgsz=96))
    with pytest.raises(ConfigError, match=r"must be above 0: imgsz \(0\), batch \(-1\)"):
        list(predict(trained.last, [], imgsz=0, batch=-1))
    with pytest.raises(ConfigError, match="--device tpu: expected cpu"):
        list(predict(trained.last, [], imgsz=96, device="tpu"))
    with pytest.raises(
        InputError, match=r"gone\.pt: no such weights; give a run's weights/best\.pt"
    ):
        list(predict(tmp_path / "gone.pt", [], imgsz=96, device="cpu"))
