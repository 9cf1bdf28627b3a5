"""Tests of the web page and the Markdown of a comparison."""

import re
from dataclasses import replace
from html import unescape

import pytest
from browser import Measurements, open_pages

from eval.reports.comparison import (
    ClassDifference,
    ComparedModel,
    ComparisonReport,
    Difference,
    ModelComparison,
    RunGroup,
    Verdict,
)
from eval.reports.comparison_files import comparison_json, comparison_markdown
from eval.reports.comparison_page import comparison_page
from eval.reports.comparison_text import by_chance, by_size, headline, signed, signed_limits
from eval.reports.evaluation import Interval

NONE = Difference(a=None, b=None, difference=None, interval=None, verdict="no difference shown")


def difference(a: float, b: float, half: float | None = 0.02) -> Difference:
    """Return a difference whose interval extends by ``half`` to both sides."""
    verdict: Verdict = "no difference shown"
    if half is not None and abs(a - b) > half:
        verdict = "A is better" if a > b else "B is better"
    interval = None if half is None else Interval(low=a - b - half, high=a - b + half)
    return Difference(a=a, b=b, difference=a - b, interval=interval, verdict=verdict)


CLASSES = {
    "empty": (0, NONE),
    "small": (40, difference(0.5, 0.44)),
    "large": (900, difference(0.3, 0.6)),
    "wide": (12, difference(0.9, 0.4, 0.7)),
    "<single>": (1, difference(1.0, 0.0, None)),
    "equal": (400, difference(0.7, 0.7, 0.0)),
}


def report_of(macro: Difference, classes: dict[str, tuple[int, Difference]]) -> ComparisonReport:
    return ComparisonReport(
        metric="ap",
        n_pages=12,
        a=RunGroup(macro=(macro.a,), mean=macro.a, spread=None),
        b=RunGroup(
            macro=(macro.b, macro.b), mean=macro.b, spread=None if macro.b is None else 0.01
        ),
        macro=macro,
        frequent_macro=macro,
        instance_weighted=macro,
        classes=tuple(ClassDifference(name=k, n_truths=n, ap=d) for k, (n, d) in classes.items()),
        n_bootstrap=1000,
        seed=3,
    )


def comparison_of(*reports: ComparisonReport) -> ModelComparison:
    models = [ComparedModel(letter="A", name="runs/<a>", runs=("best.pt",))]
    models += [
        ComparedModel(letter=letter, name=f"runs/{letter}", runs=("seed0", "seed1"))
        for letter, _ in zip("BCDE", reports, strict=False)
    ]
    values = tuple(model.letter for model in models)
    return ModelComparison(
        models=tuple(models), unit="tile", data="ds2, split val", reports=reports,
        settings=(("imgsz", values),),
    )  # fmt: skip


BETTER, WORSE = difference(0.5, 0.6), difference(0.5, 0.4)
FULL = comparison_of(report_of(BETTER, CLASSES))
CROWDED = comparison_of(
    *[
        report_of(
            macro,
            {
                f"accidentalQuarterToneFlat{i}": (5 * i, difference(0.5, 0.4 + i / 400, 0.03))
                for i in range(136)
            },
        )
        for macro in (BETTER, WORSE, difference(0.5, 0.49))
    ]
)
EMPTY = comparison_of(report_of(NONE, {}))


def read(page: str) -> str:
    """Return the text of a page with single spaces."""
    return " ".join(unescape(re.sub("<[^>]+>", " ", page)).split())


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([NONE], "No difference shown: nothing can be compared without ground truth"),
        ([NONE, NONE], "No difference shown: nothing can be compared without ground truth"),
        ([BETTER], "runs/B (B) is better than runs/<a> (A)"),
        ([WORSE], "runs/<a> (A) is better than runs/B (B)"),
        ([difference(0.5, 0.51)], "No difference shown between runs/<a> (A) and runs/B (B)"),
        ([BETTER, BETTER, WORSE], "B and C are better than A; D is worse than A"),
        ([BETTER, BETTER, BETTER], "B, C and D are better than A"),
        ([difference(0.5, 0.5, None)] * 2, "No difference shown between A and B or C"),
    ],
)
def test_headline(reports: list[Difference], expected: str) -> None:
    assert headline(comparison_of(*[report_of(one, CLASSES) for one in reports])) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (0.0, "+0.000"),
        (-0.0, "+0.000"),
        (1e-16, "+0.000"),
        (-0.0004, "-0.0004"),
        (-0.00004, "-4e-05"),
        (0.0005, "+0.001"),
        (-0.1184, "-0.118"),
    ],
)
def test_differences_have_a_sign(value: float | None, expected: str) -> None:
    assert signed(value) == expected
    if value is not None:
        assert signed_limits(Interval(low=value, high=value)) == f"{expected} to {expected}"


def test_classes_are_sorted_by_what_they_show() -> None:
    names = [row.name for row in by_size(FULL.reports[0])]
    assert names == ["large", "small", "wide", "equal", "<single>"]
    assert by_chance(FULL.reports[0], "C") == (
        "4 classes with an interval: A is better in 1, C in 1, no difference shown in 2. Without "
        "any real difference, about 0.2 would show one by chance. 1 class has truths on a single "
        "image."
    )


def test_the_verdict_is_first() -> None:
    text = read(comparison_page(FULL).partition("<main>")[2])
    verdict = (
        "runs/B (B) is better than runs/<a> (A) runs/<a> (A, best.pt) compared with runs/B (B, 2 runs): AP50-95 on 12 tiles of ds2, split val Macro AP50-95: A 0.500, B 0.600, "
        "difference A - B -0.100, 95% interval -0.120 to -0.080."
    )
    assert text.startswith(verdict)
    assert "mean macro AP50-95 of 2 runs: 0.600, 0.600 spread (standard deviation) 0.010" in text
    assert "Ranking" not in text
    assert "(1,000 samples, seed 3)" in text


def test_warnings_and_notes_are_shown() -> None:
    comparison = replace(FULL, protocol_differences=("max_det (1, 2)",), notes=("<skipped>",))
    for text in (read(comparison_page(comparison)), comparison_markdown(comparison)):
        assert re.search(r"Different protocols: max\\?_det \(1, 2\)\.", text)
        assert re.search(r"\\?<skipped\\?>", text)
    assert "Different protocols" not in comparison_page(FULL)


def test_bars_of_classes_go_to_the_side_of_the_better_model() -> None:
    page = comparison_page(FULL)
    shown = page[page.index('id="plot-B-shown-0"') : page.index('id="plot-B-others-0"')]
    assert re.findall(r'class="part (s\d)"', shown) == ["s4", "s0"]
    others = page[page.index('id="plot-B-others-0"') :]
    assert others.count('fill-opacity="0.40"') == 3
    assert "empty" not in page


def test_markdown_and_json_of_several_models() -> None:
    text = comparison_markdown(CROWDED)
    assert text.startswith("# B is better than A; C is worse than A; no difference shown")
    assert "\n| B | runs/B | 2 | 0.600 | 0.010 | -0.100 | -0.120 to -0.080 | B |\n" in text
    content = comparison_json(CROWDED)
    assert content["ranking"] == ["B", "A", "D", "C"]
    assert [one["b"] for one in content["comparisons"]] == ["B", "C", "D"]
    assert comparison_json(EMPTY)["difference"] == {"ap": None, "low": None, "high": None}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    samples = {"full": FULL, "crowded": CROWDED, "empty": EMPTY}
    pages = {
        f"{name}-{width}": (comparison_page(sample), width)
        for name, sample in samples.items()
        for width in (390, 1280)
    }
    return open_pages(pages, tmp_path_factory.mktemp("browser"))


@pytest.mark.slow
def test_pages_are_readable_and_need_no_network(opened: Measurements) -> None:
    assert opened.console == []
    for name, page in opened.pages.items():
        assert (name, page["overflow"], page["requests"]) == (name, 0, [])
        assert (name, page["outside"], page["overlaps"]) == (name, [], [])
        assert page["words_px"] >= 16
        assert page["labels_px"] is None or page["labels_px"] >= 14
    assert "plot-B-shown-0" in opened.pages["full-390"]["plots"]
