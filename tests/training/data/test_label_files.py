from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ultralytics.data.utils import verify_image_label

from class_maps import InputError
from converters.formats.datasets import open_dataset
from training.data.label_files import LabelCounts, read_labels


def test_no_symbols(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=1, n_symbols=0)
    with pytest.raises(
        InputError, match="train: no symbols in any of 1 image: the label files are"
    ):
        read_labels(open_dataset(data))


def test_counts(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=3, n_symbols=4)
    rows = (data / "labels/val/0.txt").read_text()
    (data / "labels/val/0.txt").write_text(rows + "\n" + rows.splitlines()[2] + "\n")
    (data / "labels/val/1.txt").write_text("")
    (data / "labels/val/2.txt").unlink()
    splits = read_labels(open_dataset(data))
    assert {name: split.counts for name, split in splits.items()} == {
        "train": LabelCounts(images=3, symbols=12, duplicates=0, without_labels=0, most=4),
        "val": LabelCounts(images=3, symbols=4, duplicates=1, without_labels=2, most=4),
    }


def test_rows_are_those_that_ultralytics_reads(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=2, n_symbols=9)
    repeated = data / "labels/train/1.txt"
    repeated.write_text(repeated.read_text() * 2)
    for file, labels in read_labels(open_dataset(data))["train"].images.items():
        label_file = str(data / "labels/train" / Path(file).with_suffix(".txt").name)
        _, rows, shape, *_ = verify_image_label((file, label_file, "", False, 3, 0, 0, False))
        assert (labels.height, labels.width) == shape
        assert labels.rows.dtype == rows.dtype
        np.testing.assert_array_equal(labels.rows, rows)


def test_a_label_must_be_a_whole_number(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=1)
    (data / "labels/train/0.txt").write_text("0 .5 .5 .1 .1\n1.5 .5 .5 .1 .1\n")
    with pytest.raises(InputError) as error:
        read_labels(open_dataset(data))
    assert str(error.value) == (
        f"{data}/labels/train/0.txt: line 2: label 1.5 is not a whole number"
    )


def test_one_folder_for_both_splits_is_read_once(
    draw: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = draw(tmp_path / "data", n_images=2)
    file = data / "data.yaml"
    file.write_text(file.read_text().replace("images/val", "images/train"))
    opened: list[str] = []
    read = Path.read_bytes

    def count(path: Path) -> bytes:
        opened.append(path.name)
        return read(path)

    dataset = open_dataset(data)
    monkeypatch.setattr(Path, "read_bytes", count)
    splits = read_labels(dataset)
    assert splits["train"] is splits["val"]
    assert sorted(opened) == ["0.txt", "1.txt"]
