"""``omr analyze-density``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from class_maps import ConfigError
from omr.console import loading_torch, note, print_json, results, say_written
from omr.options import AsJson
from omr.settings_options import (
    add_options,
    chosen_settings,
    require,
    with_recorded_imgsz,
)
from settings.training import AUTO

if TYPE_CHECKING:
    from eval.reports.density_report import DensityReport
    from training.config import TrainConfig

SETTINGS = (
    *("model", "activation", "trust", "heads", "imgsz", "batch", "precision", "seed"),
    *("mosaic", "balance_classes", "sampling_weights", "merge_classes"),
)
"""Training settings that the analysis depends on and that have an option in this command."""


@add_options(SETTINGS)
def analyze_density(
    context: typer.Context,
    gpu: Annotated[
        str,
        typer.Option(
            help="GPU to plan for, e.g. rtx5090 or a100-80gb.", show_default="local device"
        ),
    ] = "",
    wanted: Annotated[
        str,
        typer.Option(
            help="Classes whose symbols must be large enough to detect, e.g. stem,tie.",
            show_default="all",
        ),
    ] = "",
    report: Annotated[
        Path | None,
        typer.Option(
            help="HTML report to write, with plots and statistics for all classes.", dir_okay=False
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Run real training steps on this machine and compare their memory use with the "
            "prediction.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file at --report.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Report symbol density and memory needs, and recommend a training command.

    Nothing is trained, no image is decoded, and the GPU need not be present.

    Examples:
        omr analyze-density data --model yolo11n --batch 32 --gpu rtx5090
        omr analyze-density data --gpu rtx5090 --report page.html
    """
    with loading_torch(as_json=as_json):
        from omr.density_output import show_density, show_measured_step
        from training.density.report import analyze
        from training.memory.gpus import find_gpu

    config = _config(context)
    batch = config.batch
    names = _class_names(wanted)
    if report:
        _check_report(report, context, force=force)
    with _report_file(report, force=force) as part:
        analysis = analyze(config, find_gpu(gpu) if gpu else None, names)
        _note_skipped_files(config)
        if analysis.config.batch < batch:
            note(f"batch {analysis.config.batch}, not {batch}: there are no more images")
        to = results(as_json=as_json)
        density = analysis.report()
        show_density(analysis, density, to=to)
        plain = density.to_json()
        if measure:
            plain["measured"] = show_measured_step(analysis.spec, to=to)
        if part:
            _write(density, part)
    if report:
        say_written(report, "plots and all classes")
    if as_json:
        print_json(plain)
    if analysis.problem:
        raise ConfigError(analysis.problem)


def _class_names(wanted: str) -> list[str]:
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if wanted and not names:
        raise ConfigError("expected class names", option="--wanted", value=wanted)
    return names


def _config(context: typer.Context) -> "TrainConfig":
    """Build the configuration to analyse; the run folder may be left open."""
    values = {"out": Path("run")} | chosen_settings(context)
    require(context, values, "data")
    if values.get("batch") == AUTO:
        raise ConfigError(
            "expected an integer; the analysis recommends the batch that fits",
            option="--batch",
            value=AUTO,
        )
    if isinstance(values.get("lr"), str):  # the rules need the batch of the launch
        del values["lr"]
    if file := context.params["config"]:
        note(f"add --config {file} to the recommended command, which omits its other settings")

    from training.config import TrainConfig

    return TrainConfig(**with_recorded_imgsz(values))


def _note_skipped_files(config: "TrainConfig") -> None:
    """Report the files and folders of the data sets that are not read."""
    from converters.formats.yolo import YoloSplit
    from converters.formats.yolo_dataset import open_dataset

    for folder in config.sources().folders:
        for remark in YoloSplit(open_dataset(folder), "train").warnings:
            note(remark)


def _check_report(report: Path, context: typer.Context, *, force: bool) -> None:
    """Check that the report can be written, and is not a file that the analysis reads."""
    from converters.files.overwriting import check_files

    if not report.parent.is_dir():
        raise ConfigError(f"{report.parent}: no such folder; create it, or choose another --report")
    read = (context.params[name] for name in ("model", "heads", "config"))
    check_files(report, force=force, inputs=[Path(file) for file in read if file])


@contextmanager
def _report_file(report: Path | None, *, force: bool) -> Iterator[Path | None]:
    """Lock the report during the analysis, and yield the file to write; None without a report."""
    from converters.files.atomic_files import output_files

    if report is None:
        yield None
        return
    with output_files(report, force=force) as (part,):
        yield part


def _write(density: "DensityReport", file: Path) -> None:
    from eval.reports.density import write_density_report

    write_density_report(density, file)
