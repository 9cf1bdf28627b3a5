"""Analysis of a planned training run: crowding, memory of a step, recommended settings.

Music is more crowded than the data that detectors are tuned for: a page may contain thousands of
symbols, while an image of COCO contains 7 on average. A default such as 300 detections per image
discards most of them, and an assigner that compares every symbol with every anchor point runs out
of memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import ceil, log2
from typing import Any

import ultralytics

from class_maps import ConfigError, with_nearest
from eval.reports.density_figures import (
    AnchorCompetition,
    ClassDensity,
    InitialWeights,
    RecallAtIou,
    Representation,
)
from eval.reports.density_report import (
    BatchMemory,
    DensityReport,
    Recommendation,
    StepMemory,
    TargetGpu,
)
from settings import head_config
from settings.head_config import HeadConfig
from training.config import TrainConfig
from training.data.label_files import no_symbols
from training.data.multi_dataset import join
from training.density.analysis import LabelAnalysis, analyze_labels, unique_names
from training.density.crowding import SPLIT
from training.density.fitting_batch import head_form, step_spec
from training.density.recommendation import recommend
from training.memory.batch_search import NOMINAL_BATCH, Launch, find_launch, present_device
from training.memory.dense_assigner import dense_assigner_bytes
from training.memory.gpus import Gpu
from training.memory.step import KINDS, KINDS_OF_CUDA, memory_over_batch
from training.memory.step_spec import StepPrecision, StepSpec
from training.runtime.multiples import check_multiple


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityAnalysis:
    """Result of :func:`analyze`."""

    config: TrainConfig
    """Requested configuration, its batch limited to the number of images."""
    heads: HeadConfig | None
    gpu: Gpu
    spec: StepSpec
    """Requested training step."""
    labels: LabelAnalysis
    memory: StepMemory
    """Memory of the requested batch."""
    memory_over_batch: tuple[StepMemory, ...]
    dense_bytes: tuple[int, ...]
    """Memory of Ultralytics' assigner for each batch of ``memory_over_batch``."""
    requested_dense_bytes: int
    """Memory of Ultralytics' assigner for the requested batch."""
    recommendation: Recommendation | None
    """None if not even one image fits, or no image has symbols."""
    problem: str
    """Reason for a missing recommendation, or an empty string."""

    @property
    def precision(self) -> StepPrecision:
        """Training precision on the device."""
        return self.spec.precision

    def report(self) -> DensityReport:
        """Return the density report, with the figures to show and print."""
        config, labels = self.config, self.labels
        order = sorted(range(len(labels.names)), key=lambda label: -labels.sizes[label].count)
        return DensityReport(
            data=" ".join(map(str, config.sources().folders)),
            split=SPLIT,
            imgsz=config.imgsz,
            batch=config.batch,
            model=config.model,
            heads=config.heads or None,
            precision=self.precision,
            n_images=labels.n_images,
            n_symbols=labels.n_symbols,
            gpu=TargetGpu(**asdict(self.gpu)),
            symbols=labels.symbols,
            stages=labels.stages,
            batch_max=labels.crowding.fullest_image(config.batch),
            batch_sum=labels.crowding.whole_batch(config.batch),
            epoch_max=labels.crowding.epoch_max(config.batch),
            classes=tuple(_class_density(labels, label) for label in order),
            anchor_competition=_reordered(labels.competition, order) if labels.n_symbols else None,
            priors=labels.initial_weights.priors,
            memory=self.memory,
            memory_over_batch=tuple(
                _batch_memory(row, dense)
                for row, dense in zip(self.memory_over_batch, self.dense_bytes, strict=True)
            ),
            memory_ultralytics_assigner_bytes=self.requested_dense_bytes,
            ultralytics_version=ultralytics.__version__,
            recommendation=self.recommendation,
            problem=self.problem,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as nested dicts, lists and numbers."""
        return self.report().to_json()


def analyze(
    config: TrainConfig, gpu: Gpu | None = None, wanted: Sequence[str] = ()
) -> DensityAnalysis:
    """Analyse a planned training run, without training or reading pixels.

    Args:
        config: Training configuration; its ``out`` is ignored.
        gpu: Training device; None for the local device.
        wanted: Classes that must be large enough; empty for all classes with symbols.

    Raises:
        ConfigError: The model, the head config or a class does not exist, or the heads have other
            classes.
        InputError: The data set or the weights are invalid.
    """
    gpu = gpu or present_device(config.device)
    multi_dataset = join(config.sources())
    heads = head_config.load(config.heads) if config.heads else None
    if heads:
        heads.labels(multi_dataset.names)
    names = unique_names(multi_dataset.names)
    if unknown := sorted(set(wanted) - set(names)):
        raise ConfigError(f"unknown: {with_nearest(unknown, names)}", option="--wanted")
    form = head_form(config, len(names), heads)
    stride = max(form.strides)
    check_multiple(
        "--imgsz", config.imgsz, stride, f"{stride}, the largest stride of {config.model}"
    )
    labels = analyze_labels(config, multi_dataset, form)
    config = replace(config, batch=max(1, min(config.batch, labels.n_images)))
    spec_at = partial(_spec_at, config, gpu, heads, labels)
    spec = spec_at(config.imgsz)(config.batch)
    if labels.n_symbols:
        launch, problem = _launch(spec_at(config.imgsz), gpu, labels.n_images)
    else:
        datasets = [source.dataset for source in multi_dataset.sources]
        launch, problem = None, no_symbols(datasets, "train")
    rows = _memory_rows(spec, launch, labels.n_images)
    shown, memory = rows.values(), rows[config.batch]
    return DensityAnalysis(
        config=config,
        heads=form.heads,
        gpu=gpu,
        spec=spec,
        labels=labels,
        memory=memory,
        memory_over_batch=tuple(shown),
        dense_bytes=tuple(_dense_bytes(labels, row) for row in shown),
        requested_dense_bytes=_dense_bytes(labels, memory),
        recommendation=recommend(
            config,
            gpu,
            labels,
            launch,
            dataset=multi_dataset.sources[0].dataset if len(multi_dataset.sources) == 1 else None,
            wanted=wanted,
            launch_at=lambda imgsz: _launch(spec_at(imgsz), gpu, labels.n_images)[0],
        )
        if launch
        else None,
        problem=problem,
    )


def _spec_at(
    config: TrainConfig, gpu: Gpu, heads: HeadConfig | None, labels: LabelAnalysis, imgsz: int
) -> Callable[..., StepSpec]:
    """Return the function from a batch size to its step, for another network input side.

    The candidate pairs of a symbol grow with its area.
    """
    crowding = labels.crowding
    pairs_per_box = crowding.pairs_per_box * (imgsz / config.imgsz) ** 2
    crowding = replace(crowding, pairs_per_box=pairs_per_box)
    return partial(step_spec, replace(config, imgsz=imgsz), gpu, heads, len(labels.names), crowding)


def _launch(
    spec_of_batch: Callable[..., StepSpec], gpu: Gpu, n_images: int
) -> tuple[Launch | None, str]:
    """Find the settings that fit, or the reason why none do."""
    nominal = min(NOMINAL_BATCH, n_images)
    try:
        return find_launch(partial(spec_of_batch, nominal_batch=nominal), gpu, n_images), ""
    except ConfigError as error:
        return None, str(error)


def _memory_rows(spec: StepSpec, launch: Launch | None, n_images: int) -> dict[int, StepMemory]:
    """Predict the memory by batch: powers of two up to beyond the limit, and the batches in use."""
    in_use = {spec.batch, launch.batch} if launch else {spec.batch}
    powers = (2**n for n in range(ceil(log2(max(in_use))) + 2))
    batches = sorted(in_use | {batch for batch in powers if batch <= n_images})
    rows = {row.batch: row for row in memory_over_batch(spec, batches)}
    if launch:  # includes the crowding of that batch, and accumulated gradients
        rows[launch.batch] = launch.memory
    return rows


def _dense_bytes(labels: LabelAnalysis, row: StepMemory) -> int:
    """Compute the memory of Ultralytics' assigner for the batch of a row."""
    fullest = labels.crowding.fullest_image(row.batch)
    boxes_max = fullest.p999 if fullest else 0
    return dense_assigner_bytes(None, row.batch, boxes_max, row.n_anchors, len(labels.names))


def _class_density(labels: LabelAnalysis, label: int) -> ClassDensity:
    """Collect the figures of a class."""
    size, shares = labels.sizes[label], labels.anchors[label].candidates
    weights = labels.initial_weights.classes[label]
    start = None
    if weights.stock and weights.ours:
        start = InitialWeights(stock=weights.stock, ours=weights.ours)
    return ClassDensity(
        name=size.name,
        count=size.count,
        share=size.count / max(labels.n_symbols, 1),
        width_px=size.width,
        height_px=size.height,
        under_1px=size.under_1px,
        under_2px=size.under_2px,
        under_4px=size.under_4px,
        factor_for_4px=labels.scale.get(size.name),
        no_candidate=shares.none if shares else None,
        one_candidate=shares.one if shares else None,
        two_candidates=shares.two if shares else None,
        dropped=size.dropped,
        dropped_by_stock_filter=size.dropped_by_ultralytics,
        representation=_representation(labels.maximum_recall.classes[label].settings),
        start=start,
    )


def _representation(bounds: Mapping[str, RecallAtIou | None]) -> Representation | None:
    """Map bounds by name of the setting to box encodings; ``free`` counts as both encodings."""
    known = {name: bound for name, bound in bounds.items() if bound}
    if not known:
        return None
    stock, signed = ("free", "free") if "free" in known else ("stock", "signed")
    return Representation(
        stock=known[stock],
        signed=known[signed],
        stock_p2=known[f"{stock}, P2"],
        signed_p2=known[f"{signed}, P2"],
    )


def _reordered(competition: AnchorCompetition, order: Sequence[int]) -> AnchorCompetition:
    """Sort the rows and columns of the matrix."""
    matrix = competition.matrix
    return replace(competition, matrix=tuple(tuple(matrix[a][b] for b in order) for a in order))


def _batch_memory(row: StepMemory, dense_bytes: int) -> BatchMemory:
    """List the memory of a step at its peak by purpose."""
    lines = {f"{kind}_bytes": row.at_peak.get(kind, 0) for kind in (*KINDS, *KINDS_OF_CUDA)}
    return BatchMemory(
        batch=row.batch,
        total_bytes=row.total_bytes,
        ultralytics_assigner_bytes=dense_bytes,
        **lines,
    )
