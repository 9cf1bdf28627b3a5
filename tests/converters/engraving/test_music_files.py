"""Music files in all encodings and archives."""

import zipfile
from pathlib import Path

import pytest
from fragments import score

from class_maps import InputError
from converters.engraving import music_files

SCORES = Path(__file__).parent / "scores"
NOTES = '<note pname="c" oct="5" dur="4"/>' * 4
PARTWISE = "<score-partwise><part/></score-partwise>"


def reason(path: Path) -> str:
    """Return why a music file cannot be read."""
    with pytest.raises(InputError) as error:
        music_files.read(path)
    assert str(error.value) == f"{path}: {error.value.reason}"
    return error.value.reason


# ---- encodings ---------------------------------------------------------------------------------


def test_music_files_in_other_encodings(tmp_path: Path) -> None:
    text = score([NOTES])
    for name, encoding in (("a.mei", "utf-8"), ("b.mei", "utf-16"), ("c.mei", "utf-8-sig")):
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert music_files.read(tmp_path / name) == text
    latin = text.replace("UTF-8", "latin-1").replace("<title/>", "<title>Bär</title>")
    (tmp_path / "d.mei").write_bytes(latin.encode("latin-1"))
    assert "Bär" in music_files.read(tmp_path / "d.mei")


@pytest.mark.parametrize("doctype", ["", '<!DOCTYPE mei SYSTEM "http://localhost/gone.dtd">'])
def test_an_id_that_occurs_twice(doctype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mei"
    music = score([NOTES.replace("<note ", '<note xml:id="x" ')])
    path.write_text(music.replace("<mei ", f"{doctype}<mei "))
    assert music_files.read(path) == path.read_text()
    assert music_files.n_notes(path.read_text()) == 4


def test_too_large_a_music_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(music_files, "MAX_BYTES", 100 << 10)
    path = tmp_path / "bomb.mxl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("score.xml", b" " * (200 << 10))
    with pytest.raises(InputError, match=r"bomb\.mxl: larger than 0 MB; not a score"):
        music_files.read(path)


@pytest.mark.parametrize(
    "name",
    [
        "utf8-with-bom",
        "comment-before-the-root",
        "windows-1252",
        "latin-1",
        "single-quotes",
        "utf16-with-bom",
    ],
)
def test_encodings_that_are_read(name: str) -> None:
    assert "<part-name>Flöte</part-name>" in music_files.read(SCORES / f"{name}.musicxml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("latin-1-declared-as-utf8.musicxml", "not UTF-8: byte 0xf6 in line 3; save it as UTF-8"),
        ("latin-1.krn", "not UTF-8: byte 0xfc in line 8; save it as UTF-8"),
        (
            "utf16-without-bom.musicxml",
            "encoded in UTF-16 without a byte order mark; save it as UTF-8",
        ),
        (
            "timewise.musicxml",
            "MusicXML of the type score-timewise; convert it to score-partwise first",
        ),
    ],
)
def test_encodings_and_types_that_are_named(name: str, expected: str) -> None:
    assert reason(SCORES / name) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (PARTWISE.encode("utf-32"), "encoded in UTF-32; save it as UTF-8"),
        ("**kern\n4c\n".encode("utf-16-be"), "encoded in UTF-16 without a byte order mark; save it as UTF-8"),
        (b'<?xml version="1.0" encoding="UTF-16"?>' + PARTWISE.encode(), "declares the encoding UTF-16, but has another one; save it as UTF-8"),
        (b'<?xml version="1.0" encoding="klingon"?>' + PARTWISE.encode(), "declares the unknown encoding 'klingon'; save it as UTF-8"),
        (b"\0\5\x16\7 AppleDouble", "not text: contains null characters"),
        (b"<Nodes><Node/></Nodes>", "neither MusicXML nor MEI; its root element is <Nodes>"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "neither MusicXML nor MEI; its root element is <svg>"),
        (b"X:1\nK:C\nCDEF|", "neither XML nor Humdrum, whose spines begin with **"),
    ],
)  # fmt: skip
def test_files_that_are_not_scores(data: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    assert reason(tmp_path / "a.xml") == expected


# ---- archives ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "container-escapes-a-space",
        "container-escapes-an-ampersand",
        "container-has-a-backslash",
        "container-in-utf16",
        "container-names-a-pdf-first",
        "folder-with-a-space",
        "macos-resource-fork",
        "no-container",
        "plain",
        "umlaut-in-the-name",
    ],
)
def test_archives_of_other_programs(name: str) -> None:
    assert music_files.read(SCORES / f"{name}.mxl").count("<note>") == 4


def archive(path: Path, root_files: str, **contents: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in contents.items():
            file.writestr(name, text)
        if root_files:
            text = f"<container><rootfiles>{root_files}</rootfiles></container>"
            file.writestr("META-INF/container.xml", text)
    return path


@pytest.mark.parametrize(
    ("full_path", "right"),
    [
        ("b.xml", "b.xml"),
        ("b%201.xml", "b 1.xml"),
        ("b &amp; c.xml", "b & c.xml"),
        ("b&#32;1.xml", "b 1.xml"),
        ("sub\\b.xml", "sub/b.xml"),
        ("./sub/b.xml", "sub/b.xml"),
        ("/sub/b.xml", "sub/b.xml"),
        ("B.XML", "b.xml"),
        ("fl\u00f6te.xml", "flo\u0308te.xml"),
        ("b.mei", "b.mei"),
    ],
)
def test_the_file_that_the_container_names_is_read(
    full_path: str, right: str, tmp_path: Path
) -> None:
    root_file = f'<rootfile full-path="{full_path}"/>'
    other = "<score-partwise/>"
    path = archive(tmp_path / "a.mxl", root_file, **{"a.xml": other, right: PARTWISE})
    assert music_files.read(path) == PARTWISE


def test_a_name_that_contains_an_escape_is_taken_literally_first(tmp_path: Path) -> None:
    root_file = '<rootfile full-path="a%201.xml"/>'
    contents = {"a 1.xml": "<score-partwise/>", "a%201.xml": PARTWISE}
    assert music_files.read(archive(tmp_path / "a.mxl", root_file, **contents)) == PARTWISE


def test_names_in_utf8_without_the_flag(tmp_path: Path) -> None:
    path = tmp_path / "a.mxl"
    root_file = '<rootfile full-path="fl\u00f6te.xml"/>'
    archive(path, root_file, **{"a.xml": "<score-partwise/>", "fl__te.xml": PARTWISE})
    path.write_bytes(path.read_bytes().replace(b"fl__te.xml", "flöte.xml".encode()))
    assert music_files.read(path) == PARTWISE


@pytest.mark.parametrize(
    ("root_files", "names", "expected"),
    [
        (
            '<rootfile full-path="c.xml"/>',
            ["a.xml"],
            "its container names 'c.xml', which fits no file in it",
        ),
        (
            '<rootfile full-path="A.XML"/>',
            ["a.xml", "a.XML"],
            "its container names 'A.XML', which fits several files in it",
        ),
        ("<rootfile/>", ["a.xml"], "META-INF/container.xml names no score"),
        (
            "",
            ["a.xml", "b.xml", "._a.xml"],
            "archive has no container and 2 scores: a.xml, b.xml; extract them first",
        ),
        ("", ["a.pdf", "__MACOSX/a.xml"], "archive contains no score"),
    ],
)
def test_archives_whose_score_is_unclear(
    root_files: str, names: list[str], expected: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "a.mxl", root_files, **dict.fromkeys(names, PARTWISE))
    assert reason(path) == expected


def test_archives_and_plain_files_are_told_apart_by_their_contents(tmp_path: Path) -> None:
    root_file = '<rootfile full-path="b.xml"/>'
    zipped = archive(tmp_path / "zipped.xml", root_file, **{"b.xml": PARTWISE})
    (tmp_path / "plain.mxl").write_text(PARTWISE)
    assert music_files.read(zipped) == music_files.read(tmp_path / "plain.mxl") == PARTWISE
