"""Choice of the classes to work on next, with the reason that the figures of a report give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from class_maps import short_list
from eval.html.number_format import NONE, amount, counted, share
from eval.reports.detection import FREQUENT, ClassMetrics
from eval.reports.evaluation import ClassEvaluation, Confusion, ErrorType, EvaluationReport

Measure = Literal["ap50", "ap"]
"""AP at IoU .5, or its mean over IoU .5:.95."""

MEASURE_NAMES: dict[Measure, str] = {"ap50": "AP50", "ap": "AP50-95"}
WIDE = 0.2
"""Width of an interval of the AP at IoU .5 from which a class is not measured well enough."""
_GOOD = 0.99
"""AP, or F1 at IoU .5, from which a class needs no work."""
_MOST = 3
"""Maximum number of classes to work on."""
_LEAST_LOSS = 0.02
"""Share of symbols from which confusions and localisation errors are mentioned."""
_NOTABLE_LOSS = 0.1
"""Share of symbols from which predictions at the centre of symbols are mentioned."""
_CAUSES = {
    "imprecise": "found, but the boxes are too imprecise",
    "confused": "found, but taken for other classes",
    "missed": "most errors are missed symbols",
    "mistaken": "most errors are false predictions on symbols of other classes",
    "false": "most errors are false alarms",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Priority:
    """Class whose improvement would raise the scores."""

    name: str
    value: float
    """Present AP, of the measure of the :class:`WorkNext`."""
    macro_gain: float
    """Gain in the macro mean if all predictions of the class were right, 0 to 1."""
    weighted_gain: float
    """Gain in the instance-weighted mean, 0 to 1."""
    cause: str
    """Main reason for the low AP, as a phrase."""
    evidence: tuple[str, ...]
    """Sentences with the figures behind the cause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkNext:
    """Classes to work on next, most important first."""

    measure: Measure
    """``ap`` if almost nothing can be gained at IoU .5."""
    priorities: tuple[Priority, ...]
    uncertain: tuple[str, ...]
    """Classes whose AP has an interval wider than ``WIDE``, widest first, with that interval."""
    without_interval: tuple[str, ...]
    """Classes whose truths are on a single page, so that there is no interval."""
    rare: tuple[str, ...]
    """Classes with fewer than ``FREQUENT`` truths, rarest first, with that number."""
    headline: str
    """Answer in one sentence."""
    notes: tuple[str, ...]
    """Sentences about all classes together."""


def work_next(report: EvaluationReport) -> WorkNext:
    """Choose the classes to work on next.

    A class counts by the sum of its possible gains in the macro and the instance-weighted mean.
    Classes with fewer than ``FREQUENT`` truths are only considered if all classes have fewer, since
    their AP varies by chance. A class with almost no errors at its best threshold needs no work at
    IoU .5, although COCO's AP of 101 recalls drops by .01 if a single symbol is missed.

    Args:
        report: Report with the figures of all classes.
    """
    present = [row for row in report.detection.classes if row.n_truths]
    candidates = [row for row in present if row.n_truths >= FREQUENT] or present
    detail_of = {detail.name: detail for detail in report.classes}
    inaccurate = [row for row in candidates if _is_inaccurate(row, detail_of[row.name])]
    measure: Measure = "ap50" if inaccurate else "ap"
    priorities = [
        _priority(row, detail_of[row.name], report, len(present), measure)
        for row in inaccurate or [row for row in candidates if (row.ap or 0.0) < _GOOD]
    ]
    priorities.sort(key=lambda one: (-one.macro_gain - one.weighted_gain, one.name))
    chosen = tuple(priorities[:_MOST])
    return WorkNext(
        measure=measure,
        priorities=chosen,
        uncertain=_uncertain(report.classes),
        without_interval=tuple(
            row.name for row in present if detail_of[row.name].ap50_interval is None
        ),
        rare=tuple(
            f"{row.name} ({row.n_truths})"
            for row in sorted(present, key=lambda row: (row.n_truths, row.name))
            if row.n_truths < FREQUENT
        ),
        headline=_headline(chosen, candidates, measure),
        notes=_notes(report, candidates),
    )


def _is_inaccurate(row: ClassMetrics, detail: ClassEvaluation) -> bool:
    """Return whether a class has more than a few errors at IoU .5."""
    f1 = detail.best.f1 if detail.best else 0.0
    return max(row.ap50 or 0.0, f1) < _GOOD


def _priority(
    row: ClassMetrics,
    detail: ClassEvaluation,
    report: EvaluationReport,
    n_present: int,
    measure: Measure,
) -> Priority:
    value: float = getattr(row, measure) or 0.0
    if measure == "ap":
        cause, evidence = "found, but the boxes are not exact", _box_evidence(row)
    else:
        cause, evidence = _reason(row, detail, report.confusion)
    return Priority(
        name=row.name,
        value=value,
        macro_gain=(1 - value) / n_present,
        weighted_gain=(1 - value) * row.n_truths / report.detection.n_truths,
        cause=cause,
        evidence=evidence,
    )


def _reason(
    row: ClassMetrics, detail: ClassEvaluation, confusion: Confusion
) -> tuple[str, tuple[str, ...]]:
    """Return the kind of error that costs most, and sentences with its figures."""
    taken_for = _other_classes(row.name, confusion)
    confused = sum(n for _, n in taken_for) / row.n_truths
    confusions = []
    if confused >= _LEAST_LOSS:
        others = _listed(taken_for)
        confusions = [f"{share(confused)} of the symbols are predicted as other classes: {others}."]
    if not row.n_predictions:
        symbols = counted(row.n_truths, "symbol", "symbols")
        sentence = f"There is not a single prediction of this class for {symbols}."
        return "never predicted", (sentence, *confusions)
    losses = _losses(row, detail, confused)
    kind = max(losses, key=lambda key: losses[key])
    evidence = []
    if _centre_gap(row, detail) >= _NOTABLE_LOSS:
        evidence.append(_centre_evidence(row, detail))
    evidence += confusions
    evidence.append(_operating_evidence(row, detail))
    if kind == "imprecise" or losses["imprecise"] >= _LEAST_LOSS:
        evidence += _localisation_evidence(row, detail)
    if kind == "missed":
        evidence.append(_low_confidence_evidence(row, detail, losses["missed"]))
    if losses["mistaken"] >= _LEAST_LOSS:
        evidence.append(_mistaken_evidence(row, detail))
    return _CAUSES[kind], tuple(evidence)


def _losses(row: ClassMetrics, detail: ClassEvaluation, confused: float) -> dict[str, float]:
    """Estimate how many errors of each kind there are per symbol of the class."""
    # An imprecise box is both a missed symbol and a false prediction, but a single error.
    imprecise_symbols, imprecise_predictions = (
        max(_centre_gap(row, detail), n / row.n_truths)
        for n in (detail.errors.n_imprecise_symbols, detail.errors.n_imprecise_predictions)
    )
    n_missed, n_false = _miscounts(row, detail)
    mistaken = sum(n for _, n in detail.errors.mistaken) / row.n_truths
    return {
        "imprecise": max(imprecise_symbols, imprecise_predictions),
        "confused": confused,
        "missed": max(0.0, n_missed / row.n_truths - imprecise_symbols - confused),
        "mistaken": mistaken,
        "false": max(0.0, n_false / row.n_truths - imprecise_predictions - mistaken),
    }


def _centre_gap(row: ClassMetrics, detail: ClassEvaluation) -> float:
    """Return the share of symbols with a prediction at their centre, but none that finds them."""
    return max(0.0, (detail.centre_recall or 0.0) - (row.recall50 or 0.0))


def _miscounts(row: ClassMetrics, detail: ClassEvaluation) -> tuple[int, int]:
    """Return the numbers of missed symbols and false predictions at the best threshold."""
    if detail.best is None:
        return row.n_truths, 0
    n_found = round(detail.best.recall * row.n_truths)
    precision = detail.best.precision
    return row.n_truths - n_found, round(n_found / precision) - n_found if precision else 0


def _best_recall(detail: ClassEvaluation) -> float:
    return detail.best.recall if detail.best else 0.0


def _other_classes(name: str, confusion: Confusion) -> list[tuple[str, int]]:
    """Return the classes that a class is predicted as, with counts."""
    if name not in confusion.names[:-1]:
        return []
    line = confusion.counts[confusion.names.index(name)][:-1]
    counts = zip(confusion.names[:-1], line, strict=True)
    return [(other, n) for other, n in counts if n and other != name]


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    ordered = sorted(counts, key=lambda entry: (-entry[1], entry[0]))
    return short_list([f"{name} ({amount(n)})" for name, n in ordered], _MOST)


def _centre_evidence(row: ClassMetrics, detail: ClassEvaluation) -> str:
    text = (
        f"A prediction meets the centre of {share(detail.centre_recall)} of the symbols, but only "
        f"{share(row.recall50)} have one with an IoU of at least 0.5"
    )
    if detail.dilated_ap50 is not None:
        text += f"; after extending all boxes, AP50 is {_score(detail.dilated_ap50)}"
    return f"{text}."


def _operating_evidence(row: ClassMetrics, detail: ClassEvaluation) -> str:
    best = detail.best
    if best is None:
        return f"AP50 is {_score(row.ap50)}."
    threshold = f"{best.threshold:.{2 if best.threshold >= 0.01 else 3}f}"
    return (
        f"At its best threshold, {threshold}, recall is {best.recall:.3f} and precision "
        f"{best.precision:.3f}."
    )


def _localisation_evidence(row: ClassMetrics, detail: ClassEvaluation) -> list[str]:
    n_missed, n_false = _miscounts(row, detail)
    parts = [
        f"{amount(n)} of {counted(total, *nouns)}"
        for n, total, nouns in (
            (
                detail.errors.n_imprecise_predictions,
                n_false,
                ("false prediction", "false predictions"),
            ),
            (detail.errors.n_imprecise_symbols, n_missed, ("missed symbol", "missed symbols")),
        )
        if n
    ]
    if not parts:
        return []
    return [f"Imprecise boxes, with an IoU of 0.1 to 0.5, account for {' and '.join(parts)}."]


def _mistaken_evidence(row: ClassMetrics, detail: ClassEvaluation) -> str:
    _, n_false = _miscounts(row, detail)
    n_mistaken = sum(n for _, n in detail.errors.mistaken)
    predictions = counted(n_false, "false prediction", "false predictions")
    verb = "is" if n_mistaken == 1 else "are"
    return (
        f"{amount(n_mistaken)} of {predictions} {verb} on symbols of other classes: "
        f"{_listed(detail.errors.mistaken)}."
    )


def _low_confidence_evidence(row: ClassMetrics, detail: ClassEvaluation, missed: float) -> str:
    """Return whether the missed symbols are predicted with a low confidence."""
    recall = row.recall50 or 0.0
    if recall - _best_recall(detail) > missed / 2:
        remark = "most of the missed symbols are predicted, but with a low confidence"
    else:
        remark = "a lower threshold hardly helps"
    return f"At any confidence, recall is {_score(recall)}: {remark}."


def _box_evidence(row: ClassMetrics) -> tuple[str, ...]:
    return (
        f"AP is {_score(row.ap50)} at IoU 0.5, but {_score(row.ap75)} at IoU 0.75 and "
        f"{_score(row.ap)} on average over IoU 0.5 to 0.95.",
    )


def _uncertain(classes: Sequence[ClassEvaluation]) -> tuple[str, ...]:
    wide = [
        (interval.low - interval.high, f"{row.name} ({interval.low:.2f} to {interval.high:.2f})")
        for row in classes
        if (interval := row.ap50_interval) and interval.high - interval.low > WIDE
    ]
    return tuple(text for _, text in sorted(wide))


def _headline(
    priorities: Sequence[Priority], candidates: Sequence[ClassMetrics], measure: Measure
) -> str:
    if not candidates:
        return "No class can be chosen, because the data contain no symbols."
    if not priorities:
        frequent = "" if _all_rare(candidates) else f" with {FREQUENT} truths or more"
        return (
            f"No class stands out: {MEASURE_NAMES[measure]} is at least {_GOOD} for all "
            f"classes{frequent}."
        )
    first = priorities[0]
    return f"Work on {first.name} next: {first.cause}."


def _all_rare(candidates: Sequence[ClassMetrics]) -> bool:
    return all(row.n_truths < FREQUENT for row in candidates)


def _notes(report: EvaluationReport, candidates: Sequence[ClassMetrics]) -> tuple[str, ...]:
    notes = []
    errors = [error for error in report.errors if error.delta_ap > 0]
    if errors:
        largest = max(errors, key=lambda error: error.delta_ap)
        notes.append(
            f"Over all classes, {_describe(largest)} cost most: without them, the macro AP50 would "
            f"be {largest.delta_ap:.3f} higher."
        )
    if candidates and _all_rare(candidates):
        notes.append(f"No class has {FREQUENT} truths, so that chance may decide the order.")
    return tuple(notes)


_ERROR_PHRASES = {
    "class": "predictions of the wrong class",
    "localisation": "imprecise boxes",
    "both": "predictions of the wrong class with imprecise boxes",
    "duplicate": "duplicate predictions",
    "background": "predictions without any symbol nearby",
    "missed": "missed symbols",
}


def _describe(error: ErrorType) -> str:
    return _ERROR_PHRASES.get(error.name, f"errors of the type {error.name}")


def _score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
