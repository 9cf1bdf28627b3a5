"""``omr lint``."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from class_maps import ConfigError, InputError
from eval.html.number_format import counted
from omr.console import loading_torch, note, print_json, progress, results, say_written
from omr.options import AsJson, Device, LintConfig, Trust, Workers, n_processes
from settings.published import weights_path

if TYPE_CHECKING:
    from converters.formats.yolo_dataset import YoloDataset
    from eval.lint.findings import LintReport
    from eval.lint.rules import RuleSettings
    from omr.label_predictions import LabelPredictor


def lint(
    data: Annotated[
        Path,
        typer.Argument(
            help="Data set that `omr convert` wrote, or another YOLO folder or data.yaml."
        ),
    ],
    config: LintConfig = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights whose predictions the labels are compared with: those of a training, an "
            ".onnx or .tflite file, or harmony-tiny, which comes with omr.",
            parser=weights_path,
            metavar="<file or name>",
            show_default="labels are not compared",
        ),
    ] = None,
    worklist: Annotated[
        Path | None,
        typer.Option(
            help="Folder to create with crops of the labels that the predictions contradict, and a "
            "CSV file.",
            show_default="not written",
        ),
    ] = None,
    device: Device = "",
    trust: Trust = False,
    workers: Workers = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the worklist if omr wrote all files in it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the labels of a data set for bugs that training would not notice.

    Exits with status 1 if a rule with level error finds something.

    Examples:
        omr lint data
        omr lint data --json
        omr lint data --weights harmony-tiny --worklist worklist
    """
    from converters.formats.datasets import open_dataset
    from eval.lint.config_file import read_config
    from eval.lint.rules import default_settings
    from omr.label_worklist import worklist_folder
    from omr.lint_summary import print_report

    if worklist is not None and weights is None:
        reason = "needs predictions; add --weights, such as --weights harmony-tiny"
        raise ConfigError(reason, option="--worklist", value=worklist)
    settings = read_config(config) if config else default_settings()
    dataset = open_dataset(data)
    for warning in dataset.warnings:
        note(warning)
    with ExitStack() as stack:
        write, n_ranked = None, 0
        if worklist is not None and weights is not None:
            folder = worklist_folder(worklist, (data, weights), force=force, track=progress)
            write = stack.enter_context(folder)
        predictor = _predictor(weights, dataset, device, trust=trust, as_json=as_json)
        report = _report(data, dataset, settings, predictor, n_processes(workers))
        if write is not None:
            n_ranked = write(report, dataset.root.resolve().name)
    print_report(report, to=results(as_json=as_json))
    if worklist is not None:
        say_written(worklist, f"worklist of {counted(n_ranked, 'label', 'labels')}")
    if as_json:
        print_json(report.to_json())
    if report.n_errors:
        raise typer.Exit(1)


def _predictor(
    weights: Path | None, dataset: "YoloDataset", device: str, *, trust: bool, as_json: bool
) -> "LabelPredictor | None":
    if weights is None:
        return None
    from reading.exported_network import is_exported

    if not is_exported(weights):
        with loading_torch(as_json=as_json):
            import training.predict.tile_network  # noqa: F401
    from omr.label_predictions import LabelPredictor

    return LabelPredictor(weights, dataset, device=device, trust=trust)


def _report(
    data: Path,
    dataset: "YoloDataset",
    settings: "dict[str, RuleSettings]",
    predictor: "LabelPredictor | None",
    workers: int,
) -> "LintReport":
    """Check a data set, and show the progress.

    Raises:
        InputError: The data set is malformed, or no image has a label.
    """
    from dataclasses import replace

    from eval.lint.pages import lint_pages
    from eval.lint.parallel import measured_pages
    from eval.lint.rules import lint as lint_labels

    n_images = sum(len(dataset.image_paths(split)) for split in dataset.own_splits())
    pages = measured_pages(lint_pages(dataset), dataset.names, settings, workers)
    pages = progress(pages, "Checking labels", n_images)
    if predictor is not None:
        pages = predictor.added_to(pages)
    report = lint_labels(pages, dataset.names, settings, with_predictions=predictor is not None)
    if not report.n_boxes:
        raise InputError(
            f"none of the {n_images:,} images has a label; expected label files in labels/ beside "
            "images/",
            path=data,
        )
    if predictor is None:
        return report
    notes = [f"predictions: {text}" for text in predictor.notes]
    return replace(report, skipped=(*report.skipped, *notes))
