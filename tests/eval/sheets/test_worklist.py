"""Tests of worklists: a page that loads nothing, and the same rows as CSV."""

import csv
import re
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from eval.lint.findings import Example, RankedLabel
from eval.sheets.worklist import COLUMNS, PAGE, TABLE, write_worklist


def label(path: Path, score: float, class_name: str = "head") -> RankedLabel:
    return RankedLabel(
        score=score, example=Example(split="train", page=PurePosixPath("<b>.png"),
        box_xyxy=(20, 20, 32, 30)), class_name=class_name, predicted_class="stem",
        confidence=0.75, predicted_xyxy=(24, 20, 36, 30), source="", path=path, staff_space=8.0,
    )  # fmt: skip


def written(folder: Path, ranked: dict[str, list[RankedLabel]]) -> tuple[int, str, list[list[str]]]:
    folder.mkdir()
    n = write_worklist(ranked, folder, title="data", track=lambda crops, _text, _n: crops)
    rows = [*csv.reader((folder / TABLE).read_text("utf-8").splitlines())]
    return n, (folder / PAGE).read_text("utf-8"), rows


def test_without_labels(tmp_path: Path) -> None:
    n, page, rows = written(tmp_path / "out", {"swapped-label": []})
    assert (n, rows) == (0, [list(COLUMNS)])
    assert "<p>None.</p>" in page


def test_rows_of_the_page_and_the_table_agree(tmp_path: Path) -> None:
    image = tmp_path / "1.png"
    Image.new("L", (60, 60), 255).save(image)
    ranked = {
        "overlooked-label": [label(image, 0.1, "")],
        "swapped-label": [label(image, 0.2), label(image, 0.21)],
    }
    n, page, rows = written(tmp_path / "out", ranked)
    assert n == 3
    assert [row[:2] for row in rows[1:]] == [
        ["overlooked-label", "0.1"], ["swapped-label", "0.2"], ["swapped-label", "0.21"]
    ]  # fmt: skip
    assert rows[2] == (
        [
            "swapped-label",
            "0.2",
            "train",
            "<b>.png",
            "head",
            "20",
            "20",
            "32",
            "30",
            "stem",
            "0.75",
            "24",
            "20",
            "36",
            "30",
        ]
    )
    cells = re.findall(r'<td class="text" data-name="\w+">(none|head|stem 0.75)</td>', page)
    assert cells == ["none", "stem 0.75", *["head", "stem 0.75"] * 2]
    causes = re.findall(r"<p>Usual cause: ([^<;]+)", page)
    assert causes == [
        "symbols were not labelled",
        "symbols were labelled as another class, or the class map merges them differently.",
    ]
    assert "train/&lt;b&gt;.png [20 20 32 30]" in page
    sources = re.findall(r'src="([^"]{20})', page)
    assert sources == ["data:image/png;base6"] * 3
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("colour", [(230, 80, 0), (0, 110, 200)])
def test_a_crop_shows_the_boxes_of_label_and_prediction(
    colour: tuple[int, int, int], tmp_path: Path
) -> None:
    from eval.sheets.crops import cut_crops
    from eval.sheets.worklist import _symbol

    image = tmp_path / "1.png"
    Image.new("L", (60, 60), 255).save(image)
    (crop,) = cut_crops([_symbol("swapped-label", label(image, 0.2))])
    assert (crop.pixels[..., ::-1] == colour).all(axis=2).any()
