import re
from collections.abc import Callable
from dataclasses import fields, replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from browser import Measurements, open_pages
from density_samples import crowded, empty, full, gpu, weight

from eval.reports.density import density_page, write_density_report
from eval.reports.density_figures import AnchorCompetition, InitialWeights
from eval.reports.density_report import DensityReport, TargetGpu

FULL = full()


def read(page: str) -> str:
    """Return the text of a page with single spaces."""
    body = page[page.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def changed(**changes: Any) -> DensityReport:  # noqa: ANN401
    return replace(FULL, **changes)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Measurements:
    pages = {
        "phone": (density_page(FULL), 390),
        "desktop": (density_page(FULL), 1280),
        "crowded": (density_page(crowded()), 390),
        "empty": (density_page(empty()), 390),
    }
    return open_pages(pages, tmp_path_factory.mktemp("browser"))


def test_an_empty_report_names_the_gaps() -> None:
    page = density_page(empty())
    assert re.findall(r'<svg id="([^"]*)"', page) == ["plot-memory"]
    words = read(page)
    for sentence in (
        "The split train contains no images.",
        "No settings can be recommended; the reason is given above.",
        "There are no images to count.",
        "The initial boxes do not depend on the data.",
    ):
        assert sentence in words
    for section in ("sizes", "max-recall", "collisions"):
        assert f'id="{section}"' not in page


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_density_report(FULL, file)
    page = file.read_text("utf-8")
    assert page == density_page(FULL)
    assert page.startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in page
    for outside in ("http://", "https://", "src=", "@import", "url(", "<script", "<link"):
        assert outside not in page
    assert "width=device-width" in page


def test_a_page_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_density_report(FULL, tmp_path / "missing" / "report.html")


OPTIONAL = {field.name for field in fields(FULL)} - {"memory_over_batch"}
"""Fields whose value in the empty report is valid in any report."""


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_any_part_may_be_missing(name: str) -> None:
    changes = {name: getattr(empty(), name)}
    if name == "classes":  # without classes there are no collisions
        changes["anchor_competition"] = None
    assert "<h1>" in density_page(changed(**changes))


@pytest.mark.parametrize("name", ["width_px", "height_px", "representation", "start"])
def test_any_part_of_a_class_may_be_missing(name: str) -> None:
    missing: dict[str, Any] = {name: None}
    classes = tuple(replace(row, **missing) for row in FULL.classes)
    assert "<h1>" in density_page(changed(classes=classes))


def small_gpu(usable_bytes: int) -> TargetGpu:
    return gpu("T4", 15360 * 2**20, usable_bytes)


def with_small(share: float) -> DensityReport:
    """A report in which this fraction of the first class is under 1 px, and no other symbol."""
    first, *others = (replace(row, under_1px=0.0) for row in FULL.classes)
    return changed(classes=(replace(first, under_1px=share), *others))


@pytest.mark.parametrize(
    ("report", "kind", "answer"),
    [
        (empty(), "bad", "✕ The split train contains no images."),
        (changed(n_symbols=0), "bad", "✕ No image of the split train contains symbols."),
        (with_small(0), "good", "✓ Launch with batch 48 at 640 px: it fits on RTX 5090."),
        (with_small(0.5), "good", "✓ Launch with batch 48 at 640 px: it fits on RTX 5090."),
        (
            with_small(0.51),
            "bad",
            "✕ Batch 48 at 640 px fits on RTX 5090, but most symbols of "
            f"{FULL.classes[0].name} would be under 1 px.",
        ),
        (changed(gpu=small_gpu(2**34)), "bad", "✕ Batch 48 at 640 px does not fit on T4."),
        (
            changed(
                recommendation=None, gpu=small_gpu(2**29), problem="not even a batch of 1 fits"
            ),
            "bad",
            "✕ Nothing can be launched on T4.",
        ),
    ],
)
def test_the_answer_comes_first(report: DensityReport, kind: str, answer: str) -> None:
    page = density_page(report)
    assert f'<div class="verdict {kind}"><h1>{answer}</h1>' in page
    assert read(page).startswith(answer)
    assert ("not even a batch of 1 fits" in page) == bool(report.problem)


def test_the_verdict_compares_the_batch_with_the_gpu() -> None:
    words = read(density_page(FULL))
    # 48 x 542.5152 MB + 512 MB = 26,552,729,600 bytes = 24.7 GiB of 30183 MiB
    assert (
        "A step needs 24.7 GiB: 83.9% of the 29.5 GiB usable on RTX 5090 (31.8 GiB in total)."
        in words
    )
    # 20 x 48 x 2140 x 8400 bytes
    assert "The assigner needs 73 MiB of it. " in words
    # 24.7 - .1 + 16.1 GiB of 29.5
    sentence = "of Ultralytics 8.4.190 would need 16.1 GiB, and the step 40.7 GiB: out of memory."
    assert sentence in words


def test_a_stage_with_only_a_mean_is_in_the_table() -> None:
    first, *others = FULL.stages
    labelled = replace(first, symbols=None, histogram=(), mean=571.2, n_images=106)
    page = density_page(changed(stages=(labelled, *others)))
    assert 'id="plot-stage-0"' not in page
    assert 'id="plot-stage-1"' in page
    assert "as labelled 106 571 - - - -" in read(page)


def test_memory_by_purpose_at_the_peak_and_at_its_maximum() -> None:
    # At the peak, MB: 4 x the weights, 52; buffers .12; images 157.2864; activations 16,640;
    # assigner 51.2; workspace and gaps 459.88. All: 17,360.4864 MB = 16.2 GiB; the loss is gone.
    words = " ".join(read(density_page(FULL)).split())
    assert "batch 32 at the peak maximum parameters 10 MiB 10 MiB gradients" in words
    assert "loss 0 MiB 488 MiB assigner 49 MiB 49 MiB" in words
    assert "total 16.2 GiB - " in words
    # 20 x 32 x 2140 x 8400 bytes = 10.7 GiB instead of 49 MiB.
    assert "total with the assigner of Ultralytics 8.4.190 26.8 GiB 10.7 GiB" in words


def test_saved_states_count_on_a_cpu_only() -> None:
    here = replace(FULL.gpu, name="this CPU", device="cpu")
    assert "saved against NaN" not in read(density_page(FULL))
    assert "saved against NaN and Inf 0 MiB 86 MiB" in read(density_page(changed(gpu=here)))


def test_a_bar_is_as_high_as_its_total() -> None:
    row = FULL.memory_over_batch[0]
    page = density_page(changed(batch=1, memory_over_batch=(row,), recommendation=None))
    parts = re.findall(r"<title>1: [^<]* ([0-9.]+)</title><rect", page)
    assert len(parts) == 6
    assert sum(map(float, parts)) == pytest.approx(row.total_bytes / 2**30, rel=0.003)


@pytest.mark.parametrize(
    ("name", "key"), [("command", "command"), ("convert-command", "convert_command")]
)
def test_commands_can_be_copied(name: str, key: str) -> None:
    command = re.search(f'<pre id="{name}">(.*?)</pre>', density_page(FULL))
    assert command is not None
    assert re.sub("<[^>]*>", "", command[1]) == getattr(FULL.recommendation, key)


def test_no_convert_command_without_a_known_conversion() -> None:
    assert FULL.recommendation is not None
    recommendation = replace(FULL.recommendation, convert_command=None)
    page = density_page(changed(recommendation=recommendation))
    assert "convert-command" not in page
    assert "SOURCE" not in page


def test_the_fullest_batch_of_an_epoch_is_shown() -> None:
    assert "25,100" in density_page(FULL)
    assert "fullest image 2,150" in density_page(FULL)


def test_classes_without_weight_are_counted_and_marked() -> None:
    def start(name: str) -> InitialWeights:
        return InitialWeights(
            stock=weight(iou=0.001, weight=0.0, learns=name not in {"clefG", "stem"}),
            ours=weight(iou=0.5, weight=0.1, learns=name != "stem"),
        )

    classes = tuple(replace(row, start=row.start and start(row.name)) for row in FULL.classes)
    page = density_page(changed(classes=classes))
    words = read(page)
    assert "With Ultralytics, 2 of 59 classes start without weight in the loss, or lose" in words
    assert "With omr train, this applies to stem." in words
    assert len(re.findall('class="warning" dx="8">✕<', page)) == 1
    assert len(re.findall('class="warning" dx="8">▲<', page)) == 1


def test_names_are_escaped() -> None:
    page = density_page(replace(crowded(), data="<b>&", heads="<i>", split="<u>"))
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<u>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_class_without_symbols_is_named_and_not_drawn() -> None:
    page = density_page(FULL)
    assert "Classes without symbols: accidentalQuarterToneSharpStein." in read(page)
    assert page.count("accidentalQuarterToneSharpStein") == 1


def test_figures_accompany_the_plots() -> None:
    words = read(density_page(FULL))
    assert "2,611 of 8,400 anchor points (31.1%) are candidates of several boxes" in words
    assert (
        "At most 96.4% of the boxes can have an anchor point to themselves with a single" in words
    )
    assert "and 100% with the given heads." in words
    assert "noteheadBlackOnLine 220,000 33.9%" in words


def reversed_matrix(competition: AnchorCompetition) -> AnchorCompetition:
    return replace(competition, matrix=tuple(row[::-1] for row in competition.matrix[::-1]))


def small_matrix(competition: AnchorCompetition) -> AnchorCompetition:
    return replace(competition, matrix=((1,),))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (small_matrix, r"the matrix of collisions must have shape \(60, 60\)$"),
        (reversed_matrix, "the matrix of collisions is not in the order of the classes: "),
    ],
)
def test_a_matrix_of_other_classes_is_refused(
    spoil: Callable[[AnchorCompetition], AnchorCompetition], message: str
) -> None:
    assert FULL.anchor_competition is not None
    with pytest.raises(ValueError, match=f"^{message}"):
        changed(anchor_competition=spoil(FULL.anchor_competition))


@pytest.mark.parametrize("page", ["phone", "desktop", "crowded"])
def test_a_browser_draws_every_plot(seen: Measurements, page: str) -> None:
    plots = set(seen.pages[page]["plots"])
    assert {"plot-memory", "plot-sizes-0", "plot-sizes-3", "plot-max-recall-0"} <= plots
    assert {"plot-stage-0", "plot-stage-1", "plot-stage-2", "plot-stage-3"} <= plots
    assert ("plot-collisions" in plots) == (page != "crowded")


def test_a_browser_reports_no_errors(seen: Measurements) -> None:
    assert seen.console == []
    assert "The split train contains no images." in seen.pages["empty"]["text"]


@pytest.mark.parametrize("page", ["phone", "desktop", "crowded", "empty"])
def test_a_page_fits_its_screen(seen: Measurements, page: str) -> None:
    measured = seen.pages[page]
    assert measured["overflow"] == 0
    assert measured["outside"] == []
    assert measured["overlaps"] == []
    assert measured["words_px"] >= 16
    assert measured["labels_px"] >= 14


def test_a_page_follows_a_dark_colour_scheme(tmp_path: Path, seen: Measurements) -> None:
    dark = open_pages({"dark": (density_page(empty()), 390)}, tmp_path, dark=True)
    assert seen.pages["phone"]["background"] == "rgb(255, 255, 255)"
    assert dark.pages["dark"]["background"] == "rgb(15, 20, 25)"
