"""Tests of the contact sheets that omr convert writes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from deepscores import NOTE, several_pages, write
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from converters import images
from converters.prepare.candidates import CandidateLimits
from eval.sheets import sheet_files
from omr.cli import app
from omr.converted_sheets import MOST_EXTREME, MOST_RANDOM, limits_for
from reading.page_images import list_pages

STEM = ("42", [40, 10, 42, 60])
STAFF = ("135", [0, 20, 200, 62])


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def convert(*arguments: object) -> Result:
    result = run("convert", *arguments)
    assert result.exit_code == 0, result.output
    return result


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    names = [f"lg-{i}-aug-gonville--page-1.png" for i in range(12)]
    path = write(tmp_path / "in", several_pages(names, NOTE, STEM, STAFF))
    for i, name in enumerate(names):  # copies of a page would stay together
        images.write(np.full((100, 200), 255 - i, np.uint8), tmp_path / "in/images" / name)
    return path


def test_sheets_are_the_only_difference(source: Path, tmp_path: Path) -> None:
    result = convert(source, tmp_path / "out")
    assert f"contact sheets: 3 classes -> {tmp_path}/out/sheets.html" in result.stderr
    without = convert(source, tmp_path / "without", "--no-sheets")
    assert "contact sheets" not in without.output
    with_sheets, plain = hashes(tmp_path / "out"), hashes(tmp_path / "without")
    assert with_sheets.pop("sheets.html")
    assert with_sheets.pop(".omr-files") != plain.pop(".omr-files")
    assert with_sheets == plain
    text = (tmp_path / "out/sheets.html").read_text("utf-8")
    assert "Contact sheets of out" in text
    assert '<h2>noteheadBlack <span class="count">12</span></h2>' in text
    assert "from 1 of 12 images are shown" in text


@pytest.mark.parametrize("options", [("--tile", 64), ("--tile", 64, "--format", "coco")])
def test_the_bytes_do_not_depend_on_the_workers(
    options: tuple[object, ...], source: Path, tmp_path: Path
) -> None:
    for workers in (1, 2):
        convert(source, tmp_path / str(workers) / "out", *options, "--workers", workers)
    first, second = hashes(tmp_path / "1/out"), hashes(tmp_path / "2/out")
    assert "sheets.html" in first
    assert first == second
    text = (tmp_path / "1/out/sheets.html").read_text("utf-8")
    assert "from 4 of 96 images are shown" in text  # more images than workers
    assert text.count("<section") == 3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--labels-only",), "--labels-only reads no images"),
        (
            ("--images", "reference", "--format", "coco"),
            "--images reference writes no images",
        ),
    ],
)
def test_no_sheets_without_images(
    options: tuple[str, ...], reason: str, source: Path, tmp_path: Path
) -> None:
    result = convert(source, tmp_path / "out", *options)
    assert f"no contact sheets: {reason}\n" in result.stderr
    assert not (tmp_path / "out/sheets.html").exists()


def test_a_failure_keeps_the_data(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> str:
        raise OSError(28, "No space left on device", "sheets.html")

    monkeypatch.setattr(sheet_files, "sheet_page", fail)
    result = convert(source, tmp_path / "out")
    message = "no contact sheets: [Errno 28] No space left on device: 'sheets.html'\n"
    assert message in result.stderr
    assert not (tmp_path / "out/sheets.html").exists()
    assert len([*(tmp_path / "out/images/train").iterdir()]) == 12
    convert(source, tmp_path / "out", "--force")  # lists its files


def test_sheets_belong_to_the_data_set(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(source, out, "--format", "labelme")
    convert(source, out, "--force")
    assert (out / "sheets.html").is_file()
    pages = list_pages([out])
    assert {str(page.name.parent) for page in pages.pages} == {"images/train"}
    assert (len(pages.pages), pages.n_skipped) == (12, 0)
    own = tmp_path / "own.yaml"
    own.write_text(
        "name: own\nclasses: [noteheadBlack, stem, staff]\n"
        "sources: {yolo: {map: same names}, labelme: {map: same names}}\n"
    )
    for formats in ("yolo", "labelme"):
        convert(source, out, "--format", formats, "--force")
        again = convert(out, tmp_path / f"again-{formats}", "--classes", own)
        assert "skipped" not in again.output
        assert "pages 12 images 12 symbols read 36 written 36" in " ".join(again.stdout.split())


def test_split_replaces_a_data_set_with_sheets(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(source, out)
    result = run("split", out, "--val", 0.25)
    assert result.exit_code == 0, result.output
    note = f"note: not in {out}: sheets.html; omr convert writes other formats and contact sheets"
    assert note in " ".join(result.stderr.split())
    assert not (out / "sheets.html").exists()
    assert len([*(out / "images/val").iterdir()]) == 3


@given(st.integers(1, 200), st.integers(1, 200))
def test_more_images_show_no_fewer_symbols(first: int, second: int) -> None:
    few, many = (limits_for(n) for n in sorted((first, second)))
    assert 2 <= few.n_random <= many.n_random <= MOST_RANDOM
    assert 1 <= few.n_extreme <= many.n_extreme <= MOST_EXTREME
    assert limits_for(200) == CandidateLimits(n_random=MOST_RANDOM, n_extreme=MOST_EXTREME)
