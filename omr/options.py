"""Options that several commands share."""

import os
from typing import Annotated, TypeAlias

import typer

from class_maps import ConfigError

AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout.")
]
Device: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Device: cpu, or the index of a GPU; 0,1 for several GPUs.",
        show_default="the first GPU, or the CPU",
    ),
]
Trust: TypeAlias = Annotated[
    bool,
    typer.Option("--trust", help="Load pickled weights even if that executes their code."),
]
Workers: TypeAlias = Annotated[
    int,
    typer.Option(help="Worker processes; 0 = one per core. Does not change the output.", min=0),
]
MAX_PER_CORE = 16
"""Most worker processes per core; more would only wait and use memory."""


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
