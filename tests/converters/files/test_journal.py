"""Journals of finished items, whatever a killed process has left of them."""

import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray

from class_maps import OmrError
from converters.files.atomic_folder import atomic_folder
from converters.files.journal import Journal, continued, digest_of, key_of

FINGERPRINT, OTHER = digest_of("options"), digest_of("other options")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Item:
    name: PurePosixPath
    values: NDArray[np.float64]


def item(i: int) -> Item:
    return Item(name=PurePosixPath(f"é/{i}"), values=np.arange(i, i + 3) / 7)


def read(path: Path, n: int) -> list[int]:
    """Return the numbers of the items in a file."""
    with closing(Journal(path, FINGERPRINT)) as journal:
        return found(journal, n)


def found(journal: Journal, n: int) -> list[int]:
    """Return the numbers of the items that a journal has, after a comparison of their values."""
    numbers = []
    for i in range(n):
        if (result := journal.find(key_of(i), Item)) is not None:
            assert result.name == item(i).name
            assert result.values.tobytes() == item(i).values.tobytes()
            assert result.values.shape == (3,)
            numbers.append(i)
    return numbers


def write(path: Path, numbers: range) -> None:
    with closing(Journal(path, FINGERPRINT)) as journal:
        for i in numbers:
            journal.add(key_of(i), item(i))


def test_a_journal_is_created_with_its_first_entry(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", FINGERPRINT)
    assert (len(journal), found(journal, 3)) == (0, [])
    assert not (tmp_path / "j").exists()
    journal.add(key_of(1), item(1))
    assert (len(journal), found(journal, 3)) == (1, [1])
    assert key_of(1) in journal
    assert key_of(2) not in journal
    journal.close()


def test_a_journal_that_ends_anywhere_is_continued(tmp_path: Path) -> None:
    path, cut = tmp_path / "j", tmp_path / "cut"
    write(path, range(3))
    content = path.read_bytes()
    ends = [32]
    while ends[-1] < len(content):
        [length] = struct.unpack_from("<I", content, ends[-1] + 16)
        ends.append(ends[-1] + 20 + length)
    assert len(ends) == 4
    for n_bytes in range(len(content) + 1):
        cut.write_bytes(content[:n_bytes])
        complete = list(range(sum(n_bytes >= end for end in ends[1:])))
        assert read(cut, 3) == complete
    cut.write_bytes(content[:-1])
    write(cut, range(2, 4))
    assert cut.read_bytes()[: len(content)] == content
    assert read(cut, 5) == [0, 1, 2, 3]


def test_damaged_entries_are_not_used(tmp_path: Path) -> None:
    write(tmp_path / "j", range(1))
    content = bytearray((tmp_path / "j").read_bytes())
    for position in range(52, len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (tmp_path / "j").write_bytes(damaged)
        assert read(tmp_path / "j", 1) == []


def test_other_options_start_anew(tmp_path: Path) -> None:
    write(tmp_path / "j", range(2))
    assert len(Journal(tmp_path / "j", OTHER)) == 0
    assert digest_of("a", 1) != digest_of("a", 2)


def run(target: Path, fingerprint: bytes, n: int, said: list[str]) -> list[int]:
    """Finish an item, and one more on each call; return those that were there."""
    with (
        atomic_folder(target) as folder,
        continued(folder, target, fingerprint, "pages", said.append) as journal,
    ):
        before = found(journal, 9)
        (folder / f"{len(before)}").touch()
        if n:
            journal.add(key_of(len(before)), item(len(before)))
            raise OmrError("stop")
    return before


def test_a_folder_is_continued(tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    for _ in range(2):
        with pytest.raises(OmrError, match="stop"):
            run(out, FINGERPRINT, 1, said)
        assert [path.name for path in tmp_path.iterdir()] == [".out.parts"]
    assert run(out, FINGERPRINT, 0, said) == [0, 1]
    assert sorted(path.name for path in out.iterdir()) == [".omr-files", "0", "1", "2"]
    kept = f"finished pages are kept; the same command with OUT {out} continues with them"
    assert said == [
        kept,
        "continuing: pages made before: 1",
        kept,
        "continuing: pages made before: 2",
    ]


def test_a_folder_of_other_options_is_emptied(tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    with pytest.raises(OmrError, match="stop"):
        run(out, OTHER, 1, said)
    (tmp_path / ".out.parts" / "left").touch()
    assert run(out, FINGERPRINT, 0, said) == []
    assert sorted(path.name for path in out.iterdir()) == [".omr-files", "0"]
    assert said[1:] == ["starting anew: the pages made before have other options or inputs"]
