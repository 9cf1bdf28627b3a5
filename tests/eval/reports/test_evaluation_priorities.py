from dataclasses import replace

import pytest
from evaluation_samples import empty, evaluation, metrics, point, report_of

from eval.reports.evaluation import ErrorType, EvaluationReport
from eval.reports.evaluation_priorities import work_next

PERFECT = metrics("clef", 100, 1.0, ap75=1.0, ap=1.0)
GOOD = (PERFECT, evaluation(PERFECT))


def one_bad(
    confused: dict[tuple[str, str], int] | None = None, **figures: object
) -> EvaluationReport:
    """A report of a perfect class and the class stem with 100 symbols."""
    row = metrics("stem", 100, **figures.pop("metrics"))  # type: ignore[arg-type]
    return report_of([GOOD, (row, evaluation(row, **figures))], confused=confused)  # type: ignore[arg-type]


def test_an_empty_report_has_nothing_to_work_on() -> None:
    work = work_next(empty())
    assert not any((work.priorities, work.uncertain, work.rare, work.notes))
    assert work.headline == "No class can be chosen, because the data contain no symbols."


@pytest.mark.parametrize(
    ("report", "cause", "evidence"),
    [
        (
            one_bad(
                metrics={"ap50": 0.45, "recall50": 0.55},
                centre_recall=0.97,
                dilated_ap50=0.93,
                best=point(0.31, 0.4, 0.53),  # .8 false alarms per symbol, .42 of them imprecise
            ),
            "found, but the boxes are too imprecise",
            "A prediction meets the centre of 97% of the symbols, but only 55% have one with an "
            "IoU of at least 0.5; after extending all boxes, AP50 is 0.930. At its best threshold, "
            "0.31, recall is 0.530 and precision 0.400.",
        ),
        (
            one_bad(
                metrics={"ap50": 0.5},
                best=point(0.5, 0.95, 0.55),
                confused={("stem", "clef"): 40, ("stem", "background"): 5},
            ),
            "found, but taken for other classes",
            "40% of the symbols are predicted as other classes: clef (40). At its best threshold, "
            "0.50, recall is 0.550 and precision 0.950.",
        ),
        (
            one_bad(metrics={"ap50": 0.5}, best=point(0.5, 0.95, 0.5)),
            "most errors are missed symbols",
            "At its best threshold, 0.50, recall is 0.500 and precision 0.950. At any confidence, "
            "recall is 0.500: a lower threshold hardly helps.",
        ),
        (
            one_bad(
                metrics={"ap50": 0.7, "recall50": 0.96},
                best=point(0.5, 0.9, 0.5),
                centre_recall=0.96,
            ),
            "most errors are missed symbols",
            "At its best threshold, 0.50, recall is 0.500 and precision 0.900. At any confidence, "
            "recall is 0.960: most of the missed symbols are predicted, but with a low confidence.",
        ),
        (
            one_bad(
                metrics={"ap50": 0.5, "recall50": 0.95},
                best=point(0.5, 0.5, 0.9),
                mistaken=(("clef", 12), ("tie", 30)),
            ),
            "most errors are false alarms",
            "At its best threshold, 0.50, recall is 0.900 and precision 0.500. 42 of 90 false "
            "predictions are on symbols of other classes: tie (30), clef (12).",
        ),
        (
            one_bad(
                metrics={"ap50": 0.5, "recall50": 0.95},
                best=point(0.5, 0.5, 0.9),
                mistaken=(("clef", 50),),
            ),
            "most errors are false predictions on symbols of other classes",
            "At its best threshold, 0.50, recall is 0.900 and precision 0.500. 50 of 90 false "
            "predictions are on symbols of other classes: clef (50).",
        ),
        (  # .8 false predictions and .3 misses per symbol, which are mostly the same boxes
            one_bad(
                metrics={"ap50": 0.7, "recall50": 0.76},
                best=point(0.3, 70 / 150, 0.7),
                centre_recall=0.98,
                imprecise=(25, 45),
            ),
            "found, but the boxes are too imprecise",
            "A prediction meets the centre of 98% of the symbols, but only 76% have one with an "
            "IoU of at least 0.5. At its best threshold, 0.30, recall is 0.700 and precision "
            "0.467. Imprecise boxes, with an IoU of 0.1 to 0.5, account for 45 of 80 false "
            "predictions and 25 of 30 missed symbols.",
        ),
        (  # imprecise boxes, but more false alarms
            one_bad(
                metrics={"ap50": 0.7, "recall50": 0.9},
                best=point(0.3, 0.5, 0.9),
                imprecise=(0, 20),
            ),
            "most errors are false alarms",
            "At its best threshold, 0.30, recall is 0.900 and precision 0.500. Imprecise boxes, "
            "with an IoU of 0.1 to 0.5, account for 20 of 90 false predictions.",
        ),
        (
            one_bad(metrics={"ap50": 0.97, "recall50": 0.985}, best=point(0.5, 0.99, 0.985)),
            "most errors are missed symbols",
            "At its best threshold, 0.50, recall is 0.985 and precision 0.990. At any confidence, "
            "recall is 0.985: a lower threshold hardly helps.",
        ),
        (
            one_bad(metrics={"ap50": 0.97, "recall50": 0.995}, best=point(0.002, 0.982, 0.994)),
            "most errors are false alarms",
            "At its best threshold, 0.002, recall is 0.994 and precision 0.982.",
        ),
        (
            one_bad(metrics={"ap50": 0.0, "n_predictions": 0}),
            "never predicted",
            "There is not a single prediction of this class for 100 symbols.",
        ),
        (
            one_bad(metrics={"ap50": 0.0, "n_predictions": 0}, confused={("stem", "clef"): 40}),
            "never predicted",
            "There is not a single prediction of this class for 100 symbols. 40% of the symbols "
            "are predicted as other classes: clef (40).",
        ),
        (
            one_bad(metrics={"ap50": 0.995, "ap75": 0.6, "ap": 0.58}),
            "found, but the boxes are not exact",
            "AP is 0.995 at IoU 0.5, but 0.600 at IoU 0.75 and 0.580 on average over IoU 0.5 to "
            "0.95.",
        ),
    ],
)
def test_the_reason_follows_from_the_figures(
    report: EvaluationReport, cause: str, evidence: str
) -> None:
    work = work_next(report)
    [stem] = work.priorities
    assert (stem.name, stem.cause) == ("stem", cause)
    assert " ".join(stem.evidence) == evidence
    assert work.headline == f"Work on stem next: {cause}."


def test_gains_are_those_of_a_perfect_class() -> None:
    rows = [metrics("a", 900, 0.9), metrics("b", 100, 0.4), metrics("none", 0, None)]
    report = report_of([(row, evaluation(row)) for row in rows])
    first, second = work_next(report).priorities
    # b: .6 / 2 + .6 x .1 = .36; a: .1 / 2 + .1 x .9 = .14
    assert (first.name, second.name) == ("b", "a")
    assert (first.macro_gain, first.weighted_gain) == pytest.approx((0.3, 0.06))
    assert (second.macro_gain, second.weighted_gain) == pytest.approx((0.05, 0.09))
    macro, weighted = report.detection.macro.ap50, report.detection.instance_weighted.ap50
    assert macro is not None
    assert weighted is not None
    better = [metrics("a", 900, 0.9), metrics("b", 100, 1.0)]
    improved = report_of([(row, evaluation(row)) for row in better]).detection
    assert improved.macro.ap50 == pytest.approx(macro + first.macro_gain)
    assert improved.instance_weighted.ap50 == pytest.approx(weighted + first.weighted_gain)


def test_a_frequent_class_can_matter_more_than_a_worse_one() -> None:
    rows = [metrics("stem", 5000, 0.8), metrics("coda", 40, 0.7)]
    work = work_next(report_of([(row, evaluation(row)) for row in rows]))
    assert [one.name for one in work.priorities] == ["stem", "coda"]


def test_at_most_three_classes_are_named_in_a_stable_order() -> None:
    rows = [metrics(name, 50, 0.5) for name in "dbca"]
    work = work_next(report_of([(row, evaluation(row)) for row in rows]))
    assert [one.name for one in work.priorities] == ["a", "b", "c"]


def test_classes_with_few_truths_are_listed_apart() -> None:
    rows = [metrics("stem", 30, 0.9), metrics("coda", 29, 0.1), metrics("segno", 2, 1.0)]
    details = [evaluation(rows[0], interval=(0.6, 0.95))]
    details += [evaluation(rows[1], interval=(0.0, 0.5)), evaluation(rows[2], interval=(0.8, 1.0))]
    work = work_next(report_of(list(zip(rows, details, strict=True))))
    assert [one.name for one in work.priorities] == ["stem"]
    assert work.uncertain == ("coda (0.00 to 0.50)", "stem (0.60 to 0.95)")
    assert work.rare == ("segno (2)", "coda (29)")


def test_only_rare_classes_are_better_than_none() -> None:
    row = metrics("coda", 3, 0.1)
    work = work_next(report_of([(row, evaluation(row))]))
    assert [one.name for one in work.priorities] == ["coda"]
    assert work.notes == ("No class has 30 truths, so that chance may decide the order.",)


@pytest.mark.parametrize(
    ("n", "headline"),
    [
        (
            100,
            "No class stands out: AP50-95 is at least 0.99 for all classes with 30 truths or more.",
        ),
        (3, "No class stands out: AP50-95 is at least 0.99 for all classes."),
    ],
)
def test_perfect_classes_need_no_work(n: int, headline: str) -> None:
    row = metrics("clef", n, 1.0, ap75=1.0, ap=1.0)
    work = work_next(report_of([(row, evaluation(row))]))
    assert work.priorities == ()
    assert work.headline == headline


def test_a_class_with_hardly_any_errors_needs_no_work_at_low_overlap() -> None:
    stem, beam = metrics("stem", 5000, 0.989), metrics("beam", 100, 0.96)
    details = [evaluation(stem, best=point(0.5, 0.999, 0.999)), evaluation(beam)]
    work = work_next(report_of(list(zip((stem, beam), details, strict=True))))
    assert [one.name for one in work.priorities] == ["beam"]


def test_the_costliest_error_is_named() -> None:
    errors = (
        ErrorType(name="class", count=9, delta_ap=0.01),
        ErrorType(name="localisation", count=5, delta_ap=0.0712),
    )
    work = work_next(report_of([GOOD], errors=errors))
    assert work.notes == (
        "Over all classes, imprecise boxes cost most: without them, the macro AP50 would be 0.071 "
        "higher.",
    )


def test_classes_on_a_single_page_have_no_interval() -> None:
    row = metrics("stem", 500, 0.9)
    detail = replace(evaluation(row), ap50_interval=None)
    work = work_next(report_of([(row, detail)], n_pages=1))
    assert (work.uncertain, work.without_interval) == ((), ("stem",))
