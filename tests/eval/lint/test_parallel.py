"""Results of worker processes equal those of one process."""

import pickle
from collections.abc import Sequence
from dataclasses import replace

import planted_labels as bugs

from converters.formats.yolo_dataset import YoloDataset
from eval.lint.pages import LintPage, lint_pages
from eval.lint.parallel import measured_pages
from eval.lint.rules import default_settings, lint


def test_no_pages() -> None:
    assert [*measured_pages([], ["stem"], default_settings(), 2)] == []


def test_results_do_not_depend_on_the_number_of_processes(
    clean: list[LintPage], names: Sequence[str]
) -> None:
    bad = bugs.planted(clean, names, bugs.moved_by_5_px, 0.3)
    bad = bugs.planted(bad, names, bugs.removed, 0.3)
    reports = [
        lint(measured_pages(map(replace, bad), names, default_settings(), n), names).to_json()
        for n in (1, 2)
    ]
    assert {"shifted-boxes", "missing-labels"} <= {f["rule"] for f in reports[0]["findings"]}
    assert reports[0] == reports[1]


def test_pixels_are_not_sent(dataset: YoloDataset) -> None:
    page = next(lint_pages(dataset))
    assert page.unlabelled is not None
    sent = pickle.loads(pickle.dumps(page))
    assert vars(sent).keys() == vars(page).keys() - {"pixels", "dark_ink", "ink", "unlabelled"}
    assert (sent.rows == page.rows).all()
