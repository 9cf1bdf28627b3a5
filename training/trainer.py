"""Training of one detector on one data set, or on several together.

:func:`train` opens the inputs, checks everything a user can get wrong, and starts
:class:`~training.engine.omr_trainer.OmrTrainer`, Ultralytics' trainer with the changes that music
needs: no label dropped, no flips and no mosaic, boxes that start from the symbol sizes of the data,
a detection limit high enough for a full page, and no network access. From there on, Ultralytics'
loop runs and calls back the methods of ``OmrTrainer``: loss and assigner are created in its
``_setup_train``.
"""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ultralytics.utils import LOGGER
from ultralytics.utils.callbacks import get_default_callbacks

from class_maps import ConfigError
from eval.html.number_format import counted
from settings import head_config
from settings.setting import settings_of
from settings.training import TrainingSettings
from training.checks import check_inputs, check_machine, notes_of
from training.config import TrainConfig, save_config
from training.data.class_balance import ClassDraws
from training.data.label_files import LabelCounts
from training.engine.callbacks import set_record
from training.engine.display import MakeDisplay
from training.engine.inputs import TrainingInputs, open_inputs
from training.engine.learning_rate import used_warmup
from training.engine.omr_trainer import OmrTrainer
from training.engine.overrides import overrides_of
from training.engine.page_scores import resolved_selection
from training.engine.run_options import ON_OPTIONS, RunOptions
from training.models.zoo import model_file
from training.runs.checkpoint_files import REPORT_FILE
from training.runs.provenance import check_same_data, record_of, write_images, write_record
from training.runs.resume_state import reason
from training.runs.resumption import interruption, resumed_config
from training.runs.run_folder import RunFolder, locked_run, remove_start
from training.runtime.distributed import is_first

N_RAREST = 5
"""Number of rare classes whose draws are reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """Weights and counts of a finished training run."""

    best: Path
    """Weights of the epoch with the best validation result; without validation, of the last
    epoch."""
    last: Path
    """Weights of the last epoch."""
    epochs: int
    """Epochs of the run, including those before it was resumed."""
    precision: str
    """Precision of the network: ``bf16``, ``fp16`` or ``fp32``."""
    seconds: float
    """Duration of this call."""
    labels: dict[str, LabelCounts]
    """Counts of the label files of ``train`` and ``val`` over all data sets."""
    sources: dict[str, dict[str, LabelCounts]]
    """Counts of the label files of ``train`` and ``val`` of each data set, by its folder."""
    unlabelled: dict[str, tuple[str, ...]]
    """Classes that each data set does not label, by its folder."""
    augmented: dict[str, dict[str, int]]
    """Symbols ``seen`` by augmentation and ``dropped`` as no longer visible, by class name."""
    activations: dict[str, dict[str, int]]
    """Uses of each activation function in the weights, by part: backbone, neck and head."""
    recalibration: dict[str, Any] | None
    """Images on which batch normalisation was measured again, and the validation score before and
    after; None if it was not."""
    rarest: dict[str, ClassDraws]
    """Draws of the images of the rarest classes, by class name; empty unless classes are
    balanced."""

    def to_json(self) -> dict[str, Any]:
        """Convert the result to types that JSON can represent."""
        return asdict(self) | {"best": str(self.best), "last": str(self.last)}


def train(
    config: TrainConfig,
    *,
    force: bool = False,
    config_file: Path | None = None,
    make_display: MakeDisplay | None = None,
) -> TrainResult:
    """Train a detector, or resume an interrupted run.

    Args:
        config: Configuration; with ``resume`` only ``data``, ``joint``, ``out``, ``device`` and
            ``workers`` are used, and the rest is read from the run folder.
        force: Whether to replace a run in ``out``.
        config_file: File that the configuration was read from; never deleted.
        make_display: Builds the progress display; None to show nothing but warnings.

    Returns:
        Paths of the weights, and the counts of labels and symbols.

    Raises:
        ConfigError: The model name or device is unknown; the device does not support the precision;
            the run folder exists, cannot be resumed, or is finished; music would be mirrored; or
            the loss stays non-finite.
        InputError: A data set or the weights cannot be read, or do not match.
        MissingExtraError: Several devices or TensorBoard need a package that is not installed.
        KeyboardInterrupt: The user stopped the run; the message states what was kept.
    """
    if not is_first():
        return _train(config, None, make_display)
    with locked_run(config, force=force, config_file=config_file) as folder:
        return _train(config, folder, make_display)


def _train(
    config: TrainConfig, folder: RunFolder | None, make_display: MakeDisplay | None
) -> TrainResult:
    """Train or resume; ``folder`` is the locked run folder, None in all processes but the first."""
    begin = time.monotonic()
    config = resumed_config(config) if config.resume else _with_used_warmup(config)
    options, inputs = _open(config)
    if config.validate:
        config = replace(config, select=options.select)
    hashes = inputs.image_hashes() if is_first() else {}
    record = record_of(inputs.data, inputs.labels, hashes)
    if config.resume:
        check_same_data(config.out, record)
    elif folder:  # after all checks
        folder.clear(map(Path, inputs.image_labels("train") | inputs.image_labels("val")))
    labels, sources, unlabelled = inputs.counts, inputs.counts_by_folder, inputs.data.unlabelled()
    rarest = inputs.rarest_classes(N_RAREST) if config.balance_classes else {}
    with _clean_up_failed_start(config):
        if is_first():
            _begin_run(config, options, inputs, hashes)
        trainer = build_trainer(config, replace(options, make_display=make_display), inputs)
        if hashes:
            training = inputs.record(hashes)
            trainer.add_callback("on_pretrain_routine_end", partial(set_record, training))
        del inputs  # the trainer releases the weights once the model is built
        trainer.add_callback("on_pretrain_routine_end", partial(write_record, record))
        trainer.train()  # Ultralytics' loop, which calls back the methods of OmrTrainer
    report = json.loads((config.out / REPORT_FILE).read_text("utf-8"))
    return TrainResult(
        best=config.out / "weights" / "best.pt",
        last=config.out / "weights" / "last.pt",
        epochs=report["epochs"],
        precision=report["precision"],
        seconds=time.monotonic() - begin,
        labels=labels,
        sources=sources,
        unlabelled=unlabelled,
        augmented=report["augmented"],
        activations=report["activations"],
        recalibration=report["recalibration"],
        rarest=rarest,
    )


def _with_used_warmup(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the warm-up that is used, and log a shorter one."""
    warmup_epochs = used_warmup(config.epochs, config.warmup_epochs)
    is_default = config.warmup_epochs == settings_of(TrainingSettings)["warmup_epochs"].default
    if warmup_epochs < config.warmup_epochs and not is_default and is_first():
        LOGGER.warning(
            f"--warmup-epochs {config.warmup_epochs:g}: reduced to {warmup_epochs:g}, the most in "
            f"a run of {counted(config.epochs, 'epoch', 'epochs')}"
        )
    return replace(config, warmup_epochs=warmup_epochs)


def _begin_run(
    config: TrainConfig, options: RunOptions, inputs: TrainingInputs, hashes: Mapping[str, int]
) -> None:
    """Write the configuration and the list of training images, and log the notes."""
    save_config(config)
    write_images(config.out, inputs.image_labels("train"), hashes)
    for line in notes_of(config, options, inputs, hashes):
        LOGGER.warning(line)


def ready_trainer(config: TrainConfig) -> OmrTrainer:
    """Set up a training run on one device, stopping short of its first step.

    Args:
        config: Configuration of a new run; its ``out`` is written to.

    Raises:
        ConfigError: Unknown model name or device, or the model lacks the layers to freeze.
        InputError: A data set or the weights cannot be read, or do not match.
    """
    trainer = new_trainer(config)
    trainer._setup_train()
    return trainer


def new_trainer(config: TrainConfig) -> OmrTrainer:
    """Build a trainer without setting up its model and loaders.

    Args:
        config: Configuration of a new run; its ``out`` is written to.

    Raises:
        ConfigError: Unknown model name or device, or the model lacks the layers to freeze.
        InputError: A data set or the weights cannot be read, or do not match.
    """
    return build_trainer(config, *_open(config))


def run_options(config: TrainConfig) -> RunOptions:
    """Select the settings that go beyond Ultralytics' arguments.

    Raises:
        ConfigError: The model name or the head config is unknown.
        InputError: The weights file is missing, or the head config is invalid.
    """
    last = config.out / "weights" / "last.pt"
    return RunOptions(
        model=str(last) if config.resume else model_file(config.model),
        name=config.model,
        datasets=config.sources(),
        weights=config.weights,
        trust=config.trust,
        size_prior=config.size_prior,
        loss=config.loss_options(),
        transforms=config.transforms(),
        precision=config.precision,
        select=config.select,
        tensorboard=config.tensorboard,
        activations=config.activations(),
        recalibrate=config.recalibrate,
        heads=head_config.load(config.heads) if config.heads else None,
        freezing=config.freeze_options(),
        warmup_epochs=config.warmup_epochs,
        nominal_batch=config.nominal_batch or config.batch,
        make_display=None,
    )


def _open(config: TrainConfig) -> tuple[RunOptions, TrainingInputs]:
    """Open the inputs, and check everything a user can get wrong."""
    check_machine(config)
    options = run_options(config)
    inputs = open_inputs(options)
    check_inputs(config, options, inputs)
    select = resolved_selection(config.select, inputs) if config.validate else "tile"
    return replace(options, select=select), inputs


def build_trainer(config: TrainConfig, options: RunOptions, inputs: TrainingInputs) -> OmrTrainer:
    """Build a trainer from checked inputs.

    A callback passes the options to the processes of all devices.
    """
    max_symbols = max(counts.most for counts in inputs.counts.values())
    overrides = overrides_of(config, options.model, max_symbols)
    callbacks = get_default_callbacks() | {ON_OPTIONS: [options.apply]}
    return OmrTrainer(overrides=overrides, _callbacks=callbacks, inputs=inputs)


@contextlib.contextmanager
def _clean_up_failed_start(config: TrainConfig) -> Iterator[None]:
    """Remove a run folder that could not be resumed, and turn user errors into one line."""
    try:
        yield
    except BaseException as error:
        last = config.out / "weights" / "last.pt"
        if is_first() and not config.resume and not last.is_file():
            remove_start(config.out)
        if isinstance(error, KeyboardInterrupt):
            message = interruption(config) if is_first() else ""
            raise KeyboardInterrupt(message) from None
        if isinstance(error, OSError):
            raise ConfigError(f"{error.filename or config.out}: {reason(error)}") from error
        if isinstance(error, subprocess.CalledProcessError):
            raise ConfigError("the process of a device failed; see its messages above") from error
        raise
