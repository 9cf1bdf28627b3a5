"""Training configuration, and the file in the run folder that records it.

:mod:`settings.training` declares the settings with their defaults, help and limits. This module
adds the checks that need the training code, and groups settings for the modules that use them.
"""

from dataclasses import dataclass
from pathlib import Path

from class_maps import ConfigError, InputError
from converters.files.atomic_files import atomic_file
from settings.activations import parse_activations
from settings.freezing import FreezeOptions
from settings.run_files import CONFIG_FILE
from settings.training import LARGEST_SEED, STRIDE, TrainingSettings
from settings.yaml_file import read_settings, settings_text
from training.data.allowed_transforms import Transforms
from training.data.multi_dataset import DatasetOptions
from training.losses.loss_options import UNUSED, LossOptions
from training.models.checkpoints import weights_file
from training.runtime.multiples import check_multiple


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig(TrainingSettings):
    """Training configuration; the run folder records it once all settings are resolved.

    Raises:
        ConfigError: A setting is invalid, or settings contradict each other.
    """

    def __post_init__(self) -> None:
        TrainingSettings.__post_init__(self)
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ConfigError(
                f"expected an integer from 0 to {LARGEST_SEED}", option="--seed", value=self.seed
            )
        check_multiple("--imgsz", self.imgsz, STRIDE, str(STRIDE))
        check_multiple("--nominal-batch", self.nominal_batch, self.batch, f"--batch {self.batch}")
        if self.weights and weights_file(self.model):
            raise ConfigError(
                f"--model {self.model} is a weights file already; drop one of the two options",
                option="--weights",
                value=self.weights,
            )
        if self.recalibrate and not (self.weights or weights_file(self.model)):
            raise ConfigError(
                f"--model {self.model} starts from scratch, and has no statistics to measure "
                "again; add --weights, or drop the option",
                option="--recalibrate",
                value=self.recalibrate,
            )
        self._check_used()
        self.transforms()
        self.sources()
        self.freeze_options()
        self.activations()

    def _check_used(self) -> None:
        """Check that the assigner uses every loss option that differs from its default."""
        defaults, options = LossOptions(), self.loss_options()
        for name in UNUSED.get(self.assigner, ()):
            value = getattr(options, name)
            if value != getattr(defaults, name):
                raise ConfigError(
                    f"not used by --assigner {self.assigner}; drop it",
                    option=f"--{name}",
                    value=value,
                )

    def sources(self) -> DatasetOptions:
        """Return the settings that select and combine data sets."""
        return DatasetOptions(
            folders=(self.data, *self.joint),
            sampling_weights=self.sampling_weights,
            true_negatives=self.true_negatives,
            merge_classes=self.merge_classes,
            balance_threshold=self.balance_threshold if self.balance_classes else 0.0,
        )

    def transforms(self) -> Transforms:
        """Return the settings of flips, rotation and mosaic."""
        return Transforms(
            fliplr=self.fliplr,
            flipud=self.flipud,
            degrees=self.degrees,
            mosaic=self.mosaic,
            allow_music_flips=self.allow_music_flips,
        )

    def loss_options(self) -> LossOptions:
        """Return the settings of the loss and of label assignment."""
        return LossOptions(
            assigner=self.assigner,
            class_loss=self.class_loss,
            similarity=self.similarity,
            beta=self.beta,
        )

    def activations(self) -> dict[str, str]:
        """Return the activation function of each part that differs from the model's own."""
        return parse_activations(self.activation)

    def freeze_options(self) -> FreezeOptions:
        """Return the settings that freeze and unfreeze layers."""
        return FreezeOptions(
            freeze=self.freeze,
            unfreeze_at=self.unfreeze_at,
            lr_scale=self.lr_scale,
            warmup_epochs=self.unfreeze_warmup,
        )


def save_config(config: TrainConfig) -> None:
    """Write the configuration to ``omr.yaml`` in its run folder."""
    file = config.out / CONFIG_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as part:
        part.write_text(settings_text(config), "utf-8")


def read_config(out: Path) -> TrainConfig:
    """Read the configuration of a run.

    Args:
        out: Run folder.

    Raises:
        InputError: ``omr.yaml`` is missing, incomplete, or contains an invalid value.
        ConfigError: The settings contradict each other.
    """
    file = out / CONFIG_FILE
    if not file.is_file():
        raise InputError("no such file; only runs of omr train can be resumed", path=file)
    values = read_settings(file)
    if missing := [name for name in ("data", "out") if name not in values]:
        raise InputError(f"missing settings: {', '.join(missing)}", path=file)
    return TrainConfig(**{"select": "tile"} | values)  # earlier versions had no other selection
