"""Density report: the figures that ``omr analyze-density`` computes, shows and prints as JSON.

``training.density`` fills these dataclasses, and :mod:`eval.reports.density` draws them as a web
page. Field names are the keys of the JSON, except that ``iou50``, ``iou75`` and ``iou90`` become
``0.5``, ``0.75`` and ``0.9``. :mod:`eval.reports.density_figures` contains
the figures of the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from eval.reports.density_figures import (
    AnchorCompetition,
    BatchMax,
    BatchSum,
    ClassDensity,
    EpochMax,
    PipelineStage,
    StartingBox,
    SymbolSpread,
)

MOST = 0.5
"""Fraction of a class's symbols above which "most" and "mostly" apply."""
_JSON_KEYS = {"iou50": "0.5", "iou75": "0.75", "iou90": "0.9"}


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
    """Normalisation statistics, and the guard's copy of them."""
    inputs_bytes: int
    """Images as bytes and as floats."""
    activations_bytes: int
    """Tensors of the forward pass that the backward pass needs."""
    loss_bytes: int
    assigner_bytes: int
    workspace_bytes: int
    """Temporary tensors within a pass."""
    guard_bytes: int
    """Good training states in main memory, to recover from NaN and Inf; part of the total on a CPU
    only."""
    allocator_bytes: int
    """CUDA: gaps between tensors that torch's allocator cannot use, even if memory runs out."""
    library_bytes: int
    """CUDA: workspace of matrix products."""

    def by_purpose(self, purpose: str) -> int:
        """Return the bytes of one purpose, such as ``loss``."""
        n_bytes: int = getattr(self, f"{purpose}_bytes")
        return n_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMemory(MemoryLines):
    """Memory of a training step, with each purpose at its own maximum.

    The maxima do not add up to ``total_bytes``, because they are reached at different times:
    gradients are allocated while activations are released.
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

    @property
    def allocated_bytes(self) -> int:
        """Bytes of tensors at the peak, comparable with ``torch.cuda.max_memory_allocated``."""
        return self.total_bytes - self.allocator_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchMemory(MemoryLines):
    """Memory of a training step at its peak; the parts add up to ``total_bytes``."""

    batch: int
    """Images per batch."""
    total_bytes: int
    ultralytics_assigner_bytes: int
    """Memory that Ultralytics' assigner would need in place of omr's."""

    @property
    def ultralytics_total_bytes(self) -> int:
        """Peak memory with Ultralytics' assigner."""
        return self.total_bytes - self.assigner_bytes + self.ultralytics_assigner_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetGpu:
    """Device that training is planned for."""

    name: str
    total_bytes: int
    """Memory as reported by the driver."""
    usable_bytes: int
    """Memory available for the tensors of a training run."""
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
    """Largest batch that fits at that network input; 0 if no batch is known to fit."""
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
    if images should not be cut."""
    larger: LargerSymbols | None
    """Tiles and the alternative to them; None if no symbols need to be, or can be, enlarged."""
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
    """Figures of a planned training run; classes are sorted by number of symbols, descending.

    Raises:
        ValueError: The matrix of the anchor competition does not match the classes.
    """

    data: str
    """Folders of the data sets, separated by spaces."""
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
    memory: StepMemory
    """Memory of the requested batch."""
    memory_over_batch: tuple[BatchMemory, ...]
    """Memory of several batches, ascending, including the requested and the recommended one."""
    memory_ultralytics_assigner_bytes: int
    """Memory that Ultralytics' assigner would need for the requested batch."""
    ultralytics_version: str
    """Version of Ultralytics whose assigner is compared."""
    recommendation: Recommendation | None
    """None if no training run fits."""
    problem: str
    """Reason for a missing recommendation, or an empty string."""

    def __post_init__(self) -> None:
        if self.anchor_competition:
            _check_matrix(self.anchor_competition, [row.name for row in self.classes])

    @property
    def under_a_pixel(self) -> tuple[str, ...]:
        """Classes most of whose symbols are under 1 px at the training size."""
        return tuple(row.name for row in self.classes if (row.under_1px or 0) > MOST)

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
