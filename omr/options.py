"""Options that mean the same in every command."""

import os
from typing import Annotated, TypeAlias

import typer

from class_maps import ConfigError

AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result on stdout, for machines.")
]
Device: TypeAlias = Annotated[
    str, typer.Option(help="cpu, 0, 0,1 ...", show_default="the first GPU, or the CPU")
]
Trust: TypeAlias = Annotated[
    bool,
    typer.Option("--trust", help="Let a pickle with weights run its code, if nothing else helps."),
]
Workers: TypeAlias = Annotated[
    int, typer.Option(help="Processes; 0: one a core. The result is the same.", min=0)
]
MOST_A_CORE = 16
"""Processes that may share a core: more of them would only wait, and fill the memory."""


def n_processes(workers: int = 0) -> int:
    """What ``--workers`` asks for.

    Raises:
        ConfigError: It is out of all proportion to the machine.
    """
    cores = len(os.sched_getaffinity(0))
    if workers > MOST_A_CORE * cores:
        raise ConfigError(
            f"--workers {workers} is too many for {cores} cores; 0 takes as many as there are"
        )
    return workers or cores
