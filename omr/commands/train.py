"""``omr train``."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from class_maps import ConfigError, some
from omr.console import note, print_json, say, table
from omr.options import AsJson, Device, Trust

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.data.label_files import LabelCounts
    from training.lr_finder import RangeTest
    from training.trainer import TrainResult

N = TypeVar("N", int, float)

MODEL, STEPS, LOSS = "The model", "How it is trained", "What counts as right"
SOURCES, IMAGES = "Several DATA", "What is done to the images"
"""Titles of groups of options."""
AUTO_BATCH = "auto"
MOST_NAMES = 8
"""Names that a sentence lists."""


def train(
    context: typer.Context,
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders that omr convert wrote, trained on together.", exists=True),
    ],
    out: Annotated[Path, typer.Option(help="Run folder to make.", file_okay=False)],
    model: Annotated[
        str,
        typer.Option(
            help="yolov8, yolo11, yolo12, yolo26 + n, s, m, l, x; yolov7-tiny; omr-tiny; a .pt.",
            rich_help_panel=MODEL,
        ),
    ] = "yolo11n",
    weights: Annotated[
        str,
        typer.Option(
            help="File of which MODEL takes over what fits; it may know others.",
            rich_help_panel=MODEL,
        ),
    ] = "",
    trust: Trust = False,
    epochs: Annotated[
        int, typer.Option(help="Times through the data.", min=1, rich_help_panel=STEPS)
    ] = 100,
    imgsz: Annotated[
        int, typer.Option(help="Side of the network input, pixels.", min=32, rich_help_panel=STEPS)
    ] = 640,
    batch: Annotated[
        str,
        typer.Option(
            help="Images at a time, all devices together; auto: what fits, up to 64 a device.",
            rich_help_panel=STEPS,
        ),
    ] = "16",
    nominal_batch: Annotated[
        int,
        typer.Option(
            help="Images a step, a multiple of --batch.",
            min=0,
            show_default="--batch",
            rich_help_panel=STEPS,
        ),
    ] = 0,
    device: Device = "",
    lr: Annotated[
        str,
        typer.Option(
            help="Learning rate after warm-up; auto:sqrt, auto:linear: by the batch.",
            rich_help_panel=STEPS,
        ),
    ] = "0.001",
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Do not train: find a learning rate, draw it in OUT.",
            rich_help_panel=STEPS,
        ),
    ] = False,
    warmup_epochs: Annotated[
        float,
        typer.Option(help="Epochs in which the learning rate rises.", min=0, rich_help_panel=STEPS),
    ] = 3.0,
    freeze: Annotated[
        str,
        typer.Option(
            help="Layers not to train: backbone, neck (with the backbone), a number.",
            rich_help_panel=STEPS,
        ),
    ] = "",
    unfreeze_at: Annotated[
        str | None,
        typer.Option(
            help="Epochs with which a part of them is trained: 5; 3,6,9: last first.",
            rich_help_panel=STEPS,
        ),
    ] = None,
    lr_scale: Annotated[
        str | None,
        typer.Option(
            help="Their share of the rate then: one, or one a part.",
            show_default="0.1",
            rich_help_panel=STEPS,
        ),
    ] = None,
    unfreeze_warmup: Annotated[
        float, typer.Option(help="Epochs in which their rate rises.", min=0, rich_help_panel=STEPS)
    ] = 1.0,
    validate: Annotated[
        bool, typer.Option(help="Validate after every epoch, or never: best.pt is last.pt.")
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in OUT, with its own settings.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Of weights, order and augmentation.", rich_help_panel=STEPS)
    ] = 0,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Use deterministic algorithms on a GPU, which are slower; a CPU always does.",
            rich_help_panel=STEPS,
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(help="Processes that load images, at most one per core; GPU only.", min=0),
    ] = 16,
    size_prior: Annotated[
        bool,
        typer.Option(help="Start boxes at the data's symbol sizes.", rich_help_panel=MODEL),
    ] = True,
    heads: Annotated[
        str,
        typer.Option(
            help="Groups of classes, a head each: a name or a .yaml file.", rich_help_panel=MODEL
        ),
    ] = "",
    assigner: Annotated[
        Literal["tal", "simota", "static"],
        typer.Option(
            help="Who predicts a symbol: the best points so far, the cheapest, the nearest.",
            rich_help_panel=LOSS,
        ),
    ] = "tal",
    class_loss: Annotated[
        Literal["bce", "focal", "varifocal"],
        typer.Option(help="Loss of the classes.", rich_help_panel=LOSS),
    ] = "bce",
    similarity: Annotated[
        Literal["ciou+nwd", "ciou", "iou", "nwd", "dilated"],
        typer.Option(
            help="How the assigner measures fit; ciou is Ultralytics'.", rich_help_panel=LOSS
        ),
    ] = "ciou+nwd",
    beta: Annotated[
        float,
        typer.Option(
            help="Power of the overlap in the metric of tal; lower spreads weight.",
            rich_help_panel=LOSS,
        ),
    ] = 6.0,
    sampling_weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of several DATA: 2:1.",
            show_default="by number of images",
            rich_help_panel=SOURCES,
        ),
    ] = None,
    true_negatives: Annotated[
        bool,
        typer.Option(
            "--true-negatives",
            help="A class that one of several DATA does not have is not on its images either; "
            "else they say nothing of it.",
            rich_help_panel=SOURCES,
        ),
    ] = False,
    merge_classes: Annotated[
        str | None,
        typer.Option(
            help="Classes that mean the same in several DATA: a,b; all for every one.",
            rich_help_panel=SOURCES,
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "bf16", "fp16", "fp32"],
        typer.Option(
            help="Of the network; auto: bf16 on a GPU that has it, if a test passes.",
            rich_help_panel=STEPS,
        ),
    ] = "auto",
    translate: Annotated[
        float, typer.Option(help="Largest shift, a share of the image.", rich_help_panel=IMAGES)
    ] = 0.1,
    scale: Annotated[
        float, typer.Option(help="Sizes from 1 - SCALE to 1 + SCALE.", rich_help_panel=IMAGES)
    ] = 0.2,
    brightness: Annotated[
        float, typer.Option(help="Largest change of brightness, a share.", rich_help_panel=IMAGES)
    ] = 0.2,
    fliplr: Annotated[
        float,
        typer.Option(
            help="Share of images mirrored; of photographs only, not of music.",
            rich_help_panel=IMAGES,
        ),
    ] = 0.0,
    flipud: Annotated[
        float,
        typer.Option(
            help="Share of images upside down; of photographs only.", rich_help_panel=IMAGES
        ),
    ] = 0.0,
    degrees: Annotated[
        float,
        typer.Option(help="Largest rotation; of music no more than 1.", rich_help_panel=IMAGES),
    ] = 0.0,
    mosaic: Annotated[
        float,
        typer.Option(
            help="Share of images made of four, all from one of DATA.", rich_help_panel=IMAGES
        ),
    ] = 0.0,
    allow_music_flips: Annotated[
        bool,
        typer.Option(
            "--allow-music-flips", help="Mirror and turn music, too.", rich_help_panel=IMAGES
        ),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write figures for TensorBoard into OUT.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a run in OUT.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a detector from scratch, or go on from weights, on one data set or several.

    Example: omr train data --model yolo11n --epochs 100 --imgsz 640 --out run
    """
    from training.config import TrainConfig
    from training.engine.learning_rate import resolved_rate
    from training.runtime.distributed import is_first
    from training.trainer import TrainResult

    if resume:
        _check_no_settings(context)
    config = TrainConfig(
        data=data[0],
        joint=tuple(data[1:]),
        sampling_weights=mix_weights(sampling_weights),
        true_negatives=true_negatives,
        merge_classes=tuple(name.strip() for name in merge_classes.split(","))
        if merge_classes
        else (),
        out=out,
        model=model,
        weights=weights,
        trust=trust,
        epochs=epochs,
        imgsz=imgsz,
        batch=_batch(batch),
        device=device,
        nominal_batch=nominal_batch,
        freeze=freeze,
        unfreeze_at=_numbers("unfreeze_at", unfreeze_at, int),
        lr_scale=_numbers("lr_scale", lr_scale, float),
        unfreeze_warmup=unfreeze_warmup,
        validate=validate,
        resume=resume,
        seed=seed,
        deterministic=deterministic,
        workers=workers,
        size_prior=size_prior,
        heads=heads,
        assigner=assigner,
        class_loss=class_loss,
        similarity=similarity,
        beta=beta,
        precision=precision,
        translate=translate,
        scale=scale,
        brightness=brightness,
        fliplr=fliplr,
        flipud=flipud,
        degrees=degrees,
        mosaic=mosaic,
        allow_music_flips=allow_music_flips,
        tensorboard=tensorboard,
    )
    if batch == AUTO_BATCH:
        config = _with_fitting_batch(config)
    rate = resolved_rate(
        lr,
        batch=config.nominal_batch or config.batch,
        warmup_epochs=warmup_epochs,
        given=_is_given(context, "warmup_epochs"),
    )
    if rate.rule and is_first():
        say(f"lr {rate.lr:.3g}, warm-up of {rate.warmup_epochs:g} epochs: {rate.rule}")
    config = replace(config, lr=rate.lr, warmup_epochs=rate.warmup_epochs)
    result = _job(find_lr)(config, force=force)
    if not is_first():  # another process of torchrun tells the same
        return
    _show(result) if isinstance(result, TrainResult) else _show_test(result, out)
    if as_json:
        print_json(result.to_json())


def _batch(text: str) -> int:
    """Read the number of images at a time; auto is 1 until it is known."""
    try:
        return 1 if text == AUTO_BATCH else int(text)
    except ValueError:
        raise ConfigError(f"batch: {text}: expected a number, or {AUTO_BATCH}") from None


def _with_fitting_batch(config: "TrainConfig") -> "TrainConfig":
    """Choose the batch by the memory that is here."""
    from training.density.fitting_batch import auto_batch
    from training.memory.gpus import GIB
    from training.runtime.distributed import n_devices

    found = auto_batch(config)
    batch = found.batch * n_devices(config.device)
    say(f"batch {batch}: {found.memory.total_bytes / GIB:.1f} GiB a device, as predicted")
    return replace(config, batch=batch)


def mix_weights(mix: str | None) -> tuple[float, ...]:
    """Read the weights of several data sets, such as 2:1."""
    try:
        return tuple(float(weight) for weight in mix.split(":")) if mix is not None else ()
    except ValueError:
        raise ConfigError(
            f"sampling_weights: {mix}: expected a weight for each data set, as 2:1"
        ) from None


def _numbers(name: str, text: str | None, kind: type[N]) -> tuple[N, ...]:
    """Read numbers such as 3,6,9."""
    try:
        return tuple(kind(number) for number in text.split(",")) if text is not None else ()
    except ValueError:
        raise ConfigError(f"{name}: {text}: expected a number, or several: 1,2") from None


def _job(find_lr: bool) -> "Callable[..., TrainResult | RangeTest]":
    """Choose what is done with a configuration."""
    if find_lr:
        from training.lr_finder import find_rate

        return find_rate
    from training.trainer import train

    return train


def _show_test(found: "RangeTest", out: Path) -> None:
    from omr.lr_plot import write_lr_plot
    from training.lr_finder import PLOT_FILE, RESULT_FILE

    write_lr_plot(found, out / PLOT_FILE)
    say(f"{len(found.rates)} steps, up to a learning rate of {found.rates[-1]:.2g}")
    if found.suggestion is None:
        note("the loss never fell: look at the data with omr show")
    else:
        say(
            f"the loss falls fastest at {found.steepest:.2g}; "
            f"a tenth of the rate with the lowest loss is {found.tenth_of_lowest:.2g}"
        )
    say(f"figures: {out / RESULT_FILE}, plot: {out / PLOT_FILE}")
    if found.suggestion is not None:
        say(f"go on with --lr {found.suggestion:g} and another --out")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _check_no_settings(context: typer.Context) -> None:
    """A resumed run has its own settings: others would be passed over in silence."""
    free = {"data", "out", "device", "workers", "resume", "as_json"}
    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params.keys() - free
        if _is_given(context, name)
    ]
    if given:
        raise ConfigError(
            f"--resume goes on with the run's own settings; leave out {', '.join(sorted(given))}"
        )


def _show(result: "TrainResult") -> None:
    seen = [(name, n["seen"], n["dropped"]) for name, n in result.augmented.items() if n["seen"]]
    table("Symbols in augmentation", ("class", "seen", "dropped"), seen)
    say("Dropped: shifted out of sight in one of the epochs, not gone from the data.")
    _show_counts(result.labels)
    for folder, labels in result.sources.items():
        if result.sources.keys() != {folder}:
            _show_counts(labels, f"{folder}, ")
        if silent := result.unlabelled[folder]:
            say(f"{folder}: says nothing of {len(silent)} classes: {some(silent, MOST_NAMES)}")
    say(f"{result.epochs} epochs in {result.precision}, {result.seconds:.0f} s -> {result.best}")


def _show_counts(labels: "Mapping[str, LabelCounts]", of: str = "") -> None:
    for split, held in labels.items():
        say(
            f"{of}{split}: {held.images} images, {held.symbols} symbols, "
            f"{held.without_labels} images without any, {held.duplicates} doubled rows left out"
        )
