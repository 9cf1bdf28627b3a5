"""``omr compare``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from omr.comparison_summary import print_comparison
from omr.console import print_json, progress, results, say_written
from omr.options import AsJson


def compare(
    folder: Annotated[
        list[Path],
        typer.Argument(
            help="Folders written by `omr eval --out`, at least two; the first is compared with "
            "every other one. A folder of such folders, one per seed, is a group of runs.",
            exists=True,
            file_okay=False,
        ),
    ],
    metric: Annotated[
        Literal["ap", "ap50"],
        typer.Option(help="AP at IoU 0.5:0.05:0.95, or at IoU 0.5, which is five times as fast."),
    ] = "ap",
    samples: Annotated[
        int, typer.Option(help="Bootstrap samples for the intervals.", min=100)
    ] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap samples.", min=0)] = 0,
    any_protocol: Annotated[
        bool,
        typer.Option(
            "--any-protocol",
            help="Compare scores of different protocols, such as another max_det; the ground truth "
            "must be the same.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write comparison.html, comparison.md and comparison.json to.",
            file_okay=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing comparison in --out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare evaluations: difference per class and overall, with intervals and a verdict.

    Examples:
        omr compare metrics metrics-large
        omr compare baseline-seeds large-seeds --metric ap50 --out comparison
        omr compare metrics-n metrics-s metrics-m --json
    """
    from eval.reports.comparison_files import comparison_json
    from omr.scoring.comparison import (
        HTML_FILE,
        JSON_FILE,
        MARKDOWN_FILE,
        ComparisonOptions,
        compare_folders,
    )

    comparison = compare_folders(
        folder,
        ComparisonOptions(metric=metric, samples=samples, seed=seed, any_protocol=any_protocol),
        out=out,
        force=force,
        track=lambda runs, total: progress(runs, "Comparing", total),
    )
    print_comparison(comparison, to=results(as_json=as_json))
    if out is not None:
        say_written(out, HTML_FILE, MARKDOWN_FILE, JSON_FILE)
    if as_json:
        print_json(comparison_json(comparison))
