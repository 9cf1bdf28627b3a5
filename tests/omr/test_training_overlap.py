"""Images of a split that a model was trained on, or that show pages it was trained on."""

import json
from pathlib import Path

import deepscores
import numpy as np
import pytest
from fake_scoring import Predictor, fake_predictor, make_data, record, run

import class_maps
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from training.config import TrainConfig
from training.engine.inputs import open_inputs
from training.models.training_record import TrainingRecord
from training.trainer import run_options


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    return fake_predictor(monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path)


def add_images(data: Path) -> list[Path]:
    """Add two images to val, and return all three."""
    files = [data / "images" / "val" / name for name in ("a.png", "b.png", "c.png")]
    for i, file in enumerate(files):
        images.write(np.full((100, 100), i, np.uint8), file)
    return files


UNKNOWN = (
    "note: unknown whether the model was trained on these pages: its weights do not record all "
    "training images"
)


@pytest.mark.parametrize(
    ("trained_on", "is_complete", "message"),
    [
        ([], True, "the model was not trained on these pages"),
        ([], False, UNKNOWN),
        (
            [2, 1],
            True,
            "note: the model was trained on 2 of 3 pages, the first is b.png: for these, the "
            "metrics show how well it memorised them, not how well it generalises",
        ),
        (
            [2],
            False,
            "note: the model was trained on at least 1 of 3 pages, the first is c.png: for these",
        ),
        (None, True, UNKNOWN),
    ],
)
def test_training_images_are_reported(
    trained_on: list[int] | None,
    is_complete: bool,
    message: str,
    data: Path,
    predictor: Predictor,
) -> None:
    files = add_images(data)
    if trained_on is not None:
        others = data / "images" / "train" / "a.png"
        used = [files[i] for i in trained_on]
        predictor.training = record(others, *used, is_complete=is_complete)
    result = run(data, "--json")
    assert message in " ".join(result.stderr.split())
    report = json.loads(result.stdout)["trained_on"]
    assert report["n"] == len(trained_on or [])
    assert report["first"] == (f"{'abc'[min(trained_on)]}.png" if trained_on else None)
    assert report["training_is_known"] == (trained_on is not None and is_complete)


@pytest.fixture
def conversions(tmp_path: Path) -> dict[str, Path]:
    """Conversions of one page per split: whole, scaled, and as tiles of two sizes."""
    (tmp_path / "best.pt").write_text("weights")
    staff = ("135", [0.0, 20, 200, 84])
    for i, split in enumerate(("train", "val")):
        page = deepscores.content(deepscores.NOTE, staff)
        page["images"][0]["filename"] = f"lg-{i}-aug-gonville--page-1.png"
        deepscores.write(tmp_path / "in", page, f"deepscores_{split}.json")
        pixels = np.random.default_rng(i).integers(0, 256, (100, 200), np.uint8)
        images.write(pixels, tmp_path / "in/images" / page["images"][0]["filename"])
    harmony = class_maps.load("harmony")
    for name, changes in {
        "whole": {},
        "scaled": {"staff_space": 8.0},
        "tiles": {"tiles": TileOptions(size=64, overlap=0)},
        "small tiles": {"tiles": TileOptions(size=48, overlap=8)},
    }.items():
        preparation = PreparationOptions(**changes)  # type: ignore[arg-type]
        options = ConversionOptions(class_map=harmony, preparation=preparation)
        convert(tmp_path / "in", tmp_path / name, options)
    return {name: tmp_path / name for name in ("whole", "scaled", "tiles", "small tiles")}


def record_of_training(data: Path) -> TrainingRecord:
    inputs = open_inputs(run_options(TrainConfig(data=data, out=data.parent / "run")))
    return inputs.record(inputs.image_hashes())


def test_equal_white_tiles_of_different_pages_are_no_overlap(
    conversions: dict[str, Path], predictor: Predictor
) -> None:
    data = conversions["tiles"]
    white = np.full((64, 64), 255, np.uint8)
    for split in ("train", "val"):
        images.write(white, sorted((data / "images" / split).glob("*.png"))[0])
    predictor.names = open_dataset(data).names
    predictor.training = record_of_training(data)
    report = json.loads(run(data, "--unit", "tile", "--split", "val", "--json").stdout)
    assert report["trained_on"]["n"] == 0


NO_PAGES = "the model was not trained on these {unit}s, nor on other parts of their pages"


@pytest.mark.parametrize(
    ("trained_on", "scored", "unit", "same_images"),
    [
        ("whole", "whole", "page", True),
        ("tiles", "whole", "page", False),
        ("whole", "tiles", "tile", False),
        ("whole", "tiles", "page", False),
        ("tiles", "tiles", "page", True),
        ("tiles", "small tiles", "tile", False),
        ("scaled", "tiles", "tile", False),
        ("whole", "scaled", "page", False),
    ],
)
def test_other_parts_of_a_page_are_recognised(
    trained_on: str,
    scored: str,
    unit: str,
    same_images: bool,
    conversions: dict[str, Path],
    predictor: Predictor,
) -> None:
    predictor.names = open_dataset(conversions[scored]).names
    predictor.training = record_of_training(conversions[trained_on])
    data = conversions[scored]
    n = 1 if unit == "page" else len(open_dataset(data).image_paths("train"))
    options = ["--unit", unit, "--device", "cpu"]
    result = run(data, "--split", "train", "--json", *options)
    pages, units = "" if same_images else "the pages of ", unit if n == 1 else f"{unit}s"
    expected = f"note: the model was trained on {pages}{n} of {n} {units}, the first is lg-0-"
    assert expected in " ".join(result.stderr.split())
    report = json.loads(result.stdout)["trained_on"]
    assert (report["n"], report["n_same_images"]) == (n, n * same_images)
    assert (report["share"], report["known"], report["pages_are_known"]) == (1, True, True)
    result = run(data, "--split", "val", *options)
    assert NO_PAGES.format(unit=unit) in " ".join(result.stdout.split())


@pytest.mark.parametrize("scored", ["whole", "tiles"])
@pytest.mark.parametrize("forget", ["hashes", "manifest"])
def test_unknown_pages_are_reported(
    forget: str, scored: str, conversions: dict[str, Path], predictor: Predictor
) -> None:
    """Tiles of an old version of omr, or without a manifest, do not reveal their pages."""
    predictor.names = open_dataset(conversions["whole"]).names
    file = conversions["tiles"] / "manifest.json"
    if forget == "manifest":
        file.unlink()
    else:
        file.write_text(file.read_text().replace('"sha256": ', '"other": '))
    other = {"whole": "tiles", "tiles": "whole"}[scored]
    predictor.training = record_of_training(conversions[other])
    result = run(conversions[scored], "--split", "train")
    assert (
        "the model was not trained on these pages; unknown whether on other parts of their pages, "
        "because not all data sets record their pages"
    ) in " ".join(result.stdout.split())


def test_val_folder_of_the_data_may_be_new_to_the_model(data: Path, predictor: Predictor) -> None:
    """One folder for both splits does not imply that weights from another training saw val."""
    description = (data / "data.yaml").read_text()
    (data / "data.yaml").write_text(description.replace("train: images/train", "train: images/val"))
    predictor.training = record(data / "images/train/a.png")
    images.write(np.zeros((100, 100), np.uint8), data / "images/val/a.png")
    assert "the model was not trained on these pages; unknown" in run(data).stdout
