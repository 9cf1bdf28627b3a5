from collections.abc import Callable
from pathlib import Path

import pytest

from class_maps import InputError
from converters.formats.yolo import open_dataset
from training.data.label_counts import LabelCounts, count_labels


def test_no_symbols(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=1, n_symbols=0)
    with pytest.raises(InputError, match="train: no symbols for any of its 1 images; labels/ must"):
        count_labels(open_dataset(data))


def test_counts(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=3, n_symbols=4)
    rows = (data / "labels/val/0.txt").read_text()
    (data / "labels/val/0.txt").write_text(rows + "\n" + rows.splitlines()[2] + "\n")
    (data / "labels/val/1.txt").write_text("")
    (data / "labels/val/2.txt").unlink()
    assert count_labels(open_dataset(data)) == {
        "train": LabelCounts(images=3, symbols=12, duplicates=0, without_labels=0, most=4),
        "val": LabelCounts(images=3, symbols=4, duplicates=1, without_labels=2, most=4),
    }
