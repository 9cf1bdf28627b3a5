import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
from engraved import engraved_pages
from numpy.typing import NDArray
from yolo_folders import write_yolo

import class_maps
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from converters.splitting.images import read_split_images
from converters.splitting.leaks import Leak, find_leaks
from converters.splitting.perceptual_hash import perceptual_hashes, similar_pairs

Pixels = NDArray[np.uint8]


def leaks(folder: Path) -> list[Leak]:
    return find_leaks(read_split_images(open_dataset(folder)))


def kinds(folder: Path) -> list[tuple[str, str]]:
    return [(leak.kind, leak.key) for leak in leaks(folder)]


@pytest.fixture(scope="module")
def engraved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engraved")
    pages = engraved_pages(folder / "pages", pages=8)
    convert(
        pages, folder / "data", ConversionOptions(class_map=class_maps.load("harmony"), val=0.4)
    )
    return folder / "data"


def test_a_single_split_has_no_leak(tmp_path: Path) -> None:
    assert kinds(write_yolo(tmp_path / "a", {"train/a.png": [0], "train/b.png": [0]})) == []


def test_pages_of_different_works_are_no_leak(engraved: Path) -> None:
    assert kinds(engraved) == []


def test_tiles_of_different_works_are_no_leak(tmp_path: Path) -> None:
    pages = engraved_pages(tmp_path / "pages", pages=6)
    preparation = PreparationOptions(tiles=TileOptions(size=160, overlap=32))
    class_map = class_maps.load("harmony")
    chosen = ConversionOptions(class_map=class_map, preparation=preparation, val=0.4)
    convert(pages, tmp_path / "data", chosen)
    assert kinds(tmp_path / "data") == []


def test_a_copy_of_an_image(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "a", {"train/a.png": [0], "val/b.png": [0]})
    shutil.copy(data / "images/train/a.png", data / "images/val/b.png")
    a, b = PurePosixPath("a.png"), PurePosixPath("b.png")
    assert leaks(data) == [Leak(kind="image", key="a.png", images={"train": a, "val": b})]


def test_equal_images_without_symbols_are_no_leak(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "a", {"train/a.png": [], "val/b.png": [], "val/c.png": [0]})
    shutil.copy(data / "images/train/a.png", data / "images/val/b.png")
    assert kinds(data) == []


def jpeg(page: Pixels) -> Pixels:
    encoded = cv2.imencode(".jpg", page, (cv2.IMWRITE_JPEG_QUALITY, 40))[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda page: images.scaled(page, page.shape[1] // 2, page.shape[0] // 2),
        lambda page: np.where(page > 150, np.uint8(255), np.uint8(0)),
        lambda page: (page * 0.8 + 20).astype(np.uint8),
        lambda page: np.roll(page, (9, 9), axis=(0, 1)),
        lambda page: page[12:-12, 12:-12],
        lambda page: np.pad(page, 60, constant_values=255),
    ],
    ids=["jpeg", "half", "binary", "darker", "shifted", "cropped", "widened"],
)
def test_a_changed_copy_of_a_page(
    change: Callable[[Pixels], Pixels], engraved: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(engraved, tmp_path / "data")
    page = min((data / "images" / "train").iterdir())
    images.write(change(images.read(page)), data / "images" / "val" / "copy.png")
    label = data / "labels" / "train" / f"{page.stem}.txt"
    shutil.copy(label, data / "labels" / "val" / "copy.txt")
    assert kinds(data) == [("similar image", page.name)]


def test_lines_at_different_heights_have_similar_hashes_but_are_no_leak(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "a", {"train/a.png": [0], "val/b.png": [0]})
    paths = [data / "images" / name for name in ("train/a.png", "val/b.png")]
    for path, y in zip(paths, (60, 70), strict=True):
        page = np.full((200, 200), 255, np.uint8)
        page[y : y + 2] = 0
        images.write(page, path)
    first, second = (perceptual_hashes([path]) for path in paths)
    assert list(similar_pairs(first, second)) == [(0, 0)]
    assert kinds(data) == []


WHITE = np.full((240, 160), 255, np.uint8)
GRADIENT = np.tile(np.linspace(150, 255, 160).astype(np.uint8), (240, 1))


@pytest.mark.parametrize(
    ("train", "val"),
    [(WHITE, WHITE - 10), (GRADIENT, WHITE), (GRADIENT, WHITE * 0), (GRADIENT, GRADIENT[:, ::-1])],
    ids=["blank", "gradient and white", "gradient and black", "gradients"],
)
def test_pages_without_ink_are_no_leak(train: Pixels, val: Pixels, tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "a", {"train/a.png": [0], "val/b.png": [0]})
    images.write(train, data / "images/train/a.png")
    images.write(np.ascontiguousarray(val), data / "images/val/b.png")
    assert kinds(data) == []


def test_no_hashes() -> None:
    none = perceptual_hashes([])
    assert list(similar_pairs(none, none)) == []


@pytest.mark.parametrize(
    ("train", "val", "leak"),
    [
        ("lg-1-aug-a--page-1", "lg-1-aug-b--page-2", ("work", "1")),
        ("CVC-MUSCIMA_W-01_N-10_D-ideal", "CVC-MUSCIMA_W-01_N-11_D-ideal", ("writer", "W-01")),
        ("sonata-page-1", "sonata-page-2", ("piece", "sonata")),
        ("scan__x00000_y00000", "scan__x00000_y00064", ("page", "scan")),
        ("a", "b", None),
        ("lg-1-aug-a--page-1", "lg-2-aug-a--page-1", None),
    ],
)
def test_names_of_pages_in_two_splits(
    train: str, val: str, leak: tuple[str, str] | None, tmp_path: Path
) -> None:
    data = write_yolo(tmp_path / "a", {f"train/{train}.png": [0], f"val/{val}.png": [0]})
    assert kinds(data) == ([leak] if leak else [])
