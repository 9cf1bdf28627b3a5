import json
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.files import overwriting, walking
from converters.files.atomic_folder import atomic_folder, unlisted
from converters.files.overwriting import Contents
from converters.files.walking import encoded, in_order, names_below, only_in_first

NAMES = st.lists(st.text(max_size=4), max_size=30, unique=True)


@pytest.fixture(autouse=True, scope="module")
def _small_chunks() -> object:
    """Use temporary files for a few lines already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "CHUNK", 3)
        patch.setattr(overwriting, "BUFFERED_BYTES", 100)
        yield


@given(NAMES)
def test_lines_are_sorted(names: list[str]) -> None:
    lines = [*map(encoded, names)]
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert list(in_order(lines)) == sorted(lines)
    assert [json.loads(line) for line in in_order(lines)] == sorted(names, key=encoded)


@given(NAMES, NAMES)
def test_ordered_lines_are_compared(first: list[str], second: list[str]) -> None:
    lines = sorted(map(encoded, first)), sorted(map(encoded, second))
    assert set(only_in_first(*lines)) == {*lines[0]} - {*lines[1]}


def make(folder: Path, n: int) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    for i in range(n):
        (folder / ("a", "a/b")[i % 2] / f"{i}.txt").touch()


def test_links_are_files_and_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path / "in", 4)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "folder").symlink_to(tmp_path / "in")
    (tmp_path / "out" / "broken").symlink_to("nowhere")
    assert sorted(names_below(tmp_path / "out")) == ["broken", "folder"]
    assert sorted(names_below(tmp_path / "in")) == ["a/0.txt", "a/2.txt", "a/b/1.txt", "a/b/3.txt"]
    assert list(names_below(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("n", [0, 1, 3, 10])
def test_files_that_are_not_in_the_list(n: int, tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        make(folder, n)
    out = tmp_path / "out"
    listed = json.loads((out / ".omr-files").read_text())
    assert len(listed) == n
    assert list(unlisted(out)) == []
    for name in ("a/0.tx", "a/0.txt2", "zé\n", "a/b/.omr-files"):
        (out / name).touch()
    assert sorted(unlisted(out)) == ["a/0.tx", "a/0.txt2", "a/b/.omr-files", "zé\n"]


def test_contents_that_were_added_or_changed(tmp_path: Path) -> None:
    make(tmp_path, 10)
    with closing(Contents(tmp_path)) as before:
        assert not before.is_empty
        assert before.added(tmp_path) == ""
        (tmp_path / "a" / "2.txt").write_text("changed")
        (tmp_path / "a" / "4.txt").unlink()
        (tmp_path / "new").mkdir()
        assert before.added(tmp_path) == "a/2.txt, new"
    with closing(Contents(tmp_path / "nowhere")) as before:
        assert before.is_empty
