"""``omr session``."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omr.console import print_json, progress, say_written
from omr.options import AsJson

if TYPE_CHECKING:
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
            "--force", help="Restart runs whose settings in SPEC have changed since they began."
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
    from omr.session.output import show_change, show_checked, show_faults, show_report
    from omr.session.session import SessionOptions, check_session, run_session
    from omr.session.state import STATE_FILE

    options = SessionOptions(
        spec=spec, out=out, devices=devices, keep_going=keep_going, force=force
    )
    if check:
        checked = check_session(options, track=_track)
        show_checked(checked, as_json=as_json)
        if checked.faults:
            raise typer.Exit(1)
        return
    state, report = run_session(
        options, track=_track, report_faults=show_faults, changed=show_change
    )
    show_report(report, as_json=as_json)
    say_written(options.folder().root, REPORT_HTML, REPORT_MARKDOWN, STATE_FILE)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(state))
    if any(run.status != "done" for run in report.runs):
        raise typer.Exit(1)


def _track(trials: "Iterable[Trial]", total: int) -> "Iterable[Trial]":
    return progress(trials, "Checking runs", total)
