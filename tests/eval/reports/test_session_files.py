"""Tests of the report of a session: states, tables, curves, and how the page looks."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import open_pages

from eval.html.run_curves import MOST_POINTS, RunCurve, run_curves
from eval.reports.comparison import (
    ClassDifference,
    ComparedModel,
    ComparisonReport,
    Difference,
    ModelComparison,
    RunGroup,
)
from eval.reports.evaluation import Interval
from eval.reports.session import SessionReport, SessionRun, headline, progress_line, runs_table
from eval.reports.session_files import MOST_PLOTS, session_markdown, session_page, write_session

FILES = "report.html", "comparison.html"


def run(name: str, group: str = "", **changes: Any) -> SessionRun:  # noqa: ANN401
    number = sum(map(ord, name)) % 7
    points = [(epoch, (0.6 + number / 50) * (1 - 0.8**epoch)) for epoch in range(1, 31)]
    values: dict[str, Any] = {
        "name": name, "group": group or name, "status": "done", "error": "",
        "settings": {"seed": f"{number}"}, "epochs": 30, "planned_epochs": 30, "seconds": 4000.0,
        "validation": points[-1][1], "ap": 0.5, "ap50": 0.75, "validation_points": points,
        "loss_points": [(epoch, 3 + 8 / epoch) for epoch, _ in points],
    }  # fmt: skip
    return SessionRun(**values | changes)


def comparison(*names: str) -> ModelComparison:
    interval = Interval(low=-0.04, high=-0.01)
    worse = Difference(a=0.5, b=0.525, difference=-0.025, interval=interval, verdict="B is better")
    group = RunGroup(macro=(0.5, 0.51), mean=0.505, spread=0.005)
    report = ComparisonReport(
        metric="ap", n_pages=40, a=group, b=group, macro=worse, frequent_macro=worse,
        instance_weighted=worse, classes=(ClassDifference(name="stem", n_truths=9, ap=worse),),
        n_bootstrap=300, seed=0,
    )  # fmt: skip
    return ModelComparison(
        models=tuple(
            ComparedModel(letter=letter, name=name, runs=(f"{name}-0", f"{name}-1"))
            for letter, name in zip("ABCDEFGH", names, strict=False)
        ),
        unit="page",
        data="music, split val",
        reports=(report,) * (len(names) - 1),
        settings=(),
    )


EMPTY = SessionReport(name="none", scored="music, split val", runs=(), comparison=None)
WAITING: dict[str, Any] = {
    "status": "waiting", "epochs": 0, "seconds": 0.0, "validation": None, "ap": None, "ap50": None,
    "validation_points": [], "loss_points": [],
}  # fmt: skip
FAILED: dict[str, Any] = {"status": "failed", "error": "music: <no> labels"}
GROUPS = "silu", "relu-backbone", "relu", "leaky-backbone", "leaky", "c2f-without-attention"
FULL = SessionReport(
    name="activations",
    scored="music, split val",
    runs=(
        *(run(f"{group}_seed-{seed}", group) for group in GROUPS[:4] for seed in (0, 1)),
        run("leaky_seed-0", "leaky", **WAITING | FAILED),
        run("c2f-without-attention_seed-0", "c2f-without-attention", **WAITING),
    ),
    comparison=comparison(*GROUPS[:4]),
    notes=("relu_seed-1: its training data differ",),
)  # fmt: skip


def test_a_session_without_results() -> None:
    waiting = replace(EMPTY, runs=(run("a", **WAITING), run("b", **WAITING)))
    for report in (EMPTY, waiting):
        page = session_page(report, "comparison.html")
        assert 'id="curves"' not in page
        assert "comparison.html" not in page
        assert "comparison.html" not in session_markdown(report, FILES)
    assert headline(EMPTY) == "Session none: one recipe, so there is nothing to compare"
    assert headline(waiting) == "Session none: no comparison before two recipes are scored"
    assert progress_line(waiting) == "none: 2 runs: 2 waiting. Scored on music, split val."
    assert runs_table(waiting).rows[0] == (
        "a", "waiting", "-", "-", "-", "0/30", "-", f"{ord('a') % 7}",
    )  # fmt: skip


def test_states_failures_and_links() -> None:
    assert progress_line(FULL) == (
        "activations: 10 runs of 6 recipes: 8 done, 1 failed, 1 waiting. Scored on music, split val."
    )
    page, text = session_page(FULL, "comparison.html"), session_markdown(FULL, FILES)
    assert "<li>leaky_seed-0: music: &lt;no&gt; labels</li>" in page
    assert '<a href="comparison.html">' in page
    assert text.startswith(f"# {headline(FULL)}".replace("(", "("))
    assert "- leaky\\_seed-0: music: \\<no\\> labels" in text
    assert "| recipe |" in text
    assert "1:06:40" in text
    for group in GROUPS[1:4]:
        assert f"silu (A) compared with {group} (" in page


def test_files_are_written(tmp_path: Path) -> None:
    html, markdown = tmp_path / "a", tmp_path / "b"
    write_session(html, markdown, FULL, page=FILES[0], comparison_file=FILES[1])
    assert html.read_text() == session_page(FULL, FILES[1])
    assert markdown.read_text() == session_markdown(FULL, FILES)


def test_many_recipes_are_hidden_at_first() -> None:
    many = replace(FULL, runs=tuple(run(f"r{i}") for i in range(MOST_PLOTS + 3)), comparison=None)
    page = session_page(many, "comparison.html")
    assert page.count("<summary>3 more</summary>") == 2
    assert len(page) < 400_000


def test_curves_share_scales_and_are_thinned() -> None:
    long = RunCurve(name="a", group="x", points=[(n, n / 1000) for n in range(1, 1001)])
    short = RunCurve(name="b", group="y", points=[(1, 0.25)])
    empty = RunCurve(name="c", group="y", points=[])
    first, second = run_curves("ap", "AP", [long, short, empty], top=1.0)
    (path,) = re.findall(r'd="([^"]*)" class="curve s0"', first.svg)
    assert path.startswith("M0 99.9L")
    assert path.endswith("L100 0")
    assert 90 <= path.count("L") <= MOST_POINTS
    assert 'd="M0 75L0 75" class="curve s0"' in second.svg
    assert '<use href="#ap-all">' in second.svg
    assert first.svg.count('id="ap-all"') == 1
    assert "c, no epochs yet" in second.svg


@pytest.mark.slow
def test_the_page_fits_a_phone_and_a_desktop(tmp_path: Path) -> None:
    page = session_page(FULL, "comparison.html")
    seen = open_pages({"phone": (page, 390), "desktop": (page, 1280)}, tmp_path)
    for result in seen.pages.values():
        assert result["overflow"] == 0
        assert result["words_px"] >= 16
        assert result["labels_px"] >= 14
        assert (result["outside"], result["overlaps"], result["requests"]) == ([], [], [])
        assert len(result["plots"]) == 12
    (tmp_path / "dark").mkdir()
    dark = open_pages({"page": (page, 390)}, tmp_path / "dark", dark=True)
    assert dark.pages["page"]["background"] == "rgb(15, 20, 25)"
