import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.gpu import report, run
from benchmarks.gpu.results import Results, read_results
from benchmarks.gpu.run import STEPS, Options, Run, command_of, options_of, wait_for

ROOT = Path(__file__).parents[2]


def options(out: Path, **changes: object) -> Options:
    settings: dict[str, Any] = {
        "out": out, "small": True, "device": "cpu", "commit": "abc", "patience": 1.0, "only": ()
    }  # fmt: skip
    return Options(**settings | changes)


def python(code: str, tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code]
    with (tmp_path / "log.txt").open("w") as log:
        return subprocess.Popen(command, stdout=log, text=True, start_new_session=True)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("pass", "done"), ("raise SystemExit(3)", "failed"), ("import os; os.abort()", "failed")],
)
def test_status_of_a_process_that_ends(code: str, expected: str, tmp_path: Path) -> None:
    assert wait_for(python(code, tmp_path), 30) == expected


@pytest.mark.parametrize("stubborn", ["", "import signal; signal.signal(15, signal.SIG_IGN); "])
def test_a_step_out_of_time_ends_with_its_children(
    stubborn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "GRACE_S", 0.2)
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    code = f"{stubborn}import subprocess, sys, time; print({child}.pid, flush=True); time.sleep(60)"
    process = python(code, tmp_path)
    log = tmp_path / "log.txt"
    while not log.read_text():
        time.sleep(0.05)
    child_pid = int(log.read_text())
    assert wait_for(process, 0.1) == "out of time"
    assert process.poll() is not None
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child_pid) and psutil.Process(child_pid).status() != "zombie":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_failing_step_does_not_stop_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(step: run.Step, _options: Options, work: Path, _limit: int) -> list[str]:
        code = "raise SystemExit('no such device')"
        if step.name == "assigner":
            code = (
                "import sys; from pathlib import Path; from benchmarks.gpu.results import Results; "
                f"r = Results(Path({str(work / 'assigner.json')!r})); r.table('T', ['a']); r.row(1)"
            )
        return [sys.executable, "-c", code]

    monkeypatch.setattr(run, "command_of", command)
    monkeypatch.chdir(ROOT)
    out = tmp_path / "out"
    assert not run.run(options(out, only=("tests", "assigner")))
    content = json.loads((out / "gpu.json").read_text())
    assert [step["status"] for step in content["steps"].values()] == ["failed", "done"]
    assert content["steps"]["assigner"]["tables"][0]["rows"] == [[1]]
    assert "Failed after" in (out / "table.md").read_text()
    assert "no such device" in (out / "log.txt").read_text()


def test_an_interrupted_run_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[str]] = []

    def interrupted(_run: Run, process: subprocess.Popen[str], *_: object) -> None:
        started.append(process)
        raise KeyboardInterrupt

    code = "import time; time.sleep(60)"
    monkeypatch.setattr(run, "command_of", lambda *_: [sys.executable, "-c", code])
    monkeypatch.setattr(Run, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(options(tmp_path, only=("tests",)))
    assert [process.poll() for process in started] == [-signal.SIGTERM]


def test_without_time_a_step_is_not_started(tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("w") as log:
        state = Run(options(tmp_path, patience=run.MARGIN_S / run.SMALL_TOTAL_S), tmp_path, log)
        state.step(STEPS[0])
    assert state.content["steps"]["tests"]["status"] == "not started"
    assert not (tmp_path / "log.txt").read_text()


def test_limits_add_up_to_nine_minutes() -> None:
    *others, last = STEPS
    for_last = run.TOTAL_S - run.MARGIN_S - sum(step.limit_s for step in others)
    assert run.TRAINING_S < for_last <= last.limit_s


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_takes_its_command_line(
    step: run.Step,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, module, *words = command_of(step, options(tmp_path), tmp_path, 60)
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(module).main()
    assert not end.value.code
    shown = capsys.readouterr().out
    assert [word for word in words if word.startswith("--") and word not in shown] == []


def test_options_of_a_small_run() -> None:
    assert options_of(["out", "--small"]).device == "cpu"
    assert options_of(["out"]).device == "cuda"
    assert options_of(["out", "--only", "memory"]).only == ("memory",)


def test_results_are_written_before_a_step_ends(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    assert read_results(path) == {"tables": [], "goals": [], "notes": []}
    results = Results(path)
    results.table("Speed", ["case", "s"])
    results.row("a", 0.5)
    assert read_results(path)["tables"][0]["rows"] == [["a", 0.5]]
    with pytest.raises(ValueError, match="Speed: 1 cells for 2 columns"):
        results.row("b")
    results.goal("fast", "2 times", True)
    results.note("Quiet machine.")
    assert read_results(path)["goals"] == [{"name": "fast", "figure": "2 times", "met": True}]
    assert read_results(path)["notes"] == ["Quiet machine."]


def test_an_empty_report_lists_every_table_as_missing() -> None:
    text = report.markdown({})
    for title in report.STEP_TITLES.values():
        assert f"### {title}\n\n{report.MISSING}" in text


def test_report_of_a_run() -> None:
    goals = [
        {"name": "x", "figure": "7", "met": True},
        {"name": "y|z", "figure": "", "met": None},
        {"name": "w", "figure": "1", "met": False},
    ]
    step = {"status": "out of time", "seconds": 75, "goals": goals, "notes": ["One row only."]}
    step["tables"] = [{"title": "T", "columns": ["a", "b"], "rows": [[1.23456, None]]}]
    content = {"machine": {"card": "H100", "commit": "abc"}, "steps": {"memory": step}}
    text = report.markdown(content)
    assert text.startswith("card H100; commit abc.\n")
    assert "| Memory | x | 7 | met |" in text
    assert "| Memory | y\\|z |  | not measured |" in text
    assert "| Memory | w | 1 | **missed** |" in text
    assert "Out of time after 75 s" in text
    assert "**T**\n\n| a | b |\n|---|---|\n| 1.235 |  |\n\n* One row only." in text


def test_tables_are_inserted_into_a_page() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.replaced(page, "new\n")
    assert once == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.replaced(once, "new\n") == once
    with pytest.raises(ValueError, match="no lines"):
        report.replaced("page", "new\n")


def test_a_small_run_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"small": True, "steps": {}}))
    monkeypatch.setattr(sys, "argv", ["report", str(path), "--into", str(tmp_path / "page.md")])
    with pytest.raises(SystemExit, match="made with --small"):
        report.main()


def test_page_shows_every_step() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text("utf-8")
    assert set(report.STEP_TITLES) == {step.name for step in STEPS} | {"data"}
    _, _, rest = page.partition(report.BEGIN)
    shown, end, _ = rest.partition(report.END)
    assert end
    for name, title in report.STEP_TITLES.items():
        assert f"### {title}\n" in shown
        assert f"| {name} |" in page


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "benchmarks/gpu/run.sh OUT"),
        (["--small"], 2, "run.sh OUT"),
        (["out"], 1, "no wheels"),
    ],
)
def test_script_with_wrong_arguments(
    words: list[str], status: int, message: str, tmp_path: Path
) -> None:
    script = ROOT / "benchmarks" / "gpu" / "run.sh"
    done = subprocess.run(
        ["bash", str(script), *words],
        capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"WHEELS": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == status
    assert message in done.stderr
