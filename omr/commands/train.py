"""``omr train``."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from class_maps import ConfigError
from omr.console import loading_torch, print_json, progress, results
from omr.options import AsJson
from omr.resolved_config import resolved_config
from omr.settings_options import (
    add_options,
    chosen_settings,
    given_parameters,
    option_name,
    require,
    with_recorded_imgsz,
)
from settings.setting import settings_of
from settings.training import OPTIMISATION, TrainingSettings

if TYPE_CHECKING:
    from training.lr_finder import RangeTest
    from training.trainer import TrainResult

OF_THIS_CALL = {"data", "out", "device", "workers", "resume", "as_json"}
"""Parameters that a resumed run accepts; all others were fixed when it was started."""


@add_options(settings_of(TrainingSettings))
def train(
    context: typer.Context,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Run a learning-rate range test instead of training, and save its plot to --out.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing run in --out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a detector on one or more data sets, from scratch or from existing weights.

    Examples:
        omr train data --model yolo11n --epochs 100 --imgsz 640 --out run
        omr train data --heads harmony --batch auto --out run
        omr train data --out run --resume
    """
    if context.params["resume"]:
        _check_no_settings(context)
    values = chosen_settings(context)
    require(context, values, "data", "out")

    with loading_torch(as_json=as_json):
        from omr.train_output import show_range_test, show_result
        from omr.train_progress import training_display
        from training import lr_finder, trainer
        from training.runtime.distributed import is_first

    config = resolved_config(with_recorded_imgsz(values))
    result: RangeTest | TrainResult
    if find_lr:
        result = rates = lr_finder.find_rate(
            config,
            force=force,
            track=lambda rates, total: progress(rates, "Testing learning rates", total),
        )
        show: Callable[..., None] = partial(show_range_test, rates, config.out)
    else:
        trained = trainer.train(
            config,
            force=force,
            config_file=context.params["config"],
            make_display=training_display,
        )
        result, show = trained, partial(show_result, trained, config.data)
    if not is_first():  # with torchrun, only the first process prints
        return
    show(to=results(as_json=as_json))
    if as_json:
        print_json(result.to_json())


def _check_no_settings(context: typer.Context) -> None:
    """Refuse settings that a resumed run would ignore."""
    given = set(given_parameters(context)) - OF_THIS_CALL
    if given:
        raise ConfigError(
            "the run keeps the settings it was started with; drop "
            + ", ".join(sorted(map(option_name, given))),
            option="--resume",
        )
