import errno
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest
from lock_holder import held_by_another_process

from class_maps import ConfigError, OmrError
from converters.files.atomic_folder import atomic_folder

OLD, NEW = '{"versions": {"omr-toolkit": "old"}}', '{"versions": {"omr-toolkit": "new"}}'


def nothing() -> None:
    pass


def fill(
    target: Path,
    text: str = NEW,
    *,
    force: bool = False,
    meanwhile: Callable[[], object] = nothing,
) -> None:
    with atomic_folder(target, force=force) as folder:
        (folder / "manifest.json").write_text(text)
        meanwhile()


def break_off(target: Path, error: BaseException, *, force: bool = False) -> None:
    with atomic_folder(target, force=force) as folder:
        (folder / "x").write_text("half")
        raise error


def contents(folder: Path) -> dict[str, str]:
    """Return the texts of all files, apart from the list of files in new folders."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != ".omr-files"]
    return {str(p.relative_to(folder)): p.read_text() for p in files}


def test_a_folder_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    target = tmp_path / "a" / "out"
    with atomic_folder(target) as folder:
        (folder / "x").write_text("x")
        assert not target.exists()
    assert contents(tmp_path) == {"a/out/x": "x"}


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out")
    assert contents(tmp_path) == {"out/manifest.json": NEW}


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
    fill(tmp_path / "out", OLD)
    with pytest.raises(ValueError, match="broken"):
        break_off(tmp_path / "out", ValueError("broken"), force=True)
    assert contents(tmp_path) == {"out/manifest.json": OLD}


def test_force_replaces(tmp_path: Path) -> None:
    fill(tmp_path / "out", OLD)
    for name in ("labels.cache", ".DS_Store", "._manifest.json"):  # other programs' droppings
        (tmp_path / "out" / name).write_text("more")
    fill(tmp_path / "out", force=True)
    assert contents(tmp_path) == {"out/manifest.json": NEW}


def test_force_replaces_a_folder_with_any_file_names(tmp_path: Path) -> None:
    names = ["a\nb", "*", "[x]", "\udcff", "é", "e\u0301", "x" * 250, ".hidden"]
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "manifest.json").write_text(OLD)
        for name in names:
            (folder / name).mkdir()
            (folder / name / name).touch()
    fill(tmp_path / "out", force=True)
    assert contents(tmp_path) == {"out/manifest.json": NEW}


@pytest.mark.parametrize("name", ["thesis.tex", "images/train/page.png", ".notes", "manifest"])
def test_force_keeps_a_folder_with_a_file_of_the_user(name: str, tmp_path: Path) -> None:
    fill(tmp_path / "out", OLD)
    (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / name).write_text("dear")
    with pytest.raises(ConfigError) as raised:
        fill(tmp_path / "out", force=True)
    assert str(raised.value) == (
        f"{tmp_path}/out: contains files that omr did not write ({name}), so it was not replaced; "
        "move them, or choose another folder"
    )
    assert contents(tmp_path) == {"out/manifest.json": OLD, f"out/{name}": "dear"}


def test_force_keeps_a_folder_with_a_link_to_a_file(tmp_path: Path) -> None:
    fill(tmp_path / "out", OLD)
    (tmp_path / "out" / "link").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"contains files that omr did not write \(link\), so"):
        fill(tmp_path / "out", force=True)


@pytest.mark.parametrize("text", [None, "", "{", "3", "[[]]"])
def test_force_keeps_a_folder_without_a_list_of_files(text: str | None, tmp_path: Path) -> None:
    fill(tmp_path / "out", OLD)
    listing = tmp_path / "out" / ".omr-files"
    listing.unlink() if text is None else listing.write_text(text)
    with pytest.raises(ConfigError) as raised:
        fill(tmp_path / "out", force=True)
    assert str(raised.value) == (
        f"{tmp_path}/out: has no readable .omr-files, so omr does not know which of the files it "
        "wrote; remove the folder yourself, or choose another one"
    )
    assert contents(tmp_path) == {"out/manifest.json": OLD}


def test_without_force_nothing_is_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "out", OLD)
    message = f"{tmp_path}/out: already exists; choose another folder, or use --force to replace it"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        fill(tmp_path / "out")
    assert contents(tmp_path) == {"out/manifest.json": OLD}


def test_force_does_not_replace_folders_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    message = "contains no manifest.json, so omr did not create it and will not replace it; choose"
    with pytest.raises(ConfigError, match=re.escape(message)):
        fill(tmp_path, force=True)
    assert contents(tmp_path) == {"thesis.tex": "dear"}


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "{}",
        "[]",
        "[" * 100_000,
        '{"name": "my web app", "icons": []}',
        '{"versions": null}',
        '{"versions": 1}',
        '{"versions": {"npm": "1"}}',
        '{"versions": [1]}',
    ],
)
def test_force_does_not_replace_folders_with_another_manifest(
    manifest: str, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ConfigError, match=r"its manifest\.json is not from omr, so omr did not"):
        fill(tmp_path, force=True)
    assert contents(tmp_path) == {"manifest.json": manifest}


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


WAITING = """
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from converters.files.atomic_folder import atomic_folder
with atomic_folder(Path(sys.argv[1])) as folder:
    (folder / "manifest.json").write_text("other")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_leaves_no_target_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False).returncode < 0
    assert not target.exists()
    assert len(contents(tmp_path)) == 2  # the lock and half of the folder
    fill(target)
    assert contents(tmp_path) == {"out/manifest.json": NEW}


def test_two_processes_with_the_same_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITING, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "writing\n"
        message = (
            f"{tmp_path}/out: another omr process (pid {other.pid}) is writing here; wait for it "
            "or choose another OUT"
        )
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            fill(tmp_path / "out")
        other.communicate("go on")
    assert contents(tmp_path) == {"out/manifest.json": "other"}


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("dear")


def make_file(path: Path) -> None:
    path.write_text("dear")


def make_link(path: Path) -> None:
    (path.parent / "thesis.tex").write_text("dear")
    path.symlink_to(path.parent)


@pytest.mark.parametrize("make", [make_folder, make_file, make_link])
def test_what_the_user_makes_at_the_target_meanwhile_is_kept(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    target = tmp_path / "out"
    message = (
        f"{target}: was created while omr was working, so it was not replaced; the result is in "
        f"{target}.new"
    )
    with pytest.raises(OmrError, match=f"^{re.escape(message)}$"):
        fill(target, meanwhile=partial(make, target))
    assert contents(tmp_path / "out.new") == {"manifest.json": NEW}
    (tmp_path / "out.new" / "manifest.json").unlink()
    assert list(contents(tmp_path).values()) == ["dear"]


def test_a_file_that_is_put_into_a_folder_while_it_is_replaced_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fill(target, OLD)
    (target / "pages").mkdir()
    (tmp_path / "out.new").touch()
    with pytest.raises(OmrError) as raised:
        fill(target, force=True, meanwhile=partial(make_file, target / "pages" / "thesis.tex"))
    assert str(raised.value) == (
        f"{target}: changed while omr was working (pages/thesis.tex), so it was not replaced; the "
        f"result is in {target}.new1"
    )
    assert contents(target) == {"manifest.json": OLD, "pages/thesis.tex": "dear"}
    assert contents(tmp_path / "out.new1") == {"manifest.json": NEW}


def test_a_folder_that_disappears_while_it_is_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "out", OLD)
    fill(tmp_path / "out", force=True, meanwhile=partial(shutil.rmtree, tmp_path / "out"))
    assert contents(tmp_path) == {"out/manifest.json": NEW}


def test_an_old_folder_that_a_killed_process_set_aside_is_restored(tmp_path: Path) -> None:
    fill(tmp_path / "out", OLD)
    (tmp_path / "out").rename(tmp_path / ".out.replaced")
    with pytest.raises(ConfigError, match="already exists"):
        fill(tmp_path / "out")
    assert contents(tmp_path) == {"out/manifest.json": OLD}


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_is_followed(is_there: bool, tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "data", tmp_path / "out"
    (real if is_there else real.parent).mkdir(parents=True)
    link.symlink_to(real)
    with atomic_folder(link) as folder:
        assert folder.parent == real.parent  # so that renaming stays on one file system
        (folder / "manifest.json").write_text(OLD)
    fill(link, NEW, force=True)
    assert link.is_symlink()
    assert contents(tmp_path) == {"disk/data/manifest.json": NEW}


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "out")
    with pytest.raises(ConfigError, match="already exists"):
        fill(tmp_path / "out")


def test_a_mount_point_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    with pytest.raises(ConfigError, match="is a mount point, which cannot be replaced; choose a"):
        fill(tmp_path)


def test_the_parent_of_the_current_folder_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "out", OLD)
    (tmp_path / "out" / "images").mkdir()
    monkeypatch.chdir(tmp_path / "out" / "images")
    with pytest.raises(ConfigError, match=r"^\.\.: contains the current folder, which cannot be"):
        fill(Path(".."), force=True)


def test_an_interrupted_block_says_that_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"out: interrupted; nothing was written$"):
        break_off(tmp_path / "out", KeyboardInterrupt())


def test_an_output_inside_a_folder_to_replace_is_not_deleted_while_it_is_written(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "out")
    run = tmp_path / "out" / "run"
    with held_by_another_process(run) as pid:
        message = f"{run}: another omr process (pid {pid}) is writing here; wait for it or choose"
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
            fill(tmp_path / "out", force=True)
    assert (tmp_path / "out" / "manifest.json").is_file()


LIMITED = """
import resource, sys
from pathlib import Path
from converters.files.atomic_folder import atomic_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with atomic_folder(Path(sys.argv[1])) as folder:
        (folder / "half").write_bytes(bytes(2000))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def test_a_file_that_the_system_does_not_take(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "a" / "out")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    out = tmp_path / "a" / "out"
    assert done.stdout == f"OmrError: {out}: File too large; nothing was written to {out}\n"
    assert list(tmp_path.iterdir()) == []


def test_records_are_kept_until_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path) -> None:
        assert folder == tmp_path / "out"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("converters.files.atomic_folder.remove_records", killed)
        with pytest.raises(KeyboardInterrupt):
            fill_with_records(tmp_path / "out")
    assert (tmp_path / "out" / ".omr-parts" / "0.done").is_file()
    with pytest.raises(ConfigError, match="already exists"):
        fill(tmp_path / "out")
    assert contents(tmp_path) == {"out/manifest.json": NEW}
    fill_with_records(tmp_path / "out", force=True)
    assert contents(tmp_path) == {"out/manifest.json": NEW}


def fill_with_records(target: Path, *, force: bool = False) -> None:
    with atomic_folder(target, force=force) as folder:
        (folder / "manifest.json").write_text(NEW)
        (folder / ".omr-parts").mkdir()
        (folder / ".omr-parts" / "0.done").touch()
