"""Overwrite protection; full messages about folders are in the tests of the commands."""

import re
from functools import partial
from pathlib import Path

import pytest

from class_maps import ConfigError
from converters.files.overwriting import (
    check_files,
    check_folder,
    check_inputs,
    is_free,
    is_inside,
    unwritten,
)

check = partial(check_folder, marker="mark", others=lambda folder: unwritten(folder, "mark".__eq__))


def test_missing_and_empty_folders_are_free(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        check(folder, force=False, inputs=[tmp_path])
        check_files(folder / "a.txt", folder / "b.txt", force=False, exclusive=True)


def test_links_are_followed_and_a_lock_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".omr.lock").touch()
    assert not is_free(tmp_path / "file")
    assert is_free(tmp_path / "link")
    assert not is_free(tmp_path / "loop")
    assert is_free(tmp_path / "run")


def test_inputs_inside_a_folder_by_links(tmp_path: Path) -> None:
    out, data = tmp_path / "out", tmp_path / "data"
    out.mkdir()
    data.mkdir()
    (out / "x.png").touch()
    (data / "y.png").touch()
    (data / "x.png").symlink_to(out / "x.png")
    (data / "folder").symlink_to(out)
    check_inputs(out, [data, data / "y.png", data / "missing.png"])
    for path in (data / "x.png", data / "folder", data / "folder" / "x.png", out):
        with pytest.raises(ConfigError, match="^" + re.escape(f"{path}: is inside {out}, which")):
            check_inputs(out, [data / "y.png", path])
    (out / "x.png").unlink()
    check_inputs(out, [data / "folder"])  # nothing is lost


def test_folders_and_devices_are_no_output_files(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(ConfigError, match=f"^{path}: is not a regular file; choose another f"):
            check_files(path, force=True)


def test_a_folder_is_replaced_if_it_has_the_marker_and_no_input(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mark").touch()
    check(out, force=True, inputs=[tmp_path, tmp_path / "a", out / "missing"])
    with pytest.raises(ConfigError, match="^" + re.escape(f"{out}/mark: is inside {out}, which")):
        check(out, force=True, inputs=[out / "mark"])
    (out / "x").touch()
    with pytest.raises(ConfigError, match=r"contains files that omr did not write \(x\), so it"):
        check(out, force=True, inputs=[])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.txt"], "{}/a.txt: already exists; choose another file, or use --force to replace it"),
        (
            ["a.txt", "b.txt"],
            "{}: already contains a.txt; choose another folder, or use --force to replace it",
        ),
    ],
)
def test_existing_files(names: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    files = [tmp_path / name for name in names]
    with pytest.raises(ConfigError) as raised:
        check_files(*files, force=False)
    assert str(raised.value) == message.format(tmp_path)
    check_files(*files, force=True)
    with pytest.raises(ConfigError, match=r"a\.txt: is an input and will not be replaced; choose"):
        check_files(*files, force=True, inputs=[tmp_path / "a.txt"])


def test_an_exclusive_folder_contains_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError) as raised:
        check_files(tmp_path / "a.txt", force=True, exclusive=True)
    assert (
        str(raised.value) == f"{tmp_path}: contains files other than a.txt; choose another folder"
    )


def test_is_inside(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert is_inside(tmp_path / "link" / "x", tmp_path / "out")
    assert is_inside(tmp_path / "out", tmp_path / "out")
    assert not is_inside(tmp_path, tmp_path / "out")
