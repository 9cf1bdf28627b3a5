"""Complete training state after an epoch, from which an interrupted run resumes exactly.

A checkpoint of Ultralytics contains the averaged weights in half precision, but not the weights of
the model itself, so a resumed run differs from an uninterrupted one. Here everything is stored
unchanged. The state of random generators is not needed, because every epoch has its own seeds; see
:mod:`training.data.sampling`.

The file contains only numbers, names and tensors: ``torch.load(weights_only=True)`` reads it.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Any, SupportsFloat

import torch
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import InputError
from class_maps.text_files import read_text
from converters.files.atomic_files import atomic_file
from training.models.archives import check_archive
from training.models.safe_pickle import UNREADABLE
from training.runtime.ultralytics_trainer import UltralyticsTrainer

VERSION = 1

State = dict[str, Any]
"""Plain values and tensors by name."""

CRITERION_VALUES = "updates", "o2m", "o2o"
"""Attributes of a loss with two branches that change from epoch to epoch."""


def capture(trainer: UltralyticsTrainer) -> State:
    """Collect the state after an epoch.

    Returns:
        State that refers to the tensors of the trainer without copying them.
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
        "criterion": {name: criterion[name] for name in CRITERION_VALUES if name in criterion},
        "best_fitness": _plain(trainer.best_fitness),
        "fitness": _plain(trainer.fitness),
        "stopper": {
            "best_fitness": _plain(trainer.stopper.best_fitness),
            "best_epoch": trainer.stopper.best_epoch,
        },
    }


def _plain(number: SupportsFloat | None) -> float | None:
    """Convert a NumPy number to a Python float."""
    return None if number is None else float(number)


def restore(trainer: UltralyticsTrainer, state: State) -> None:
    """Restore the state after an epoch in a trainer that has just been set up.

    Args:
        trainer: Trainer with the model, average and optimiser of the same run.
        state: State returned by :func:`capture`.
    """
    unwrap_model(trainer.model).load_state_dict(state["model"])
    trainer.ema.ema.load_state_dict(state["ema"])
    trainer.ema.updates = state["updates"]
    groups = zip(state["optimizer"]["param_groups"], trainer.optimizer.param_groups, strict=True)
    for saved, group in groups:  # depends on the device of this call
        saved["fused"] = group.get("fused")
    trainer.optimizer.load_state_dict(state["optimizer"])
    if state["scaler"]:  # empty without mixed precision
        trainer.scaler.load_state_dict(state["scaler"])
    trainer.best_fitness, trainer.fitness = state["best_fitness"], state["fitness"]
    vars(trainer.stopper).update(state["stopper"])
    trainer.start_epoch = state["epochs_done"]


def write(state: State, file: Path) -> None:
    """Write a state; if the process is killed meanwhile, the previous file stays intact.

    Raises:
        OSError: The state cannot be written; the previous file is kept.
    """
    with atomic_file(file) as part, part.open("wb") as stream:
        torch.save(state, stream)


def read(file: Path, *, mapped: bool = False) -> State:
    """Read a state onto the CPU.

    Args:
        file: File written by :func:`write`.
        mapped: Whether tensors stay in the file, for callers that need only the other values.

    Raises:
        InputError: The file is missing, damaged, or from another version.
    """
    if not file.is_file():
        raise InputError("no such file; start the run again", path=file)
    try:
        if not mapped:
            check_archive(file)
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (*UNREADABLE, InputError, OSError):
        raise InputError("damaged; start the run again", path=file) from None
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise InputError("written by another version of omr; start the run again", path=file)
    checked: State = state
    return checked


def epochs_done(file: Path) -> int:
    """Read the number of finished epochs of a state.

    Raises:
        InputError: The file is missing, or from another version.
    """
    n_done = read(file, mapped=True).get("epochs_done")
    if not isinstance(n_done, int):
        raise InputError("damaged; start the run again", path=file)
    return n_done


def cut_results(file: Path, epochs_done: int) -> None:
    """Remove the rows of ``results.csv`` that a run wrote after its last saved state.

    Args:
        file: ``results.csv``, which may be missing.
        epochs_done: Number of epochs in the saved state; rows of later epochs are removed.
    """
    if not file.is_file():
        return
    head, *rows = read_text(file, "list of epochs").splitlines(keepends=True) or [""]
    try:
        kept = [row for row in rows if int(row.split(",")[0]) <= epochs_done]
    except ValueError:
        raise InputError("damaged; start the run again", path=file) from None
    with atomic_file(file) as part:
        part.write_text("".join([head, *kept]), "utf-8")


def undo_append(file: Path, size: int | None) -> None:
    """Remove half a row that a full disk has left; later rows would continue it.

    Args:
        file: ``results.csv``.
        size: Size before the row in bytes; None if there was no file.
    """
    with contextlib.suppress(OSError):
        if size is None:
            file.unlink()
        else:
            os.truncate(file, size)


def reason(error: OSError) -> str:
    """Return a short reason why a file could not be written."""
    return os.strerror(error.errno) if error.errno else str(error)
