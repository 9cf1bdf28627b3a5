import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.foreign import sizes
from converters.engraving import annotations

IDS = {entry["name"]: key for key, entry in annotations.vocabulary()["categories"].items()}


def data_set(folder: Path, rows: Sequence[tuple[str, float, float]], staff_space: float) -> Path:
    """Write a data set of symbols with a category, a width and a height in pixels."""
    contents = annotations.vocabulary() | {
        "images": [{"id": 1, "staff_space": staff_space}],
        "annotations": {
            str(i): {"a_bbox": [10, 20, 10 + w, 20 + h], "cat_id": [IDS[name]], "img_id": "1"}
            for i, (name, w, h) in enumerate(rows)
        },
    }
    folder.mkdir()
    (folder / "deepscores_test.json").write_text(json.dumps(contents))
    return folder


def test_sizes_are_read_in_staff_spaces_by_class(tmp_path: Path) -> None:
    rows = [("noteheadBlackOnLine", 26, 20), ("noteheadBlackInSpace", 28, 22), ("lyrics", 9, 9)]
    read = sizes.read(data_set(tmp_path / "a", rows, 20), "harmony")
    assert list(read) == ["noteheadBlack"]
    assert np.allclose(read["noteheadBlack"], [[1.3, 1.0], [1.4, 1.1]])


def test_an_empty_data_set_has_no_sizes(tmp_path: Path) -> None:
    assert sizes.read(data_set(tmp_path / "a", [], 20), "harmony") == {}


def test_classes_with_few_symbols_are_omitted() -> None:
    assert sizes.summary({"stem": np.ones((sizes.LEAST - 1, 2))}) == {}


@pytest.mark.parametrize(
    ("other", "cell"),
    [(1.25, "1.25 (1.25-1.25)"), (1.21, "1.21 (1.21-1.21)"), (1.6, "1.60 (1.60-1.60) *")],
)
def test_ranges_that_do_not_overlap_are_marked(other: float, cell: str) -> None:
    reference = sizes.summary({"stem": np.linspace(1.2, 1.4, 101)[:, None] * [1, 2]})
    foreign = sizes.summary({"stem": np.full((9, 2), other)})
    text = sizes.table(["ours", "theirs"], [reference, foreign], 0)
    assert text.splitlines() == [
        "| width | ours | theirs |",
        "|---|---|---|",
        f"| stem | 1.30 (1.21-1.39) | {cell} |",
    ]


def test_classes_of_the_reference_alone_are_omitted() -> None:
    reference = sizes.summary({"stem": np.ones((9, 2)), "beam": np.ones((9, 2))})
    foreign = sizes.summary({"beam": np.ones((9, 2))})
    assert "stem" not in sizes.table(["a", "b"], [reference, foreign], 1)
