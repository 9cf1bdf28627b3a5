"""Recommended settings for a training run, with reasons and commands to copy."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path

from class_maps import short_list
from converters.formats.yolo_dataset import YoloDataset
from converters.manifest import Manifest, read_manifest
from converters.reproduce_command import reproduce_command
from eval.reports.density_report import LargerSymbols, Recommendation
from reading.max_det import suggested_max_det
from settings.training import STRIDE
from training.config import TrainConfig
from training.density.analysis import LabelAnalysis
from training.density.sizes import WANTED_PX, WANTED_SHARE
from training.memory.batch_search import HEADROOM, Launch, workers_for
from training.memory.gpus import GIB, Gpu

MOST_NAMES = 3
"""Maximum number of class names per sentence."""

LaunchAt = Callable[[int], Launch | None]
"""Function from a network input side to the settings that fit; None if not even one image fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _SmallClasses:
    """Classes that are too small at the training size, grouped by remedy."""

    helped: tuple[str, ...]
    """Classes that tiles or a larger network input make large enough."""
    too_small: tuple[str, ...]
    """Classes that need larger images, cut into tiles."""
    without_area: tuple[str, ...]
    """Classes that need corrected labels."""
    tile: float
    """Side of the largest tiles that suffice for ``helped``; ``inf`` if it is empty."""
    magnification: float
    """Factor by which the network input must grow for ``helped``."""
    image_magnification: float
    """Factor by which the stored images must grow for ``too_small``."""


def recommend(
    config: TrainConfig,
    gpu: Gpu,
    labels: LabelAnalysis,
    launch: Launch,
    *,
    dataset: YoloDataset | None,
    wanted: Sequence[str],
    launch_at: LaunchAt,
) -> Recommendation:
    """Recommend batch, tiles and further settings for a training run.

    Args:
        config: Requested configuration.
        gpu: Training device.
        labels: Analysis of the labels.
        launch: Settings that fit on the device.
        dataset: Data set to train on; None for several data sets.
        wanted: Classes that must be large enough; empty for all classes with symbols.
        launch_at: Function that finds the settings for another network input side.
    """
    small = _small_classes(config, labels, wanted)
    larger = _larger_symbols(config, small, launch_at) if small.helped else None
    manifest = read_manifest(dataset.root) if dataset else None
    convert_command = None
    if larger and manifest:
        out = _unused_folder(Path(f"{manifest.path.resolve().parent.name}-tile{larger.tile}"))
        convert_command = reproduce_command(manifest, out, larger.tile)
    max_det = suggested_max_det(labels.symbols.max if labels.symbols else 0)
    workers = workers_for(labels.n_images)
    cache = labels.n_images * 3 * config.imgsz**2
    loading = f"{workers} processes load images here; " if gpu.device == "cuda" else ""
    return Recommendation(
        batch=launch.batch,
        accumulate=launch.accumulate,
        imgsz=config.imgsz,
        tile=larger.tile if larger else None,
        larger=larger,
        too_small=small.too_small,
        without_area=small.without_area,
        max_det=max_det,
        workers=workers,
        cache_bytes=cache,
        command=_train_command(config, launch),
        convert_command=convert_command,
        reasons=(
            _batch_reason(launch, gpu),
            *_size_reasons(config.imgsz, small, larger, manifest, convert_command),
            f"up to {max_det:,} detections per image (max_det; chosen automatically by omr train "
            "and omr eval)",
            f"{loading}all images at {config.imgsz} px would take {cache / GIB:.2f} GiB of main "
            "memory",
        ),
    )


def _small_classes(
    config: TrainConfig, labels: LabelAnalysis, wanted: Sequence[str]
) -> _SmallClasses:
    tiles = {name: side for name, side in labels.tiles.items() if not wanted or name in wanted}
    helped = tuple(name for name, side in tiles.items() if config.imgsz <= side < inf)
    too_small = tuple(name for name, side in tiles.items() if 0 < side < config.imgsz)
    return _SmallClasses(
        helped=helped,
        too_small=too_small,
        without_area=tuple(name for name, side in tiles.items() if side == 0),
        tile=min((tiles[name] for name in helped), default=inf),
        magnification=max((labels.scale[name] or 1.0 for name in helped), default=1.0),
        image_magnification=max((config.imgsz / tiles[name] for name in too_small), default=1.0),
    )


def _larger_symbols(
    config: TrainConfig, small: _SmallClasses, launch_at: LaunchAt
) -> LargerSymbols:
    imgsz = ceil(config.imgsz * small.magnification / STRIDE) * STRIDE
    launch = launch_at(imgsz)
    return LargerSymbols(
        tile=int(small.tile) // STRIDE * STRIDE,
        imgsz=imgsz,
        batch=launch.batch if launch else 0,
        accumulate=launch.accumulate if launch else 0,
    )


def _batch_reason(launch: Launch, gpu: Gpu) -> str:
    accumulation = ""
    if launch.accumulate > 1:
        images = launch.batch * launch.accumulate
        accumulation = f"; {launch.accumulate} batches per step, {images} images"
    need = launch.memory.total_bytes
    return (
        f"batch {launch.batch}: {need / GIB:.1f} GiB of {gpu.usable_bytes / GIB:.1f} usable on "
        f"{gpu.name}, of which {HEADROOM:.0%} is kept free{accumulation}"
    )


def _size_reasons(
    imgsz: int,
    small: _SmallClasses,
    larger: LargerSymbols | None,
    manifest: Manifest | None,
    convert_command: str | None,
) -> list[str]:
    """List the classes that are too small, each with its remedy."""
    reasons = []
    options = manifest.options if manifest else None
    staff_space = options.staff_space if options else None
    if larger:
        batch = " ".join(_batch_options(larger.batch, larger.accumulate))
        alternative = f"--imgsz {larger.imgsz} {batch}, or " if larger.batch else ""
        scale = f" --scale staff-space:{staff_space:.12g}" if staff_space else ""
        command = f"omr convert --tile {larger.tile}{scale}"
        hint = f" (cut the pages with {command})" if manifest and not convert_command else ""
        reasons.append(
            f"{WANTED_PX:g} px for {WANTED_SHARE:.0%} of {short_list(small.helped, MOST_NAMES)}: "
            f"{alternative}tiles of {larger.tile} px{hint}"
        )
    if small.too_small:
        factor = ceil(small.image_magnification * 10) / 10  # rounded up, so that it suffices
        scale = f"--scale staff-space:{staff_space * factor:g}" if staff_space else ""
        hint = f" (omr convert {scale} --tile {imgsz})" if staff_space else ""
        reasons.append(
            f"{short_list(small.too_small, MOST_NAMES)}: under {WANTED_PX:g} px in the stored "
            f"images; images {factor:g} times as large, in tiles of {imgsz} px, would help{hint}"
        )
    if small.without_area:
        reasons.append(
            f"{short_list(small.without_area, MOST_NAMES)}: boxes of zero width or height; "
            "correct the labels"
        )
    return reasons


def _train_command(config: TrainConfig, launch: Launch) -> str:
    """Return the command for the requested training run, with the batch that fits."""
    defaults = TrainConfig(data=config.data, out=config.out)
    arguments: list[object] = ["omr", "train", *config.sources().folders]
    if config.sampling_weights:
        weights = ":".join(f"{weight:g}" for weight in config.sampling_weights)
        arguments += ["--sampling-weights", weights]
    if config.merge_classes:
        arguments += ["--merge-classes", ",".join(config.merge_classes)]
    arguments += ["--model", config.model]
    for name in ("activation", "heads", "precision", "mosaic", "seed"):
        if getattr(config, name) != getattr(defaults, name):
            arguments += [f"--{name}", getattr(config, name)]
    for name in ("balance_classes", "trust"):
        arguments += [f"--{name.replace('_', '-')}"] if getattr(config, name) else []
    arguments += ["--imgsz", config.imgsz, *_batch_options(launch.batch, launch.accumulate)]
    return shlex.join(map(str, [*arguments, "--out", _unused_folder(config.out)]))


def _batch_options(batch: int, accumulate: int) -> list[str]:
    options = ["--batch", str(batch)]
    return [*options, "--nominal-batch", str(batch * accumulate)] if accumulate > 1 else options


def _unused_folder(out: Path) -> Path:
    """Return the folder, or its name with the lowest number that does not exist yet."""
    n = 1
    while (folder := out.with_name(f"{out.name}-{n}") if n > 1 else out).exists():
        n += 1
    return folder
