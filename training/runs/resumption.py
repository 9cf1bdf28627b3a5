"""Configuration of a resumed run: its own settings, with the device and workers of this call."""

import shlex
from dataclasses import replace
from pathlib import Path

import msgspec

from class_maps import ConfigError
from class_maps.text_files import read_bytes
from converters.json_text import decode_unique
from eval.html.number_format import counted
from settings.run_files import STATE_FILE
from training.config import TrainConfig, read_config
from training.runs.checkpoint_files import REPORT_FILE, finish_run
from training.runs.provenance import HEADS_FILE, advice_to_start
from training.runs.resume_state import epochs_done
from training.runtime.distributed import n_started


def resumed_config(config: TrainConfig) -> TrainConfig:
    """Return the configuration that a run was started with, adapted to this call.

    Args:
        config: Configuration of this call; ``data``, ``joint``, ``out``, ``device`` and ``workers``
            are used.

    Raises:
        ConfigError: The run was started with other data sets, is finished, or cannot be resumed.
        InputError: The configuration or state of the run cannot be read.
    """
    weights = config.out / "weights"
    no_state = ConfigError(
        f"{config.out}: cannot be resumed: no weights/{STATE_FILE}; start again with --force"
    )
    if not weights.is_dir():
        raise no_state
    stored = read_config(config.out)
    _check_folders(stored, config)
    if _epochs_done(config.out) >= stored.epochs:
        finish_run(weights)  # in case it was killed after its last epoch
        raise ConfigError(
            f"{config.out}: already finished after {counted(stored.epochs, 'epoch', 'epochs')}; to "
            f"train further, {advice_to_start(config.out)}"
        )
    if not (weights / STATE_FILE).is_file():
        raise no_state
    if not (weights / "last.pt").is_file():
        raise ConfigError(f"{weights}/last.pt: missing; restore the file, or start again")
    return replace(
        stored,
        data=config.data,
        joint=config.joint,
        out=config.out,
        # The file that the run was started with may no longer exist.
        heads=str(config.out / HEADS_FILE) if stored.heads else "",
        device=config.device,
        workers=config.workers,
        resume=True,
    )


def interruption(config: TrainConfig) -> str:
    """Describe the state that an interrupted run has kept, and how to resume the run.

    Args:
        config: Configuration of the run.
    """
    last = config.out / "weights" / "last.pt"
    if not last.is_file():
        return f"{config.out}: interrupted before the end of the first epoch; nothing was kept"
    state = f"interrupted after epoch {_epochs_done(config.out)} of {config.epochs}"
    if not (config.out / "weights" / STATE_FILE).is_file():
        return f"{config.out}: {state}; to use its weights, start a new run with --model {last}"
    device = ("--device", config.device) if config.device else ()
    folders = config.sources().folders
    program = ("torchrun", "...", "-m", "omr") if n_started() else ("omr",)
    command = (*program, "train", *folders, "--out", config.out, "--resume", *device)
    return f"{config.out}: {state}, which is kept; resume with: {shlex.join(map(str, command))}"


def lost_process(config: TrainConfig) -> str:
    """Describe how to go on after another process of a run on several devices has ended.

    Args:
        config: Configuration of the run.
    """
    has_state = (config.out / "weights" / STATE_FILE).is_file()
    advice = "resume the run with --resume" if has_state else "start again"
    return f"{config.out}: another process of the run has ended; see its messages, and {advice}"


def _check_folders(stored: TrainConfig, config: TrainConfig) -> None:
    """Check that a run resumes with its own data sets, which may have been moved."""
    before, now = stored.sources().folders, config.sources().folders
    pairs = zip(before, now, strict=False)
    differ = [old.exists() and old.resolve() != new.resolve() for old, new in pairs]
    if len(before) != len(now) or any(differ):
        raise ConfigError(
            f"{config.out}: was started with {_listed(before)}, not with {_listed(now)}; give "
            f"these, or {advice_to_start(config.out)}"
        )


def _epochs_done(out: Path) -> int:
    """Count the finished epochs of a run."""
    state, report = out / "weights" / STATE_FILE, out / REPORT_FILE
    if state.is_file():
        return epochs_done(state)
    if not report.is_file():
        return 0
    content = decode_unique(read_bytes(report, "report"), _Report, report, expected="a report")
    return content.epochs


class _Report(msgspec.Struct):
    epochs: int


def _listed(folders: tuple[Path, ...]) -> str:
    return " ".join(map(str, folders))
