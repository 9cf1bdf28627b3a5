"""Tests of the comparison of predicted pages with ground truth."""

from pathlib import Path

import numpy as np
import pytest
from ink_network import InkNetwork
from PIL import Image

from class_maps import ConfigError, InputError
from omr.prediction import PredictOptions
from omr.scoring.page_reading import read_set

BOXES = {"train": [(40, 40, 52, 50), (100, 20, 250, 24)], "val": [(10, 100, 30, 120)]}
OPTIONS = PredictOptions(weights=Path("ink.pt"), staff_space="none", conf=0.5)


def write_pages(folder: Path, names: str = "[black, grey]") -> Path:
    """Write a page for each split whose black boxes are labelled."""
    for split, boxes in BOXES.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        pixels, lines = np.full((160, 300), 255, np.uint8), []
        for x0, y0, x1, y1 in boxes:
            pixels[y0:y1, x0:x1] = 0
            sides = (x0 + x1) / 600, (y0 + y1) / 320, (x1 - x0) / 300, (y1 - y0) / 160
            lines.append(f"0 {' '.join(map(str, sides))}\n")
        Image.fromarray(pixels).save(folder / f"images/{split}/{split}.png")
        (folder / f"labels/{split}/{split}.txt").write_text("".join(lines))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    return folder


def test_the_pages_of_all_splits_are_compared(tmp_path: Path) -> None:
    result = read_set(write_pages(tmp_path / "pages"), InkNetwork(), OPTIONS)
    assert (result.name, result.n_pages) == ("pages", 2)
    assert result.matches.n_truths.tolist() == [3, 0]
    assert result.matches.score(0.5).f1 == 1
    assert result.report.instance_weighted.ap50 == 1
    # The second box is left out where the labels say so.
    (tmp_path / "pages/labels/train/train.txt").write_text("")
    result = read_set(tmp_path / "pages", InkNetwork(), OPTIONS)
    assert result.matches.score(0.5).n_false == 2


def test_classes_can_be_left_out(tmp_path: Path) -> None:
    result = read_set(write_pages(tmp_path / "pages"), InkNetwork(), OPTIONS, without=["black"])
    assert result.matches.n_truths.sum() == len(result.matches.scores) == 0


def test_other_classes_and_unreadable_pages_are_refused(tmp_path: Path) -> None:
    folder = write_pages(tmp_path / "other", names="[black, white]")
    with pytest.raises(ConfigError, match="other: has other classes than the weights"):
        read_set(folder, InkNetwork(), OPTIONS)
    folder = write_pages(tmp_path / "broken")
    image = folder / "images/val/val.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(InputError, match=r"val\.png"):
        read_set(folder, InkNetwork(), OPTIONS)
