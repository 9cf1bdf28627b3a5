"""``omr log cut | merge``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from eval.html.number_format import counted
from omr.console import note, print_json, progress, results, say_written, table
from omr.options import AsJson

if TYPE_CHECKING:
    from omr.event_selection import Selection

app = typer.Typer(
    no_args_is_help=True,
    help="Cut and merge TensorBoard event files; every kind of summary stays as it is.",
)
Runs: TypeAlias = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...",
        help="Folders with event files, or event files, earliest first. Where a later one resumes "
        "the run, it replaces what the earlier ones contain from there on.",
        exists=True,
    ),
]
Out: TypeAlias = Annotated[
    Path, typer.Option(help="Folder to create for the new event file.", file_okay=False)
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace an event file of the same name in --out.")
]
COLUMNS = "file", "steps", "records", "readable", "replaced by later files"


@app.command()
def cut(
    run: Runs,
    out: Out,
    first: Annotated[
        int | None,
        typer.Option("--from", help="First step to keep.", show_default="first of the run"),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("--to", help="Last step to keep.", show_default="last of the run"),
    ] = None,
    tags: Annotated[
        str,
        typer.Option(
            help="Regular expression that matches a part of the tags to keep; hyperparameters and "
            "graphs are always kept.",
            show_default="all tags",
        ),
    ] = "",
    shift: Annotated[int, typer.Option(help="Number to add to every step.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Keep a range of steps, or some of the tags, of a run's event files.

    Examples:
        omr log cut run --out cut --from 81 --to 100 --shift -80
        omr log cut run --out losses --tags '^train/'
    """
    from omr.event_selection import Selection

    _write(run, out, Selection(first=first, last=last, tags=tags, shift=shift), force, as_json)


@app.command()
def merge(run: Runs, out: Out, force: Force = False, as_json: AsJson = False) -> None:
    """Join the event files of a run that was resumed, in one folder or in several.

    Examples:
        omr log merge run --out merged
        omr log merge run run-resumed --out merged --json
    """
    from omr.event_selection import Selection

    _write(run, out, Selection(), force, as_json)


def _write(runs: list[Path], out: Path, selection: "Selection", force: bool, as_json: bool) -> None:
    from omr.event_selection import write_events

    written = write_events(
        runs,
        out,
        selection,
        force=force,
        track=lambda files: progress(files, "Reading event files"),
    )
    rows = []
    for source, superseded in zip(written.sources, written.superseded, strict=True):
        if source.damage:
            note(source.damage)
        steps = "-" if source.first_step is None else f"{source.first_step}-{source.last_step}"
        readable = f"{source.read_bytes / source.size:.1%}"
        rows.append((str(source.path), steps, source.n_records, readable, superseded))
    table("Event files", COLUMNS, rows, to=results(as_json=as_json))
    say_written(out, f"{written.path.name} ({counted(written.n_records, 'record', 'records')})")
    if as_json:
        print_json(written.to_json())
