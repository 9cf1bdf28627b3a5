"""Report of a session, made of its state, the files of its runs, and their evaluations."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from class_maps import OmrError
from converters.files.atomic_files import atomic_file
from eval.reports.comparison import LETTERS, ModelComparison
from eval.reports.comparison_files import ComparisonFiles, write_comparison
from eval.reports.comparison_text import headline
from eval.reports.session import SessionReport, SessionRun
from eval.reports.session_files import write_session
from omr.run_listing import RunEntry, epoch_rows, read_run, setting_text
from omr.scoring.comparison import ComparisonOptions, compare_groups
from omr.scoring.evaluation_folders import group_of
from omr.session.folder import COMPARISON_FILES, REPORT_HTML, REPORT_MARKDOWN, SessionFolder
from omr.session.state import RunState, SessionState
from settings.run_files import MAP, PAGE_MAP, RESULTS_FILE

LOSSES = "train/"
"""Start of the names of the training losses in ``results.csv``."""


def write_report(folder: SessionFolder, state: SessionState, names: Sequence[str]) -> SessionReport:
    """Write the report of a session, and the comparison if two groups are scored.

    Args:
        folder: Folder of the session.
        state: State of the session; its headline is updated.
        names: Runs that the file of the session contains.

    Raises:
        OSError: A file cannot be written.
    """
    runs = {name: state.runs[name] for name in names}
    comparison, notes = _comparison(folder, runs)
    entries = {name: read_run(folder.run(name)) for name in names if folder.run(name).is_dir()}
    report = SessionReport(
        name=state.name,
        scored=f"{Path(state.scoring['data']).name}, split {state.scoring['split']}",
        runs=tuple(_run(folder, name, runs, entries.get(name)) for name in names),
        comparison=comparison,
        notes=(*notes, *_data_notes(runs, entries)),
    )
    if comparison:
        state.headline = headline(comparison)
        html, markdown, json = (folder.root / name for name in COMPARISON_FILES)
        with atomic_file(html) as a, atomic_file(markdown) as b, atomic_file(json) as c:
            write_comparison(ComparisonFiles(html=a, markdown=b, json=c), comparison)
    with (
        atomic_file(folder.root / REPORT_HTML) as html,
        atomic_file(folder.root / REPORT_MARKDOWN) as markdown,
    ):
        page, comparison_file = REPORT_HTML, COMPARISON_FILES[0]
        write_session(html, markdown, report, page=page, comparison_file=comparison_file)
    return report


def _comparison(
    folder: SessionFolder, runs: Mapping[str, RunState]
) -> tuple[ModelComparison | None, list[str]]:
    """Compare the groups that have been scored; return notes if that is impossible."""
    members: dict[str, list[Path]] = {}
    for name, run in runs.items():
        if run.status == "done":
            members.setdefault(run.group, []).append(folder.score(name))
    if len(members) < 2:
        return None, []
    try:
        groups = [group_of(Path(group), folders) for group, folders in members.items()]
        return compare_groups(groups[: len(LETTERS)], ComparisonOptions()), []
    except OmrError as error:
        return None, [f"no comparison: {error}"]


def _run(
    folder: SessionFolder, name: str, runs: Mapping[str, RunState], entry: RunEntry | None
) -> SessionRun:
    run = runs[name]
    rows = epoch_rows(folder.run(name) / RESULTS_FILE, [])
    planned = run.settings.get("epochs", entry.planned_epochs if entry else None)
    best = entry.score if entry else None
    measure = PAGE_MAP if any(PAGE_MAP in row for row in rows) else MAP
    return SessionRun(
        name=name,
        group=run.group,
        status=run.status,
        error=run.error,
        settings=_differing(run, runs.values()),
        epochs=entry.epochs if entry else 0,
        planned_epochs=planned if isinstance(planned, int) else None,
        seconds=run.seconds,
        validation=None if best is None else best.ap if best.page_ap is None else best.page_ap,
        ap=run.score.get("ap"),
        ap50=run.score.get("ap50"),
        validation_points=_points((row, row.get(measure)) for row in rows),
        loss_points=_points((row, _loss(row)) for row in rows),
    )


def _points(
    values: Iterable[tuple[Mapping[str, float], float | None]],
) -> list[tuple[int, float]]:
    """Return epochs and values that are finite."""
    return [
        (int(row["epoch"]), value)
        for row, value in values
        if value is not None and math.isfinite(value)
    ]


def _loss(row: Mapping[str, float]) -> float:
    return sum(value for name, value in row.items() if name.startswith(LOSSES))


def _differing(run: RunState, runs: Iterable[RunState]) -> dict[str, str]:
    """Return the settings in which runs differ."""
    others = [other.settings for other in runs]
    names = dict.fromkeys(name for settings in others for name in settings)
    texts = {name: {_text(settings, name) for settings in others} for name in names}
    return {name: _text(run.settings, name) for name in names if len(texts[name]) > 1}


def _text(settings: Mapping[str, Any], name: str) -> str:
    return setting_text(settings[name]) if name in settings else "default"


def _data_notes(runs: Mapping[str, RunState], entries: Mapping[str, RunEntry]) -> Iterable[str]:
    """Report data sets that were changed between two runs."""
    first: dict[str, str] = {}
    for name, entry in entries.items():
        data = str(runs[name].settings["data"])
        if entry.data and entries[first.setdefault(data, name)].data != entry.data:
            yield (
                f"{name}: its training data differ from those of {first[data]}, although the "
                "folder is the same"
            )
