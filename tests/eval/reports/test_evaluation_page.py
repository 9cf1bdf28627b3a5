import re
from dataclasses import replace
from html import unescape
from typing import Any

import numpy as np
import pytest
from browser import Measurements, open_pages
from evaluation_samples import (
    SUBJECT,
    crowded,
    empty,
    evaluation,
    full,
    marked_page,
    metrics,
    report_of,
)

from eval.reports.evaluation import EvaluationReport
from eval.reports.evaluation_page import count_check, evaluation_page
from eval.reports.page_overlays import PageOverlay, page_overlays

FULL = full()
SECTIONS = [
    "work-next", "protocols", "classes", "errors", "confusion", "curves", "calibration", "slices",
    "worst", "count-check", "protocol",
]  # fmt: skip
STEP = """
const press = key => page.dispatchEvent(new view.KeyboardEvent('keydown', {key, bubbles: true}));
const section = page.getElementById('worst'), select = section.querySelector('.pager select');
if (!select) return null;
const shown = () => [...section.querySelectorAll('figure')].flatMap((one, i) => one.hidden ? [] : [i]);
const steps = [shown()];
section.scrollIntoView();
for (const key of ['ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowLeft']) { press(key); steps.push(shown()); }
section.querySelector('.previous').click(); steps.push(shown());
select.value = 2; select.dispatchEvent(new view.Event('change')); steps.push(shown());
const sheet = section.querySelectorAll('.sheet')[1], width = () => sheet.firstElementChild.getBoundingClientRect().width;
select.value = 1; select.dispatchEvent(new view.Event('change'));
const small = width();
sheet.click();
const zoom = width() / small;
sheet.click();
const box = section.querySelector('input[value=missed]');
const missed = section.querySelectorAll('figure')[1].querySelector('.mark.missed');
const before = view.getComputedStyle(missed).display;
box.click();
const result = {steps, zoom, unzoomed: width() / small, before, after: view.getComputedStyle(missed).display};
view.scrollTo(0, 0);
press('ArrowLeft');
result.away = shown();
return result;
"""


def read(page: str) -> str:
    """Return the text of a page with single spaces."""
    body = page[page.index("<body>") :]
    return " ".join(
        unescape(re.sub(r"<script>.*?</script>|<[^>]*>", " ", body, flags=re.DOTALL)).split()
    )


def section(page: str, name: str) -> str:
    match = re.search(f'<section id="{name}">(.*?)</section>', page, re.DOTALL)
    assert match is not None
    return read(f"<body>{match[1]}")


def overlays_of(report: EvaluationReport) -> list[PageOverlay]:
    """Overlays of all pages, the last one without its image."""
    image, n = np.full((80, 100), 200, dtype=np.uint8), len(report.pages)
    marked = [marked_page(report, i, image if i < n - 1 else None) for i in range(n)]
    return page_overlays(report.pages, marked, ["<stem>", "clef"])


def without_truths() -> EvaluationReport:
    row = metrics("a", 0, None, n_predictions=4)
    return report_of([(row, evaluation(row))])


def one_class() -> EvaluationReport:
    row = metrics("a", 3, 1.0, ap75=1.0, ap=1.0)
    detail = replace(evaluation(row), ap50_interval=None)
    return report_of([(row, detail)], n_pages=1, intervals={})


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    folder = tmp_path_factory.mktemp("browser")
    full_page = evaluation_page(FULL, SUBJECT, overlays_of(FULL))
    pages = {
        "phone": (full_page, 390),
        "desktop": (full_page, 1280),
        "crowded": (evaluation_page(crowded(40), SUBJECT), 390),
        "empty": (evaluation_page(empty(), SUBJECT), 390),
        "without truths": (evaluation_page(without_truths(), SUBJECT), 390),
        "one class": (evaluation_page(one_class(), SUBJECT), 390),
    }
    return open_pages(pages, folder, use=STEP)


def test_an_empty_report_names_the_gaps() -> None:
    page = evaluation_page(empty(), SUBJECT)
    assert "<svg" not in page
    words = read(page)
    for sentence in (
        "Nothing can be scored without ground truth.",
        "No class can be chosen, because the data contain no symbols.",
        "No class has truths.",
        "The errors were not analysed.",
        "No class is predicted as another one.",
        "There are no curves without truths.",
        "There are no predictions to calibrate.",
        "The data were not divided.",
        "There are no pages.",
        "The data contain no truths, and none were counted.",
    ):
        assert sentence in words


def test_the_page_starts_with_the_scores_and_the_class_to_work_on() -> None:
    page = evaluation_page(FULL, SUBJECT)
    assert re.findall(r'<section id="([^"]*)"', page) == SECTIONS
    assert read(page).startswith(
        "Macro AP50 0.738 (95% interval 0.500 to 0.750) "
        "<best>.pt on the split val of data/a&b: 3 pages, 4,632 truths, 4,639 predictions "
        "Work on stem next: found, but the boxes are too imprecise. "
        "Macro mean of AP50 0.738 95% interval 0.500 to 0.750 AP50-95 0.517, AP75 0.591 "
        "all classes count equally Frequent macro mean of AP50 0.826 "
    )


def test_the_page_is_self_contained() -> None:
    page = evaluation_page(FULL, SUBJECT, overlays_of(FULL))
    assert page.startswith("<!DOCTYPE html>")
    assert re.search("default-src 'none'; .*img-src data:; script-src 'sha256-[^']+'\"", page)
    for outside in ("http://", "https://", " src=", "@import", "url(", "<link"):
        assert outside not in page
    targets = set(re.findall(r' href="([^",]*)', page))
    assert targets - {f"#{name}" for name in SECTIONS} == {"data:image/jpeg;base64"}


def test_scores_are_those_of_the_report() -> None:
    page = evaluation_page(FULL, SUBJECT)
    protocols = section(page, "protocols")
    for figures in ("COCO 0.738", "VOC 2007 0.611", "VOC 2010 0.622", "Ultralytics 0.633"):
        assert figures in protocols
    classes = section(page, "classes")
    assert (
        "stem 1,800 1,800 0.450 0.400 to 0.500 0.360 0.315 0.310 0.600 0.530 0.563 0.405 0.450 "
        "0.426 0.550 0.970 0.930 0.405 0.441 0.446" in classes
    )
    assert "accidentalQuarterToneSharpStein 0 7 - - - - - - -" in classes
    no_ap = (
        "Classes without truths, which have no AP, with their number of predictions: "
        "accidentalQuarterToneSharpStein (7)."
    )
    assert no_ap in classes
    errors = "localisation 900 0.0712 right class, imprecise box (IoU 0.1 to 0.5) missed 120 0.0210"
    assert errors in section(page, "errors")
    assert "stem beam 31 1.7% beam stem 5 2.1%" in section(page, "confusion")
    assert "thin: ECE 0.031" in section(page, "calibration")
    assert "Bravura 2 100 0.500 0.600 <Leland> 2 101 0.510 0.610" in section(page, "slices")
    assert "unit page predictions per image and class, at most 1,000 hash 0123abcd" in section(
        page, "protocol"
    )


def test_gains_are_shown_with_the_reason() -> None:
    words = section(evaluation_page(FULL, SUBJECT), "work-next")
    # (1 - .45) / 6 classes = .092; .55 x 1800 / 4632 = .214
    assert (
        "stem: found, but the boxes are too imprecise AP50 0.450. If every prediction were right: "
        "macro AP50 +0.092 , instance-weighted +0.214" in words
    )
    assert "Wide interval of the AP50, which more annotated pages would narrow: tie" in words
    assert "Fewer than 30 truths, so not ranked above: tie (12)." in words


def test_classes_with_few_truths_are_ranked_among_themselves() -> None:
    row = metrics("a", 3, 0.1)
    words = section(evaluation_page(report_of([(row, evaluation(row))]), SUBJECT), "work-next")
    assert "Fewer than 30 truths: a (3)." in words


def test_notes_are_shown_beside_the_scores() -> None:
    words = read(evaluation_page(FULL, SUBJECT))
    assert words.index("Macro mean of AP50") < words.index("Note <1>.") < words.index("Which class")


def test_a_single_page_has_no_intervals() -> None:
    words = read(evaluation_page(one_class(), SUBJECT))
    assert words.startswith("Macro AP50 1.000 <best>.pt on the split val of data/a&b: 1 page, ")
    assert "Intervals need at least two pages with truths." in words
    assert "No interval, because all truths are on a single page: a." in words


def test_bars_are_sorted_and_pale_for_rare_classes() -> None:
    page = evaluation_page(FULL, SUBJECT)
    plot = page[page.index('<svg id="plot-classes-0"') :].split("</svg>")[0]
    names = re.findall(r'class="name">(\w+)', plot)
    assert names == ["tie", "stem", "beam", "accidentalSharp", "noteheadBlack", "clefG"]
    assert plot.count('fill-opacity="0.40"') == 1
    assert "tie: AP50 0.300, 95% interval 0.050 to 0.710" in plot


def test_curves_are_those_of_the_worst_classes_and_the_mean() -> None:
    page = evaluation_page(crowded(20), SUBJECT)
    assert len(re.findall('<svg id="plot-curve-', page)) == 13
    assert "Mean of 20 classes" in section(page, "curves")


def test_long_slices_are_cut_to_the_lowest() -> None:
    words = section(evaluation_page(FULL, SUBJECT), "slices")
    assert "By writer The 15 lowest of 20." in words
    assert "empty 2 0 - -" in words


def test_overlays_show_counts_and_classes() -> None:
    page = evaluation_page(FULL, SUBJECT, overlays_of(FULL))
    words = section(page, "worst")
    worst = FULL.pages[0]
    assert (
        f"1 of 3: <p>0.png {worst.n_missed} missed, {worst.n_false} false alarms, "
        f"{worst.n_found:,} of {worst.n_truths:,} symbols found "
        "Missed: clef (1) False alarms: clef (1)" in words
    )
    assert words.count("The image is not available.") == 1
    assert len(re.findall("<image ", page)) == 2


def test_pages_without_errors_need_no_overlays() -> None:
    perfect = tuple(replace(p, n_found=p.n_truths, n_missed=0, n_false=0) for p in FULL.pages)
    page = evaluation_page(replace(FULL, pages=perfect, unit="tile"), SUBJECT)
    assert "No tile contains errors at the best thresholds." in section(page, "worst")
    assert "Tiles with the most errors" in section(page, "worst")


def test_a_lost_truth_invalidates_the_scores() -> None:
    assert count_check(FULL).agrees
    detection = replace(FULL.detection, n_truths=FULL.detection.n_truths + 1)
    words = section(evaluation_page(replace(FULL, detection=detection), SUBJECT), "count-check")
    assert words.startswith("Count check ✕ The numbers of truths differ: the scores are not valid.")
    assert "in the data 4,633 counted by class 4,632" in words


@pytest.mark.parametrize(
    "name", ["intervals", "errors", "slices", "calibration", "pages", "confusion", "other"]
)
def test_any_part_may_be_missing(name: str) -> None:
    changes: dict[str, Any] = {name: {} if name == "intervals" else getattr(empty(), name)}
    assert "<h1>" in evaluation_page(replace(FULL, **changes), SUBJECT)


@pytest.mark.parametrize(
    "name",
    ["ap50_interval", "best", "chosen", "centre_recall", "dilated_ap50", "precisions"],
)
def test_any_part_of_a_class_may_be_missing(name: str) -> None:
    missing: dict[str, Any] = {name: None}
    classes = tuple(replace(row, **missing) for row in FULL.classes)
    assert "<h1>" in evaluation_page(replace(FULL, classes=classes), SUBJECT)


def test_names_are_escaped() -> None:
    report = crowded(8)
    page = evaluation_page(report, SUBJECT, overlays_of(report))
    body = page[: page.rindex("<script>")]
    for tag in ("<b>acc", "<p>0", "<best>", "<Leland>", "<others>", "<stem>"):
        assert tag not in body
    assert "&lt;b&gt;acc" in body


def test_classes_in_another_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^the classes of the report are not in the order of its"):
        evaluation_page(replace(FULL, classes=FULL.classes[::-1]), SUBJECT)


def test_many_classes_stay_below_a_megabyte() -> None:
    assert len(evaluation_page(crowded(136), SUBJECT)) < 1_000_000


def test_a_browser_steps_through_the_pages(seen: Measurements) -> None:
    for name in ("phone", "desktop"):
        result = seen.pages[name]["result"]
        assert result["steps"] == [[0], [1], [2], [2], [1], [0], [2]]
        assert result["zoom"] > (2 if name == "desktop" else 3.5)  # less a scroll bar
        assert result["unzoomed"] == 1
        assert result["before"] != "none"
        assert result["after"] == "none"
        assert result["away"] == [1]  # no keys while the section is off the screen


def test_a_browser_draws_every_plot(seen: Measurements) -> None:
    assert seen.console == []
    plots = {
        "plot-classes-0", "plot-errors", "plot-curve-mean", "plot-curve-0", "plot-calibration-0",
        "plot-slices-0", "plot-slices-2",
    }  # fmt: skip
    for name in ("phone", "desktop", "crowded"):
        assert plots <= set(seen.pages[name]["plots"])
        assert seen.pages[name]["requests"] == []


@pytest.mark.parametrize(
    "name", ["phone", "desktop", "crowded", "empty", "without truths", "one class"]
)
def test_a_page_fits_its_screen(seen: Measurements, name: str) -> None:
    measured = seen.pages[name]
    assert measured["overflow"] == 0
    assert measured["outside"] == []
    assert measured["overlaps"] == []
    assert measured["words_px"] >= 16
    assert measured["labels_px"] is None or measured["labels_px"] >= 14


def test_curves_are_those_of_classes_that_are_found() -> None:
    rows = [metrics("never", 40, 0.0), metrics("often", 40, 0.9)]
    page = evaluation_page(report_of([(row, evaluation(row)) for row in rows]), SUBJECT)
    assert re.findall('<svg id="(plot-curve-[^"]+)', page) == ["plot-curve-mean", "plot-curve-0"]
    assert "<h3>often: 0.900</h3>" in page
    assert "<h3>never: 0.000</h3>" not in page
