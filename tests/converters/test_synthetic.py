import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from converters import synthetic


def load(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    data = json.loads((folder / "deepscores_train.json").read_text())
    pixels = {}
    for image in data["images"]:
        page = cv2.imread(str(folder / "images" / image["filename"]), cv2.IMREAD_GRAYSCALE)
        assert page is not None
        pixels[str(image["id"])] = page
    return data["annotations"], pixels


def test_no_pages(tmp_path: Path) -> None:
    annotations, pixels = load(synthetic.write(tmp_path, pages=0))
    assert (annotations, pixels) == ({}, {})


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    made = [
        synthetic.write(tmp_path / str(i), pages=1, seed=seed, width=400, height=300)
        for i, seed in enumerate((3, 3, 4))
    ]
    for name in ("deepscores_train.json", "images/lg-1000-aug-synthetic--page-1.png"):
        first, second, other = ((folder / name).read_bytes() for folder in made)
        assert first == second
        assert first != other


def test_boxes_are_tight_and_inside(tmp_path: Path) -> None:
    annotations, pixels = load(synthetic.write(tmp_path, pages=2, width=700, height=500))
    assert len(annotations) > 50
    for annotation in annotations.values():
        page = pixels[str(annotation["img_id"])]
        x0, y0, x1, y1 = annotation["a_bbox"]
        assert 0 <= x0 < x1 <= page.shape[1]
        assert 0 <= y0 < y1 <= page.shape[0]
        ink = page[y0:y1, x0:x1] < 255
        assert ink[0].any()
        assert ink[-1].any()
        assert ink[:, 0].any()
        assert ink[:, -1].any()
