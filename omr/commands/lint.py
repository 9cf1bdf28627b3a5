"""``omr lint``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from class_maps import InputError
from omr.console import note, print_json, progress, results
from omr.options import AsJson, LintConfig, Workers, n_processes

if TYPE_CHECKING:
    from eval.lint.findings import LintReport


def lint(
    data: Annotated[
        Path,
        typer.Argument(
            help="Data set that `omr convert` wrote, or another YOLO folder or data.yaml."
        ),
    ],
    config: LintConfig = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Check the labels of a data set for bugs that training would not notice.

    Exits with status 1 if a rule with level error finds something.

    Examples:
        omr lint data
        omr lint data --json
    """
    from omr.lint_summary import print_report

    report = _report(data, config, n_processes(workers))
    print_report(report, to=results(as_json=as_json))
    if as_json:
        print_json(report.to_json())
    if report.n_errors:
        raise typer.Exit(1)


def _report(data: Path, config: Path | None, workers: int) -> "LintReport":
    """Check a data set, and show the progress.

    Raises:
        InputError: The data set or the configuration is malformed, or no image has a label.
    """
    from converters.formats.yolo_dataset import open_dataset
    from eval.lint.config_file import read_config
    from eval.lint.pages import lint_pages
    from eval.lint.parallel import measured_pages
    from eval.lint.rules import default_settings
    from eval.lint.rules import lint as lint_labels

    settings = read_config(config) if config else default_settings()
    dataset = open_dataset(data)
    for warning in dataset.warnings:
        note(warning)
    n_images = sum(len(dataset.image_paths(split)) for split in dataset.own_splits())
    pages = measured_pages(lint_pages(dataset), dataset.names, settings, workers)
    pages = progress(pages, "Checking labels", n_images)
    report = lint_labels(pages, dataset.names, settings)
    if not report.n_boxes:
        raise InputError(
            f"none of the {n_images:,} images has a label; expected label files in labels/ beside "
            "images/",
            path=data,
        )
    return report
