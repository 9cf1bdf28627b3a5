"""What to know before a launch: how dense the data is, what a step needs, and what to launch.

Music is denser than what detectors are tuned for: a page can hold thousands of symbols where
COCO has 7 an image, so defaults such as 300 detections cut most of it off, and an assigner that
compares every symbol with every anchor point runs out of memory.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, inf, log2
from typing import Any

from ultralytics import __version__ as installed

from class_maps import ConfigError, some, with_nearest
from training.density.launch import form_of, step_of
from training.density.max_det import suggested_max_det
from training.density.report_json import to_json
from training.density.sizes import WANTED_PX, WANTED_SHARE
from training.density.survey import Survey, survey, told_apart
from training.heads import head_config
from training.heads.head_config import HeadConfig
from training.joint_data import join
from training.labels import no_symbols
from training.memory.assigners import dense_assigner_bytes
from training.memory.gpus import GIB, Gpu
from training.memory.step import StepMemory, StepPrecision, StepSpec, memory_over_batch
from training.memory.suggestion import (
    HEADROOM,
    NOMINAL_BATCH,
    Launch,
    find_launch,
    present_device,
    workers_for,
)
from training.train_config import STRIDE, TrainConfig

OLDER = ("8.3.40",)
"""A version of Ultralytics that much is trained with, and whose assigner takes the most."""
MOST_NAMES = 3
"""Names that a sentence lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """What to launch."""

    batch: int
    """The largest that fits, up to the nominal one."""
    accumulate: int
    """Batches a step."""
    imgsz: int
    tile: int | None
    """Side of tiles, in pixels of the images as they are stored; None: leave them as they are."""
    max_det: int
    """Detections to keep an image; ``omr train`` and ``omr eval`` choose it themselves."""
    workers: int
    cache_bytes: int
    """Main memory that all decoded images would take at the training size."""
    too_small: tuple[str, ...]
    """Classes that stay under 4 px, even at the size in which the images are stored."""
    command: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityReport:
    """Everything that :func:`analyze` found."""

    config: TrainConfig
    """Its batch holds no more images than there are."""
    heads: HeadConfig | None
    gpu: Gpu
    spec: StepSpec
    """The step that was asked about."""
    survey: Survey
    memory: StepMemory
    """Of the batch that was asked about."""
    memory_over_batch: tuple[StepMemory, ...]
    dense_bytes: tuple[int, ...]
    """What Ultralytics' assigner would take for each of these batches."""
    dense_by_version: dict[str, int]
    """The same for the batch that was asked about, by version; the first is the installed one."""
    suggest: Suggestion | None
    """None where not even one image fits."""
    problem: str
    """Why there is no suggestion."""

    @property
    def precision(self) -> StepPrecision:
        """What the training computes in on that GPU."""
        return self.spec.precision

    def to_json(self) -> dict[str, Any]:
        """Give nested dicts, lists and numbers."""
        return to_json(self)


def analyze(
    config: TrainConfig, gpu: Gpu | None = None, wanted: Sequence[str] = ()
) -> DensityReport:
    """Look at a training before it is launched; nothing is trained, no pixel is read.

    Args:
        config: Of the training; its ``out`` is not looked at.
        gpu: Where it is to run; None for what is here.
        wanted: Classes that are to be large enough; all that occur, if there are none.

    Raises:
        ConfigError: No such model, heads or class, or heads for other classes.
        InputError: Something is wrong with the data set or the weights.
    """
    gpu = gpu or present_device(config.device)
    joint = join(config.sources())
    heads = head_config.load(config.heads) if config.heads else None
    if heads:
        heads.labels(joint.names)
    names = told_apart(joint.names)
    if unknown := sorted(set(wanted) - set(names)):
        raise ConfigError(f"wanted: unknown: {with_nearest(unknown, names)}")
    form = form_of(config, len(names), heads)
    found = survey(config, joint, form)
    config = replace(config, batch=max(1, min(config.batch, found.n_images)))
    of_batch = partial(step_of, config, gpu, heads, len(names), found.fullness)
    spec = of_batch(config.batch)
    launch, problem = _launch(of_batch, gpu, found)
    batches = _batches(config.batch, launch, found.n_images)
    rows = {row.batch: row for row in memory_over_batch(spec, batches)}
    if launch:  # with batches of its own fullness, and the gradients of those before
        rows[launch.batch] = launch.memory
    shown, memory = rows.values(), rows[config.batch]
    return DensityReport(
        config=config,
        heads=form.heads,
        gpu=gpu,
        spec=spec,
        survey=found,
        memory=memory,
        memory_over_batch=tuple(shown),
        dense_bytes=tuple(_dense_bytes(found, row, installed) for row in shown),
        dense_by_version={
            version: _dense_bytes(found, memory, version) for version in (installed, *OLDER)
        },
        suggest=_suggestion(config, gpu, found, launch, wanted) if launch else None,
        problem=problem,
    )


def _launch(
    of_batch: Callable[..., StepSpec], gpu: Gpu, found: Survey
) -> tuple[Launch | None, str]:
    """Find what to launch, or say why there is nothing."""
    if not found.n_symbols:
        return None, no_symbols(found.n_images)
    nominal = min(NOMINAL_BATCH, found.n_images)
    try:
        return find_launch(partial(of_batch, nominal_batch=nominal), gpu, found.n_images), ""
    except ConfigError as error:
        return None, str(error)


def _batches(asked: int, launch: Launch | None, n_images: int) -> list[int]:
    """Batches to show: powers of two beyond what fits, and those that are spoken of."""
    spoken_of = {asked, launch.batch} if launch else {asked}
    powers = (2**n for n in range(ceil(log2(max(spoken_of))) + 2))
    return sorted(spoken_of | {batch for batch in powers if batch <= n_images})


def _dense_bytes(found: Survey, row: StepMemory, version: str) -> int:
    """What Ultralytics' assigner would take of the same batch."""
    fullest = found.fullness.fullest_image(row.batch)
    boxes_max = fullest.p999 if fullest else 0
    return dense_assigner_bytes(version, row.batch, boxes_max, row.n_anchors, len(found.names))


def _suggestion(
    config: TrainConfig, gpu: Gpu, found: Survey, launch: Launch, wanted: Sequence[str]
) -> Suggestion:
    tile, too_small, of_size = _size(config, found, wanted)
    max_det = suggested_max_det(found.symbols.max if found.symbols else 0)
    workers = workers_for(found.n_images)
    cache = found.n_images * 3 * config.imgsz**2
    loading = f"processes to load images here: {workers}; " if gpu.device == "cuda" else ""
    rest = ""
    if launch.accumulate > 1:
        images = launch.batch * launch.accumulate
        rest = f"; {launch.accumulate} batches a step, {images} images"
    need = launch.memory.total_bytes
    reasons = (
        f"batch {launch.batch}: {need / GIB:.1f} GiB of {gpu.usable_bytes / GIB:.1f} usable on "
        f"{gpu.name}, {HEADROOM:.0%} of which are to stay free{rest}",
        *of_size,
        f"up to {max_det:,} detections an image (max_det; omr train and omr eval choose it)",
        f"{loading}all images at {config.imgsz} px would take {cache / GIB:.2f} GiB of main memory",
    )
    return Suggestion(
        batch=launch.batch,
        accumulate=launch.accumulate,
        imgsz=config.imgsz,
        tile=tile,
        max_det=max_det,
        workers=workers,
        cache_bytes=cache,
        too_small=too_small,
        command=_command(config, launch),
        reasons=reasons,
    )


def _size(
    config: TrainConfig, found: Survey, wanted: Sequence[str]
) -> tuple[int | None, tuple[str, ...], tuple[str, ...]]:
    """Find the side of tiles at which symbols are large enough, without making up pixels.

    Returns:
        The side in pixels of the stored images, None to leave them as they are; the classes that
        stay too small however they are cut; and both in words.
    """
    names = [name for name in found.scale.of_class if not wanted or name in wanted]
    needs = {name: _or_inf(found.scale.of_class[name]) for name in names}
    of_stored = {name: _or_inf(found.scale_stored.of_class[name]) for name in names}
    small = [name for name in names if needs[name] > 1]
    too_small = tuple(name for name in small if of_stored[name] > 1)
    helped = [name for name in small if of_stored[name] <= 1]
    words = []
    tile = None
    if helped:
        tile = int(config.imgsz / max(of_stored[name] for name in helped)) // STRIDE * STRIDE
        tile = max(tile, config.imgsz)
        larger = ceil(config.imgsz * max(needs[name] for name in helped) / STRIDE) * STRIDE
        words.append(
            f"tiles of {tile} px (omr convert --tile {tile}) or --imgsz {larger} would give "
            f"{WANTED_SHARE:.0%} of each class {WANTED_PX:g} px: {some(helped, MOST_NAMES)}"
        )
    if too_small:
        words.append(
            f"under {WANTED_PX:g} px as they are stored; only larger images (omr convert --scale) "
            f"would help: {some(too_small, MOST_NAMES)}"
        )
    return tile, too_small, tuple(words)


def _or_inf(factor: float | None) -> float:
    return inf if factor is None else factor


def _command(config: TrainConfig, launch: Launch) -> str:
    """The line to paste: what was asked about, with the batch that fits."""
    usual = TrainConfig(data=config.data, out=config.out)
    words: list[object] = ["omr", "train", *config.sources().folders]
    for name in ("mix", "same"):
        if value := getattr(config, name):
            joint = ":".join(f"{x:g}" for x in value) if name == "mix" else ",".join(value)
            words += [f"--{name}", joint]
    words += ["--model", config.model]
    for name in ("heads", "precision", "mosaic", "seed"):
        if getattr(config, name) != getattr(usual, name):
            words += [f"--{name}", getattr(config, name)]
    words += ["--trust"] if config.trust else []
    words += ["--imgsz", config.imgsz, "--batch", launch.batch]
    if launch.accumulate > 1:
        words += ["--nominal-batch", launch.batch * launch.accumulate]
    return shlex.join(map(str, [*words, "--out", config.out]))
