"""Everything that a training depends on, and the file that it is kept in.

A default stands here and nowhere else; what is said on the command line or in a run's ``omr.yaml``
takes its place.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from class_maps import ConfigError, InputError
from converters.files.atomic_files import atomic_file
from training.assigners.similarity import SimilarityName
from training.data.allowed_transforms import Transforms
from training.data.multi_dataset import DatasetOptions
from training.engine.freezing import FreezeOptions
from training.engine.learning_rate import BASE_BATCH, BASE_LR
from training.engine.precision import Precision, check_precision
from training.losses.class_terms import ClassLoss
from training.losses.detection import UNUSED, AssignerName, LossOptions
from training.models.checkpoints import is_weights
from training.runtime.multiples import check_multiple

CONFIG_FILE = "omr.yaml"
"""The resolved configuration, in the run folder."""
LISTS = "sampling_weights", "merge_classes", "unfreeze_at", "lr_scale"
"""Names of what is a list in that file, and no path."""
STRIDE = 32
"""Pixels per cell of the coarsest level."""
LARGEST_SEED = 2**31 - 1
"""Of NumPy, less what several devices add to it."""


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
    sampling_weights: tuple[float, ...] = ()
    """Weight of the images of ``data`` and of each in ``joint``; empty for their numbers."""
    true_negatives: bool = False
    """A class that one of several data sets does not have is not drawn on its images either; else
    its images say nothing of such a class."""
    merge_classes: tuple[str, ...] = ()
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
    deterministic: bool = False
    """Use deterministic algorithms on a GPU, which are slower; a CPU always does."""
    workers: int = 16
    """Processes per device that load images, at most its share of the cores; none on a CPU."""
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
    """Start the boxes at the data's sizes; not done where they come from weights."""
    assigner: AssignerName = "tal"
    """Which anchor points are to predict a symbol: ``tal``, those that already do it best;
    ``simota``, the cheapest, as many as fit; ``static``, the nearest."""
    heads: str = ""
    """Groups of classes with a head each: name of a shipped head config, or a YAML file; empty for
    a single head, or for that of the weights."""
    class_loss: ClassLoss = "bce"
    """Loss of the classes: ``bce``, ``focal`` or ``varifocal``."""
    similarity: SimilarityName = "ciou+nwd"
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
    """Probability of mirroring an image left to right; refused for music without
    ``allow_music_flips``."""
    flipud: float = 0.0
    """Probability of an image upside down; not of music, unless ``allow_music_flips``."""
    degrees: float = 0.0
    """Largest rotation; of music 1 at most, unless ``allow_music_flips``."""
    mosaic: float = 0.0
    """Probability of four images of a data set in one."""
    allow_music_flips: bool = False
    """Mirror and turn music as well."""
    tensorboard: bool = False
    """Write figures for TensorBoard into the run folder."""
    validate: bool = True
    """Validate after every epoch; else not at all, and the last epoch counts as the best."""

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.weights and is_weights(self.model):
            raise ConfigError(f"--weights: --model {self.model} has weights already; give one")
        check_precision(self.precision)
        usual = LossOptions()
        own = self.loss_options()
        for name in UNUSED[self.assigner]:
            if getattr(own, name) != getattr(usual, name):
                raise ConfigError(f"--{name}: --assigner {self.assigner} looks at no such thing")
        self.transforms()
        self.sources()
        self.freeze_options()

    def _check_numbers(self) -> None:
        names = "epochs", "imgsz", "batch", "lr", "beta"
        numbers = {name: getattr(self, name) for name in names}
        wrong = [f"{name} ({n})" for name, n in numbers.items() if not 0 < n < math.inf]
        if wrong:
            raise ConfigError(f"must be above 0: {', '.join(wrong)}")
        if self.lr > 1:
            raise ConfigError(f"lr ({self.lr:g}): must be 1 at most")
        if not 0 <= self.warmup_epochs < math.inf:
            raise ConfigError(f"warmup_epochs ({self.warmup_epochs:g}): must be 0 or more")
        shares = {name: getattr(self, name) for name in ("translate", "scale", "brightness")}
        if wrong := [f"{name} ({n})" for name, n in shares.items() if not 0 <= n <= 1]:
            raise ConfigError(f"must be from 0 to 1: {', '.join(wrong)}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ConfigError(f"seed ({self.seed}): must be from 0 to {LARGEST_SEED}")
        check_multiple("imgsz", self.imgsz, STRIDE, str(STRIDE))
        check_multiple("nominal_batch", self.nominal_batch, self.batch, f"batch ({self.batch})")

    def sources(self) -> DatasetOptions:
        """Give what of this says which images there are."""
        return DatasetOptions(
            folders=(self.data, *self.joint),
            sampling_weights=self.sampling_weights,
            true_negatives=self.true_negatives,
            merge_classes=self.merge_classes,
        )

    def transforms(self) -> Transforms:
        """Give what of this is done to images, beside shifts, sizes and brightness."""
        return Transforms(
            fliplr=self.fliplr,
            flipud=self.flipud,
            degrees=self.degrees,
            mosaic=self.mosaic,
            allow_music_flips=self.allow_music_flips,
        )

    def loss_options(self) -> LossOptions:
        """Give what of this the loss depends on."""
        return LossOptions(
            assigner=self.assigner,
            class_loss=self.class_loss,
            similarity=self.similarity,
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


def save_config(config: TrainConfig) -> None:
    """Write the configuration into its run folder."""
    content = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in asdict(config).items()
    }
    content["joint"] = [str(folder.absolute()) for folder in config.joint]
    file = config.out / CONFIG_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as part:
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
