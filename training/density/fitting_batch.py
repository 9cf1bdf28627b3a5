"""The batch that fits on a GPU, for the data at hand: what ``omr train --batch auto`` takes."""

from dataclasses import replace
from functools import partial

from class_maps import ConfigError, InputError
from training.config import TrainConfig
from training.data.label_files import no_symbols
from training.data.multi_dataset import join
from training.density.analysis import HeadForm
from training.density.crowding import Fullness, read_labels
from training.heads import head_config
from training.heads.distance_bins import has_bins_below_zero
from training.heads.grouped import GroupedDetect
from training.heads.head_config import HeadConfig
from training.memory.batch_search import NOMINAL_BATCH, Launch, find_launch, present_device
from training.memory.gpus import Gpu
from training.memory.meta_model import trained_model
from training.memory.step import StepPrecision, StepSpec, predict_step
from training.runtime.distributed import n_devices, n_started
from training.runtime.multiples import check_multiple


def auto_batch(config: TrainConfig) -> Launch:
    """Find the largest batch that fits on what is here, up to the nominal one.

    Args:
        config: Of the training; its batch is not looked at.

    Returns:
        Of one device; ``batch`` times their number divides the nominal batch, if one was asked for.

    Raises:
        ConfigError: Not even one image fits, processes of ``torchrun`` would have to agree, or the
            nominal batch cannot be shared among the devices.
        InputError: Something is wrong with the data set or the weights.
    """
    if n_started():
        raise ConfigError("--batch auto: the processes of torchrun could not agree; give a number")
    devices = n_devices(config.device)
    check_multiple("nominal_batch", config.nominal_batch, devices, f"the {devices} devices")
    gpu = present_device(config.device)
    joint = join(config.sources())
    heads = head_config.load(config.heads) if config.heads else None
    strides = form_of(config, len(joint.names), heads).strides
    fullness = read_labels(config, joint, strides).fullness
    if not fullness.stored.any():
        raise InputError(no_symbols(len(fullness.stored)), path=config.data)
    asked = config.nominal_batch // devices
    step = partial(step_of, config, gpu, heads, len(joint.names), fullness, nominal_batch=asked)
    nominal = asked or NOMINAL_BATCH
    found = find_launch(step, gpu, max(len(fullness.stored) // devices, 1), nominal)
    if not asked:
        return replace(found, accumulate=1)
    batch = max(n for n in range(1, found.largest + 1) if nominal % n == 0)
    return replace(
        found, batch=batch, accumulate=nominal // batch, memory=predict_step(step(batch))
    )


def form_of(config: TrainConfig, n_classes: int, heads: HeadConfig | None) -> HeadForm:
    """Tell what of a model's head its boxes depend on.

    Args:
        config: Of the training.
        n_classes: Of its data.
        heads: Groups of classes; a single head if None, or that of the weights.

    Raises:
        ConfigError: No such model, or the groups are not of so many classes.
        InputError: No such file, or no detection model in it.
    """
    model = trained_model(config.model, n_classes, heads, real=False, trust=config.trust)
    head = model.model[-1]
    return HeadForm(
        strides=tuple(int(stride) for stride in model.stride.tolist()),
        reg_max=head.reg_max - int(has_bins_below_zero(head)),
        heads=head.config if isinstance(head, GroupedDetect) else None,
    )


def step_of(
    config: TrainConfig,
    gpu: Gpu,
    heads: HeadConfig | None,
    n_classes: int,
    fullness: Fullness,
    batch: int,
    *,
    nominal_batch: int = 0,
) -> StepSpec:
    """Say what a step of a training takes with a batch as full as one in a thousand is.

    Args:
        config: Of the training.
        gpu: Where it is to run.
        heads: Groups of classes; a single head if None.
        n_classes: Of its data.
        fullness: Of its data.
        batch: Images at a time, on one device.
        nominal_batch: Images a step, on one device; 0 for ``batch``.

    Raises:
        ConfigError: The device cannot do the precision that is asked for.
    """
    whole, fullest = fullness.whole_batch(batch), fullness.fullest_image(batch)
    boxes = whole.p999 if whole else 0
    return StepSpec(
        model=config.model,
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
        pairs=round(boxes * fullness.pairs_a_box),
        loss=config.loss_options(),
    )


def _precision(config: TrainConfig, gpu: Gpu) -> StepPrecision:
    """What a training on this GPU comes to, wherever this runs."""
    asked = config.precision
    if asked == "auto":
        return "fp32" if gpu.device == "cpu" else "bf16" if gpu.bf16 else "fp16"
    if asked == "bf16" and gpu.device == "cuda" and not gpu.bf16:
        raise ConfigError(f"{gpu.name} has no bf16: --precision fp16 or fp32")
    return asked
