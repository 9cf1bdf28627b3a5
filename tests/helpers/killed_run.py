"""Trainings in processes of their own, which are killed at a chosen moment."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from typing import Any

import torch

from training.config import TrainConfig
from training.engine import omr_trainer
from training.engine.omr_trainer import OmrTrainer
from training.runs import checkpoint_files
from training.trainer import train

Patch = Callable[[], None]


@dataclass(frozen=True)
class Kill:
    """Kill the process in the n-th call of a function, before or after it has done its work."""

    owner: Any
    name: str
    call: int = 1
    after: bool = False

    def __call__(self) -> None:
        stock, calls = getattr(self.owner(), self.name), []

        def function(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            calls.append(args)
            if len(calls) == self.call and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = stock(*args, **options)
            if len(calls) == self.call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(self.owner(), self.name, function)


def trainer() -> object:
    return OmrTrainer


def module() -> object:
    return omr_trainer


def files() -> object:
    return checkpoint_files


def half_a_state() -> None:
    """Kill the process when half of the second state is on the disk."""
    write, calls = torch.save, []

    def save(content: Any, file: Any) -> None:  # noqa: ANN401
        write(content, file)
        if "epochs_done" in content:
            calls.append(file)
            if len(calls) == 2:
                file.truncate(file.tell() // 2)
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save  # type: ignore[assignment]


def load_in_a_process() -> None:
    """Let one process load the images, which Ultralytics does not do on a CPU."""
    build = OmrTrainer.get_dataset

    def with_a_worker(trainer: OmrTrainer) -> dict[str, Any]:
        trainer.args.workers = 1
        return build(trainer)

    OmrTrainer.get_dataset = with_a_worker  # type: ignore[assignment, method-assign]


def forkserver() -> ForkServerContext:
    """Return the start method that imports once for all processes, and has no threads.

    A training imports torch's compiler and torchvision, which takes longer than a short training.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["training.trainer", "training.engine.omr_trainer", "torch._dynamo", "torchvision"]
    )
    return context


def run(config: TrainConfig, *patches: Patch) -> None:
    torch.set_num_threads(1)
    for patch in patches:
        patch()
    train(config)


def killed(config: TrainConfig, *patches: Patch) -> None:
    """Run a training in a process of its own, until it is killed."""
    process = forkserver().Process(target=run, args=(config, *patches))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
