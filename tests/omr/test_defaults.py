"""Defaults that a command repeats, so that it need not import the module they belong to."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args

import pytest

from converters.conversion import ConversionOptions
from converters.engraving.dataset import EngravingOptions
from converters.engraving.pages import PageOptions
from converters.prepare.cleaning import CleaningOptions
from converters.prepare.tiles import TileOptions
from omr.commands.convert import convert
from omr.commands.engrave import engrave
from omr.commands.eval import evaluate
from omr.commands.export import export
from omr.commands.npu_report import npu_report
from omr.exporting import Int8Options, export_model
from omr.scoring.score import MetricOptions
from settings.freezing import FreezeOptions
from settings.training import LR_RULES, ClassLoss, SimilarityName
from training.assigners.similarity import SIMILARITIES
from training.config import TrainConfig
from training.data.allowed_transforms import Transforms
from training.engine.learning_rate import AUTO
from training.export.tflite import TfliteOptions
from training.export.vela import DEFAULT_TARGETS
from training.losses.class_terms import CLASS_TERMS
from training.losses.loss_options import LossOptions


@pytest.mark.parametrize(
    ("command", "options", "shared"),
    [
        (convert, CleaningOptions, {"dedup_iou", "min_side", "clip"}),
        (convert, TileOptions, {"min_visible", "blank_tiles"}),
        (evaluate, MetricOptions, {"threshold", "backend"}),
        (convert, ConversionOptions, {"val", "split_by", "seed", "labels_only", "annotation_set"}),
        (engrave, EngravingOptions, {"scores", "holdout_font", "val", "segmentation"}),
        (engrave, PageOptions, {"seed", "style", "transpose", "degrade", "balance"}),
    ],
)
def test_a_commands_default_is_that_of_what_it_calls(
    command: Callable[..., None],
    options: Any,  # noqa: ANN401
    shared: set[str],
) -> None:
    of_command = {name: p.default for name, p in inspect.signature(command).parameters.items()}
    # None for typer, which takes no list for a default
    for name in (
        "formats",
        "fonts",
        "sampling_weights",
        "merge_classes",
        "unfreeze_at",
        "lr_scale",
    ):
        of_command.pop(name, None)
    of_options = {f.name: f.default for f in fields(options) if f.default is not MISSING}
    assert of_command.keys() & of_options.keys() == shared
    assert {n: of_command[n] for n in shared} == {n: of_options[n] for n in shared}


def test_the_default_size_of_a_page_stands_in_one_text() -> None:
    size = inspect.signature(engrave).parameters["size"].default
    options = PageOptions()
    assert size == f"{options.width}x{options.height}"


def test_the_options_of_the_loss_and_of_the_command_line_have_the_same_defaults() -> None:
    config = TrainConfig(data=Path("data"), out=Path("run"))
    assert config.loss_options() == LossOptions()
    assert config.freeze_options() == FreezeOptions()
    assert config.transforms() == Transforms()
    assert tuple(CLASS_TERMS) == get_args(ClassLoss)
    assert tuple(SIMILARITIES) == get_args(SimilarityName)
    assert tuple(AUTO) == LR_RULES


def test_exports_for_npus_have_the_same_defaults() -> None:
    of_command, of_function = (inspect.signature(f).parameters for f in (export, export_model))
    assert of_command["calibrate"].default == Int8Options(data=Path("data")).n_images
    assert of_command["decode"].default == of_function["decode"].default == TfliteOptions().decode
    (option,) = get_args(inspect.signature(npu_report).parameters["target"].annotation)[1:]
    assert option.show_default == ",".join(DEFAULT_TARGETS)
