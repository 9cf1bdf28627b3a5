import re
from collections.abc import Callable
from copy import deepcopy
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from browser import Seen, open_pages
from density_samples import crowded, empty, full

from eval.reports.density import density_page, write_density_report

FULL = full()


def read(page: str) -> str:
    """The words of a page, spaces made one."""
    body = page[page.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def changed(**changes: object) -> dict[str, Any]:
    return deepcopy(FULL) | changes


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    pages = {
        "phone": (density_page(FULL), 390),
        "desktop": (density_page(FULL), 1280),
        "crowded": (density_page(crowded()), 390),
        "empty": (density_page(empty()), 390),
    }
    return open_pages(pages, tmp_path_factory.mktemp("browser"))


def test_an_empty_report_says_what_is_missing() -> None:
    page = density_page(empty())
    assert "<svg" not in page
    words = read(page)
    for said in (
        "There is no image in the split train.",
        "The memory of a step was not computed.",
        "No image, so nothing to count.",
        "No symbol, so no size.",
        "There is no class.",
    ):
        assert said in words


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("key", sorted(FULL))
def test_any_part_may_be_missing(key: str) -> None:
    report = changed(**{key: empty()[key]})
    if key == "classes":  # then none of them can collide
        report["contest"] = None
    assert "<h1>" in density_page(report)


@pytest.mark.parametrize("key", ["width_px", "height_px", "representation", "start"])
def test_any_part_of_a_class_may_be_missing(key: str) -> None:
    report = changed()
    for row in report["classes"]:
        row[key] = None
    assert "<h1>" in density_page(report)


def small_gpu(usable_bytes: int) -> dict[str, Any]:
    return {
        "name": "T4",
        "total_bytes": 15360 * 2**20,
        "usable_bytes": usable_bytes,
        "device": "cuda",
    }


@pytest.mark.parametrize(
    ("report", "kind", "answer"),
    [
        (empty(), "bad", "✕ There is no image in the split train."),
        (changed(n_symbols=0), "bad", "✕ No image of the split train has a symbol."),
        (FULL, "good", "✓ Launch with batch 48 at 640 px: it fits on RTX 5090."),
        (
            changed(gpu=None),
            "open",
            "Launch with batch 48 at 640 px; no GPU was named to hold it against.",
        ),
        (
            changed(memory_over_batch=[]),
            "open",
            "Launch with batch 48 at 640 px; its memory is not known.",
        ),
        (changed(gpu=small_gpu(2**34)), "bad", "✕ Batch 48 at 640 px does not fit on T4."),
        (changed(suggest=None), "open", "There is no suggestion."),
        (
            changed(suggest=None, gpu=small_gpu(2**29), problem="not even a batch of 1 fits"),
            "bad",
            "✕ There is nothing to launch on T4.",
        ),
    ],
)
def test_the_answer_comes_first(report: dict[str, Any], kind: str, answer: str) -> None:
    page = density_page(report)
    assert f'<div class="verdict {kind}"><h1>{answer}</h1>' in page
    assert read(page).startswith(answer)
    assert ("not even a batch of 1 fits" in page) == bool(report["problem"])


def test_the_head_holds_the_batch_against_the_gpu() -> None:
    words = read(density_page(FULL))
    # 48 x 542.5152 MB + 512 MB = 26,552,729,600 bytes = 24.7 GiB of 30183 MiB
    assert (
        "A step needs 24.7 GiB: 83.9% of the 29.5 GiB that RTX 5090 has for it (of 31.8 GiB)."
        in words
    )
    # 20 x 48 x 2140 x 8400 bytes
    assert "The assigner takes 73 MiB of it. " in words
    # 24.7 - .1 + 16.1 GiB of 29.5
    assert "That of Ultralytics would take 16.1 GiB, and the step 40.7 GiB: out of memory." in words


def test_the_head_tells_versions_of_the_batch_that_was_asked_about() -> None:
    words = read(density_page(changed(batch=48)))
    assert "That of Ultralytics 8.4.190 would take 10.7 GiB, and the step 35.4 GiB: out of" in words
    assert "That of Ultralytics 8.3.40 would take 32.1 GiB, and the step 56.8 GiB: out of" in words


def test_a_stage_of_which_only_the_mean_is_known_is_in_the_table() -> None:
    report = changed()
    report["stages"][0] |= {"symbols": None, "histogram": [], "mean": 571.2, "n_images": 106}
    page = density_page(report)
    assert 'id="plot-stage-0"' not in page
    assert 'id="plot-stage-1"' in page
    assert "as labelled 106 571 - - - -" in read(page)


def test_lines_of_a_step_at_the_peak_and_at_their_highest() -> None:
    # At the peak, MB: 4 x the weights, 52; buffers .12; images 157.2864; activations 16,640;
    # assigner 51.2; workspace and gaps 459.88. All: 17,360.4864 MB = 16.2 GiB; the loss is gone.
    words = " ".join(read(density_page(FULL)).split())
    assert "batch 32 at the peak at its highest parameters 10 MiB 10 MiB gradients" in words
    assert "loss 0 MiB 488 MiB assigner 49 MiB 49 MiB" in words
    assert "all 16.2 GiB - " in words
    # 20 x 32 x 2140 x 8400 bytes = 10.7 GiB instead of 49 MiB, and three times as much.
    assert "all, with the assigner of Ultralytics 8.4.190 26.8 GiB 10.7 GiB" in words
    assert "all, with the assigner of Ultralytics 8.3.40 48.3 GiB 32.1 GiB" in words


def test_the_guard_is_in_main_memory_unless_that_is_trained_in() -> None:
    here = FULL["gpu"] | {"name": "this CPU", "device": "cpu"}
    assert "kept against NaNs" not in read(density_page(FULL))
    assert "kept against NaNs 0 MiB 86 MiB" in read(density_page(changed(gpu=here)))


def test_a_bar_is_as_high_as_its_total() -> None:
    row = FULL["memory_over_batch"][0]
    page = density_page(changed(memory_over_batch=[row], suggest=None))
    parts = re.findall(r"<title>1: [^<]* ([0-9.]+)</title><rect", page)
    assert len(parts) == 6
    assert sum(map(float, parts)) == pytest.approx(row["total_bytes"] / 2**30, rel=0.003)


@pytest.mark.parametrize(
    ("name", "key"), [("command", "command"), ("convert-command", "convert_command")]
)
def test_the_commands_stand_there_to_copy(name: str, key: str) -> None:
    command = re.search(f'<pre id="{name}">(.*?)</pre>', density_page(FULL))
    assert command is not None
    assert re.sub("<[^>]*>", "", command[1]) == FULL["suggest"][key]


def test_no_line_to_convert_where_none_is_known() -> None:
    page = density_page(changed(suggest=FULL["suggest"] | {"convert_command": None}))
    assert "convert-command" not in page
    assert "SOURCE" not in page


def test_the_fullest_of_an_epoch_stands_there() -> None:
    assert "25,100" in density_page(FULL)
    assert "fullest image 2,150" in density_page(FULL)


def test_classes_without_weight_are_counted_and_marked() -> None:
    report = changed()
    for row in report["classes"]:
        row["start"] = row["start"] and {
            "stock": {"iou": 0.001, "weight": 0.0, "learns": row["name"] != "clefG"},
            "ours": {"iou": 0.5, "weight": 0.1, "learns": row["name"] != "stem"},
        }
    report["classes"][2]["start"]["stock"]["learns"] = False  # the stem
    page = density_page(report)
    words = read(page)
    assert "At Ultralytics' start 2 of 59 classes have no weight in the loss, or lose" in words
    assert "At the start of omr train so it is with stem." in words
    assert len(re.findall('class="warning" dx="8">✕<', page)) == 1
    assert len(re.findall('class="warning" dx="8">▲<', page)) == 1


def test_names_are_escaped() -> None:
    page = density_page(crowded() | {"data": "<b>&", "heads": "<i>", "split": "<u>"})
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<u>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_class_without_a_symbol_is_named_and_not_drawn() -> None:
    page = density_page(FULL)
    assert "Without a symbol: accidentalQuarterToneSharpStein." in read(page)
    assert page.count("accidentalQuarterToneSharpStein") == 1


def test_numbers_stand_beside_the_plots() -> None:
    words = read(density_page(FULL))
    assert "2,611 of 8,400 anchor points (31.1%) are wanted by more than one box" in words
    assert "At best 96.4% of the boxes get a point of their own with one head" in words
    assert "and 100% with the given heads." in words
    assert "noteheadBlackOnLine 220,000 33.9%" in words


def reversed_matrix(report: dict[str, Any]) -> None:
    contest = report["contest"]
    contest["matrix"] = [row[::-1] for row in contest["matrix"][::-1]]


def small_matrix(report: dict[str, Any]) -> None:
    report["contest"]["matrix"] = [[1]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (small_matrix, "the matrix of collisions must be of 60 classes a side"),
        (reversed_matrix, "the matrix of collisions is not in the order of the classes: "),
    ],
)
def test_a_matrix_of_other_classes_is_refused(
    spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    report = changed()
    spoil(report)
    with pytest.raises(ValueError, match=f"^{message}"):
        density_page(report)


def test_half_a_matrix_is_enough() -> None:
    report = changed()
    matrix = report["contest"]["matrix"]
    report["contest"]["matrix"] = [
        [n if j >= i else 0 for j, n in enumerate(row)] for i, row in enumerate(matrix)
    ]
    assert density_page(report) == density_page(FULL)


@pytest.mark.parametrize("page", ["phone", "desktop", "crowded"])
def test_a_browser_draws_every_plot(seen: Seen, page: str) -> None:
    plots = set(seen.pages[page]["plots"])
    assert {"plot-memory", "plot-sizes-0", "plot-sizes-3", "plot-representation-0"} <= plots
    assert {"plot-stage-0", "plot-stage-1", "plot-stage-2", "plot-stage-3"} <= plots
    assert ("plot-collisions" in plots) == (page != "crowded")


def test_a_browser_has_nothing_to_complain_of(seen: Seen) -> None:
    assert seen.console == []
    assert "There is no image in the split train." in seen.pages["empty"]["text"]


@pytest.mark.parametrize("page", ["phone", "desktop", "crowded", "empty"])
def test_a_page_fits_its_screen(seen: Seen, page: str) -> None:
    found = seen.pages[page]
    assert found["overflow"] == 0
    assert found["outside"] == []
    assert found["overlaps"] == []
    assert found["words_px"] >= 16
    assert page == "empty" or found["labels_px"] >= 14


def test_a_page_is_dark_where_the_reader_wants_that(tmp_path: Path, seen: Seen) -> None:
    dark = open_pages({"dark": (density_page(empty()), 390)}, tmp_path, dark=True)
    assert seen.pages["phone"]["background"] == "rgb(255, 255, 255)"
    assert dark.pages["dark"]["background"] == "rgb(15, 20, 25)"
