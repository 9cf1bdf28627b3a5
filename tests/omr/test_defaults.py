"""Defaults stand in the commands too, which must not import what they belong to: they agree."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

import pytest

from converters.conversion import ConversionOptions
from converters.engraving.dataset import EngravingOptions
from converters.engraving.pages import PageOptions
from converters.prepare.cleaning import CleaningOptions
from converters.prepare.tiles import TileOptions
from omr.commands.analyze_density import analyze_density
from omr.commands.convert import convert
from omr.commands.engrave import engrave
from omr.commands.train import train
from training.config import TrainConfig
from training.engine.precision import Precision
from training.losses.class_terms import CLASS_TERMS, ClassLoss
from training.losses.detection import AssignerName


@pytest.mark.parametrize(
    ("command", "options", "shared"),
    [
        (convert, CleaningOptions, {"dedup_iou", "min_side", "clip"}),
        (convert, TileOptions, {"min_visible"}),
        (convert, ConversionOptions, {"val", "split_by", "seed", "labels_only", "annotation_set"}),
        (engrave, EngravingOptions, {"scores", "holdout_font", "val", "segmentation"}),
        (engrave, PageOptions, {"seed", "style", "degrade"}),
        (
            train,
            TrainConfig,
            {"model", "epochs", "imgsz", "batch", "device", "lr", "warmup_epochs", "validate"}
            | {"resume", "seed", "workers", "size_prior", "assigner", "class_loss", "heads"}
            | {"true_negatives", "similarity", "beta", "weights", "trust", "precision"}
            | {"nominal_batch", "freeze", "unfreeze_warmup", "translate", "scale", "brightness"}
            | {"fliplr", "flipud", "degrees", "mosaic", "allow_music_flips", "tensorboard"}
            | {"deterministic"},
        ),
        (
            analyze_density,
            TrainConfig,
            {"model", "heads", "imgsz", "batch", "precision", "mosaic", "seed", "trust"},
        ),
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
    if "lr" in of_command:  # text, for it may be the name of a rule
        of_command["lr"] = float(of_command["lr"])
    if isinstance(of_command.get("batch"), str):  # or auto
        of_command["batch"] = int(of_command["batch"])
    of_options = {f.name: f.default for f in fields(options) if f.default is not MISSING}
    assert of_command.keys() & of_options.keys() == shared
    assert {n: of_command[n] for n in shared} == {n: of_options[n] for n in shared}


def test_the_default_size_of_a_page_stands_in_one_text() -> None:
    size = inspect.signature(engrave).parameters["size"].default
    options = PageOptions()
    assert size == f"{options.width}x{options.height}"


def test_a_command_offers_every_name_that_there_is() -> None:
    offered = get_type_hints(train)
    assert get_args(offered["assigner"]) == get_args(AssignerName)
    assert get_args(offered["precision"]) == get_args(Precision)
    assert get_args(get_type_hints(analyze_density)["precision"]) == get_args(Precision)
    assert get_args(offered["class_loss"]) == get_args(ClassLoss) == tuple(CLASS_TERMS)
