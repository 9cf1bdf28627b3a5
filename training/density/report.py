"""What to know before a launch: how dense the data is, what a step needs, and what to launch.

Music is denser than what detectors are tuned for: a page can hold thousands of symbols where
COCO has 7 an image, so defaults such as 300 detections cut most of it off, and an assigner that
compares every symbol with every anchor point runs out of memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, log2
from typing import Any

from ultralytics import __version__ as installed

from class_maps import ConfigError, with_nearest
from training.config import TrainConfig
from training.data.label_files import no_symbols
from training.data.multi_dataset import join
from training.density.analysis import Survey, survey, told_apart
from training.density.fitting_batch import form_of, step_of
from training.density.recommendation import Suggestion, suggestion
from training.density.report_json import to_json
from training.heads import head_config
from training.heads.head_config import HeadConfig
from training.memory.batch_search import NOMINAL_BATCH, Launch, find_launch, present_device
from training.memory.dense_assigner import dense_assigner_bytes
from training.memory.gpus import Gpu
from training.memory.step import StepMemory, StepPrecision, StepSpec, memory_over_batch

OLDER = ("8.3.40",)
"""A version of Ultralytics that much is trained with, and whose assigner takes the most."""


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
    step_at = partial(_step_at, config, gpu, heads, found)
    spec = step_at(config.imgsz)(config.batch)
    launch, problem = None, no_symbols(found.n_images)
    if found.n_symbols:
        launch, problem = _launch(step_at(config.imgsz), gpu, found.n_images)
    rows = _rows(spec, launch, found.n_images)
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
        suggest=suggestion(
            config,
            gpu,
            found,
            launch,
            dataset=joint.sources[0].dataset if len(joint.sources) == 1 else None,
            wanted=wanted,
            launch_at=lambda imgsz: _launch(step_at(imgsz), gpu, found.n_images)[0],
        )
        if launch
        else None,
        problem=problem,
    )


def _step_at(
    config: TrainConfig, gpu: Gpu, heads: HeadConfig | None, found: Survey, imgsz: int
) -> Callable[..., StepSpec]:
    """Say what a step takes with another network input: a symbol's points grow with its area."""
    full = found.fullness
    full = replace(full, pairs_a_box=full.pairs_a_box * (imgsz / config.imgsz) ** 2)
    return partial(step_of, replace(config, imgsz=imgsz), gpu, heads, len(found.names), full)


def _launch(
    of_batch: Callable[..., StepSpec], gpu: Gpu, n_images: int
) -> tuple[Launch | None, str]:
    """Find what to launch, or say why there is nothing."""
    nominal = min(NOMINAL_BATCH, n_images)
    try:
        return find_launch(partial(of_batch, nominal_batch=nominal), gpu, n_images), ""
    except ConfigError as error:
        return None, str(error)


def _rows(spec: StepSpec, launch: Launch | None, n_images: int) -> dict[int, StepMemory]:
    """Predict batches of powers of two beyond what fits, and those that are spoken of."""
    spoken_of = {spec.batch, launch.batch} if launch else {spec.batch}
    powers = (2**n for n in range(ceil(log2(max(spoken_of))) + 2))
    batches = sorted(spoken_of | {batch for batch in powers if batch <= n_images})
    rows = {row.batch: row for row in memory_over_batch(spec, batches)}
    if launch:  # with batches of its own fullness, and the gradients of those before
        rows[launch.batch] = launch.memory
    return rows


def _dense_bytes(found: Survey, row: StepMemory, version: str) -> int:
    """What Ultralytics' assigner would take of the same batch."""
    fullest = found.fullness.fullest_image(row.batch)
    boxes_max = fullest.p999 if fullest else 0
    return dense_assigner_bytes(version, row.batch, boxes_max, row.n_anchors, len(found.names))
