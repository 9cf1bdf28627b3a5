"""Tests of the arrangement of crops and of the index."""

import re
from base64 import b64decode
from collections import Counter
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from converters import images
from eval.sheets.crops import Crop
from eval.sheets.selection import ChosenSymbol, SourceImage
from eval.sheets.sheet_files import write_page, write_sheets
from eval.sheets.sheets import GAP, WIDTH, arranged


def crop(
    width: int, height: int, *, name: str = "head", reason: str = "random", image: str = "a.png"
) -> Crop:
    shown = SourceImage(
        source="", split="train", name=PurePosixPath(image), path=Path(image), staff_space=10
    )
    symbol = ChosenSymbol(
        class_name=name, image=shown, box_xyxy=(1.0, 2.0, 3.0, 4.0), reason=reason
    )
    pixels = np.full((height, width, 3), len(image) * 10, np.uint8)
    return Crop(symbol=symbol, pixels=pixels, is_reduced=False)


CROPS = [
    crop(30, 20),
    crop(20, 40, reason="smallest", image="bb.png"),
    crop(25, 25, reason="too-small", image="ccc.png"),
    crop(10, 10, name="a/b <c>"),
]
COUNTS = Counter({("head", ""): 1234, ("a/b <c>", ""): 1, ("<unseen>", "x"): 1000})


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), max_size=30))
def test_crops_do_not_overlap_and_fit(sizes: list[tuple[int, int]]) -> None:
    placed = arranged([crop(*size) for size in sizes])
    assert len(placed) == len(sizes)
    assert all(one.x + one.width <= WIDTH for one in placed)
    for a, b in combinations(placed, 2):
        apart_x = a.x + a.width + GAP <= b.x or b.x + b.width + GAP <= a.x
        apart_y = a.y + a.height + GAP <= b.y or b.y + b.height + GAP <= a.y
        assert apart_x or apart_y


def test_sheets_and_index(tmp_path: Path) -> None:
    first, second = write_sheets(CROPS, COUNTS, tmp_path, title="set & more")
    assert (first.class_name, second.class_name) == ("a/b <c>", "head")
    assert [one.crop.symbol.reason for one in second.crops] == ["too-small", "smallest", "random"]
    files = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert files == ["000-a_b_c_.png", "001-head.png"]
    picture = images.read(tmp_path / "sheets" / files[1])
    assert picture.shape == (40, 25 + GAP + 20 + GAP + 30)  # grey
    assert picture[0, 0] == 70  # ccc.png is first
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "Contact sheets of set &amp; more" in text
    assert "a/b &lt;c&gt;" in text
    assert "1,234" in text
    assert text.count("<figure") == 4
    assert "train/bb.png [1 2 3 4]" in text
    assert "img-src 'self' file:;" in text


def test_a_page_that_shows_all_images(tmp_path: Path) -> None:
    write_page(CROPS, COUNTS, tmp_path / "a.html", title="set", n_images=3)
    text = (tmp_path / "a.html").read_text("utf-8")
    assert "<code>omr sheet</code> draws more symbols, and shows" in text
    assert "images are shown" not in text


def test_a_page_contains_its_crops(tmp_path: Path) -> None:
    sheets = write_page(CROPS, COUNTS, tmp_path / "a.html", title="set & more", n_images=2000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    text = (tmp_path / "a.html").read_text("utf-8")
    encoded = re.findall(r'<img src="data:image/png;base64,([^"]+)"', text)
    pictures = [images.from_bytes(b64decode(part), Path("crop")) for part in encoded]
    assert [picture.shape for picture in pictures] == [(10, 10), (25, 25), (40, 20), (20, 30)]
    assert [picture[0, 0] for picture in pictures] == [50, 70, 60, 50]
    assert len(sheets) == 2
    assert (
        "from 3 of 2,000 images are shown; <code>omr sheet</code> draws more symbols from " in text
    )
    assert "Not shown: &lt;unseen&gt; from x (1,000).</p>" in text
    assert "img-src data:;" in text
    assert "$" not in text.replace("${count.", "").replace("${figure", "")
