from pathlib import Path

import pytest
from PIL import Image

from class_maps import load
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset

WARNING = "only the first page or frame is read of 2 images ({}: 12, ...)"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of four images, of which two have twelve pages."""
    (tmp_path / "data/images/train").mkdir(parents=True)
    (tmp_path / "data/labels/train").mkdir(parents=True)
    for i in range(4):
        page = Image.new("L", (50, 40), 255)
        page.save(
            tmp_path / f"data/images/train/{i}.tif",
            save_all=True,
            append_images=[page] * (11 if i % 2 else 0),
        )
        (tmp_path / f"data/labels/train/{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data/data.yaml").write_text(
        "train: images/train\nval: images/train\nnames: {0: noteheadBlack}\n"
    )
    return tmp_path / "data"


def test_a_conversion_warns_about_pages_that_it_does_not_read(data: Path, tmp_path: Path) -> None:
    class_map = tmp_path / "map.yaml"
    class_map.write_text(
        "name: a\nclasses: [noteheadBlack]\n"
        "sources: {yolo: {map: {noteheadBlack: noteheadBlack}}}\n"
    )
    options = ConversionOptions(class_map=load(str(class_map)))
    warnings = convert(data, tmp_path / "out", options)["warnings"]
    assert warnings.count(WARNING.format("1.tif")) == 1


def test_training_and_scoring_warn_once_per_data_set(data: Path) -> None:
    warning = WARNING.format("images/train/1.tif")
    assert open_dataset(data).skipped_files("train", "val") == [warning]
