"""Figures of a data set in a density report: crowding, symbol sizes, competition for anchor points.

Field names are keys of the JSON, as in :mod:`eval.reports.density_report`.
"""

from dataclasses import dataclass


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
    """Pairs of classes that share the most anchor points, in descending order; pairs that share
    none are omitted."""
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
