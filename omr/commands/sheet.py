"""``omr sheet``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omr.console import note, print_json, progress, results, say
from omr.options import AsJson, LintConfig

if TYPE_CHECKING:
    from omr.sheets import SheetsResult


def sheet(
    data: Annotated[
        Path,
        typer.Argument(
            help="Data set that `omr convert` wrote, or another YOLO folder or data.yaml."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    symbols: Annotated[
        int, typer.Option(help="Random symbols per class and source.", min=0, max=1000)
    ] = 16,
    lint: Annotated[
        bool,
        typer.Option("--lint/--no-lint", help="Check the labels, and show what is found first."),
    ] = True,
    config: LintConfig = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT if omr wrote all files in it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw contact sheets: symbols of each class side by side.

    Open OUT/index.html to look through them by class, source and finding of `omr lint`. All crops
    have the same staff space, so that sizes can be compared.

    Examples:
        omr sheet data sheets
        omr sheet data more-sheets --no-lint --symbols 60
    """
    from omr.sheets import SheetOptions, draw_sheets

    result = draw_sheets(
        data,
        out,
        SheetOptions(n_random=symbols, lint=lint, config=config),
        force=force,
        track=progress,
    )
    for warning in result.warnings:
        note(warning)
    _print_result(result, out, as_json=as_json)


def _print_result(result: "SheetsResult", out: Path, *, as_json: bool) -> None:
    from eval.html.number_format import counted

    sheets = counted(result.n_sheets, "sheet", "sheets")
    crops = counted(result.n_crops, "symbol", "symbols")
    if result.n_findings:
        note(f"{counted(result.n_findings, 'finding', 'findings')}; see omr lint")
    say(f"{sheets} with {crops} -> {out / result.index}", to=results(as_json=as_json))
    if as_json:
        print_json(result.to_json())
