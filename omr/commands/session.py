"""``omr session``."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.html.number_format import counted, memory
from omr.console import (
    entry,
    err,
    note,
    paragraph,
    print_json,
    progress,
    results,
    say,
    say_written,
    table,
)
from omr.options import AsJson

if TYPE_CHECKING:
    from eval.reports.session import SessionReport
    from omr.session.session import CheckedSession
    from omr.session.spec import Fault
    from omr.session.state import SessionState
    from omr.session.trials import Trial


def session(
    spec: Annotated[
        Path,
        typer.Argument(
            help="YAML file with the settings that all runs share (base), and the runs, or a grid "
            "of values.",
            exists=True,
            dir_okay=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the session.",
            file_okay=False,
            show_default="name of SPEC without suffix, in the current folder",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Check all runs, list every fault, and exit without training."
        ),
    ] = False,
    devices: Annotated[
        str,
        typer.Option(
            help="Devices, each of which trains one run at a time: cpu, or GPU indices such as "
            "0,1.",
            show_default="all GPUs, otherwise cpu",
        ),
    ] = "",
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Start further runs after one has failed.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Start runs anew whose settings in SPEC have changed since they began."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train several runs described in one file, and compare their scores; resumes where it stopped.

    Examples:
        omr session variants.yaml --check
        omr session variants.yaml --out variants --keep-going
    """
    from omr.session.folder import REPORT_HTML, REPORT_MARKDOWN
    from omr.session.session import SessionOptions, check_session, run_session
    from omr.session.state import STATE_FILE

    options = SessionOptions(
        spec=spec, out=out, devices=devices, keep_going=keep_going, force=force
    )
    if check:
        checked = check_session(options, track=_track)
        _show_checked(checked, as_json=as_json)
        if checked.faults:
            raise typer.Exit(1)
        return
    state, report = run_session(
        options, track=_track, report_faults=_show_faults, changed=_show_change
    )
    _show_report(report, as_json=as_json)
    say_written(options.folder().root, REPORT_HTML, REPORT_MARKDOWN, STATE_FILE)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(state))
    if any(run.status != "done" for run in report.runs):
        raise typer.Exit(1)


def _track(trials: "Iterable[Trial]", total: int) -> "Iterable[Trial]":
    return progress(trials, "Checking runs", total)


def _show_faults(faults: "Sequence[Fault]") -> None:
    for fault in faults:
        entry(str(fault), to=err)


def _show_checked(checked: "CheckedSession", *, as_json: bool) -> None:
    """Print the checked runs, and the faults."""
    trials = {trial.name: trial for trial in checked.preflight.trials}
    rows = [
        (
            run.name,
            run.group,
            memory(trials[run.name].memory_bytes or None),
            _activations(trials[run.name]),
        )
        for run in checked.spec.runs
        if run.name in trials
    ]
    to = results(as_json=as_json)
    if rows:
        columns = "first run of its recipe", "recipe", "memory", "activation functions"
        table("Tried with one real step each", columns, rows, to=to)
    _show_faults(checked.faults)
    runs = counted(len(checked.spec.runs), "run", "runs")
    faults = counted(len(checked.faults), "fault", "faults") if checked.faults else "no faults"
    paragraph(f"{runs}, {faults}", to=to)
    if as_json:
        print_json(checked.to_json())


def _activations(trial: "Trial") -> str:
    """Describe the uses of activation functions, such as ``backbone 36 silu, neck 23 silu``."""
    parts = trial.activations.items()
    return (
        ", ".join(f"{part} {n} {name}" for part, uses in parts for name, n in uses.items()) or "-"
    )


def _show_change(name: str, state: "SessionState") -> None:
    """Print a line when a run starts, has been trained, or ends."""
    run = state.runs[name]
    on = "" if run.device == "cpu" else f" on GPU {run.device}"
    attempt = f", attempt {run.attempts}" if run.attempts > 1 and run.status == "training" else ""
    ap = run.score.get("ap")
    score = "" if ap is None else f", AP {ap:.3f}"
    error = f": {run.error}" if run.error else ""
    say(f"{name}: {run.status}{on}{attempt}{score}{error}")


def _show_report(report: "SessionReport", *, as_json: bool) -> None:
    from eval.reports.session import failures, headline, progress_line, runs_table

    to = results(as_json=as_json)
    runs = runs_table(report)
    table(runs.label, runs.columns, runs.rows, to=to)
    for line in (*failures(report), *report.notes):
        note(line)
    paragraph(progress_line(report), to=to)
    paragraph(headline(report), to=to)
