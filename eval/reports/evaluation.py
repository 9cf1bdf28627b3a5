"""Evaluation report: how well predictions agree with the ground truth, in depth.

:mod:`eval.metrics` computes it, and ``report.json``, ``report.md`` and ``report.html`` are drawn
from it. An AP is None, not 0, for a class without ground truth.

Shapes: C classes, R = 101 recalls, B bins.
"""

from dataclasses import dataclass

from eval.reports.detection import DetectionReport

FEW_PAGES = 10
"""Number of pages with truths from which the spread between pages can be estimated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Confidence interval of 95 %, by bootstrap over pages."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPoint:
    """Precision, recall and F1 of the predictions above a threshold."""

    threshold: float
    """Confidence, 0 to 1."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherProtocols:
    """AP at IoU .5 by protocols other than COCO's, of a class or averaged over classes."""

    voc2007: float | None
    """Mean of the interpolated precision at 11 recalls."""
    voc2010: float | None
    """Area under the interpolated precision."""
    ultralytics: float | None
    """Area under Ultralytics' precision curve, drawn through 101 recalls; .995 at best."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassErrors:
    """Localisation and classification errors of one class at its threshold, as in TIDE."""

    n_imprecise_symbols: int
    """Missed symbols whose best prediction of the class has an IoU of .1 to .5."""
    n_imprecise_predictions: int
    """False predictions whose best symbol of the class has an IoU of .1 to .5."""
    mistaken: tuple[tuple[str, int], ...]
    """Other classes whose symbols false predictions lie on, with an IoU of .5 or more, and the
    number of these predictions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassEvaluation:
    """Measures of one class besides :class:`~eval.reports.detection.ClassMetrics`."""

    name: str
    ap50_interval: Interval | None
    """Interval of the AP at IoU .5; None with ground truth on fewer than two pages."""
    best: OperatingPoint | None
    """At the threshold with the highest F1; None without ground truth or predictions."""
    chosen: OperatingPoint | None
    """At the threshold that the user chose; None without ground truth."""
    other: OtherProtocols
    centre_recall: float | None
    """Fraction of the symbols whose centre a prediction of the class meets, whatever its size."""
    errors: ClassErrors
    """At the threshold of the class in :attr:`EvaluationReport.thresholds`."""
    dilated_ap50: float | None
    """AP at IoU .5 after all boxes have been extended; only for thin classes, otherwise None."""
    precisions: tuple[float, ...] | None
    """Interpolated precision at IoU .5 at recalls 0, .01 ... 1, length R; None without ground
    truth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorType:
    """One kind of error, as in TIDE."""

    name: str
    """``class``, ``localisation``, ``both``, ``duplicate``, ``background`` or ``missed``."""
    count: int
    """Errors of this kind; with ``missed``, symbols that no prediction meets."""
    delta_ap: float
    """Gain in the macro AP at IoU .5 if all errors of this kind were repaired, 0 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Scores of some of the pages or symbols."""

    dimension: str
    """Property in which slices differ: ``source``, ``font``, ``writer``, ``size``, ``density`` or
    ``head``."""
    value: str
    """Value that the pages or symbols share, such as ``Bravura``."""
    n_pages: int
    n_truths: int
    macro_ap50: float | None
    instance_weighted_ap50: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationBin:
    """Predictions of similar confidence."""

    confidence: float
    """Mean confidence, 0 to 1."""
    precision: float
    """Fraction of these predictions that are right at IoU .5."""
    n_predictions: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Whether predictions of confidence p are right in the fraction p of cases."""

    head: str
    """Head of the network; empty if there is one head."""
    ece: float | None
    """Expected calibration error: mean distance of confidence and precision, weighted by the number
    of predictions; None without predictions."""
    bins: tuple[CalibrationBin, ...]
    """Bins that contain predictions, lowest confidence first, at most B."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Predictions at a threshold, matched with the ground truth whatever their class."""

    threshold: float
    """Confidence from which predictions count."""
    names: tuple[str, ...]
    """Names of the rows and columns: the classes that occur, then ``background``."""
    counts: tuple[tuple[int, ...], ...]
    """Symbols of each true class (row) by predicted class (column); the last row contains false
    predictions, and the last column symbols that were missed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageErrors:
    """Errors on one page at the best threshold of each class."""

    image: str
    n_truths: int
    n_found: int
    n_false: int
    n_missed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """All measures of predictions for a set of images, which are pages or tiles."""

    unit: str
    """``page`` or ``tile``."""
    detection: DetectionReport
    """COCO's AP per class, and means."""
    chosen_threshold: float
    """Confidence threshold that the user chose for precision, recall and F1."""
    intervals: dict[str, Interval | None]
    """Intervals of ``macro``, ``frequent_macro`` and ``instance_weighted`` AP at IoU .5; None with
    fewer than two pages."""
    other: OtherProtocols
    """Macro means."""
    classes: tuple[ClassEvaluation, ...]
    """In the order of ``detection.classes``, length C."""
    errors: tuple[ErrorType, ...]
    slices: tuple[Slice, ...]
    calibration: tuple[Calibration, ...]
    """One entry per head."""
    confusion: Confusion
    thresholds: tuple[float, ...]
    """Confidence from which a prediction counts on a page, length C: that of ``best``, or else the
    best for all classes together."""
    pages: tuple[PageErrors, ...]
    """Every image, that with the most errors first."""
    n_bootstrap: int
    """Samples from which the intervals were computed."""
    seed: int
    """Seed of the bootstrap."""


def few_pages_notes(n_pages: int, unit: str) -> tuple[str, ...]:
    """Return a note if there are intervals, but from too few pages.

    Args:
        n_pages: Number of pages or tiles with truths.
        unit: ``page`` or ``tile``.
    """
    if not 2 <= n_pages < FEW_PAGES:
        return ()
    return (f"intervals from {n_pages} {unit}s are unreliable; score at least {FEW_PAGES}",)
