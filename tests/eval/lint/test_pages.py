"""Facts about images that the manifest records."""

from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import pytest
from yolo_folders import write_yolo

from converters.formats.datasets import open_dataset
from converters.manifest import Manifest
from converters.page import Page
from eval.lint.pages import RecordedPages, lint_pages


@pytest.mark.parametrize(
    ("image", "work"), [("a.png", "op1"), ("a__x00000_y00512.png", "op1"), ("b.png", "")]
)
def test_work_of_a_page_or_tile(image: str, work: str) -> None:
    tiled = {"symbols": 0, "scale_x": 1, "scale_y": 1, "tiles": {"a__x00000_y00512.png": [0, 512]}}
    parts = {
        "properties": {"train": {"a.png": {"work": "op1"}}},
        "tiles": {"train": {"a.png": tiled}},
    }
    raw = {name: msgspec.Raw(msgspec.json.encode(part)) for name, part in parts.items()}
    recorded = RecordedPages(Manifest(path=Path("manifest.json"), parts=raw), "train")
    page = Page(
        image=PurePosixPath(image),
        width=9,
        height=9,
        boxes_xyxy=np.empty((0, 4)),
        labels=np.empty(0, np.int64),
    )
    assert recorded.lint_page(Path(image), page, np.empty((0, 5)), "train").recorded_work == work


@pytest.mark.parametrize("splits", [["train"], ["train", "val"]])
def test_pages_know_whether_there_are_other_splits(splits: list[str], tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "data", {f"{split}/a.png": [0] for split in splits})
    pages = list(lint_pages(open_dataset(root)))
    assert [page.has_other_splits for page in pages] == [len(splits) > 1] * len(splits)
