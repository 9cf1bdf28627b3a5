"""Report of a session: the state, the scores and the curves of several training runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.html.number_format import NONE, amount, counted
from eval.html.page import Table
from eval.html.run_curves import RunCurve
from eval.reports.comparison import LETTERS, ModelComparison
from eval.reports.comparison_text import headline as verdict
from eval.reports.comparison_text import score

STATUSES = "done", "training", "scoring", "interrupted", "failed", "waiting"
"""States of runs, in the order of the summary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRun:
    """Training run of a session."""

    name: str
    group: str
    """Name that it shares with the runs from which only its seed differs."""
    status: str
    error: str
    """Message of a failed run; empty for the others."""
    settings: Mapping[str, str]
    """Settings in which the runs of the session differ."""
    epochs: int
    """Finished epochs."""
    planned_epochs: int | None
    seconds: float
    validation: float | None
    """Mean AP of the best epoch, at IoU .5:.05:.95; None without validation."""
    ap: float | None
    """Macro AP of the scored split; None before it is scored."""
    ap50: float | None
    validation_points: Sequence[tuple[int, float]]
    """Epochs and mean AP."""
    loss_points: Sequence[tuple[int, float]]
    """Epochs and mean training loss, the sum of its parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionReport:
    """All runs of a session, and the comparison of those that are done."""

    name: str
    scored: str
    """Data set and split that the runs are scored on."""
    runs: tuple[SessionRun, ...]
    comparison: ModelComparison | None
    """Comparison of the groups of runs with the first one; None before two of them are scored."""
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in the order of their first runs."""
        return tuple(dict.fromkeys(run.group for run in self.runs))


def headline(report: SessionReport) -> str:
    """Return the verdict of the comparison, or why there is none."""
    if report.comparison:
        return verdict(report.comparison)
    if len(report.groups) < 2:
        return f"Session {report.name}: one recipe, so there is nothing to compare"
    return f"Session {report.name}: no comparison before two recipes are scored"


def progress_line(report: SessionReport) -> str:
    """Count the runs in each state."""
    counts = Counter(run.status for run in report.runs)
    states = [f"{amount(counts[status])} {status}" for status in STATUSES if counts[status]]
    n_groups = len(report.groups)
    groups = f" of {counted(n_groups, 'recipe', 'recipes')}" if n_groups < len(report.runs) else ""
    runs = counted(len(report.runs), "run", "runs")
    return f"{report.name}: {runs}{groups}: {', '.join(states)}. Scored on {report.scored}."


def failures(report: SessionReport) -> list[str]:
    """Return the message of each failed run."""
    return [f"{run.name}: {run.error}" for run in report.runs if run.error]


def comparison_scope(report: SessionReport) -> str:
    """Explain which runs are compared, and with which."""
    if report.comparison is None:
        return ""
    n_compared = len(report.comparison.models)
    first = report.comparison.models[0].name
    text = f"Every recipe is compared with the first one, {first}."
    if n_compared == len(LETTERS) < len(report.groups):
        text += f" Only the first {n_compared} of {len(report.groups)} recipes are compared."
    return text


def runs_table(report: SessionReport) -> Table:
    """Return the state, scores and settings of each run."""
    names = [*dict.fromkeys(name for run in report.runs for name in run.settings)]
    return Table(
        label="Runs",
        columns=(
            "run", "state", "macro AP", "macro AP50", "best validation AP", "epochs", "time",
            *names,
        ),
        texts=(1, *range(7, 7 + len(names))),
        rows=[
            (
                run.name,
                run.status,
                score(run.ap),
                score(run.ap50),
                score(run.validation),
                f"{run.epochs}/{'?' if run.planned_epochs is None else run.planned_epochs}",
                _duration(run.seconds),
                *(run.settings.get(name, NONE) for name in names),
            )
            for run in report.runs
        ],
        tall=len(report.runs) > 20,
    )  # fmt: skip


def validation_curves(report: SessionReport) -> list[RunCurve]:
    """Return the mean AP of every run over its epochs."""
    return [
        RunCurve(name=run.name, group=run.group, points=run.validation_points)
        for run in report.runs
    ]


def loss_curves(report: SessionReport) -> list[RunCurve]:
    """Return the training loss of every run over its epochs."""
    return [RunCurve(name=run.name, group=run.group, points=run.loss_points) for run in report.runs]


def _duration(seconds: float) -> str:
    """Format a duration as ``M:SS`` or ``H:MM:SS``."""
    if not seconds:
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
