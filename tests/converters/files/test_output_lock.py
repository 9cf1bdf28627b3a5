import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lock_holder import held_by_another_process

from class_maps import ConfigError
from converters.files.output_lock import LOCK, check_unlocked, locked_folder, locked_path


def test_another_process_is_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with held_by_another_process(out) as pid:
        message = (
            f"{out}: another omr process (pid {pid}) is writing here; wait for it or choose "
            "another --out"
        )
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"), locked_folder(out):
            pass
        (out / LOCK).write_text(f"{pid} elsewhere")
        with pytest.raises(ConfigError, match=rf"\(pid {pid} on elsewhere\)"):
            check_unlocked(tmp_path)
    assert not out.exists()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with held_by_another_process(out, killed=True):
        assert [path.name for path in out.iterdir()] == [LOCK]
        check_unlocked(out)
        with locked_folder(out):
            assert (out / LOCK).read_text().startswith(f"{os.getpid()} ")
        assert list(out.iterdir()) == []


def test_a_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with locked_folder(tmp_path / "mine"):
        pass
    with locked_folder(tmp_path / "new"):
        (tmp_path / "new" / "x").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "new", "x"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with locked_folder(tmp_path / "link"):
        assert [path.name for path in (tmp_path / "real").iterdir()] == [LOCK]
        message = f"^{tmp_path}/real: another omr process"
        with pytest.raises(ConfigError, match=message), locked_folder(tmp_path / "real"):
            pass


def test_own_locks_do_not_count(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "run"), locked_path(tmp_path / "data", tmp_path / "data"):
        check_unlocked(tmp_path)


def test_a_lock_that_was_removed_meanwhile_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, calls = fcntl.flock, []

    def remove_first(descriptor: int, kind: int) -> None:
        flock(descriptor, kind)
        calls.append(kind)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with locked_folder(tmp_path):
        assert (tmp_path / LOCK).is_file()
    assert len(calls) == 2


def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked_folder(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).is_file()


def test_a_folder_that_cannot_be_created() -> None:
    with (
        pytest.raises(ConfigError, match=r"^/proc/x: cannot be written: "),
        locked_folder(Path("/proc/x")),
    ):
        pass


FORKED = """
import os, sys, time
from pathlib import Path
from converters.files.output_lock import locked_folder
with locked_folder(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)  # by now the child has closed its copy of the lock
        time.sleep(60)
        os._exit(0)
    sys.stdin.read()
"""


def test_a_child_does_not_keep_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKED, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        with locked_folder(tmp_path):
            pass
        os.kill(child, signal.SIGKILL)
