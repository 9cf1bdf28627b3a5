"""Sessions from their start to their report: checks, runs, resumption."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from class_maps import ConfigError, OmrError
from converters.files.output_lock import locked_folder
from eval.html.number_format import counted
from eval.reports.session import SessionReport
from omr.failures import InterruptedCommand
from omr.session import child
from omr.session.folder import SessionFolder
from omr.session.preflight import Preflight, Track, check_runs
from omr.session.report import write_report
from omr.session.running import SessionRunner, Start
from omr.session.spec import Fault, PlannedRun, SessionSpec, read_spec
from omr.session.state import SessionState, begin, read_state, resumed, save_state


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionOptions:
    """Options of a session."""

    spec: Path
    """File with the runs."""
    out: Path | None = None
    """Folder of the session; None for the name of the file in the current folder."""
    devices: str = ""
    """``cpu``, or indices of GPUs such as ``0,1``; empty for all GPUs, or the CPU."""
    keep_going: bool = False
    """Whether further runs are started after one has failed."""
    force: bool = False
    """Whether runs whose settings have changed are restarted."""

    def folder(self) -> SessionFolder:
        """Return the folder of the session."""
        return SessionFolder(root=self.out or Path(self.spec.stem))

    def chosen_devices(self) -> list[str]:
        """Return the devices that the user chose; empty for all.

        Raises:
            ConfigError: The text is not a list of devices.
        """
        devices = [word.strip() for word in self.devices.split(",") if word.strip()]
        is_valid = devices == [child.CPU] or all(map(str.isdecimal, devices))
        if not is_valid or len(set(devices)) < len(devices):
            reason = "expected cpu, or different indices of GPUs such as 0,1"
            raise ConfigError(reason, option="--devices", value=self.devices)
        return devices


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSession:
    """Outcome of the checks of a session."""

    spec: SessionSpec
    preflight: Preflight
    faults: tuple[Fault, ...]
    """Everything that prevents the session from starting."""

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers."""
        trials = {trial.name: trial for trial in self.preflight.trials}
        return {
            "name": self.spec.name,
            "devices": list(self.preflight.devices),
            "faults": [{"run": one.run, "problem": one.problem} for one in self.faults],
            "runs": [
                {
                    "name": run.name,
                    "group": run.group,
                    "settings": dict(run.settings),
                    "memory_bytes": trials[run.name].memory_bytes if run.name in trials else None,
                    "activations": trials[run.name].activations if run.name in trials else None,
                }
                for run in self.spec.runs
            ],
        }


def check_session(options: SessionOptions, *, track: Track) -> CheckedSession:
    """Check all runs of a session that are not done, and write nothing.

    Args:
        options: File, folder and devices.
        track: Wrapper around the trials that shows progress.

    Raises:
        ConfigError: ``devices`` is invalid.
        InputError: The file cannot be read.
    """
    spec, folder = read_spec(options.spec), options.folder()
    faults: list[Fault] = []
    try:
        state = _state(folder, spec, force=options.force)
        todo = _todo(spec, state)
    except OmrError as error:
        faults, todo = [Fault(run="", problem=str(error))], list(spec.runs)
    preflight = check_runs(
        todo, spec.scoring, folder.root, devices=options.chosen_devices(), track=track
    )
    faults = [*spec.faults, *faults, *preflight.faults]
    return CheckedSession(spec=spec, preflight=preflight, faults=tuple(faults))


def run_session(
    options: SessionOptions,
    *,
    track: Track,
    report_faults: Callable[[Sequence[Fault]], None],
    changed: Callable[[str, SessionState], None],
    start: Start = child.start,
) -> tuple[SessionState, SessionReport]:
    """Check, train, score and compare the runs of a session, or resume those that are left.

    Args:
        options: File, folder and devices.
        track: Wrapper around the trials that shows progress.
        report_faults: Prints the faults that prevent the session from starting.
        changed: Called with the name of a run that has started, has been trained or has ended.
        start: Starts the process of a run.

    Raises:
        ConfigError: The session has faults, another process runs it, or its file has changed since
            it began.
        InputError: The file or the state cannot be read.
        InterruptedCommand: The user stopped the session.
    """
    folder = options.folder()
    with locked_folder(folder.root):
        checked = check_session(options, track=track)
        if checked.faults:
            report_faults(checked.faults)
            n_faults = counted(len(checked.faults), "fault", "faults")
            raise ConfigError(f"{options.spec}: {n_faults}; no run was started")
        spec = checked.spec
        state, names = _state(folder, spec, force=options.force), [run.name for run in spec.runs]
        todo = _todo(spec, state)
        save_state(folder.root, state)

        def updated_report() -> SessionReport:
            report = write_report(folder, state, names)
            save_state(folder.root, state)
            return report

        def after_change(name: str) -> None:
            if state.runs[name].status in ("done", "failed"):
                updated_report()
            changed(name, state)

        runner = SessionRunner(
            folder=folder,
            state=state,
            devices=checked.preflight.devices,
            changed=after_change,
            keep_going=options.keep_going,
            start=start,
        )
        try:
            runner.run([run.name for run in todo])
        except KeyboardInterrupt:
            updated_report()
            raise InterruptedCommand(_interruption(options, state, names)) from None
        return state, updated_report()


def _state(folder: SessionFolder, spec: SessionSpec, *, force: bool) -> SessionState:
    """Return the state with which a session starts or resumes."""
    state = read_state(folder.root)
    return begin(spec) if state is None else resumed(state, spec, force=force)


def _todo(spec: SessionSpec, state: SessionState) -> list[PlannedRun]:
    return [run for run in spec.runs if state.runs[run.name].status != "done"]


def _interruption(options: SessionOptions, state: SessionState, names: Sequence[str]) -> str:
    """Describe what an interrupted session has kept, and how to resume it."""
    n_done = sum(state.runs[name].status == "done" for name in names)
    out = ["--out", str(options.out)] if options.out else []
    devices = ["--devices", options.devices] if options.devices else []
    keep_going = ["--keep-going"] if options.keep_going else []
    command = ["omr", "session", str(options.spec), *out, *devices, *keep_going]
    return (
        f"{options.folder().root}: interrupted; {n_done} of {counted(len(names), 'run', 'runs')} "
        f"done, and finished epochs are kept; resume with: {shlex.join(command)}"
    )
