"""Parquet data sets opened for training: the same images and labels as in a YOLO folder."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sharded
from tiled_data import write_data, write_source

import class_maps
from class_maps import InputError
from converters import find_page
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.labelled_files import labelled_files
from converters.formats.parquet_dataset import ParquetDataset
from converters.formats.yolo_dataset import YoloDataset
from converters.parts import plan
from eval.lint.pages import lint_pages
from eval.lint.rules import lint
from omr.scoring.evaluation_set import read_evaluation_set
from training.data.label_files import read_labels

HARMONY = class_maps.load("harmony")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same tiles as a YOLO folder and as Parquet."""
    folder = tmp_path_factory.mktemp("both")
    write_source(folder / "source")
    yolo = write_data(folder).rename(folder / "yolo")
    return yolo, write_data(folder, formats=["parquet"])


def names_of(folder: Path, split: str) -> list[str]:
    dataset = open_dataset(folder)
    return [str(path.relative_to(dataset.splits[split])) for path in dataset.image_paths(split)]


def test_images_and_labels_are_those_of_a_yolo_folder(folders: tuple[Path, Path]) -> None:
    yolo, tables = map(open_dataset, folders)
    assert isinstance(tables, ParquetDataset)
    assert not isinstance(yolo, ParquetDataset)
    assert (tables.names, tables.own_splits()) == (yolo.names, ["train", "val"])
    assert tables.splits["val"] == tables.root / "images/val"
    for split in ("train", "val"):
        assert names_of(folders[0], split) == names_of(folders[1], split)
        assert yolo.fingerprint(split) == tables.fingerprint(split)
        pairs = zip(labelled_files(yolo, split), labelled_files(tables, split), strict=True)
        for expected, file in pairs:
            np.testing.assert_array_equal(expected.labels.rows, file.labels.rows)
            assert expected.fingerprint == file.fingerprint
        for one, other in zip(yolo.pages(split), tables.pages(split), strict=True):
            np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
    digests = [{s: labels.digest for s, labels in read_labels(d).items()} for d in (yolo, tables)]
    assert digests[0] == digests[1]
    assert tables.skipped_files("train") == []


def test_lint_and_evaluation_read_both_formats_alike(folders: tuple[Path, Path]) -> None:
    sets = [read_evaluation_set(folder, "val", None) for folder in folders]
    assert [s.unit for s in sets] == ["page", "page"]
    assert sets[0].groups == sets[1].groups
    for one, other in zip(sets[0].truths, sets[1].truths, strict=True):
        np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
        assert (one.image, one.staff_space) == (other.image, other.staff_space)
        np.testing.assert_array_equal(sets[0].pixels(one.image), sets[1].pixels(other.image))
    reports = [lint(lint_pages(d), d.names) for d in map(open_dataset, folders)]
    assert reports[0].to_json() == reports[1].to_json()


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"train"}, {"train": "train", "val": "train"}),
        ({"train", "test"}, {"train": "train", "val": "test", "test": "test"}),
        ({"test"}, {"train": "test", "val": "test", "test": "test"}),
    ],
)
def test_splits_that_stand_in_for_others(
    tmp_path: Path, tables: set[str], expected: dict[str, str]
) -> None:
    """They are those that data.yaml names."""
    options = ConversionOptions(class_map=HARMONY, formats=("parquet", "yolo"))
    source = sharded.write(tmp_path / "source", 2)
    if "train" not in tables or "test" in tables:
        kept = "shard_1_train.json" if "train" in tables else "shard_0_train.json"
        for path in source.glob("*_train.json"):
            if path.name != kept or "train" not in tables:
                path.rename(path.with_name(path.name.replace("train", "test")))
    convert(source, tmp_path / "out", options)
    yolo = open_dataset(tmp_path / "out")
    (tmp_path / "out/data.yaml").unlink()
    dataset = open_dataset(tmp_path / "out")
    assert {split: dataset.folder_name(split) for split in dataset.splits} == expected
    assert dict(dataset.splits) == dict(yolo.splits)
    for first in expected:
        for second in expected:
            assert dataset.share_images(first, second) == yolo.share_images(first, second)
    with pytest.raises(InputError, match="no split 'all'; available: train, val"):
        dataset.labelled_images("all")


def test_several_tables_are_in_the_order_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("converters.formats.parquet.IMAGES_PER_PART", 4)
    source = sharded.write(tmp_path / "source", 4)
    for name, formats in (("yolo", ("yolo",)), ("tables", ("parquet",))):
        options = ConversionOptions(class_map=HARMONY, formats=formats)
        convert(source, tmp_path / name, options)
    assert len([*(tmp_path / "tables/parquet/images_train").iterdir()]) == 3
    table = tmp_path / "tables/parquet/images_train/part-00000.parquet"
    pl.read_parquet(table).reverse().write_parquet(table)  # not sorted
    for kind in ("images", "symbols"):  # the last table is read first
        folder = tmp_path / f"tables/parquet/{kind}_train"
        max(folder.iterdir()).rename(folder / "part--.parquet")
    assert names_of(tmp_path / "tables", "train") == names_of(tmp_path / "yolo", "train")
    yolo, tables = (
        read_labels(open_dataset(tmp_path / name))["train"].images for name in ("yolo", "tables")
    )
    assert [Path(file).name for file in tables] == [Path(file).name for file in yolo]
    for one, other in zip(yolo.values(), tables.values(), strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)


def test_a_box_beyond_its_image_is_an_error(folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders[1], tmp_path / "data")
    [file] = (folder / "parquet/symbols_train").glob("*.parquet")
    table = pl.read_parquet(file)
    row = len(table) // 2
    is_row = pl.int_range(pl.len()) == row
    x_max = pl.when(is_row).then(1000.0).otherwise(pl.col("x_max"))
    table.with_columns(x_max.alias("x_max")).write_parquet(file)
    message = rf"{file.name}: extends beyond the image of \d+ x \d+ px: 1 symbol \(row {row + 1}\)"
    with pytest.raises(InputError, match=message):
        read_labels(open_dataset(folder))


def test_names_as_text_are_in_the_order_of_the_alphabet(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders[1], tmp_path / "data")
    for file in (folder / "parquet").glob("symbols_*/*.parquet"):
        pl.read_parquet(file).with_columns(pl.col("name").cast(pl.String)).write_parquet(file)
    assert open_dataset(folder).names == ("noteheadBlack", "stem")


def test_missing_images_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = sharded.write(tmp_path / "source", 1)
    options = ConversionOptions(class_map=HARMONY, formats=("parquet",), labels_only=True)
    convert(source, tmp_path / "labels", options)
    dataset = open_dataset(tmp_path / "labels")
    for read in (read_labels, lambda d: d.fingerprint("train")):
        with pytest.raises(InputError, match=r"-1\.png: no such image; convert without --labels-o"):
            read(dataset)
    monkeypatch.setattr(plan, "PART_PAGES", 1)
    options = ConversionOptions(class_map=HARMONY, formats=("parquet",), image_mode="tar")
    convert(source, tmp_path / "out", options)
    for file in (tmp_path / "out/parquet").glob("symbols_*/*.parquet"):
        pl.read_parquet(file).clear().write_parquet(file)
    with pytest.raises(InputError, match="no symbols in any of 3 images: the tables of symbols"):
        read_labels(open_dataset(tmp_path / "out"))
    for file in (tmp_path / "out/parquet").glob("images_*/*.parquet"):
        pl.read_parquet(file).clear().write_parquet(file)
    with pytest.raises(InputError, match="lists no images"):
        read_labels(open_dataset(tmp_path / "out"))


def test_a_folder_with_both_formats_is_a_yolo_folder(tmp_path: Path) -> None:
    source = sharded.write(tmp_path / "source", 1)
    options = ConversionOptions(class_map=HARMONY, formats=("parquet", "yolo"))
    convert(source, tmp_path / "out", options)
    assert type(open_dataset(tmp_path / "out")) is YoloDataset
    tables = open_dataset(tmp_path / "out/parquet")
    assert isinstance(tables, ParquetDataset)
    assert tables.root == tmp_path / "out"
    assert find_page.find_page(tmp_path / "out/parquet", "1").split == "train"
