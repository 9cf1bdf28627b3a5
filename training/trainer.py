"""Trains one Ultralytics model on one data set, or on several together.

:func:`train` checks everything a user can get wrong, then hands over to :class:`OmrTrainer`,
which is Ultralytics' trainer with what music needs: no label dropped, no flips and no mosaic, a
start from the data's sizes, a limit of detections that fits a full page, and no network.
"""

import contextlib
import importlib.util
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.callbacks import get_default_callbacks

from class_maps import ConfigError, InputError, MissingExtraError
from converters.files.overwriting import check_folder, is_free
from training.config import CONFIG_FILE, STRIDE, TrainConfig, read_config, save_config
from training.data.label_counts import LabelCounts
from training.data.multi_dataset import MultiDataset, count_sources, join, total
from training.engine.freezing import check_freezing
from training.engine.omr_trainer import ON_OPTIONS, OmrTrainer
from training.engine.precision import amp_argument, resolved
from training.engine.tensorboard import check_tensorboard
from training.heads import head_config
from training.heads.distance_bins import has_bins_below_zero
from training.heads.grouped import GroupedDetect
from training.heads.head_config import HeadConfig
from training.losses.detection import UNUSED, AssignerName
from training.models.checkpoints import is_weights, load_weights
from training.models.description import activation_kept
from training.models.transfer import check_fit
from training.models.zoo import model_file
from training.predict.max_det import suggested_max_det
from training.runs.checkpoint_files import REPORT_FILE, finish_run
from training.runs.provenance import (
    HEADS_FILE,
    Provenance,
    check_same_data,
    record_of,
    write_record,
)
from training.runs.resume_state import STATE_FILE, read, reason
from training.runtime.devices import check_device, is_deterministic
from training.runtime.distributed import check_ranks, is_first


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a training left behind."""

    best: Path
    """Weights of the epoch that validated best; without validation, of the last."""
    last: Path
    """Weights of the last epoch."""
    epochs: int
    """Epochs that the run has had, earlier parts included."""
    precision: str
    """What the network was trained in: ``bf16``, ``fp16`` or ``fp32``."""
    seconds: float
    """Of this call."""
    labels: dict[str, LabelCounts]
    """What the label files of ``train`` and ``val`` hold, of all data sets together."""
    sources: dict[str, dict[str, LabelCounts]]
    """The same for each data set, by its folder."""
    silent: dict[str, tuple[str, ...]]
    """The classes that a data set says nothing of, by its folder."""
    augmented: dict[str, dict[str, int]]
    """For each class name: symbols ``seen`` by augmentation, and ``dropped`` as out of sight."""

    def to_json(self) -> dict[str, Any]:
        """Give everything in forms that JSON knows."""
        return asdict(self) | {"best": str(self.best), "last": str(self.last)}


def train(config: TrainConfig, *, force: bool = False) -> TrainResult:
    """Train, or go on with a training that was cut off.

    Args:
        config: With ``resume`` only ``data``, ``joint``, ``out``, ``device`` and ``workers`` are
            looked at; the rest is what the run was started with.
        force: Replace a run in ``out``.

    Returns:
        Where the weights are, and what was counted.

    Raises:
        ConfigError: Unknown model name or device, or a device without the precision; the run folder
            exists, or has nothing to resume, or the run is finished; music would be mirrored; or
            the loss is no number again and again.
        InputError: Something is wrong with the data set or the weights.
        MissingExtraError: Several devices or TensorBoard, and the package that they need is not
            installed.
    """
    begin = time.monotonic()
    last = config.out / "weights" / "last.pt"
    if config.resume:
        config = _resumed(config)
    model, joint = _checked(config)
    of_sources = count_sources(joint)
    labels = total(of_sources)
    record = record_of(joint)
    if config.resume:
        check_same_data(config.out, record)
    _check_last_batch(config, labels["train"].images)
    if is_first() and not config.resume:  # after everything that could be wrong
        _make_room(config, force=force)
    callbacks = _callbacks(config, labels)
    callbacks["on_pretrain_routine_end"].append(partial(_write_record, record))
    with _no_ruins(config):
        if is_first():
            save_config(config)
        OmrTrainer(overrides=_overrides(config, model, labels), _callbacks=callbacks).train()
    report = json.loads((config.out / REPORT_FILE).read_text("utf-8"))
    return TrainResult(
        best=config.out / "weights" / "best.pt",
        last=last,
        epochs=report["epochs"],
        precision=report["precision"],
        seconds=time.monotonic() - begin,
        labels=labels,
        sources=of_sources,
        silent=joint.silent(),
        augmented=report["augmented"],
    )


@contextlib.contextmanager
def _no_ruins(config: TrainConfig) -> Iterator[None]:
    """Leave no folder that cannot be resumed, and say in a line what a user can put right."""
    try:
        yield
    except BaseException as error:
        last = config.out / "weights" / "last.pt"
        if is_first() and not config.resume and not last.is_file():
            shutil.rmtree(config.out, ignore_errors=True)
        if isinstance(error, OSError):
            raise ConfigError(f"{error.filename or config.out}: {reason(error)}") from error
        if isinstance(error, subprocess.CalledProcessError):
            raise ConfigError("the process of a device ended; see what it says above") from error
        raise


def ready_trainer(config: TrainConfig) -> OmrTrainer:
    """Check a configuration, and go as far as the first step of its training, on one device.

    Args:
        config: Its ``out`` is written into. It is no resumed run's.

    Raises:
        ConfigError: Unknown model name or device, or what is not in the model is to be frozen.
        InputError: Something is wrong with the data set or the weights.
    """
    model, joint = _checked(config)
    labels = total(count_sources(joint))
    callbacks = _callbacks(config, labels)
    trainer = OmrTrainer(overrides=_overrides(config, model, labels), _callbacks=callbacks)
    trainer._setup_train()
    return trainer


def _checked(config: TrainConfig) -> tuple[str, MultiDataset]:
    """Look at everything that a user can get wrong, before anything is made.

    Returns:
        What the model is built from, and the data sets.

    Raises:
        ConfigError: As :func:`train` says.
        InputError: Something is wrong with the data set or the weights.
        MissingExtraError: A package is not installed.
    """
    resolved(config.precision, torch.device(check_device(config.device)))
    check_ranks(config.device, config.batch)
    if config.tensorboard:
        check_tensorboard()
    if "," in config.device and importlib.util.find_spec("cloudpickle") is None:
        raise MissingExtraError("several devices need cloudpickle: pip install cloudpickle")
    if config.resume:
        model = str(config.out / "weights" / "last.pt")
    else:
        model = model_file(config.model, trust=config.trust)
    joint = join(config.sources())
    config.transforms().check(joint)
    _check_heads(config, model, joint.names)
    check_freezing(
        config.freeze_options(),
        weights=model if is_weights(model) else config.weights,
        epochs=config.epochs,
        trust=config.trust,
    )
    return model, joint


def _check_heads(config: TrainConfig, model: str, names: Sequence[str]) -> None:
    """Make sure that the groups of classes fit the data, and the weights fit both.

    Raises:
        ConfigError: The groups are others than those of the data, or of the weights.
        InputError: The weights cannot be read, or are of another model.
    """
    heads = head_config.load(config.heads) if config.heads else None
    if heads:
        heads.labels(names)
        _check_groups(heads, config.assigner)
    file = model if is_weights(model) else config.weights
    if config.resume or not file:
        return
    source = load_weights(Path(file), trust=config.trust)
    if file != model:
        with activation_kept():
            new = DetectionModel(model, nc=len(names), verbose=False)
        check_fit(source, new, Path(file), config.model)
    if heads and heads.box_encoding == "stock" and has_bins_below_zero(source.model[-1]):
        raise ConfigError(
            f"--heads: box_encoding: stock, but the boxes of {file} may lie beside their points; "
            "leave it out, or start from other weights"
        )
    if not isinstance(source.model[-1], GroupedDetect):
        return
    if heads:
        raise ConfigError(f"--heads: {file} has several heads already; leave it out")
    if sorted(source.names.values()) != sorted(names):
        raise ConfigError(
            f"{file}: has heads for other classes than {_words(config)}; start from a single head's"
        )


def _check_groups(heads: HeadConfig, assigner: AssignerName) -> None:
    """Make sure that the assigner looks at what the groups say.

    Raises:
        ConfigError: It does not.
    """
    for group in heads.groups:
        if said := [name for name in UNUSED[assigner] if getattr(group, name) is not None]:
            raise ConfigError(
                f"--heads: {group.name}: {' and '.join(said)}: --assigner {assigner} looks at no "
                "such thing; leave it out"
            )


def _make_room(config: TrainConfig, *, force: bool) -> None:
    out = config.out
    files = (Path(file) for file in (config.model, config.weights, config.heads) if file)
    inputs = (config.data, *config.joint, *files)
    check_folder(out, marker=CONFIG_FILE, force=force, inputs=inputs, resumable=True)
    if is_free(out):
        return
    for old in out.iterdir():
        if old.name != CONFIG_FILE:  # it goes last: if this is cut off, the next one may go on
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    shutil.rmtree(out)


def _check_last_batch(config: TrainConfig, n_images: int) -> None:
    """BatchNorm needs more than one number a channel, and this small an image has one."""
    if config.imgsz < 2 * STRIDE and n_images % config.batch == 1:
        raise ConfigError(
            f"imgsz ({config.imgsz}): too small for a last batch of one image; "
            f"use {2 * STRIDE}, or another batch"
        )


def _overrides(config: TrainConfig, model: str, labels: dict[str, LabelCounts]) -> dict[str, Any]:
    """Say in Ultralytics' words what a configuration means."""
    most = max(counts.most for counts in labels.values())
    out = config.out.absolute()
    device = torch.device(check_device(config.device))
    overrides: dict[str, Any] = {
        "task": "detect",
        "mode": "train",
        "model": model,
        "data": str(config.data.absolute()),
        "project": str(out.parent),
        "name": out.name,
        "save_dir": str(out),  # a resumed run may have been moved
        "exist_ok": True,
        "epochs": config.epochs,
        "imgsz": config.imgsz,
        "batch": config.batch,
        "device": config.device or None,
        "workers": config.workers,
        "seed": config.seed,
        "deterministic": is_deterministic(device, asked=config.deterministic),
        "optimizer": config.optimizer,
        "lr0": config.lr,
        "lrf": config.final_lr,
        "weight_decay": config.weight_decay,
        "warmup_epochs": config.warmup_epochs,
        # Of 0.1 by default, which Adam would take from the prior in the first steps.
        "warmup_bias_lr": 0.0,
        # To Ultralytics every batch is a step; OmrTrainer gathers them itself.
        "nbs": config.batch,
        "amp": amp_argument(resolved(config.precision, device), device),
        "val": config.validate,
        "patience": 0,  # the number of epochs is what the configuration says
        "plots": False,
        "pretrained": is_weights(model),  # False would leave out a resumed run's weights, too
        "max_det": suggested_max_det(most),
        "translate": config.translate,
        "scale": config.scale,
        "hsv_v": config.brightness,
        # Read from the trainer's transforms; here they are on record.
        **{name: getattr(config, name) for name in ("fliplr", "flipud", "degrees", "mosaic")},
    }
    off = "hsv_h hsv_s shear perspective mixup cutmix copy_paste"
    overrides |= dict.fromkeys([*off.split(), "close_mosaic", "erasing", "multi_scale"], 0)
    if config.resume:
        overrides["resume"] = model
        state = read(out / "weights" / STATE_FILE, mapped=True)
        overrides["amp"] = amp_argument(state["used"], device)  # what its test came to
    return overrides


def _callbacks(config: TrainConfig, labels: dict[str, LabelCounts]) -> dict[str, Any]:
    """Add to Ultralytics' callbacks what has to happen in the processes of all devices."""
    callbacks: dict[str, Any] = get_default_callbacks()
    callbacks[ON_OPTIONS] = [partial(_choose_options, config)]
    callbacks["on_pretrain_routine_end"] += [partial(_check_symbols, labels["train"].symbols)]
    return callbacks


def _resumed(config: TrainConfig) -> TrainConfig:
    """Take a cut-off run's own configuration, with this call's device and workers."""
    weights = config.out / "weights"
    nothing = ConfigError(
        f"{config.out}: nothing to resume: no weights/{STATE_FILE}; delete it and start again"
    )
    if not weights.is_dir():
        raise nothing
    stored = read_config(config.out)
    before, now = stored.sources().folders, config.sources().folders
    pairs = zip(before, now, strict=False)
    others = [old.exists() and old.resolve() != new.resolve() for old, new in pairs]
    if len(before) != len(now) or any(others):
        raise ConfigError(
            f"{config.out}: was started with {_words(stored)}, not with {_words(config)}; give "
            "that, or start a new run with --model weights/last.pt"
        )
    done = _epochs_done(config.out)
    if done >= stored.epochs:
        finish_run(weights)  # if it was cut off between the last epoch and the clearing up
        raise ConfigError(
            f"{config.out}: finished after {stored.epochs} epochs, nothing to resume; "
            "for more, start a new run with --model weights/last.pt"
        )
    if not (weights / STATE_FILE).is_file():
        raise nothing
    if not (weights / "last.pt").is_file():
        raise ConfigError(f"{weights}/last.pt: is missing; bring it back, or start again")
    return replace(
        stored,
        data=config.data,
        joint=config.joint,
        out=config.out,
        heads=str(config.out / HEADS_FILE) if stored.heads else "",  # theirs may be gone
        device=config.device,
        workers=config.workers,
        resume=True,
    )


def _epochs_done(out: Path) -> int:
    """Count the epochs that a run can go on from, or has had in all if it is finished."""
    state, report = out / "weights" / STATE_FILE, out / REPORT_FILE
    if state.is_file():
        done: int = read(state, mapped=True)["epochs_done"]
        return done
    if not report.is_file():
        return 0
    all_done: int = json.loads(report.read_text("utf-8"))["epochs"]
    return all_done


def _words(config: TrainConfig) -> str:
    """Name the data sets, as they are given to the command."""
    return " ".join(map(str, config.sources().folders))


def _choose_options(config: TrainConfig, trainer: OmrTrainer) -> None:
    trainer.sources = config.sources()
    trainer.size_prior = config.size_prior
    trainer.loss_options = config.loss_options()
    trainer.freeze_options = config.freeze_options()
    trainer.nominal_batch = config.nominal_batch or config.batch
    trainer.weights, trainer.trust = config.weights, config.trust
    trainer.transforms = config.transforms()
    trainer.precision = config.precision
    trainer.tensorboard = config.tensorboard
    trainer.heads = head_config.load(config.heads) if config.heads else None


def _write_record(record: Provenance, trainer: OmrTrainer) -> None:
    if is_first():
        write_record(record, trainer)


def _check_symbols(expected: int, trainer: OmrTrainer) -> None:
    """Make sure that Ultralytics trains on the symbols that were counted.

    Raises:
        InputError: It has more or fewer.
    """
    loaded = sum(len(row["cls"]) for row in trainer.train_loader.dataset.labels)
    if loaded != expected:
        raise InputError(
            f"{expected} symbols in the label files, but {loaded} were loaded; "
            "delete the .cache files beside them and start again",
            path=Path(trainer.args.data),
        )
