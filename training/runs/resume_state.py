"""The whole state of a training after an epoch: what a run that was cut off goes on from exactly.

A checkpoint of Ultralytics holds the averaged weights in half precision and no weights of the
model itself, so that a resumed run is another one. Here everything is kept as it is. Random
generators need no keeping: every epoch has seeds of its own, :mod:`training.data.sampling`.

The file holds nothing but numbers, names and tensors: ``torch.load(weights_only=True)`` reads it.
"""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import torch
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import InputError
from converters.files.atomic_files import atomic_file

STATE_FILE = "state.pt"
"""In the run's ``weights``, until the run is finished."""
VERSION = 1

State = dict[str, Any]
"""Plain values and tensors by name."""

SHIFTED = "updates", "o2m", "o2o"
"""What a loss of two branches changes from epoch to epoch."""


def captured(trainer: BaseTrainer) -> State:
    """Collect the state after an epoch.

    Returns:
        The tensors are those of the trainer, not copies.
    """
    model = unwrap_model(trainer.model)
    criterion = vars(model.criterion)
    return {
        "version": VERSION,
        "epochs_done": trainer.epoch + 1,
        "seconds": time.time() - trainer.train_time_start,
        "model": model.state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "criterion": {name: criterion[name] for name in SHIFTED if name in criterion},
        "best_fitness": _plain(trainer.best_fitness),
        "fitness": _plain(trainer.fitness),
        "stopper": {
            "best_fitness": _plain(trainer.stopper.best_fitness),
            "best_epoch": trainer.stopper.best_epoch,
        },
    }


def _plain(number: object) -> float | None:
    """A number of Python's, where Ultralytics has one of NumPy's."""
    return None if number is None else float(number)  # type: ignore[arg-type]


def restore(trainer: BaseTrainer, state: State) -> None:
    """Set a trainer that has just been set up to the state after an epoch.

    Args:
        trainer: Its model, EMA and optimizer are those of the same run.
        state: Of :func:`captured`.
    """
    unwrap_model(trainer.model).load_state_dict(state["model"])
    trainer.ema.ema.load_state_dict(state["ema"])
    trainer.ema.updates = state["updates"]
    groups = zip(state["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True)
    for kept, group in groups:  # the device at hand says how it is computed
        kept["fused"] = group.get("fused")
    trainer.optimizer.load_state_dict(state["optimizer"])
    if state["scaler"]:  # empty where precision is not mixed
        trainer.scaler.load_state_dict(state["scaler"])
    trainer.best_fitness, trainer.fitness = state["best_fitness"], state["fitness"]
    vars(trainer.stopper).update(state["stopper"])
    trainer.start_epoch = state["epochs_done"]


def write(state: State, file: Path) -> None:
    """Write a state so that a killed process leaves a whole one.

    Raises:
        OSError: It cannot be written; the one that was there is kept.
    """
    with atomic_file(file) as part, part.open("wb") as stream:
        torch.save(state, stream)


def read(file: Path, *, mapped: bool = False) -> State:
    """Read a state onto the CPU.

    Args:
        file: That of :func:`write`.
        mapped: Leave the tensors in the file; for a look at the numbers.

    Raises:
        InputError: It is missing, damaged, or of another version.
    """
    if not file.is_file():
        raise InputError("no such file; start the run again", path=file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        raise InputError("damaged; start the run again", path=file) from None
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise InputError("of another version of omr; start the run again", path=file)
    checked: State = state
    return checked


def cut_results(file: Path, epochs_done: int) -> None:
    """Take the rows out of ``results.csv`` that a run wrote after its last state.

    Args:
        file: There may be none.
        epochs_done: Rows of later ones go.
    """
    if not file.is_file():
        return
    head, *rows = file.read_text("utf-8").splitlines(keepends=True) or [""]
    kept = [row for row in rows if int(row.split(",")[0]) <= epochs_done]
    with atomic_file(file) as part:
        part.write_text("".join([head, *kept]), "utf-8")


def reason(error: OSError) -> str:
    """Say in a few words why a file could not be written."""
    return os.strerror(error.errno) if error.errno else str(error)
