import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from class_maps import ConfigError, OmrError
from converters.files.atomic_folder import atomic_folder


def fill(target: Path, text: str = "new", *, force: bool = False) -> None:
    with atomic_folder(target, force=force) as folder:
        (folder / "manifest.json").write_text(text)


def break_off(target: Path, error: BaseException, *, force: bool = False) -> None:
    with atomic_folder(target, force=force) as folder:
        (folder / "x").write_text("half")
        raise error


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    target = tmp_path / "a" / "out"
    with atomic_folder(target) as folder:
        (folder / "x").write_text("x")
        assert not target.exists()
    assert contents(tmp_path) == {"a/out/x": "x"}


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out")
    assert contents(tmp_path) == {"out/manifest.json": "new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_failed_block_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error):
        break_off(tmp_path / "out", error("broken"))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_block_removes_parent_folders_that_it_created(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"):
        break_off(tmp_path / "a" / "b" / "out", ValueError("broken"))
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match="is the current folder, which cannot be replaced; choose"
    ):
        fill(Path())


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: File name too long"):
        fill(tmp_path / ("x" * 300))


def test_a_failed_block_keeps_the_old_folder(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    with pytest.raises(ValueError, match="broken"):
        break_off(tmp_path / "out", ValueError("broken"), force=True)
    assert contents(tmp_path) == {"out/manifest.json": "old"}


def test_force_replaces(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    (tmp_path / "out" / "more").write_text("old")
    fill(tmp_path / "out", force=True)
    assert contents(tmp_path) == {"out/manifest.json": "new"}


def test_without_force_nothing_is_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "out", "old")
    message = f"{tmp_path}/out: already exists; choose another folder, or use --force to replace it"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        fill(tmp_path / "out")
    assert contents(tmp_path) == {"out/manifest.json": "old"}


def test_force_does_not_replace_folders_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    message = "contains no manifest.json, so omr did not create it and will not replace it; choose"
    with pytest.raises(ConfigError, match=re.escape(message)):
        fill(tmp_path, force=True)
    assert contents(tmp_path) == {"thesis.tex": "dear"}


def test_a_full_disk_is_a_one_line_error_and_leaves_nothing(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x.png")
    message = f"x.png: No space left on device; nothing was written to {tmp_path}/out"
    with pytest.raises(OmrError, match=f"^{re.escape(message)}$"):
        break_off(tmp_path / "out", full)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from converters.files.atomic_folder import atomic_folder
with atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_no_target_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False).returncode < 0
    assert contents(tmp_path) == {".out.partial/half": "half"}
    fill(target)
    assert contents(tmp_path) == {"out/manifest.json": "new"}


def test_two_writers_of_the_same_folder(tmp_path: Path) -> None:
    message = f"{tmp_path}/out: is being written by another process"
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("first")
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            fill(tmp_path / "out")
    assert contents(tmp_path) == {"out/x": "first"}
