"""Tests of omr session with real checks, trainings and evaluations."""

import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
import torch
from drawn_data import make_dataset
from killed_run import forkserver
from typer.testing import CliRunner, Result

from omr.cli import app
from omr.session import preflight
from omr.session.preflight import KEPT_COPIES, TRAINING_COPIES, Preflight, check_runs
from omr.session.running import SessionRunner
from omr.session.spec import read_spec
from omr.session.trials import Trial, TrialRequest, _tried
from settings.published import weights_path
from training import single_steps

BASE = "data: data, model: omr-tiny, imgsz: 64, batch: 4, epochs: 1"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("session") / "data", n_images=4)


@pytest.fixture(autouse=True)
def current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trials_in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Try runs in this process, which has loaded torch already; return the names of tried runs."""
    tried: list[str] = []

    def answers(process: Any, requests: Sequence[TrialRequest], _log: object) -> Iterator[Trial]:  # noqa: ANN401
        process.devices = ["cpu"]
        for request in requests:
            tried.append(request.name)
            yield _tried(request, "cpu")

    monkeypatch.setattr(preflight._TrialProcess, "_answers", answers)
    return tried


@pytest.fixture
def stubbed_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run pass its trial, with weights of 1 MiB."""

    def answers(process: Any, requests: Sequence[TrialRequest], _log: object) -> Iterator[Trial]:  # noqa: ANN401
        process.devices = ["cpu"]
        for request in requests:
            yield Trial(name=request.name, weights_bytes=2**20, network=request.name)

    monkeypatch.setattr(preflight._TrialProcess, "_answers", answers)


def write(text: str) -> Path:
    Path("variants.yaml").write_text(text)
    return Path("variants.yaml")


def checked(text: str) -> Preflight:
    spec = read_spec(write(text))
    assert spec.faults == ()
    return check_runs(spec.runs, spec.scoring, Path("out"), devices=(), track=lambda runs, _: runs)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["session", *map(str, words)])


class ForkedJob:
    """Command in a fork of a process that has loaded torch."""

    def __init__(self, arguments: Sequence[str], _environment: object, log: IO[bytes]) -> None:
        self.process: ForkServerProcess = forkserver().Process(
            target=_run_command, args=([*arguments], log.name)
        )
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, sig: int, /) -> None:
        os.kill(self.process.pid or 0, sig)


def _run_command(arguments: list[str], log: str) -> None:
    import sys

    from omr.cli import main

    torch.set_num_threads(1)
    sys.stdout = sys.stderr = Path(log).open("a")  # noqa: SIM115
    sys.argv = ["omr", *arguments]
    main()


@pytest.mark.slow
def test_two_runs_are_trained_scored_and_compared(
    stubbed_trials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SessionRunner.run.__globals__, "POLL_S", 0.01)
    file = write(f"base: {{{BASE}, validate: false}}\nruns: {{a: , b: {{assigner: simota}}}}")
    started = SimpleNamespace(jobs=0)

    def start(*arguments: Any) -> ForkedJob:  # noqa: ANN401
        started.jobs += 1
        return ForkedJob(*arguments)

    monkeypatch.setattr("omr.session.session.SessionRunner", _runner_with(start))
    result = run(file, "--json")
    assert result.exit_code == 0, (result.output, Path("variants/logs/a.log").read_text())
    state = json.loads(result.stdout)
    assert [one["status"] for one in state["runs"].values()] == ["done", "done"]
    assert state == json.loads(Path("variants/session.json").read_text())
    for name in ("a", "b"):
        assert Path(f"variants/runs/{name}/weights/best.pt").is_file()
        macro = json.loads(Path(f"variants/scores/{name}/report.json").read_text())["macro"]
        assert state["runs"][name]["score"] == {key: macro[key] for key in ("ap", "ap50")}
    compared = json.loads(Path("variants/comparison.json").read_text())
    assert [model["folder"] for model in compared["models"]] == ["a", "b"]
    assert compared["headline"] == state["headline"]
    page = Path("variants/report.html").read_text()
    assert page.count('class="curve s0"') == 2
    assert run(file).exit_code == 0  # nothing is left
    assert started.jobs == 4


def _runner_with(start: Any) -> Any:  # noqa: ANN401
    def make(**options: Any) -> SessionRunner:  # noqa: ANN401
        return SessionRunner(**options | {"start": start})

    return make


def test_every_fault_of_every_run_is_listed(
    trials_in_this_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step_of = single_steps.steps_of

    def steps_of(trainer: Any) -> Any:  # noqa: ANN401
        return (lambda _rate: float("nan")) if trainer.args.lr0 == 0.5 else step_of(trainer)

    monkeypatch.setattr("training.trial_run.steps_of", steps_of)
    file = write(
        f"""
base: {{{BASE}}}
runs:
  good: {{}}
  seed: {{seed: 3}}
  missing: {{data: [data, gone]}}
  option: {{epoch: 3}}
  model: {{model: yolo11q}}
  odd: {{imgsz: 65}}
  lost: {{model: gone.pt}}
  nan: {{lr: 0.5}}
"""
    )
    result = run(file, "--check")
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("- ")]
    assert [line.split(": ")[0] for line in lines] == [
        "- option",
        "- missing",
        "- model",
        "- odd",
        "- lost",
        "- nan",
    ]
    assert "unknown settings: epoch (did you mean epochs?)" in lines[0]
    assert "gone" in lines[1]
    assert "yolo11q" in lines[2]
    assert "--imgsz 65" in lines[3]
    assert "gone.pt: no such weights" in lines[4]
    assert lines[5] == (
        "- nan: the loss of the first step is not finite; check the images and labels"
    )
    assert trials_in_this_process == ["good", "missing", "model", "odd", "lost", "nan"]
    assert "7 runs, 6 faults" in result.stdout
    assert not Path("variants").exists()


def test_a_session_with_faults_is_not_started(stubbed_trials: None) -> None:
    result = run(write(f"base: {{{BASE}}}\nruns: {{a: {{x: 1}}, b: {{y: 2}}}}"))
    assert result.exit_code == 1
    assert str(result.exception) == "variants.yaml: 2 faults; no run was started"
    assert result.stderr.splitlines() == [
        "- a: unknown settings: x",
        "- b: unknown settings: y",
    ]
    assert not Path("variants").exists()


def test_a_session_without_faults(trials_in_this_process: list[str]) -> None:
    result = run(write(f"base: {{{BASE}}}\ngrid: {{seed: [0, 1]}}"), "--check", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["faults"] == []
    assert report["devices"] == ["cpu"]
    first, second = report["runs"]
    assert (first["name"], first["group"], second["group"]) == ("seed-0", "seeds", "seeds")
    assert first["memory_bytes"] > 1e6
    assert set(first["activations"]) == {"backbone", "neck", "head"}
    assert not Path("variants").exists()


def test_the_same_network_under_two_names_is_a_fault(
    trials_in_this_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.trial_run.check_batch", lambda _: SimpleNamespace(total_bytes=0))
    weights = weights_path("harmony-tiny")
    x, y = (shutil.copy(weights, f"{name}{weights.suffix}") for name in "xy")
    result = checked(f"base: {{{BASE}}}\nruns: {{a: {{model: {x}}}, b: {{model: {y}}}}}")
    assert [str(fault) for fault in result.faults] == [
        "b: trains the same network as a, with the same other settings"
    ]


def test_a_disk_without_room_is_a_fault(
    stubbed_trials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=10 * 2**20))
    result = checked(f"base: {{{BASE}}}\ngrid: {{seed: [0, 1, 2]}}")
    assert (KEPT_COPIES, TRAINING_COPIES) == (4, 9)
    assert [str(fault) for fault in result.faults] == [
        "out: the weights of 3 runs need about 21\u00a0MiB, but only 10\u00a0MiB are free on the disk"
    ]


def test_a_step_that_does_not_fit_is_a_fault(
    trials_in_this_process: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.density.fitting_batch.limit_of", lambda _gpu: 2**20)
    (fault,) = checked(f"base: {{{BASE}}}\nruns: {{a: }}").faults
    assert str(fault).startswith("a: --batch 4: a step needs 0.")
    assert str(fault).endswith("use a smaller batch, or batch: auto")


def test_a_split_that_cannot_be_scored_is_a_fault(stubbed_trials: None) -> None:
    text = f"base: {{{BASE}}}\nruns: {{a: }}\neval: {{split: test}}"
    (fault,) = checked(text).faults
    assert fault.run == ""
    assert fault.problem.startswith("eval: ")


def test_unexpected_errors_of_a_trial_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_config: object) -> None:
        raise ZeroDivisionError("bug")

    monkeypatch.setattr("training.trial_run.try_run", broken)
    request = TrialRequest("a", {"data": "data", "model": "omr-tiny"})
    assert _tried(request, "cpu").problem == "unexpected ZeroDivisionError: bug"


def test_a_run_that_kills_its_trial_is_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is stubbed: it answers for the first run, and is killed in the second."""
    n_processes: list[int] = []

    def answers(process: Any, requests: Sequence[TrialRequest], log: IO[bytes]) -> Iterator[Trial]:  # noqa: ANN401
        n_processes.append(len(requests))
        process.devices, process._status = ["cpu"], -signal.SIGKILL
        log.write(b"loading\n")
        for request in requests:
            if request.name == "b":
                return
            yield Trial(name=request.name, weights_bytes=1, network=request.name)

    monkeypatch.setattr(preflight._TrialProcess, "_answers", answers)
    result = checked(f"base: {{{BASE}}}\nruns: {{a: , b: {{lr: 0.1}}, c: {{lr: 0.2}}}}")
    assert [str(fault) for fault in result.faults] == [
        "b: its process was killed by signal 9, possibly because memory ran out"
    ]
    assert n_processes == [3, 1]


@pytest.mark.slow
def test_trials_have_a_process_of_their_own() -> None:
    result = checked(f"base: {{{BASE}, lint: false}}\nruns: {{a: , b: {{model: yolo11q}}}}")
    assert [fault.run for fault in result.faults] == ["b"]
    assert result.devices == ("cpu",) or torch.cuda.is_available()
    assert result.trials[0].memory_bytes > 1e6


@pytest.mark.parametrize("devices", ["gpu", "0,0", "cpu,0", "-1"])
def test_other_devices_are_refused(devices: str) -> None:
    result = run(write(f"base: {{{BASE}}}\nruns: {{a: }}"), "--check", "--devices", devices)
    assert str(result.exception) == (
        f"--devices {devices}: expected cpu, or different indices of GPUs such as 0,1"
    )
