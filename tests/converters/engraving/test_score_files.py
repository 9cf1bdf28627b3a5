"""Search for music files in folders, and files that cannot be used."""

import os
import random
import re
from pathlib import Path

import pytest
from fragments import score
from in_process_child import typeset_in_process

from class_maps import InputError
from converters.engraving import child, music_files, score_files, typesetting
from converters.engraving.typesetting import PageLayout

SCORES = Path(__file__).parent / "scores"
NOTES = '<note pname="c" oct="5" dur="4"/>' * 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mensural.mei", child.NO_NOTEHEADS),
        ("mensural.krn", child.NO_NOTEHEADS),
        ("tablature-alone.musicxml", child.NO_NOTEHEADS),
        ("rests-alone.krn", "contains no notes"),
        ("one-line-staff-alone.musicxml", ""),
    ],
)
def test_scores_without_noteheads_are_unusable(
    name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)
    assert child.examine(SCORES / name).error == expected


MOVEMENT = re.compile("<mdiv.*</mdiv>", re.DOTALL)
LAYOUT = PageLayout(
    font="Leipzig", staff_space=18, options={"pageWidth": 3000, "pageHeight": 3000, "xmlIdSeed": 2}
)
PART = (
    "<part id='%s'><measure number='1'><attributes><divisions>1</divisions></attributes>"
    "<note><pitch><step>C</step><octave>5</octave></pitch><duration>4</duration></note>"
    "<note><rest/><duration>4</duration></note></measure></part>"
)


@pytest.mark.parametrize(
    ("name", "music", "warnings"),
    [
        ("a.mei", score([NOTES]), ()),
        ("a.krn", "**kern\n*clefG2\n4c\n4d\n*-\n", ()),
        (
            "a.krn",
            "**kern\n*clefG2\n4c\n*-\n**kern\n*clefG2\n4d\n*-\n",
            ("only the first of its 2 pieces is drawn",),
        ),
        (
            "a.krn",
            "!!!!SEGMENT: b\n**kern\n*clefG2\n4c\n*-\n!!!!SEGMENT: c\n**kern\n*clefG2\n4d\n*-\n",
            ("only the first of its 2 pieces is drawn",),
        ),
        ("a.krn", "!!!!SEGMENT: b\n!!!!SEGMENT: c\n**kern\n*clefG2\n4c\n4d\n*-\n", ()),
        ("a.mei", MOVEMENT.sub(r"\g<0>\g<0>", score([NOTES])), ()),
        (
            "a.musicxml",
            "<score-partwise><part-list><score-part id='P1'/></part-list>"
            + PART % "P1" + PART % "P2" + "</score-partwise>",
            ("only 1 of its 2 notes are drawn",),
        ),
    ],
)  # fmt: skip
def test_music_that_verovio_skips_is_reported(
    name: str, music: str, warnings: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(music)
    examined = child.examine(tmp_path / name)
    assert (examined.error, examined.warnings) == ("", warnings)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_music_after_a_second_segment_record_is_drawn(
    line_end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)
    lines = ["!!!!SEGMENT: b", "**kern", "*clefG2", "4c", "!!!!SEGMENT: c", "4d", "*-", ""]
    (tmp_path / "a.krn").write_bytes(line_end.join(lines).encode())
    [page] = typesetting.plain_pages(music_files.read(tmp_path / "a.krn"))
    assert len(re.findall('class="note[ "]', page)) == 2


def test_a_first_piece_of_rests(tmp_path: Path) -> None:
    path = tmp_path / "a.krn"
    path.write_text("**kern\n*clefG2\n4r\n*-\n**kern\n*clefG2\n4d\n*-\n")
    assert child.examine(path).error == (
        "the first of its 2 pieces contains no notes, and verovio draws only the first; save "
        "each piece in a file of its own"
    )


@pytest.mark.parametrize("before", ["<mRest/>", NOTES])
@pytest.mark.parametrize("outer", ["{}", "<mdiv>{}</mdiv>"])
@pytest.mark.parametrize(("decorated", "transpose"), [(False, True), (True, False), (True, True)])
def test_all_movements_are_drawn(
    before: str,
    outer: str,
    decorated: bool,
    transpose: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typeset_in_process(monkeypatch)
    first, second = (MOVEMENT.search(score([music])) for music in (before, NOTES * 2))
    assert first
    assert second
    movements = outer.format(first[0] + second[0])
    path = tmp_path / "a.mei"
    path.write_text(MOVEMENT.sub(movements, score([NOTES])))
    assert child.examine(path).error == ""
    choices = {"decorated": decorated, "transpose": transpose}
    page = typesetting.typeset(path.read_text(), LAYOUT, random.Random(0), **choices)
    assert page is not None
    assert page.n_pages == 1
    assert len(re.findall('class="note[ "]', page.svg)) >= 8 + before.count("<note")


@pytest.mark.parametrize("name", ["plain.krn", "figured-bass.musicxml", "latin-1.musicxml"])
def test_a_piece_in_another_format_is_the_same_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typeset_in_process(monkeypatch)
    mei = typesetting.to_mei(music_files.read(SCORES / name))
    assert mei is not None
    (tmp_path / "copy.mei").write_text(mei)
    pitch_hash = child.examine(SCORES / name).pitch_hash
    assert pitch_hash == child.examine(tmp_path / "copy.mei").pitch_hash
    assert pitch_hash != child.examine(SCORES / "two-voices.mei").pitch_hash


def test_everything_in_a_folder_is_used_or_named(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "scores", tmp_path / "elsewhere"
    (folder / "x.mei").mkdir(parents=True)
    elsewhere.mkdir()
    for path in (folder / "A.MEI", folder / "x.mei" / "b.mei", elsewhere / "c.mei"):
        path.write_text(score([NOTES]))
    for name in ("._A.MEI", "page.svg", "notes.txt", "README"):
        (folder / name).write_text("x")
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    (folder / "gone.krn").symlink_to("nowhere")
    (folder / "copy.mei").symlink_to(folder / "A.MEI")
    os.mkfifo(folder / "pipe.krn")
    found = score_files.find(folder)
    assert [score_files.name_of(path, folder) for path in found.files] == [
        "A.MEI",
        "copy.mei",
        "linked/c.mei",
        "x.mei/b.mei",
    ]
    assert found.skipped == {
        "._A.MEI": "metadata of macOS, not a score",
        "gone.krn": "a broken link",
        "linked/back": "links to a folder that is read already",
        "pipe.krn": "not a regular file",
        "x.mei": "a folder; only the scores in it are read",
    }
    assert found.others == {".svg": 1, ".txt": 1, "no suffix": 1}


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"fl\xf6te.mei")
    path.write_text(score([NOTES]))
    assert score_files.name_of(path, tmp_path) == "fl\ufffdte.mei"
    assert child.examine(path).error == ""


def test_a_pipe_is_not_a_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mei")
    with pytest.raises(InputError, match="not a regular file or folder of scores"):
        score_files.find(tmp_path / "pipe.mei")
