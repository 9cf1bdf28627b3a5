"""Tests of sessions with stubs of processes: order, devices, failures, kills, changed files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stub_session
from stub_session import Stubs, quick_options, run_stubs, unchecked

from class_maps import ConfigError, InputError
from converters.files.output_lock import locked_folder
from omr.failures import InterruptedCommand
from omr.session import child, running
from omr.session.state import read_state

RUNS = "base: {data: d, epochs: 2}\nruns: {a: , b: {lr: 0.01}}\ngrid: {seed: [0, 1]}\n"
ONE = "base: {data: d, epochs: 2}\nruns: {a: }\n"
TWO = "base: {data: d, epochs: 2}\nruns: {a: , b: {lr: 0.01}}\n"


@pytest.fixture(autouse=True)
def no_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("omr.session.session.check_runs", unchecked())
    monkeypatch.setattr("omr.session.report.ComparisonOptions", quick_options)
    monkeypatch.setattr(running, "POLL_S", 0.001)
    monkeypatch.chdir(tmp_path)


def spec(text: str = TWO) -> Path:
    file = Path("variants.yaml")
    file.write_text(text)
    return file


def test_runs_are_trained_scored_and_compared() -> None:
    stubs = Stubs()
    state = run_stubs(spec(RUNS), Path("out"), stubs)
    names = ["a_seed-0", "a_seed-1", "b_seed-0", "b_seed-1"]
    assert stubs.summary() == [f"{word} {name}" for name in names for word in ("train", "eval")]
    assert {name: (run.status, run.group) for name, run in state.runs.items()} == {
        name: ("done", name[0]) for name in names
    }
    assert stubs.started[0] == [
        *("train", "--config", "out/settings/a_seed-0.yaml", "--out", "out/runs/a_seed-0"),
        *("--device", "cpu"),
    ]
    data = str(Path("d").absolute())
    assert stubs.started[1] == [
        *("eval", "out/runs/a_seed-0/weights/best.pt", data, "--split", "val", "--force"),
        *("--out", "out/scores/a_seed-0", "--device", "cpu"),
    ]
    stored = json.loads(Path("out/session.json").read_text())
    assert stored["runs"]["b_seed-1"]["settings"] == {
        "data": data, "epochs": 2, "lr": 0.01, "seed": 1,
    }  # fmt: skip
    assert stored["headline"] == state.headline
    comparison = json.loads(Path("out/comparison.json").read_text())
    assert [model["runs"] for model in comparison["models"]] == [names[:2], names[2:]]
    assert comparison["headline"] == state.headline
    text = Path("out/report.md").read_text()
    assert "4 runs of 2 recipes: 4 done. Scored on d, split val." in text
    assert state.headline.replace("(", "(") in text


def test_a_finished_session_does_nothing() -> None:
    run_stubs(spec(), Path("out"), Stubs())
    before = Path("out/session.json").read_bytes()
    stubs = Stubs()
    run_stubs(spec(), Path("out"), stubs)
    assert stubs.started == []
    assert Path("out/session.json").read_bytes() == before


def test_every_gpu_trains_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omr.session.session.check_runs", unchecked(("0", "1")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    stubs = Stubs()
    run_stubs(spec(RUNS), Path("out"), stubs)
    assert stubs.visible[:4] == ["4", "7", "4", "7"]
    assert stubs.summary()[:4] == [
        "train a_seed-0",
        "train a_seed-1",
        "eval a_seed-0",
        "eval a_seed-1",
    ]
    assert all(words[words.index("--device") + 1] == "0" for words in stubs.started)
    assert len(stubs.started) == 8


@pytest.mark.parametrize(
    ("devices", "environ", "visible"),
    [
        (["cpu"], {"CUDA_VISIBLE_DEVICES": "1"}, ""),
        (["1"], {}, "1"),
        (["1"], {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, "GPU-b"),
        (["0", "2"], {"CUDA_VISIBLE_DEVICES": ""}, "0,2"),
        ([], {"CUDA_VISIBLE_DEVICES": "3"}, "3"),
        ([], {}, None),
    ],
)
def test_visible_devices(devices: list[str], environ: dict[str, str], visible: str | None) -> None:
    assert child.environment_of(devices, environ).get("CUDA_VISIBLE_DEVICES") == visible


def test_a_failure_stops_the_session_and_is_tried_again() -> None:
    stubs = Stubs(failing={"runs/a": "no space"})
    state = run_stubs(spec(), Path("out"), stubs)
    assert stubs.summary() == ["train a"]
    assert (state.runs["a"].status, state.runs["a"].error) == ("failed", "no space")
    assert state.runs["b"].status == "waiting"
    assert "- a: no space" in Path("out/report.md").read_text()
    again = Stubs()
    state = run_stubs(spec(), Path("out"), again)
    assert again.summary() == ["train a", "eval a", "train b", "eval b"]
    assert (state.runs["a"].attempts, state.runs["a"].error) == (2, "")


def test_a_session_that_keeps_going() -> None:
    stubs = Stubs(failing={"runs/a": "no space", "scores/b": "no symbols"})
    state = run_stubs(spec(), Path("out"), stubs, keep_going=True)
    assert stubs.summary() == ["train a", "eval b"] or stubs.summary() == [
        "train a", "train b", "eval b",
    ]  # fmt: skip
    assert [run.error for run in state.runs.values()] == ["no space", "no symbols"]
    again = Stubs()
    run_stubs(spec(), Path("out"), again)
    assert again.summary() == ["train a", "eval a", "eval b"]


def test_an_evaluation_without_a_report_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stub_session._score", lambda _words: None)
    state = run_stubs(spec(ONE), Path("out"), Stubs())
    assert state.runs["a"].error == (
        "out/scores/a/report.json: missing or damaged; start the session again"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, ""), ({"devices": "cpu", "keep_going": True}, " --devices cpu --keep-going")],
    ids=["no options", "options"],
)
def test_ctrl_c_interrupts_the_processes_and_is_resumed(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str
) -> None:
    stubs = Stubs(endless="runs/b")
    monkeypatch.setattr("time.sleep", _interrupting(stubs))
    with pytest.raises(InterruptedCommand) as stopped:
        run_stubs(spec(), Path("out"), stubs, **options)
    assert str(stopped.value) == (
        "out: interrupted; 1 of 2 runs done, and finished epochs are kept; resume with: omr session "
        f"variants.yaml --out out{words}"
    )
    assert stubs.jobs[-1].signals == [signal.SIGINT]
    state = read_state(Path("out"))
    assert state is not None
    assert [run.status for run in state.runs.values()] == ["done", "interrupted"]


def _interrupting(stubs: Stubs) -> Callable[[float], None]:
    """Return a sleep in which the user presses Ctrl-C once the endless process is running."""

    def sleep(_seconds: float) -> None:
        if stubs.jobs and stubs.jobs[-1].status is None:
            raise KeyboardInterrupt

    return sleep


def test_a_killed_session_is_resumed_at_any_moment(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [
        sys.executable,
        stub_session.__file__,
        str(spec(ONE).absolute()),
        str(tmp_path / "s"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 40
    for statuses, commands, parts, reports in outcomes:
        assert statuses == {"a": "done"}
        assert parts == []
        assert len(commands) == len(set(commands))
        assert "1 run: 1 done" in reports["report.md"]
        score = json.loads(reports["session.json"])["runs"]["a"]["score"]
        assert score == {"ap": 0.097, "ap50": 0.194}
    summaries = {tuple(commands) for _, commands, *_ in outcomes}
    assert summaries == {("train a", "eval a"), ("resume a", "eval a"), ("eval a",), ()}


def test_runs_whose_settings_changed_start_anew_with_force() -> None:
    run_stubs(spec(), Path("out"), Stubs())
    changed = spec(TWO.replace("0.01", "0.02") + "grid: \n")
    changed = spec(TWO.replace("0.01", "0.02"))
    with pytest.raises(ConfigError) as error:
        run_stubs(changed, Path("out"), Stubs())
    assert str(error.value) == "variants.yaml: 1 fault; no run was started"
    stubs = Stubs()
    run_stubs(changed, Path("out"), stubs, force=True)
    assert stubs.summary() == ["train b", "eval b"]
    assert stubs.started[0][-1] == "--force"


def test_the_message_about_changed_settings(capsys: pytest.CaptureFixture[str]) -> None:
    run_stubs(spec(), Path("out"), Stubs())
    with pytest.raises(ConfigError):
        run_stubs(spec(TWO.replace("epochs: 2", "epochs: 3")), Path("out"), Stubs())
    assert capsys.readouterr().err == (
        "variants.yaml: has changed since the session began, and a, b would be restarted (a: epochs "
        "2 -> 3); restore the file, give changed runs new names, or use --force\n"
    )


def test_runs_are_added_and_removed() -> None:
    run_stubs(spec(), Path("out"), Stubs())
    stubs = Stubs()
    text = "base: {data: d, epochs: 2}\nruns: {b: {lr: 0.01}, c: {lr: 0.1}}\n"
    state = run_stubs(spec(text), Path("out"), stubs)
    assert stubs.summary() == ["train c", "eval c"]
    assert [*state.runs] == ["b", "c", "a"]
    assert "| a |" not in Path("out/report.md").read_text()
    stubs = Stubs()
    run_stubs(spec(), Path("out"), stubs)
    assert stubs.started == []


def test_another_evaluation_scores_again_and_trains_nothing() -> None:
    run_stubs(spec(), Path("out"), Stubs())
    stubs = Stubs()
    run_stubs(spec(TWO + "eval: {split: test, unit: tile}"), Path("out"), stubs)
    assert stubs.summary() == ["eval a", "eval b"]
    assert stubs.started[0][3:7] == ["--split", "test", "--unit", "tile"]


def test_a_session_that_is_running_is_not_started_twice() -> None:
    with locked_folder(Path("out").absolute()):
        code = (
            "import sys; from pathlib import Path; from stub_session import *; "
            "run_stubs(Path('variants.yaml'), Path('out'), Stubs())"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        spec()
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert f"out: another omr process (pid {os.getpid()}) is writing here; " in done.stderr


def test_other_folders_are_refused() -> None:
    Path("out").mkdir()
    Path("out/mine").touch()
    with pytest.raises(ConfigError, match="no run was started"):
        run_stubs(spec(), Path("out"), Stubs())
    assert [path.name for path in Path("out").iterdir()] == ["mine"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 9, "name": 1}'])
def test_a_damaged_state_is_refused(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/session.json").write_text(content)
    with pytest.raises(ConfigError):
        run_stubs(spec(), Path("out"), Stubs())
    assert "out/session.json" in capsys.readouterr().err
    with pytest.raises(InputError):
        read_state(Path("out"))
    assert Path("out/session.json").read_text() == content


def test_a_trained_run_whose_files_are_damaged_is_not_overwritten() -> None:
    stubs = Stubs(endless="scores/a")
    Path("out").mkdir()
    run_stubs(spec(), Path("out"), Stubs(failing={"scores/a": "killed"}))
    state = json.loads(Path("out/session.json").read_text())
    assert state["runs"]["a"]["is_trained"]
    state["runs"]["a"]["is_trained"] = False
    Path("out/session.json").write_text(json.dumps(state))
    Path("out/runs/a/results.csv").write_text("epoch\n2\n")
    result = run_stubs(spec(), Path("out"), stubs)
    assert stubs.started == []
    assert result.runs["a"].error.endswith(
        "restore the files, or remove the folder to train the run again"
    )


def test_a_run_that_another_process_keeps_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "UNLOCK_S", 0.01)
    run = Path("out/runs/a")
    run.mkdir(parents=True)
    (run / "x").touch()
    code = (
        "import time; from pathlib import Path; from converters.files.output_lock import locked_folder\n"
        "with locked_folder(Path('out/runs/a')): print('locked', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    holder = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline()
        with pytest.raises(ConfigError, match="another omr process"):
            running._wait_until_unlocked(run)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    running._wait_until_unlocked(run)


def test_a_process_ends_with_its_session(tmp_path: Path) -> None:
    """The parent is killed with SIGKILL; its child would otherwise train on."""
    os.mkfifo("pipe")
    code = (
        "import time; from omr.session.child import start\n"
        "log = open('log', 'wb')\n"
        "job = start(['classes', 'show', 'x.yaml'], {'PATH': ''}, log)\n"
        "print(job.pid, flush=True); time.sleep(60)"
    )
    os.mkfifo("x.yaml")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, cwd=tmp_path
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
