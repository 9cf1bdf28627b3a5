"""Processes of ``omr`` in unusual states: none of them ends with a traceback."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deepscores import NOTE, content, write
from yolo_folders import write_yolo

from omr.cli import main
from omr.failures import reported_failures

SHOW = ("classes", "show", "coco")
ROOT = Path(__file__).parents[2]


def omr(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run ``omr`` in a process of its own."""
    command = [sys.executable, "-m", "omr", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})  # type: ignore[operator]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.run(command, check=False, env=environment, **settings)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("arguments", [(*SHOW, "--json"), SHOW, ("--help",)])
def test_a_full_stdout(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = omr(*arguments, stdout=full)
    problem = "stdout: No space left on device; the result was not printed"
    assert (done.returncode, done.stderr) == (1, f"error: {problem}\n")


@pytest.mark.parametrize("arguments", [(*SHOW, "--json"), SHOW])
def test_a_closed_stdout(arguments: tuple[str, ...]) -> None:
    done = omr(*arguments, stdout=None, preexec_fn=lambda: os.close(1))
    problem = "stdout: closed; the result was not printed"
    assert (done.returncode, done.stderr) == (1, f"error: {problem}\n")


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    source = write(tmp_path, content(NOTE))

    def close() -> None:
        for number in range(3):
            os.close(number)

    out = tmp_path / "out"
    arguments = "convert", source, out, "--labels-only"
    done = omr(*arguments, stdout=None, stderr=None, preexec_fn=close)
    assert done.returncode == 1  # the summary was not printed
    assert json.loads((out / "manifest.json").read_text())["symbols"]["written"] == 1


@pytest.mark.parametrize("arguments", [SHOW, ("classes", "list", "--json")])
def test_a_reader_that_has_seen_enough(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = omr(*arguments, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_json_on_an_ascii_terminal(tmp_path: Path) -> None:
    file = tmp_path / "ä.yaml"
    file.write_text("name: a\nclasses: [Ä]\nsources: {coco: {map: {person: Ä}}}\n", "utf-8")
    ascii_only = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = omr("classes", "show", file, "--json", env=ascii_only)
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["classes"][0]["name"] == "Ä"
    done = omr("classes", "show", file, env=ascii_only)
    assert done.returncode == 0
    assert "\\xc4" in done.stdout


def test_a_deleted_current_folder(tmp_path: Path) -> None:
    source, folder = write(tmp_path, content(NOTE)), tmp_path / "gone"
    folder.mkdir()
    done = omr("convert", source, "out", preexec_fn=folder.rmdir, cwd=folder)
    problem = "the current folder no longer exists; change to another one"
    assert (done.returncode, done.stderr) == (1, f"error: {problem}\n")


@pytest.mark.parametrize("limit", [9, 10, 11, 12, 14, 16, 18, 20])
def test_too_few_open_files(limit: int, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "in", content(NOTE), f"deepscores_train_shard_{number}.json")

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    arguments = "convert", tmp_path / "in", tmp_path / "out", "--labels-only", "--workers", 2
    done = omr(*arguments, preexec_fn=set_limit)
    assert done.returncode == 1
    assert re.fullmatch("error: .*too many open files.*\n", done.stderr, re.IGNORECASE)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "in", content(*[NOTE] * 100))

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = omr("convert", source, tmp_path / "out", "--labels-only", preexec_fn=set_limit)
    out = tmp_path / "out"
    assert done.stderr == f"error: {out}: File too large; nothing was written to {out}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "command",
    [
        ("show", "data", "--out", "out.png"),
        ("sheet", "data", "out"),
        ("split", "data", "out", "--val", "0.5"),
        ("heads", "suggest", "data", "--strategy", "geometry", "--heads", "2", "--out", "out.yaml"),
    ],
    ids=lambda command: command[0],
)
def test_a_full_disk_leaves_no_incomplete_output(command: tuple[str, ...], tmp_path: Path) -> None:
    write_yolo(tmp_path / "data", {f"train/lg-{i}-aug-a--page-1.png": [0, 1] for i in range(2)})

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))

    done = omr(*command, preexec_fn=set_limit, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch("error: .*: File too large.*", done.stderr.splitlines()[-1])
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def interrupt(command: list[object], *, when: Callable[[], bool]) -> tuple[int, str]:
    """Press Ctrl-C in a terminal: all processes of a group get the signal."""
    words = [sys.executable, "-m", "omr", *map(str, command)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as process:
        while not when() and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        return process.wait(), process.communicate()[1]


def test_ctrl_c_in_a_conversion(tmp_path: Path) -> None:
    source = write(tmp_path / "in", content(*[NOTE] * 20_000))
    out = tmp_path / "out"
    status, said = interrupt(
        ["convert", source, out, "--labels-only"], when=lambda: any(tmp_path.glob(".out.partial*"))
    )
    assert (status, said) == (130, f"{out}: interrupted; nothing was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_ctrl_c_before_the_command_has_started(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import os; os.kill(os.getpid(), 2); raise SystemExit(3)")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = omr(*SHOW, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(("arguments", "status"), [(SHOW, 0), (("classes", "show", "none"), 1)])
def test_ctrl_c_after_the_command_has_ended(arguments: tuple[str, ...], status: int) -> None:
    late = (
        "import atexit, os, omr.__main__ as m; atexit.register(os.kill, os.getpid(), 2); m.main()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", late, *arguments]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    expected = omr(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (status, expected.stdout, expected.stderr)


def test_ctrl_c_while_the_result_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised, reported_failures():
        raise KeyboardInterrupt
    assert raised.value.code == 130
    assert capsys.readouterr() == ("", "")


NO_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes\nat x")
NO_SHARED_MEMORY = RuntimeError(
    "unable to open shared memory object </torch_1_2_0> in read-write mode: Permission denied (13)"
)


def after_too_many_files() -> UnboundLocalError:
    """Return the error of a library that fails to clean up."""
    error = UnboundLocalError()
    error.__context__ = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written\n"),
        (KeyboardInterrupt("run: interrupted"), 130, "run: interrupted\n"),
        (KeyboardInterrupt(""), 130, ""),  # another process of the training says it
        (PermissionError(13, "Permission denied", "x.png"), 1, "error: x.png: Permission denied\n"),
        (after_too_many_files(), 1, "error: too many open files; raise the limit with ulimit -n\n"),
        (MemoryError(), 1, "error: not enough memory: an allocation failed\n"),
        (
            NO_MEMORY,
            1,
            "error: not enough memory: DefaultCPUAllocator: can't allocate memory: 9 bytes\n",
        ),
        (OSError(5, "Input/output error"), 1, "error: Input/output error\n"),
        (
            OSError(5, "Input/output error", "a\nb\x1b[0m"),
            1,
            "error: a\\nb\\x1b[0m: Input/output error\n",
        ),
        (
            NO_SHARED_MEMORY,
            1,
            f"error: /dev/shm: {NO_SHARED_MEMORY}; shared memory must be writable and large enough\n",
        ),
    ],
)
def test_errors_that_are_no_bugs_are_one_line(
    error: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("class_maps.shipped", fail)
    monkeypatch.setattr(sys, "argv", ["omr", "classes", "list"])
    with pytest.raises(SystemExit) as raised:
        main()
    assert (raised.value.code, capsys.readouterr().err) == (status, message)
