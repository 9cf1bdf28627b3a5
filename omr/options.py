"""Options that several commands share."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from class_maps import ConfigError
from settings.published import DEFAULT_WEIGHTS, weights_path
from settings.setting import settings_of
from settings.training import TrainingSettings

CLASS_MAP = "Class map: a name from `omr classes list`, or a .yaml file."
"""Help of options that take a class map."""
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout.")
]
LintConfig: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="TOML file with the level (error, warning or off) and the thresholds of rules.",
        dir_okay=False,
        show_default="all rules with their defaults",
    ),
]
Device: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Device: cpu, or a GPU index such as 0.",
        show_default="first GPU if available, otherwise cpu",
    ),
]
Trust: TypeAlias = Annotated[
    bool,
    typer.Option("--trust", help=settings_of(TrainingSettings)["trust"].declared.help),
]
Weights: TypeAlias = Annotated[
    Path,
    typer.Argument(
        help=f"Weights: a file, or {DEFAULT_WEIGHTS}, which comes with omr.",
        parser=weights_path,
        metavar="WEIGHTS",
    ),
]
Workers: TypeAlias = Annotated[
    int,
    typer.Option(
        help="Number of worker processes; 0 for one per core. Does not affect the output.", min=0
    ),
]
FORMATS = (
    "Output format: yolo, coco, parquet, mung or labelme; can be repeated, or a list: yolo,coco."
)
"""Help of options that take output formats."""
MAX_PER_CORE = 16
"""Maximum number of worker processes per core; more would only wait and use memory."""


def words_of(values: Sequence[str] | None, default: str) -> tuple[str, ...]:
    """Split the values of an option that can be repeated or be a list, without repetitions.

    Args:
        values: Values such as ``["yolo,coco", "mung"]``; None if the option was not given.
        default: Value if the option was not given.
    """
    words = [word.strip() for value in values or [default] for word in value.split(",")]
    return tuple(dict.fromkeys(words))


def n_processes(workers: int = 0) -> int:
    """Return the number of worker processes.

    Args:
        workers: Value of ``--workers``; 0 for one process per core.

    Raises:
        ConfigError: The machine has far fewer cores.
    """
    cores = len(os.sched_getaffinity(0))
    if workers > MAX_PER_CORE * cores:
        raise ConfigError(
            f"too many for {cores} cores; expected {MAX_PER_CORE * cores} or less, or 0 for one "
            "process per core",
            option="--workers",
            value=workers,
        )
    return workers or cores
