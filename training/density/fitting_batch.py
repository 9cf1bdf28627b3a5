"""Choice of the batch that fits on a GPU for a given data set, for ``omr train --batch auto``."""

from dataclasses import dataclass, replace
from functools import partial

from class_maps import ConfigError, InputError
from eval.reports.density_report import StepMemory
from settings import head_config
from settings.head_config import HeadConfig
from training.config import TrainConfig
from training.data.label_files import no_symbols
from training.data.multi_dataset import join
from training.density.analysis import HeadForm
from training.density.crowding import Crowding, read_labels
from training.heads.distance_bins import strides_below_zero
from training.heads.grouped import GroupedDetect
from training.memory.batch_search import (
    NOMINAL_BATCH,
    Launch,
    StepOf,
    find_launch,
    limit_of,
    present_device,
)
from training.memory.gpus import GIB, Gpu
from training.memory.meta_model import trained_model
from training.memory.step import predict_step
from training.memory.step_spec import StepPrecision, StepSpec
from training.runtime.distributed import n_devices, n_started
from training.runtime.multiples import check_multiple


def auto_batch(config: TrainConfig) -> Launch:
    """Find the largest batch that fits on the local device, up to the nominal batch.

    Args:
        config: Training configuration; its batch is ignored.

    Returns:
        Settings for one device; ``batch`` times the number of devices divides the nominal batch,
        if one is configured.

    Raises:
        ConfigError: Not even one image fits, ``torchrun`` started several processes, or the
            devices cannot share the nominal batch equally.
        InputError: The data set or the weights are invalid.
    """
    if n_started():
        raise ConfigError("--batch auto: not available under torchrun; give a number")
    devices = n_devices(config.device)
    check_multiple(
        "--nominal-batch", config.nominal_batch, devices, f"the number of devices, {devices}"
    )
    requested = config.nominal_batch // devices
    planned = _planned(config, requested)
    step, n_images = planned.step, max(planned.n_images // devices, 1)
    nominal = requested or NOMINAL_BATCH
    launch = find_launch(step, planned.gpu, n_images, nominal)
    if not requested:
        return replace(launch, accumulate=1)
    batch = max(n for n in range(1, launch.largest + 1) if nominal % n == 0)
    return replace(
        launch, batch=batch, accumulate=nominal // batch, memory=predict_step(step(batch))
    )


def check_batch(config: TrainConfig) -> StepMemory:
    """Predict the memory of a step with the configured batch.

    Args:
        config: Training configuration.

    Returns:
        Memory per device.

    Raises:
        ConfigError: The step does not fit on the local device.
        InputError: The data set or the weights are invalid.
    """
    devices = n_devices(config.device)
    planned = _planned(config, config.nominal_batch // devices)
    memory = predict_step(planned.step(max(1, config.batch // devices)))
    limit = limit_of(planned.gpu)
    if memory.total_bytes > limit:
        raise ConfigError(
            f"a step needs {memory.total_bytes / GIB:.1f} GiB, but only {limit / GIB:.1f} of "
            f"{planned.gpu.usable_bytes / GIB:.1f} GiB may be used on {planned.gpu.name}; use a "
            "smaller batch, or batch: auto",
            option="--batch",
            value=config.batch,
        )
    return memory


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlannedSteps:
    """Steps of a training run."""

    step: StepOf
    """Step of a batch that is as crowded as the fullest in a thousand."""
    gpu: Gpu
    n_images: int


def _planned(config: TrainConfig, nominal_batch: int) -> _PlannedSteps:
    """Read the labels that the memory of a step depends on.

    Args:
        config: Training configuration.
        nominal_batch: Images per optimiser step on one device; 0 for the batch.
    """
    gpu = present_device(config.device)
    multi_dataset = join(config.sources())
    heads = head_config.load(config.heads) if config.heads else None
    n_classes = len(multi_dataset.names)
    strides = head_form(config, n_classes, heads).strides
    crowding = read_labels(config, multi_dataset, strides).crowding
    if not crowding.stored.any():
        datasets = [source.dataset for source in multi_dataset.sources]
        raise InputError(no_symbols(datasets, "train"), path=config.data)
    return _PlannedSteps(
        step=partial(
            step_spec, config, gpu, heads, n_classes, crowding, nominal_batch=nominal_batch
        ),
        gpu=gpu,
        n_images=len(crowding.stored),
    )


def head_form(config: TrainConfig, n_classes: int, heads: HeadConfig | None) -> HeadForm:
    """Determine the properties of a model's head on which its boxes depend.

    Args:
        config: Training configuration.
        n_classes: Number of classes of the data.
        heads: Groups of classes; None for a single head, or for the heads of the weights.

    Raises:
        ConfigError: The model does not exist, or the groups are for another number of classes.
        InputError: The weights file does not exist or does not contain a detection model.
    """
    model = trained_model(config.model, n_classes, heads, real=False, trust=config.trust)
    head = model.model[-1]
    return HeadForm(
        strides=tuple(int(stride) for stride in model.stride.tolist()),
        reg_max=head.reg_max - int(strides_below_zero(head)),
        heads=head.config if isinstance(head, GroupedDetect) else None,
    )


def step_spec(
    config: TrainConfig,
    gpu: Gpu,
    heads: HeadConfig | None,
    n_classes: int,
    crowding: Crowding,
    batch: int,
    *,
    nominal_batch: int = 0,
) -> StepSpec:
    """Specify a training step whose batch is as crowded as the fullest in a thousand.

    Args:
        config: Training configuration.
        gpu: Training device.
        heads: Groups of classes; None for a single head.
        n_classes: Number of classes of the data.
        crowding: Crowding of the data.
        batch: Images per forward pass on one device.
        nominal_batch: Images per optimiser step on one device; 0 for ``batch``.

    Raises:
        ConfigError: The device does not support the requested precision.
    """
    whole, fullest = crowding.whole_batch(batch), crowding.fullest_image(batch)
    boxes = whole.p999 if whole else 0
    return StepSpec(
        model=config.model,
        activation=config.activation,
        trust=config.trust,
        n_classes=n_classes,
        heads=heads,
        imgsz=config.imgsz,
        batch=batch,
        precision=_precision(config, gpu),
        optimizer=config.optimizer,
        accumulates=nominal_batch > batch,
        device=gpu.device,
        boxes=boxes,
        boxes_max=fullest.p999 if fullest else 0,
        pairs=round(boxes * crowding.pairs_per_box),
        loss=config.loss_options(),
    )


def _precision(config: TrainConfig, gpu: Gpu) -> StepPrecision:
    """Return the training precision on a device, which need not be the local one."""
    requested = config.precision
    if requested == "auto":
        return "fp32" if gpu.device == "cpu" else "bf16" if gpu.bf16 else "fp16"
    if requested == "bf16" and gpu.device == "cuda" and not gpu.bf16:
        raise ConfigError(f"--precision bf16: not supported by {gpu.name}; use fp16 or fp32")
    return requested
