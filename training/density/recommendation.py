"""What to launch: the settings, the reasons, and the lines to paste."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path

from class_maps import some
from converters.formats.yolo import YoloDataset
from converters.manifest import Manifest, read_manifest
from converters.reproduce_command import reproduce_command
from settings.training import STRIDE
from training.config import TrainConfig
from training.density.analysis import Survey
from training.density.sizes import WANTED_PX, WANTED_SHARE
from training.memory.batch_search import HEADROOM, Launch, workers_for
from training.memory.gpus import GIB, Gpu
from training.predict.max_det import suggested_max_det

MOST_NAMES = 3
"""Names that a sentence lists."""

LaunchAt = Callable[[int], Launch | None]
"""From the side of the network input to what fits; None where not even one image does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Larger:
    """Two ways to make symbols large enough."""

    tile: int
    """Side of tiles at the same network input, in pixels of the images as they are stored."""
    imgsz: int
    """Side of the network input for the images as they are."""
    batch: int
    """The largest that fits with that input; 0 where not even one image is known to."""
    accumulate: int
    """Batches a step then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """What to launch."""

    batch: int
    """The largest that fits, up to the nominal one."""
    accumulate: int
    """Batches a step."""
    imgsz: int
    """Side of the network input that was asked about."""
    tile: int | None
    """Side of tiles that at ``imgsz`` make symbols large enough, in pixels of the images as they
    are stored; None: leave them as they are."""
    larger: Larger | None
    """The same beside its alternative; None where nothing is to be made larger, or can be."""
    too_small: tuple[str, ...]
    """Classes that are too small even at the size in which the images are stored."""
    without_area: tuple[str, ...]
    """Classes of which too many boxes have no width or no height."""
    max_det: int
    """Detections to keep an image; ``omr train`` and ``omr eval`` choose it themselves."""
    workers: int
    cache_bytes: int
    """Main memory that all decoded images would take at the training size."""
    command: str
    """To train on the data as they are."""
    convert_command: str | None
    """To cut the tiles; None where none are needed, or nobody knows how the data were made."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Small:
    """Classes that are too small at the training size, by what would help."""

    helped: tuple[str, ...]
    """Tiles would, or a larger network input."""
    too_small: tuple[str, ...]
    """Only larger images would, in tiles."""
    without_area: tuple[str, ...]
    """Only other labels would."""
    tile: float
    """Side of the largest tiles that help those that can be helped, ``inf`` without such."""
    of_trained: float
    """Factor by which the network would have to see them larger."""
    of_images: float
    """Factor by which the images are too small for the others."""


def suggestion(
    config: TrainConfig,
    gpu: Gpu,
    found: Survey,
    launch: Launch,
    *,
    dataset: YoloDataset | None,
    wanted: Sequence[str],
    launch_at: LaunchAt,
) -> Suggestion:
    """Say what to launch, and why.

    Args:
        config: Of the training that was asked about.
        gpu: Where it is to run.
        found: What its labels say.
        launch: What fits there.
        dataset: Its data; None where they are several data sets.
        wanted: Classes that are to be large enough; all that occur, if there are none.
        launch_at: Finds what fits with another network input.
    """
    small = _small(config, found, wanted)
    larger = _larger(config, small, launch_at) if small.helped else None
    made = read_manifest(dataset.root) if dataset else None
    cut = None
    if larger and made:
        out = _free(Path(f"{made.path.resolve().parent.name}-tile{larger.tile}"))
        cut = reproduce_command(made, out, larger.tile)
    max_det = suggested_max_det(found.symbols.max if found.symbols else 0)
    workers = workers_for(found.n_images)
    cache = found.n_images * 3 * config.imgsz**2
    loading = f"processes to load images here: {workers}; " if gpu.device == "cuda" else ""
    return Suggestion(
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
        command=_train_line(config, launch),
        convert_command=cut,
        reasons=(
            _why_batch(launch, gpu),
            *_why_sizes(config.imgsz, small, larger, made, cut),
            f"up to {max_det:,} detections an image (max_det; omr train and omr eval choose it)",
            f"{loading}all images at {config.imgsz} px would take {cache / GIB:.2f} GiB of main "
            "memory",
        ),
    )


def _small(config: TrainConfig, found: Survey, wanted: Sequence[str]) -> _Small:
    tiles = {name: side for name, side in found.tiles.items() if not wanted or name in wanted}
    helped = tuple(name for name, side in tiles.items() if config.imgsz <= side < inf)
    too_small = tuple(name for name, side in tiles.items() if 0 < side < config.imgsz)
    return _Small(
        helped=helped,
        too_small=too_small,
        without_area=tuple(name for name, side in tiles.items() if side == 0),
        tile=min((tiles[name] for name in helped), default=inf),
        of_trained=max((found.scale[name] or 1.0 for name in helped), default=1.0),
        of_images=max((config.imgsz / tiles[name] for name in too_small), default=1.0),
    )


def _larger(config: TrainConfig, small: _Small, launch_at: LaunchAt) -> Larger:
    imgsz = ceil(config.imgsz * small.of_trained / STRIDE) * STRIDE
    there = launch_at(imgsz)
    return Larger(
        tile=int(small.tile) // STRIDE * STRIDE,
        imgsz=imgsz,
        batch=there.batch if there else 0,
        accumulate=there.accumulate if there else 0,
    )


def _why_batch(launch: Launch, gpu: Gpu) -> str:
    rest = ""
    if launch.accumulate > 1:
        images = launch.batch * launch.accumulate
        rest = f"; {launch.accumulate} batches a step, {images} images"
    need = launch.memory.total_bytes
    return (
        f"batch {launch.batch}: {need / GIB:.1f} GiB of {gpu.usable_bytes / GIB:.1f} usable on "
        f"{gpu.name}, {HEADROOM:.0%} of which are to stay free{rest}"
    )


def _why_sizes(
    imgsz: int, small: _Small, larger: Larger | None, converted: Manifest | None, cut: str | None
) -> list[str]:
    """Say which classes are too small, and what would help each."""
    words = []
    options = converted.options if converted else None
    staff_space = options.staff_space if options else None
    if larger:
        batch = " ".join(_batch_options(larger.batch, larger.accumulate))
        instead = f"--imgsz {larger.imgsz} {batch}, or " if larger.batch else ""
        scale = f" --scale staff-space:{staff_space:.12g}" if staff_space else ""
        command = f"omr convert --tile {larger.tile}{scale}"
        how = f" (cut the pages with {command})" if converted and not cut else ""
        words.append(
            f"{WANTED_PX:g} px for {WANTED_SHARE:.0%} of {some(small.helped, MOST_NAMES)}: "
            f"{instead}tiles of {larger.tile} px{how}"
        )
    if small.too_small:
        # As it is rounded, it is to be enough.
        factor = ceil(small.of_images * 10) / 10
        scale = f"--scale staff-space:{staff_space * factor:g}" if staff_space else ""
        how = f" (omr convert {scale} --tile {imgsz})" if staff_space else ""
        words.append(
            f"{some(small.too_small, MOST_NAMES)}: under {WANTED_PX:g} px as they are stored; "
            f"images {factor:g} times as large, in tiles of {imgsz} px, would help{how}"
        )
    if small.without_area:
        words.append(
            f"{some(small.without_area, MOST_NAMES)}: boxes without width or height; mend the "
            "labels"
        )
    return words


def _train_line(config: TrainConfig, launch: Launch) -> str:
    """What was asked about, with the batch that fits."""
    usual = TrainConfig(data=config.data, out=config.out)
    words: list[object] = ["omr", "train", *config.sources().folders]
    for name in ("sampling_weights", "merge_classes"):
        if value := getattr(config, name):
            joint = (
                ":".join(f"{x:g}" for x in value) if name == "sampling_weights" else ",".join(value)
            )
            words += [f"--{name.replace('_', '-')}", joint]
    words += ["--model", config.model]
    for name in ("heads", "precision", "mosaic", "seed"):
        if getattr(config, name) != getattr(usual, name):
            words += [f"--{name}", getattr(config, name)]
    words += ["--trust"] if config.trust else []
    words += ["--imgsz", config.imgsz, *_batch_options(launch.batch, launch.accumulate)]
    return shlex.join(map(str, [*words, "--out", _free(config.out)]))


def _batch_options(batch: int, accumulate: int) -> list[str]:
    words = ["--batch", str(batch)]
    return [*words, "--nominal-batch", str(batch * accumulate)] if accumulate > 1 else words


def _free(out: Path) -> Path:
    """The folder, or the next one with a number that is not there yet: a run is not overwritten."""
    n = 1
    while (found := out.with_name(f"{out.name}-{n}") if n > 1 else out).exists():
        n += 1
    return found
