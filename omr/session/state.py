"""State of a session in ``session.json``, which is replaced as a whole after every change."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from class_maps import ConfigError, InputError, short_list
from class_maps.text_files import read_bytes
from converters.files.atomic_files import atomic_file
from converters.files.output_lock import LOCK
from converters.files.overwriting import is_free
from converters.json_text import decode_unique
from omr.session.spec import PlannedRun, Scoring, SessionSpec

STATE_FILE = "session.json"
"""Marks a folder as that of a session."""
FIRST_FILES = {LOCK, f"{STATE_FILE}.part"}
"""Files of a session that was killed while it wrote its first state."""
VERSION = 1
MOST_NAMES = 5
Status: TypeAlias = Literal["waiting", "training", "scoring", "done", "failed", "interrupted"]
"""``training`` and ``scoring`` mean interrupted if no session is running."""


class RunState(msgspec.Struct, kw_only=True):
    """State of a run."""

    status: Status = "waiting"
    group: str
    settings: dict[str, Any]
    """Settings that the run was started with, or is going to."""
    is_trained: bool = False
    """Whether the training has finished."""
    device: str = ""
    """Device of the last attempt: ``cpu``, or the index of a GPU."""
    attempts: int = 0
    seconds: float = 0.0
    """Duration of all attempts."""
    error: str = ""
    """Message of the last attempt, if it failed."""
    score: dict[str, float | None] = {}
    """Macro means of the scored split: ``ap`` and ``ap50``."""


class SessionState(msgspec.Struct, kw_only=True):
    """State of a session."""

    version: int = VERSION
    name: str
    spec: str
    """File that the session was started from."""
    scoring: dict[str, str]
    """Data set, split and unit that all runs are scored on."""
    runs: dict[str, RunState]
    """Runs in the order of the file; those that it no longer contains come last."""
    headline: str = ""
    """Verdict of the comparison; empty before two groups are scored."""


def begin(spec: SessionSpec) -> SessionState:
    """Return the state of a session that has not started."""
    runs = {run.name: _waiting(run) for run in spec.runs}
    return SessionState(
        name=spec.name, spec=str(spec.path.absolute()), scoring=_scoring(spec.scoring), runs=runs
    )


def _waiting(run: PlannedRun) -> RunState:
    return RunState(group=run.group, settings={**run.settings})


def _scoring(scoring: Scoring) -> dict[str, str]:
    return {"data": scoring.data, "split": scoring.split, "unit": scoring.unit}


def read_state(folder: Path) -> SessionState | None:
    """Read the state of a session; None for a folder that is free.

    Raises:
        ConfigError: The folder contains other files, or is from another version.
        InputError: The state is damaged.
    """
    file = folder / STATE_FILE
    if not file.is_file():
        is_new = is_free(folder) or {entry.name for entry in folder.iterdir()} <= FIRST_FILES
        if not is_new:
            raise ConfigError(
                f"{folder}: contains no {STATE_FILE}, so it is not the folder of a session; choose "
                "another --out"
            )
        return None
    state = decode_unique(read_bytes(file, "state"), SessionState, file, expected="a session")
    if state.version != VERSION:
        raise InputError(f"version {state.version}; this omr reads version {VERSION}", path=file)
    return state


def save_state(folder: Path, state: SessionState) -> None:
    """Replace the state of a session as a whole."""
    with atomic_file(folder / STATE_FILE) as part:
        part.write_text(json.dumps(msgspec.to_builtins(state), indent=1) + "\n", "utf-8")


def resumed(state: SessionState, spec: SessionSpec, *, force: bool) -> SessionState:
    """Return the state with which a session goes on, adapted to changes of its file.

    Args:
        state: State of the session so far.
        spec: File of the session.
        force: Whether runs whose settings have changed start anew.

    Raises:
        ConfigError: Settings of runs that were started have changed, and ``force`` is not set.
    """
    changed = [
        run.name
        for run in spec.runs
        if (old := state.runs.get(run.name)) and old.attempts and old.settings != run.settings
    ]
    if changed and not force:
        first = next(run for run in spec.runs if run.name == changed[0])
        difference = _difference(state.runs[first.name].settings, {**first.settings})
        raise ConfigError(
            f"{spec.path}: has changed since the session began, and {_listed(changed)} would start "
            f"anew ({first.name}: {difference}); "
            "restore the file, give changed runs new names, or use --force"
        )
    scored_anew = _scoring(spec.scoring) != state.scoring
    runs = {}
    for run in spec.runs:
        old = state.runs.get(run.name)
        kept = old if old and run.name not in changed and old.attempts else _waiting(run)
        kept.group = run.group
        if kept.status in ("training", "scoring"):
            kept.status = "interrupted"
        if scored_anew and kept.status == "done":
            kept.status, kept.score = "waiting", {}
        runs[run.name] = kept
    removed = {name: old for name, old in state.runs.items() if name not in runs}
    fresh = begin(spec)
    fresh.runs = runs | removed
    return fresh


def _listed(names: Sequence[str]) -> str:
    return short_list(names, MOST_NAMES)


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Describe the settings that differ, such as ``lr 0.001 -> 0.01``."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return _listed(
        [f"{name} {before.get(name, 'default')} -> {now.get(name, 'default')}" for name in names]
    )
