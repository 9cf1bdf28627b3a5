import errno
import re
from pathlib import Path

import pytest

from class_maps import ConfigError
from converters.files import atomic_files
from converters.files.atomic_files import atomic_file, output_files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def full_disk(_path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_files_appear_together(tmp_path: Path) -> None:
    a, b = tmp_path / "out" / "a.json", tmp_path / "out" / "b.png"
    with output_files(a, b, force=False) as parts:
        for part in parts:
            part.write_text("new")
        assert not a.exists()
        assert not b.exists()
    assert names(tmp_path / "out") == ["a.json", "b.png"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    monkeypatch.setattr(atomic_files, "_flush", full_disk)
    with (
        pytest.raises(ConfigError) as raised,
        output_files(file, force=True) as (part,),
    ):
        part.write_text("new")
    assert str(raised.value) == f"{file}: cannot be written: No space left on device"
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_a_missing_folder_is_removed_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), output_files(tmp_path / "a" / "b", force=False):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_an_existing_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    message = f"^{re.escape(str(tmp_path / 'a'))}: already exists"
    with pytest.raises(ConfigError, match=message), output_files(tmp_path / "a", force=False):
        pytest.fail("the work was started")


def test_an_error_of_the_work_does_not_blame_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), output_files(tmp_path / "out" / "a", force=False):
        (tmp_path / "missing").read_bytes()
    assert names(tmp_path) == []


def test_a_file_that_was_created_meanwhile_is_kept(tmp_path: Path) -> None:
    def write() -> None:
        with output_files(tmp_path / "a.json", tmp_path / "b.png", force=False) as parts:
            for part in parts:
                part.write_text("new")
            (tmp_path / "b.png").write_text("mine")

    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}: already contains b.png; choose")):
        write()
    assert names(tmp_path) == ["b.png"]
    assert (tmp_path / "b.png").read_text() == "mine"


def test_a_file_that_was_created_in_the_last_moment_is_kept(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_file(tmp_path / "a", replace=False) as part:
            part.write_text("new")
            (tmp_path / "a").write_text("mine")

    with pytest.raises(FileExistsError):
        write()
    assert (tmp_path / "a").read_text() == "mine"
    assert names(tmp_path) == ["a"]


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with output_files(file, force=True) as (part,):
        part.write_text("first")
        message = f"^{file}: another omr process .* is writing here; wait for it or choose another"
        with pytest.raises(ConfigError, match=message), output_files(file, force=True):
            pass
    assert file.read_text() == "first"


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "a.json").symlink_to(tmp_path / "disk" / "a.json")
    with atomic_file(tmp_path / "a.json") as part:
        part.write_text("new")
    assert (tmp_path / "a.json").is_symlink()
    assert (tmp_path / "disk" / "a.json").read_text() == "new"
