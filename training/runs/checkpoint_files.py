"""Files that a run folder gains after each epoch: weights, a report, and the resume state."""

import json
from dataclasses import replace
from pathlib import Path

from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import unwrap_model

from class_maps import ConfigError
from converters.files.atomic_files import atomic_file
from settings.run_files import STATE_FILE
from training.models.activations import activation_counts, check_activations
from training.models.checkpoints import save_weights
from training.runs import resume_state
from training.runs.run_state import RunState
from training.runtime.ultralytics_trainer import UltralyticsTrainer

REPORT_FILE = "augmentation.json"
"""Report in the run folder: finished epochs, and symbols seen and dropped by augmentation."""


def save_epoch(trainer: UltralyticsTrainer, state: RunState, *, guard: dict[str, int]) -> None:
    """Save an epoch; if the run is killed meanwhile, the previous files stay intact.

    Args:
        trainer: Trainer after an epoch.
        state: State of the run.
        guard: History of the guard against non-finite losses; empty without a guard.

    Raises:
        ConfigError: The weights cannot be written, for example because the disk is full.
    """
    try:
        _write_weights(trainer, state)
        _write_report(trainer, state)
    except OSError as error:
        advice = "resume with --resume" if state.state_file.exists() else "start again"
        raise ConfigError(
            f"{trainer.wdir}: weights of epoch {trainer.epoch + 1} were not written: "
            f"{resume_state.reason(error)}; free some space and {advice}"
        ) from None
    write_state(trainer, state, guard)


def finish_run(weights: Path) -> None:
    """Remove the resume state of a finished run, if it still exists.

    Args:
        weights: Folder ``weights`` of the run.
    """
    (weights / STATE_FILE).unlink(missing_ok=True)  # four times the size of the model


def _write_weights(trainer: UltralyticsTrainer, state: RunState) -> None:
    """Write ``last.pt``, and ``best.pt`` if this epoch is the best."""
    model = unwrap_model(trainer.ema.ema)
    check_activations(model, state.activations, f"{trainer.last}: not written")
    training = replace(state.training, conf=state.conf) if state.training else None
    is_best = trainer.best_fitness == trainer.fitness
    files = (trainer.last, trainer.best) if is_best else (trainer.last,)
    save_weights(model, *files, train_args=vars(trainer.args), training=training)


def _write_report(trainer: UltralyticsTrainer, state: RunState) -> None:
    names = trainer.data["names"].values()
    report = {
        "epochs": trainer.epoch + 1,
        "precision": state.precision,
        "activations": activation_counts(unwrap_model(trainer.ema.ema)),
        "recalibration": state.recalibration,
        "priors": None if state.priors is None else state.priors.tolist(),
        "augmented": {
            name: {"seen": seen, "dropped": dropped}
            for name, (seen, dropped) in zip(names, state.counts.T.tolist(), strict=True)
            if seen
        },
    }
    with atomic_file(trainer.save_dir / REPORT_FILE) as part:
        part.write_text(json.dumps(report, indent=1), "utf-8")


def write_state(trainer: UltralyticsTrainer, state: RunState, guard: dict[str, int]) -> None:
    """Write the resume state; if the disk is full, warn and continue training."""
    additions = {
        "counts": state.counts,
        "priors": state.priors,
        "used": state.precision,
        "recalibration": state.recalibration,
        "guard": guard,
    }
    file = state.state_file
    try:
        resume_state.write(resume_state.capture(trainer) | additions, file)
    except OSError as error:
        consequence = "the previous state is kept" if file.exists() else "there is none yet"
        LOGGER.warning(
            f"{file}: epoch {trainer.epoch + 1} was not written, {consequence}: "
            f"{resume_state.reason(error)}; --resume uses the last state written"
        )
