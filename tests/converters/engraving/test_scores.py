"""Scores that were engraved wrongly once, or that other programs engrave wrongly."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fragments import SPACE_PX, counted, drawn, score
from in_process_child import typeset_in_process
from typer.testing import CliRunner, Result

from class_maps import InputError
from converters.engraving import annotations, child, music_files
from converters.engraving.annotations import area
from converters.engraving.pages import EngravedPage, PageOptions, engrave_page
from converters.engraving.pieces import Piece
from converters.engraving.staves import Staves
from converters.engraving.svg import Drawing
from converters.engraving.symbols import Symbol, symbols
from omr.cli import app

SCORES = Path(__file__).parent / "scores"


def drawing_of(name: str) -> Drawing:
    return drawn(music_files.read(SCORES / name), pageWidth=2500, pageHeight=2500)


def symbols_of(name: str) -> list[Symbol]:
    return symbols(drawing_of(name))


def test_flags_over_a_tablature_have_full_size() -> None:
    result = symbols_of("tablature-below-a-staff.musicxml")
    assert counted(result)["flag8thUp"] == 2
    assert counted(result)["flag8thDown"] == 2
    assert not [s.category for s in result if s.category.endswith("Small")]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("tablature-alone.musicxml", [6]),
        ("tablature-below-a-staff.musicxml", [5, 6]),
        ("one-line-staff-alone.musicxml", [1]),
        ("two-one-line-staves-over-five-lines.musicxml", [1, 1, 5]),
    ],
)
def test_staff_space_is_the_size_of_the_signs(name: str, lines: list[int]) -> None:
    staves = Staves(drawing_of(name)).all
    assert [len(staff.lines_y) for staff in staves] == lines
    assert [staff.space for staff in staves] == pytest.approx([SPACE_PX] * len(lines))


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        (
            "one-line-staff-alone.musicxml",
            {"noteheadBlackOnLine": 5, "noteheadHalfOnLine": 1},
        ),
        (
            "one-line-staff-and-special-heads.musicxml",
            {"noteheadBlackOnLine": 5, "noteheadHalfOnLine": 1, "noteheadBlackInSpace": 1},
        ),
        (
            "two-one-line-staves-over-five-lines.musicxml",
            {"noteheadBlackOnLine": 14, "noteheadHalfOnLine": 2, "noteheadBlackInSpace": 4},
        ),
    ],
)
def test_noteheads_on_a_single_line(name: str, heads: dict[str, int]) -> None:
    result = symbols_of(name)
    assert counted([s for s in result if s.category.startswith("notehead")]) == heads
    assert not [s.category for s in result if s.category.endswith("Small")]
    on_line = [s for s in result if s.middle == 0 and s.category.startswith("notehead")]
    assert {s.position for s in on_line} == {0}
    rows = annotations.rows(on_line, np.array([s.outline.box_xyxy() for s in on_line]), 1)
    assert all("rel_position:0;" in row["comments"] for _, row in rows)


@pytest.mark.parametrize(
    ("name", "n_bars"),
    [
        ("staff-missing-in-bar-2.mei", [3, 1, 1]),
        ("staff-invisible-in-bar-1-missing-in-bar-2.mei", [3, 1]),
        ("small-staff-and-ossia.mei", [3, 3]),
    ],
)
def test_staff_covers_only_the_bars_where_it_is_drawn(name: str, n_bars: list[int]) -> None:
    staves = [s for s in symbols_of(name) if s.category == "staff"]
    bars = [{line.group: line.outline.box_xyxy() for line in s.shapes} for s in staves]
    assert [len(boxes) for boxes in bars] == n_bars
    for staff, boxes in zip(staves, bars, strict=True):
        x0, _, x1, _ = staff.outline.box_xyxy()
        assert x1 - x0 == pytest.approx(sum(b[2] - b[0] for b in boxes.values()), abs=SPACE_PX / 4)


@pytest.mark.parametrize(
    "name",
    [
        "plain.krn",
        "tablature-below-a-staff.musicxml",
        "one-line-staff-alone.musicxml",
        "two-one-line-staves-over-five-lines.musicxml",
    ],
)
def test_recorded_staff_space_is_that_of_the_noteheads(name: str) -> None:
    piece = Piece(work=1, path=SCORES / name, name=name)
    options = PageOptions(width=1200, height=900)
    compared = 0
    for number in range(3):
        clean, *pictures = (
            engrave_page(number, [piece], replace(options, degrade=degrade))
            for degrade in ("none", "scan", "photo", "worn")
        )
        # the heights of the outer lines, four spaces apart, are rounded to 0.1 px
        assert clean.staff_space == pytest.approx(clean.layout.staff_space, abs=0.026)
        for page in pictures:
            if "fat-ink" in page.degradation["effects"]:  # which enlarges noteheads
                continue
            compared += 1
            expected = clean.staff_space / notehead_size(clean) * notehead_size(page)
            assert page.staff_space == pytest.approx(expected, rel=0.03)
    assert compared > 5


def notehead_size(page: EngravedPage) -> float:
    """Measure noteheads by the root of their area, which does not change if they are rotated."""
    heads = [s.outline for s in page.symbols if s.category.startswith("noteheadBlack")]
    return math.sqrt(np.median([area(outline) for outline in heads]))


def test_characters_outside_the_typeface_are_counted() -> None:
    drawing = drawing_of("lyrics-in-many-scripts.musicxml")
    texts = [shape.text for shape in drawing.shapes if shape.kind == "text"]
    assert texts == ["мир", "μέλος", "é", "fiﬁ", "—", "„qu“", "A&B", "x"]
    assert drawing.missing == dict.fromkeys("合唱春の훈민שלוםسلامếสวहि🎵", 1)


@pytest.mark.parametrize(
    ("syllable", "drawn_text", "missing"),
    [
        ("e\u0301", "é", {}),
        ("B♭", "B", {"♭": 1}),
        ("a\u00a0b\u00ad\u200d\ufe0f", "a\u00a0b\u00ad\u200d\ufe0f", {}),
        ("\ue4a0 \uf8fe", "", {"\uf8fe": 1}),
    ],
)
def test_decomposed_invisible_and_missing_characters(
    syllable: str, drawn_text: str, missing: dict[str, int]
) -> None:
    verse = f'<verse n="1"><syl>{syllable}</syl></verse>'
    drawing = drawn(score([f'<note pname="c" oct="5" dur="1">{verse}</note>']))
    assert "".join(shape.text for shape in drawing.shapes if shape.kind == "text") == drawn_text
    assert drawing.missing == missing


NOTEHEADS_AND_STAVES = {
    "beams-across-staves.mei": (11, 2),
    "beams-across-staves.musicxml": (10, 2),
    "comment-before-the-root.musicxml": (4, 1),
    "container-escapes-a-space.mxl": (4, 1),
    "container-escapes-an-ampersand.mxl": (4, 1),
    "container-has-a-backslash.mxl": (4, 1),
    "container-in-utf16.mxl": (4, 1),
    "container-names-a-pdf-first.mxl": (4, 1),
    "crlf.krn": (4, 1),
    "cue-notes-and-grace-chords.musicxml": (11, 1),
    "figured-bass.krn": (2, 1),
    "figured-bass.musicxml": (4, 1),
    "folder-with-a-space.mxl": (4, 1),
    "hidden-signs.musicxml": (9, 1),
    "latin-1.musicxml": (4, 1),
    "lines-over-systems.mei": (8, 1),
    "lyrics-in-many-scripts.musicxml": (16, 1),
    "macos-resource-fork.mxl": (4, 1),
    "more-lines-over-systems.mei": (32, 2),
    "multi-bar-rests.musicxml": (12, 1),
    "nested-groups.mei": (64, 8),
    "no-container.mxl": (4, 1),
    "one-line-staff-alone.musicxml": (6, 1),
    "one-line-staff-and-special-heads.musicxml": (7, 2),
    "plain.krn": (4, 1),
    "plain.mxl": (4, 1),
    "repeated-bars-and-beats.mei": (8, 1),
    "single-quotes.musicxml": (4, 1),
    "small-staff-and-ossia.mei": (20, 2),
    "staff-invisible-in-bar-1-missing-in-bar-2.mei": (16, 2),
    "staff-missing-in-bar-2.mei": (20, 3),
    "tablature-below-a-staff.musicxml": (5, 2),
    "two-one-line-staves-over-five-lines.musicxml": (20, 3),
    "two-voices.mei": (20, 1),
    "umlaut-in-the-name.mxl": (4, 1),
    "unusual-signs.mei": (32, 2),
    "utf16-with-bom.musicxml": (4, 1),
    "utf8-with-bom.musicxml": (4, 1),
    "white-signs.mei": (3, 1),
    "windows-1252.musicxml": (4, 1),
}
"""Visible notes with an ordinary head in the encoding, and the staves that are drawn."""
UNUSABLE = {
    "latin-1-declared-as-utf8.musicxml",
    "latin-1.krn",
    "mensural.krn",
    "mensural.mei",
    "rests-alone.krn",
    "tablature-alone.musicxml",
    "timewise.musicxml",
    "utf16-without-bom.musicxml",
}


def engraved(out: Path, name: str) -> Result:
    words = ["--pages", "1", "--size", "1200x900", "--seed", "1", "--workers", "1"]
    return CliRunner().invoke(app, ["engrave", str(out), "--scores", str(SCORES / name), *words])


def test_every_score_is_compared_or_unusable() -> None:
    assert {path.name for path in SCORES.iterdir()} == NOTEHEADS_AND_STAVES.keys() | UNUSABLE


@pytest.mark.parametrize("name", NOTEHEADS_AND_STAVES)
def test_every_visible_note_has_a_notehead(name: str) -> None:
    result = symbols_of(name)
    heads = [s for s in result if s.category.startswith("notehead")]
    n_staves = sum(s.category == "staff" for s in result)
    assert (sum(len(s.ids) for s in heads), n_staves) == NOTEHEADS_AND_STAVES[name]
    assert "error" not in child._examine(music_files.read(SCORES / name))


@pytest.mark.parametrize("name", sorted(UNUSABLE))
def test_unusable_scores_are_named_with_the_reason(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)
    result = engraved(tmp_path / "out", name)
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{SCORES}: no file can be used; {name}: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEHEADS_AND_STAVES)
def test_scores_are_engraved_by_the_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)
    result = engraved(tmp_path / "out", name)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    heads = sum(n for c, n in manifest["categories"].items() if c.startswith("notehead"))
    shared = 4 if name == "two-voices.mei" else 0
    assert heads == NOTEHEADS_AND_STAVES[name][0] - shared
