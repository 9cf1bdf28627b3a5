"""Density report: the figures that ``omr analyze-density`` computes, shows and prints as JSON.

``training.density`` fills these dataclasses, :mod:`eval.reports.density` draws them as a web page.
Field names are the keys of the JSON, except that ``iou50``, ``iou75`` and ``iou90`` become
``0.5``, ``0.75`` and ``0.9``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

_JSON_KEYS = {"iou50": "0.5", "iou75": "0.75", "iou90": "0.9"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SymbolSpread:
    """Distribution of symbols per image; percentiles are observed values, not interpolated."""

    mean: float
    p50: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineStage:
    """Symbols per image or page at one stage between annotation and network input."""

    name: str
    n_images: int
    """Number of images or pages."""
    mean: float | None
    """Mean symbols per image; None without images."""
    symbols: SymbolSpread | None
    """Distribution of symbols per image; None without images, or if only the mean is known."""
    histogram: tuple[tuple[int, int], ...]
    """Pairs of (symbols per image, number of such images), ascending; empty if only the mean is
    known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchMax:
    """Symbols in the fullest image of a randomly drawn batch."""

    expected: float
    p999: int
    """Quantile .999: exceeded by one batch in a thousand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSum:
    """Total number of symbols in a randomly drawn batch."""

    expected: float
    p999: int
    """Quantile .999: exceeded by one batch in a thousand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochMax:
    """Expected maxima over one epoch."""

    image: float
    """Symbols in the fullest image."""
    batch: float
    """Symbols in the fullest batch, summed over its images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideSpread:
    """Percentiles of a side length over the symbols of a class, in pixels at the training size."""

    p5: float
    p25: float
    p50: float
    p75: float
    p95: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RecallAtIou:
    """Upper bounds on recall: fractions of symbols that a head can represent at an IoU, 0 to 1."""

    iou50: float
    iou75: float
    iou90: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Representation:
    """Upper bounds on the recall of a class, by box encoding.

    A head without distance bins has one encoding only, so its two bounds are equal.
    """

    stock: RecallAtIou
    """Ultralytics' box encoding, whose boxes contain their anchor point."""
    signed: RecallAtIou
    """Box encoding of ``omr train``, with distance bins below zero."""
    stock_p2: RecallAtIou
    """Ultralytics' box encoding with an additional level of stride 4."""
    signed_p2: RecallAtIou
    """Box encoding of ``omr train`` with an additional level of stride 4."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialWeight:
    """Match between the median box of a class and an untrained head, at the best level."""

    stride: float
    """Stride of that level in pixels."""
    width_px: float
    """Width of the box that the untrained head predicts there."""
    height_px: float
    """Height of the box that the untrained head predicts there."""
    iou: float
    """IoU of both boxes, with the anchor point a quarter stride off the centre in x and y."""
    dropped: float
    """Fraction of the class's symbols that the augmentation drops, 0 to 1."""
    overlap: float | None = None
    """Similarity of both boxes as the assigner measures it; None unless the assigner is ``tal``."""
    metric: float | None = None
    """Assignment metric ``score^alpha * overlap^beta``; None unless the assigner is ``tal``."""
    weight: float | None = None
    """Loss weight of the class's best anchor point; None unless the assigner is ``tal``."""
    zero_weight: bool
    """Whether the metric is at most eps, so that the class gets no weight until other classes have
    moved the boxes."""
    learns: bool
    """Whether the class has a weight and keeps at least half of its labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialWeights:
    """Initial weights of a class under both configurations."""

    stock: InitialWeight
    """Result for Ultralytics' head, assigner and augmentation."""
    ours: InitialWeight
    """Result for the head, assigner and augmentation of ``omr train``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDensity:
    """Figures of one class; fractions, 0 to 1, are None for a class without symbols."""

    name: str
    count: int
    """Number of symbols."""
    share: float
    """Fraction of all symbols."""
    width_px: SideSpread | None
    height_px: SideSpread | None
    under_1px: float | None
    """Fraction of symbols whose shorter side is under 1 px at the training size."""
    under_2px: float | None
    under_4px: float | None
    factor_for_4px: float | None
    """Factor by which images must be enlarged for 95 % of the class to reach 4 px."""
    no_candidate: float | None
    """Fraction of symbols without a candidate anchor point."""
    one_candidate: float | None
    two_candidates: float | None
    dropped: float | None
    """Fraction of symbols that the augmentation of ``omr train`` drops."""
    dropped_by_stock_filter: float | None
    """Fraction of symbols that Ultralytics' augmentation drops."""
    representation: Representation | None
    start: InitialWeights | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCollision:
    """Number of anchor points shared by two classes, or by several symbols of one class."""

    a: str
    b: str
    points: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorCompetition:
    """How strongly symbols compete for anchor points."""

    points: int
    """Anchor points, over all images, that are a candidate of at least one symbol."""
    contested: int
    """Anchor points that are a candidate of several symbols."""
    without_candidate: int
    """Symbols without a candidate anchor point."""
    max_recall_single_head: float | None
    """Largest fraction of symbols that can each have an anchor point to themselves, with one box
    branch; None without symbols."""
    max_recall_heads: float | None
    """Same fraction for the given heads: groups with separate box branches do not compete."""
    collisions: tuple[ClassCollision, ...]
    """Pairs of classes that share most anchor points, descending; pairs that share none are
    omitted."""
    matrix: tuple[tuple[int, ...], ...]
    """Anchor points shared by two classes, shape ``(C, C)``; on the diagonal, points shared by
    several symbols of the class."""

    @property
    def contested_share(self) -> float | None:
        """Contested fraction of the points, 0 to 1; None without points."""
        return self.contested / self.points if self.points else None


@dataclass(frozen=True, kw_only=True, slots=True)
class StartingBox:
    """Initial box size that ``omr train`` sets at one level of a box branch."""

    group: str
    """Name of the group; empty if all classes share one box branch."""
    stride: float
    """Stride of the level in pixels."""
    width_px: float
    height_px: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLines:
    """Memory of a training step in bytes, by purpose."""

    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    """Optimiser state."""
    ema_bytes: int
    """Moving average of the weights."""
    buffers_bytes: int
    """Normalisation statistics."""
    inputs_bytes: int
    """Images."""
    activations_bytes: int
    """Activations saved for the backward pass."""
    loss_bytes: int
    assigner_bytes: int
    workspace_bytes: int
    """Temporary tensors."""
    guard_bytes: int
    """Copies of good training states, kept against NaN and Inf; in main memory."""
    allocator_bytes: int
    """Fragmentation of the CUDA allocator."""
    library_bytes: int
    """Workspace of the CUDA libraries."""

    def by_purpose(self, purpose: str) -> int:
        """Return the bytes of one purpose, such as ``loss``."""
        n_bytes: int = getattr(self, f"{purpose}_bytes")
        return n_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMaxima(MemoryLines):
    """Memory of a training step, each line at its own maximum.

    The lines do not peak at the same time, so they add up to more than ``total_bytes``.
    """

    batch: int
    """Images per batch."""
    n_anchors: int
    """Anchor points per image."""
    total_bytes: int
    """Peak memory of the step."""
    peak_phase: str
    """Phase in which the peak occurs: inputs, forward, loss, backward or optimizer."""
    at_peak: Mapping[str, int]
    """Bytes by purpose at the peak; they add up to ``total_bytes``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchMemory(MemoryLines):
    """Memory of a training step at its peak; the lines add up to ``total_bytes``."""

    batch: int
    """Images per batch."""
    total_bytes: int
    ultralytics_assigner_bytes: int
    """Memory that Ultralytics' assigner would need in place of ours."""

    @property
    def ultralytics_total_bytes(self) -> int:
        """Peak memory with Ultralytics' assigner."""
        return self.total_bytes - self.assigner_bytes + self.ultralytics_assigner_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetGpu:
    """Device that the training is planned for."""

    name: str
    total_bytes: int
    """Memory as reported by the driver."""
    usable_bytes: int
    """Memory available for the tensors of a training."""
    bf16: bool
    """Whether the device computes bf16 natively."""
    device: Literal["cuda", "cpu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LargerSymbols:
    """Two ways to make symbols large enough."""

    tile: int
    """Tile side at an unchanged network input, in pixels of the stored images."""
    imgsz: int
    """Network input side for uncut images, in pixels."""
    batch: int
    """Largest batch that fits at that network input; 0 if not even one image is known to fit."""
    accumulate: int
    """Batches per optimiser step at that network input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """Recommended settings and commands."""

    batch: int
    """Largest batch that fits, up to the nominal batch."""
    accumulate: int
    """Batches per optimiser step."""
    imgsz: int
    """Requested network input side in pixels."""
    tile: int | None
    """Tile side that makes symbols large enough at ``imgsz``, in pixels of the stored images; None
    to leave the images uncut."""
    larger: LargerSymbols | None
    """Tiles and the alternative to them; None if nothing has to be or can be enlarged."""
    too_small: tuple[str, ...]
    """Classes that are too small even in the stored images."""
    without_area: tuple[str, ...]
    """Classes with too many boxes of zero width or height."""
    max_det: int
    """Detections to keep per image; ``omr train`` and ``omr eval`` choose it automatically."""
    workers: int
    """Processes that load images."""
    cache_bytes: int
    """Main memory that all decoded images would need at the training size."""
    command: str
    """Command that trains on the data as they are."""
    convert_command: str | None
    """Command that cuts the tiles; None if no tiles are needed or the conversion is not known."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityReport:
    """Figures of a planned training; classes are sorted by number of symbols, descending.

    Raises:
        ValueError: The matrix of the anchor competition does not match the classes.
    """

    data: str
    """Folders of the data sets, separated by blanks."""
    split: str
    imgsz: int
    """Network input side in pixels."""
    batch: int
    """Requested images per batch, at most the number of images."""
    model: str
    heads: str | None
    """Head config; None for a single head."""
    precision: str
    n_images: int
    n_symbols: int
    gpu: TargetGpu
    symbols: SymbolSpread | None
    """Symbols per stored image."""
    stages: tuple[PipelineStage, ...]
    batch_max: BatchMax | None
    batch_sum: BatchSum | None
    epoch_max: EpochMax | None
    classes: tuple[ClassDensity, ...]
    anchor_competition: AnchorCompetition | None
    """Competition for anchor points, with classes in the order of ``classes``; None without
    symbols."""
    priors: tuple[StartingBox, ...]
    memory: StepMaxima
    """Memory of the requested batch."""
    memory_over_batch: tuple[BatchMemory, ...]
    """Memory of several batches, ascending, including the requested and the recommended one."""
    memory_ultralytics_assigner_bytes: int
    """Memory that Ultralytics' assigner would need for the requested batch."""
    ultralytics_version: str
    """Version of Ultralytics whose assigner is compared."""
    recommendation: Recommendation | None
    """None if nothing can be launched."""
    problem: str
    """Reason for a missing recommendation, or an empty string."""

    def __post_init__(self) -> None:
        if self.anchor_competition:
            _check_matrix(self.anchor_competition, [row.name for row in self.classes])

    def to_json(self) -> dict[str, Any]:
        """Return the report as nested dicts, lists and numbers."""
        return asdict(self, dict_factory=_with_json_keys)


def _with_json_keys(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {_JSON_KEYS.get(name, name): value for name, value in fields}


def _check_matrix(competition: AnchorCompetition, names: Sequence[str]) -> None:
    """Check that the matrix is square and agrees with the listed collisions."""
    matrix, n = competition.matrix, len(names)
    if len(matrix) != n or any(len(row) != n for row in matrix):
        raise ValueError(f"the matrix of collisions must have shape ({n}, {n})")
    index = {name: i for i, name in enumerate(names)}
    for pair in competition.collisions:
        entry = matrix[index[pair.a]][index[pair.b]]
        if entry != pair.points:
            raise ValueError(
                f"the matrix of collisions is not in the order of the classes: {pair.a} and "
                f"{pair.b} share {pair.points} points, but its entry is {entry}"
            )
