"""``omr profile``."""

from pathlib import Path
from typing import Annotated

import typer

from class_maps import ConfigError
from omr.console import loading_torch, note, print_json, progress, results, say_written
from omr.optional_output import check_output, optional_output
from omr.options import AsJson
from omr.resolved_config import resolved_config
from omr.settings_options import add_options, chosen_settings, require, with_recorded_imgsz

SETTINGS = (
    *("device", "workers", "model", "activation", "weights", "trust", "heads", "imgsz", "batch"),
    *("nominal_batch", "balance_classes", "freeze", "precision", "seed", "deterministic"),
    *("assigner", "class_loss", "similarity", "mosaic", "sampling_weights", "merge_classes"),
)
"""Training settings that affect the time of a step and have an option in this command."""


@add_options(SETTINGS)
def profile(
    context: typer.Context,
    steps: Annotated[
        int, typer.Option(help="Number of training steps to measure.", min=1, max=10_000)
    ] = 10,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="JSON file to write with the operations of two steps, for ui.perfetto.dev.",
            dir_okay=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file at --trace.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure where the time of a training step goes, and what to change.

    Takes real training steps and discards them. Compares the loss of omr with that of Ultralytics,
    on batches with few, with a medium number and with many symbols.

    Examples:
        omr profile data --model yolo11n --batch 32 --imgsz 640
        omr profile data --config run/omr.yaml --trace trace.json
    """
    values = {"out": Path("run")} | chosen_settings(context)
    require(context, values, "data")
    if trace:
        read = (context.params[name] for name in ("model", "weights", "heads", "config"))
        _check_trace(trace, [Path(file) for file in read if file], force=force)
    with loading_torch(as_json=as_json):
        from omr.profile_output import show_profile
        from training.profiling.profile import profile_training

    config = resolved_config(with_recorded_imgsz(values))
    with optional_output(trace, force=force) as part:
        result = profile_training(
            config,
            steps=steps,
            trace=part,
            track=lambda numbers, total: progress(numbers, "Measuring steps", total),
        )
    if result.batch < config.batch:
        note(f"batch {result.batch}, not {config.batch}: there are no more images")
    show_profile(result, to=results(as_json=as_json))
    if trace:
        say_written(trace, "trace for ui.perfetto.dev")
    if as_json:
        print_json(result.to_json())


def _check_trace(trace: Path, inputs: list[Path], *, force: bool) -> None:
    """Check that the trace can be written."""
    if trace.suffix != ".json":
        raise ConfigError("expected a file name ending in .json", option="--trace", value=trace)
    check_output(trace, "--trace", force=force, inputs=inputs)
