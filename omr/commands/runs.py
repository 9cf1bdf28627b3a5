"""``omr runs``."""

from pathlib import Path
from typing import Annotated

import typer

from eval.html.number_format import counted
from omr.console import note, print_json, results, table
from omr.options import AsJson
from omr.run_listing import RunEntry, SortKey, differing_settings, filtered, find_runs, in_order

COLUMNS = (
    "run", "status", "model", "recipe", "seed", "data", "epochs", "s", "page AP50-95", "AP50-95",
    "AP50",
)  # fmt: skip


def runs(
    folder: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that are searched for training runs.", exists=True, file_okay=False
        ),
    ],
    sort: Annotated[
        SortKey,
        typer.Option(help="Order: score (best first), path, recipe, data, epochs or seconds."),
    ] = "score",
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="List only runs with this value: a setting such as model=yolo11n, or status, "
            "recipe, data, epochs or path; can be repeated.",
            metavar="<name=value>",
            show_default="all runs",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List training runs: recipe, data, epochs, time and validation score.

    Examples:
        omr runs .
        omr runs . --where status=finished --sort seconds
        omr runs . --json
    """
    entries = find_runs(folder)
    listed = in_order(filtered(entries, where or []), sort)
    to = results(as_json=as_json)
    title = counted(len(listed), "run", "runs")
    if listed:
        table(title, COLUMNS, map(_row, listed), to=to)
    else:
        note(f"no run matches --where ({counted(len(entries), 'run', 'runs')} found)")
    recipes = differing_settings(listed)
    if len(recipes) > 1:
        names = [*next(iter(recipes.values()))]
        rows = [(recipe, *values.values()) for recipe, values in recipes.items()]
        table("Settings in which the recipes differ", ("recipe", *names), rows, to=to)
    for run in listed:
        if run.problems:
            note(f"{run.path}: {'; '.join(run.problems)}")
    if len({run.data for run in listed if run.score}) > 1:
        note("scores on different data (column data) cannot be compared")
    if as_json:
        print_json({"runs": [run.to_json() for run in listed]})


def _row(run: RunEntry) -> tuple[object, ...]:
    planned = "?" if run.planned_epochs is None else run.planned_epochs
    return (
        run.path,
        run.status,
        run.settings.get("model", "-"),
        run.recipe or "-",
        run.settings.get("seed", "-"),
        run.data or "-",
        f"{run.epochs}/{planned}",
        "-" if run.seconds is None else f"{run.seconds:,.0f}",
        *(
            (_score(run.score.page_ap), _score(run.score.ap), _score(run.score.ap50))
            if run.score
            else ("-", "-", "-")
        ),
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
