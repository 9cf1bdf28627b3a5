"""What a run's folder has after each epoch: weights, a report, and the state to go on from."""

import json
from pathlib import Path

from ultralytics.engine.trainer import BaseTrainer
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError
from converters.files.atomic_files import atomic_file
from training.models.checkpoints import save_weights
from training.runs import resume_state

REPORT_FILE = "augmentation.json"
"""In the run folder: epochs done, and what augmentation saw and dropped."""


def save_epoch(trainer: BaseTrainer) -> None:
    """Save so that a run that is killed meanwhile still has its last whole files.

    Args:
        trainer: A ``OmrTrainer`` after an epoch.

    Raises:
        ConfigError: The weights cannot be written, say because the disk is full.
    """
    try:
        _write_weights(trainer)
        _write_report(trainer)
    except OSError as error:
        way = "go on with --resume" if trainer.state_file.exists() else "start again"
        raise ConfigError(
            f"{trainer.wdir}: weights of epoch {trainer.epoch + 1} were not written: "
            f"{resume_state.reason(error)}; make room and {way}"
        ) from None
    write_state(trainer)


def _write_weights(trainer: BaseTrainer) -> None:
    """Write ``last.pt``, and ``best.pt`` if this epoch is the best."""
    model = unwrap_model(trainer.ema.ema)
    save_weights(model, trainer.last, train_args=vars(trainer.args))
    if trainer.best_fitness == trainer.fitness:
        save_weights(model, trainer.best, train_args=vars(trainer.args))


def _write_report(trainer: BaseTrainer) -> None:
    names = trainer.data["names"].values()
    totals = trainer.counts.T.tolist()
    report = {
        "epochs": trainer.epoch + 1,
        "precision": trainer.used,
        "priors": None if trainer.priors is None else trainer.priors.tolist(),
        "augmented": {
            name: {"seen": seen, "dropped": dropped}
            for name, (seen, dropped) in zip(names, totals, strict=True)
            if seen
        },
    }
    with atomic_file(trainer.save_dir / REPORT_FILE) as part:
        part.write_text(json.dumps(report, indent=1), "utf-8")


def write_state(trainer: BaseTrainer) -> None:
    """Write what ``--resume`` goes on from; without room for it the training goes on.

    Args:
        trainer: A ``OmrTrainer`` after an epoch.
    """
    own = {
        "counts": trainer.counts,
        "priors": trainer.priors,
        "used": trainer.used,
        "guard": trainer.guard.history() if trainer.guard else {},
    }
    file = trainer.state_file
    try:
        resume_state.write(resume_state.captured(trainer) | own, file)
    except OSError as error:
        kept = "the one before is kept" if file.exists() else "there is none yet"
        LOGGER.warning(
            f"{file}: epoch {trainer.epoch + 1} was not written, {kept}: "
            f"{resume_state.reason(error)}; --resume goes on from the last one written"
        )


def finish_run(weights: Path) -> None:
    """Remove what only a resumed training needs; to do it again does no harm.

    Args:
        weights: The run's folder of that name.
    """
    (weights / resume_state.STATE_FILE).unlink(missing_ok=True)  # four times the size of the model
