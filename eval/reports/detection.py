"""Detection report: the metrics of a model on a data set, per class and averaged."""

from dataclasses import asdict, dataclass
from typing import Any

FREQUENT = 30
"""Minimum number of truths for a class to count in the frequent macro mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMetrics:
    """Metrics of one class; without ground-truth symbols of the class, they are None, not 0."""

    name: str
    n_truths: int
    n_predictions: int
    ap50: float | None
    """COCO's 101-point mean of the interpolated precision at IoU .5."""
    ap75: float | None
    ap: float | None
    """Mean over IoU .5:.05:.95."""
    recall50: float | None
    """Fraction of the truths that any prediction matches at IoU .5, at any confidence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanMetrics:
    """Average of the class metrics; None if no class has truths."""

    ap50: float | None
    ap75: float | None
    ap: float | None
    recall50: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionReport:
    """Metrics of predictions against ground truth."""

    n_images: int
    n_truths: int
    n_predictions: int
    n_zero_area_truths: int
    """Truths of zero width or height; they count, although no prediction can match them."""
    max_det_per_class: int
    """Limit on predictions per image and class; high enough to keep all, unless a limit was
    requested."""
    classes: tuple[ClassMetrics, ...]
    """Metrics per class, in the order of the class names."""
    macro: MeanMetrics
    """Mean over all classes with truths, equally weighted."""
    frequent_macro: MeanMetrics
    """Mean over the classes with at least :data:`FREQUENT` truths, equally weighted."""
    instance_weighted: MeanMetrics
    """Mean over all classes, weighted by number of truths."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as nested dicts, lists and numbers, with None for missing metrics."""
        return asdict(self) | {"classes": [asdict(row) for row in self.classes]}
