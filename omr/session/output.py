"""Output of ``omr session`` on the terminal."""

from collections.abc import Sequence

from eval.html.number_format import counted, memory
from eval.reports.session import SessionReport, failures, headline, progress_line, runs_table
from omr.console import entry, err, note, paragraph, print_json, results, say, table
from omr.session.child import CPU
from omr.session.session import CheckedSession
from omr.session.spec import Fault
from omr.session.state import SessionState
from omr.session.trials import Trial


def show_faults(faults: Sequence[Fault]) -> None:
    """Print the faults that prevent a session from starting."""
    for fault in faults:
        entry(str(fault), to=err)


def show_checked(checked: CheckedSession, *, as_json: bool) -> None:
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
    show_faults(checked.faults)
    runs = counted(len(checked.spec.runs), "run", "runs")
    faults = counted(len(checked.faults), "fault", "faults") if checked.faults else "no faults"
    paragraph(f"{runs}, {faults}", to=to)
    if as_json:
        print_json(checked.to_json())


def _activations(trial: Trial) -> str:
    """Describe the uses of activation functions, such as ``backbone 36 silu, neck 23 silu``."""
    parts = trial.activations.items()
    return (
        ", ".join(f"{part} {n} {name}" for part, uses in parts for name, n in uses.items()) or "-"
    )


def show_change(name: str, state: SessionState) -> None:
    """Print a line when a run starts, has been trained, or ends."""
    run = state.runs[name]
    on = "" if run.device == CPU else f" on GPU {run.device}"
    attempt = f", attempt {run.attempts}" if run.attempts > 1 and run.status == "training" else ""
    ap = run.score.get("ap")
    score = "" if ap is None else f", AP {ap:.3f}"
    error = f": {run.error}" if run.error else ""
    say(f"{name}: {run.status}{on}{attempt}{score}{error}")


def show_report(report: SessionReport, *, as_json: bool) -> None:
    """Print the runs, and the verdict last."""
    to = results(as_json=as_json)
    runs = runs_table(report)
    table(runs.label, runs.columns, runs.rows, to=to)
    for line in (*failures(report), *report.notes):
        note(line)
    paragraph(progress_line(report), to=to)
    paragraph(headline(report), to=to)
