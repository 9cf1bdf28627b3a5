"""Trains one Ultralytics model on one data set, or on several together.

:func:`train` checks everything a user can get wrong, then hands over to :class:`ScoreTrainer`,
which is Ultralytics' trainer with what music needs: no label dropped, no flips and no mosaic, a
start from the data's sizes, a limit of detections that fits a full page, and no network.
"""

import importlib.util
import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.callbacks import get_default_callbacks

from class_maps import ConfigError, InputError, MissingExtraError
from converters.staging import is_free, lies_in
from training.assigners.nearness import OverlapName
from training.checkpoints import is_weights, load_weights
from training.density import suggested_max_det
from training.devices import check_device
from training.freezing import FreezeOptions, check_freezing
from training.heads import head_config
from training.heads.grouped import GroupedDetect
from training.joint_data import JointData, JointOptions, count_sources, join, total
from training.labels import LabelCounts
from training.learning_rate import BASE_BATCH, BASE_LR
from training.losses.class_terms import ClassLoss
from training.losses.detection import AssignerName, LossOptions
from training.model_descriptions import activation_kept
from training.models import model_file
from training.music_safety import Transforms
from training.precision import Precision, amp_argument, check_precision, resolved
from training.ranks import check_ranks, is_first
from training.run_record import HEADS_FILE, RunRecord, check_same_data, record_of, write_record
from training.run_state import STATE_FILE, read
from training.score_trainer import ON_OPTIONS, REPORT_FILE, ScoreTrainer, finish_run
from training.signed_distances import beside
from training.tensorboard_log import check_tensorboard
from training.transfer import check_fit
from training.whole_files import replacing

CONFIG_FILE = "omr.yaml"
"""The resolved configuration, in the run folder."""
LISTS = "mix", "same", "unfreeze_at", "lr_scale"
"""Names of what is a list in that file, and no path."""
STRIDE = 32
"""Pixels per cell of the coarsest level."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything a training depends on; saved in the run folder as it was resolved.

    Raises:
        ConfigError: A number that must be above 0 is not, ``imgsz`` is no multiple of 32, a name is
            none of those there are, or there are two files with weights.
    """

    data: Path
    """Folder with a ``data.yaml``, or that file."""
    joint: tuple[Path, ...] = ()
    """Data sets that are trained on together with ``data``."""
    mix: tuple[float, ...] = ()
    """Weight of the images of ``data`` and of each in ``joint``; empty for their numbers."""
    true_negatives: bool = False
    """A class that one of several data sets does not have is not drawn on its images either; else
    its images say nothing of such a class."""
    same: tuple[str, ...] = ()
    """Class names that mean the same in several data sets, whatever their class maps; ``all`` for
    every name."""
    out: Path
    """Run folder; it must be empty or not there, unless ``resume``."""
    model: str = "yolo11n"
    """Name of a model to train from scratch, or a file with weights to go on from."""
    weights: str = ""
    """File with weights of which ``model`` takes over what fits; empty for none."""
    trust: bool = False
    """Whether a pickle with weights that cannot be read otherwise may run its code."""
    epochs: int = 100
    imgsz: int = 640
    """Side of the network's input in pixels."""
    batch: int = BASE_BATCH
    """Images that go through the network at a time, over all devices."""
    nominal_batch: int = 0
    """Images a step, a multiple of ``batch``, whose gradients are added up; 0 for ``batch``."""
    device: str = ""
    """``cpu``, ``0``, ``0,1`` ...; empty for the first CUDA device, or the CPU."""
    seed: int = 0
    workers: int = 8
    """Processes that load images, a device; on a CPU there are none."""
    resume: bool = False
    """Go on with the run in ``out``, with the configuration it was started with."""
    lr: float = BASE_LR
    """Learning rate after warm-up."""
    final_lr: float = 0.01
    """Learning rate at the end, as a share of ``lr``."""
    warmup_epochs: float = 3.0
    freeze: str = ""
    """Layers that are not trained: ``backbone``; ``neck``, all before the head; or how many."""
    unfreeze_at: tuple[int, ...] = ()
    """Epochs, from 0, with which a part of the frozen layers comes back, the last ones first."""
    lr_scale: tuple[float, ...] = ()
    """Learning rate of layers that come back, as a share of ``lr``; one for all parts or one for
    each; empty for 0.1."""
    unfreeze_warmup: float = 1.0
    """Epochs in which the learning rate of layers that come back rises."""
    optimizer: str = "AdamW"
    weight_decay: float = 0.0005
    precision: Precision = "auto"
    """What the network computes in: ``bf16``, ``fp16``, ``fp32``; ``auto`` is bf16 on a GPU that
    has it, if a test against fp32 passes."""
    size_prior: bool = True
    """Start the boxes at the data's sizes, and let them lie beside their anchor points; not done
    where ``model`` is a weights file, whose boxes stay as they are."""
    assigner: AssignerName = "tal"
    """Which anchor points are to predict a symbol: ``tal``, those that already do it best;
    ``simota``, the cheapest, as many as fit; ``static``, the nearest."""
    heads: str = ""
    """Groups of classes with a head each: name of a shipped head config, or a YAML file; empty for
    a single head, or for that of the weights."""
    class_loss: ClassLoss = "bce"
    """Loss of the classes: ``bce``, ``focal`` or ``varifocal``."""
    overlap: OverlapName = "near"
    """How the assigner measures the fit of a prediction; see :class:`LossOptions`."""
    beta: float = 6.0
    """Power of the overlap in the metric of ``tal``: a lower one spreads the weight."""
    translate: float = 0.1
    """Largest shift, as a share of the image."""
    scale: float = 0.2
    """Sizes from 1 - scale to 1 + scale."""
    brightness: float = 0.2
    """Largest change of brightness, as a share."""
    fliplr: float = 0.0
    """Probability of a mirrored image, left for right; not of music, unless ``i_know``."""
    flipud: float = 0.0
    """Probability of an image upside down; not of music, unless ``i_know``."""
    degrees: float = 0.0
    """Largest rotation; of music 1 at most, unless ``i_know``."""
    mosaic: float = 0.0
    """Probability of four images of a data set in one."""
    i_know: bool = False
    """Mirror and turn music as well."""
    tensorboard: bool = False
    """Write figures for TensorBoard into the run folder."""
    validate: bool = True
    """Validate after every epoch; else not at all, and the last epoch counts as the best."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        names = "epochs", "imgsz", "batch", "lr", "beta"
        numbers = {name: getattr(self, name) for name in names}
        wrong = [f"{name} ({n})" for name, n in numbers.items() if not 0 < n < math.inf]
        if wrong:
            raise ConfigError(f"must be above 0: {', '.join(wrong)}")
        if self.imgsz % STRIDE:
            larger = -(-self.imgsz // STRIDE) * STRIDE
            raise ConfigError(f"imgsz ({self.imgsz}): must be a multiple of {STRIDE}; use {larger}")
        if self.nominal_batch < 0 or self.nominal_batch % self.batch:
            larger = max(-(-self.nominal_batch // self.batch), 1) * self.batch
            raise ConfigError(
                f"nominal_batch ({self.nominal_batch}): must be a multiple of batch "
                f"({self.batch}); use {larger}"
            )
        if self.weights and is_weights(self.model):
            raise ConfigError(f"--weights: --model {self.model} has weights already; give one")
        check_precision(self.precision)
        self.loss_options()
        self.transforms()
        self.sources()
        self.freeze_options()

    def sources(self) -> JointOptions:
        """Give what of this says which images there are."""
        return JointOptions(
            folders=(self.data, *self.joint),
            mix=self.mix,
            true_negatives=self.true_negatives,
            same=self.same,
        )

    def transforms(self) -> Transforms:
        """Give what of this is done to images, beside shifts, sizes and brightness."""
        return Transforms(
            fliplr=self.fliplr,
            flipud=self.flipud,
            degrees=self.degrees,
            mosaic=self.mosaic,
            i_know=self.i_know,
        )

    def loss_options(self) -> LossOptions:
        """Give what of this the loss depends on."""
        return LossOptions(
            assigner=self.assigner,
            class_loss=self.class_loss,
            overlap=self.overlap,
            beta=self.beta,
        )

    def freeze_options(self) -> FreezeOptions:
        """Give what of this says which layers are trained, and when."""
        return FreezeOptions(
            freeze=self.freeze,
            unfreeze_at=self.unfreeze_at,
            lr_scale=self.lr_scale,
            warmup_epochs=self.unfreeze_warmup,
        )


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
    elif is_first():  # after everything that could be wrong: an old run is still there
        _make_room(config, force=force)
    callbacks = _callbacks(config, labels)
    callbacks["on_pretrain_routine_end"].append(partial(_write_record, record))
    try:
        ScoreTrainer(overrides=_overrides(config, model, labels), _callbacks=callbacks).train()
    except BaseException:
        if is_first() and not last.is_file():  # leave nothing that cannot be resumed
            shutil.rmtree(config.out, ignore_errors=True)
        raise
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


def ready_trainer(config: TrainConfig) -> ScoreTrainer:
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
    trainer = ScoreTrainer(overrides=_overrides(config, model, labels), _callbacks=callbacks)
    trainer._setup_train()
    return trainer


def _checked(config: TrainConfig) -> tuple[str, JointData]:
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
    file = model if is_weights(model) else config.weights
    if config.resume or not file:
        return
    source = load_weights(Path(file), trust=config.trust)
    if file != model:
        with activation_kept():
            new = DetectionModel(model, nc=len(names), verbose=False)
        check_fit(source, new, Path(file), config.model)
    if heads and heads.box_encoding == "stock" and beside(source.model[-1]):
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


def _make_room(config: TrainConfig, *, force: bool) -> None:
    out = config.out
    if is_free(out):
        return
    if not force:
        raise ConfigError(
            f"{out}: exists; choose another folder, --force to replace it, or --resume to go on"
        )
    if not (out / CONFIG_FILE).is_file():
        raise ConfigError(
            f"{out}: has no {CONFIG_FILE}: not a run of omr train, and not replaced; choose another"
        )
    files = (Path(file) for file in (config.model, config.weights) if file)
    for needed in (config.data, *config.joint, *files):
        if needed.exists() and lies_in(needed, out):
            raise ConfigError(
                f"{needed} lies in {out}, which would be replaced; choose another folder"
            )
    shutil.rmtree(out)


def save_config(config: TrainConfig) -> None:
    """Write the configuration into its run folder."""
    content = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in asdict(config).items()
    }
    content["joint"] = [str(folder.absolute()) for folder in config.joint]
    file = config.out / CONFIG_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part:
        part.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")


def read_config(out: Path) -> TrainConfig:
    """Read the configuration of a run.

    Raises:
        InputError: The file is missing, or is not what :func:`save_config` wrote.
    """
    file = out / CONFIG_FILE
    if not file.is_file():
        raise InputError("no such file; only a run of omr train can be resumed", path=file)
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
        paths = {name: Path(content[name]) for name in ("data", "out")}
        lists = {name: tuple(content.get(name, ())) for name in LISTS}
        joint = tuple(Path(folder) for folder in content.get("joint", ()))
        return TrainConfig(**content | paths | lists | {"joint": joint})
    except (yaml.YAMLError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"not written by omr train: {reason}", path=file) from None


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
        "optimizer": config.optimizer,
        "lr0": config.lr,
        "lrf": config.final_lr,
        "weight_decay": config.weight_decay,
        "warmup_epochs": config.warmup_epochs,
        # Of 0.1 by default, which Adam would take from the prior in the first steps.
        "warmup_bias_lr": 0.0,
        # To Ultralytics every batch is a step; ScoreTrainer gathers them itself.
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
        report = json.loads((out / REPORT_FILE).read_text("utf-8"))
        overrides["amp"] = amp_argument(report["precision"], device)  # what its test came to
    return overrides


def _callbacks(config: TrainConfig, labels: dict[str, LabelCounts]) -> dict[str, Any]:
    """Add to Ultralytics' callbacks what has to happen in the processes of all devices."""
    callbacks: dict[str, Any] = get_default_callbacks()
    callbacks[ON_OPTIONS] = [partial(_choose_options, config)]
    callbacks["on_pretrain_routine_end"] += [
        partial(_save_config, config),
        partial(_check_symbols, labels["train"].symbols),
    ]
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


def _choose_options(config: TrainConfig, trainer: ScoreTrainer) -> None:
    trainer.sources = config.sources()
    trainer.size_prior = config.size_prior
    trainer.loss_options = config.loss_options()
    trainer.freeze_options = config.freeze_options()
    trainer.batches_a_step = max(config.nominal_batch // config.batch, 1)
    trainer.weights, trainer.trust = config.weights, config.trust
    trainer.transforms = config.transforms()
    trainer.precision = config.precision
    trainer.tensorboard = config.tensorboard
    trainer.heads = head_config.load(config.heads) if config.heads else None


def _save_config(config: TrainConfig, _trainer: ScoreTrainer) -> None:
    if is_first():
        save_config(config)


def _write_record(record: RunRecord, trainer: ScoreTrainer) -> None:
    if is_first():
        write_record(record, trainer)


def _check_symbols(expected: int, trainer: ScoreTrainer) -> None:
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
