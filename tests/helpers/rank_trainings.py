"""Trainings on two processes, which communicate over gloo as if ``torchrun`` had started them."""

import os
import socket
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from killed_run import Patch, forkserver, run

from class_maps import ConfigError
from training.config import TrainConfig

N_RANKS = 2


def start_ranks(
    config: TrainConfig, *, machines: int = 1, patches: tuple[Patch, ...] = ()
) -> list[BaseProcess]:
    """Start a training on two processes, each of which writes its error to ``OUT.error.RANK``.

    Args:
        config: Configuration of the run.
        machines: Number of machines that the processes take themselves to be on, 1 or 2.
        patches: Changes of the second process.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = N_RANKS // machines
    processes: list[BaseProcess] = []
    for rank in range(N_RANKS):
        arguments = (rank, here, port, config, patches if rank else ())
        processes.append(forkserver().Process(target=_train, args=arguments))
        processes[-1].start()
    return processes


def join_ranks(processes: list[BaseProcess]) -> list[int | None]:
    """Wait for the processes of a training, and return their exit statuses."""
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def _train(
    rank: int, here: int, port: int, config: TrainConfig, patches: tuple[Patch, ...]
) -> None:
    local = rank % here
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(N_RANKS),
        "LOCAL_RANK": str(local),
        "LOCAL_WORLD_SIZE": str(here),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    # The fork server has imported Ultralytics, which reads the ranks from the environment.
    for module in [*sys.modules.values()]:
        for name, value in (("RANK", rank), ("LOCAL_RANK", local)):
            if vars(module).get(name) == -1:
                setattr(module, name, value)
    try:
        run(config, *patches)
    except ConfigError as error:
        Path(f"{config.out}.error.{rank}").write_text(str(error), "utf-8")
        sys.exit(1)
