"""Training on a data set that was merged from several, of which each labels other classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from yolo_folders import write_yolo

import class_maps
from converters.conversion import ConversionOptions, convert
from converters.splitting.dataset import split_dataset
from converters.splitting.plan import SplitOptions
from training.data.dataset import ClassMasks
from training.data.multi_dataset import DatasetOptions, MultiDataset, join

MAP = """name: own
classes: [note, rest]
sources:
  yolo: {map: {note: note}, unlabelled: [rest]}
  coco: {map: same names}
"""


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """A data set of which one half labels no rests."""
    (tmp_path / "own.yaml").write_text(MAP)
    class_map = class_maps.load(str(tmp_path / "own.yaml"))
    both = MAP.replace("map: {note: note}, unlabelled: [rest]", "map: same names")
    (tmp_path / "both.yaml").write_text(both)
    pages = ("lg-1-aug-a--page-1", "lg-2-aug-a--page-1")
    for name, labels in (("notes", [0]), ("all", [0, 1])):
        files = {f"{s}/{page}.png": labels for s, page in zip(("train", "val"), pages, strict=True)}
        write_yolo(tmp_path / name, files)
    full = ConversionOptions(
        class_map=class_maps.load(str(tmp_path / "both.yaml")), formats=("coco",)
    )
    convert(tmp_path / "all", tmp_path / "coco", full)
    sources = [tmp_path / "notes", tmp_path / "coco"]
    convert(sources, tmp_path / "merged", ConversionOptions(class_map=class_map))
    return tmp_path / "merged"


def mask_of(data: MultiDataset, part: str) -> list[bool]:
    [file] = [file for file in data.image_files("train") if part in file]
    batch = {"im_file": [file], "img": torch.zeros(1)}
    mask: torch.Tensor = ClassMasks(data, torch.device("cpu")).added(batch)["class_mask"]
    return list(mask[0].tolist())


def test_each_image_is_masked_like_its_source(merged: Path) -> None:
    data = join(DatasetOptions(folders=(merged,)))
    assert mask_of(data, "/notes/") == [True, False]
    assert mask_of(data, "/coco/") == [True, True]
    assert data.unlabelled() == {str(merged): ()}


def test_a_divided_data_set_is_masked_like_before(merged: Path) -> None:
    out = merged.with_name("divided")
    split_dataset(merged, out, SplitOptions(val=0.5, seed=1))
    data = join(DatasetOptions(folders=(out,)))
    assert mask_of(data, "/notes/") == [True, False]
    assert mask_of(data, "/coco/") == [True, True]


def test_images_of_no_source_are_masked_for_all_classes_that_one_lacks(merged: Path) -> None:
    image = min((merged / "images" / "train" / "coco").iterdir())
    image.rename(merged / "images" / "train" / "added.png")
    data = join(DatasetOptions(folders=(merged,)))
    assert mask_of(data, "added.png") == [True, False]


def test_mixed_with_another_data_set(merged: Path, tmp_path: Path) -> None:
    other = write_yolo(tmp_path / "other", {"train/z.png": [0], "val/y.png": [0]}, ["dog"])
    data = join(DatasetOptions(folders=(merged, other)))
    assert data.names == ("note", "rest", "dog")
    assert mask_of(data, "/notes/") == [True, False, False]
    assert mask_of(data, "/coco/") == [True, True, False]
    assert mask_of(data, "z.png") == [False, False, True]
    assert np.array(data.labelled).shape == (4, 3)
