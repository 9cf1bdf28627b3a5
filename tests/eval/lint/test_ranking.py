"""Tests of the rules that need predictions, with scores that are given."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from converters.page import Page
from eval.lint import ranking
from eval.lint.findings import LintReport
from eval.lint.label_scores import LabelScores, Predictions
from eval.lint.pages import LintPage
from eval.lint.rules import lint

NAMES = ("head", "stem")
BOXES = np.array([[10, 10, 20, 20], [30, 10, 40, 20], [50, 10, 60, 20], [0, 50, 10, 60.0]])


def page(
    *,
    overlooked: Sequence[float] = (np.nan,) * 4,
    badly: Sequence[float] = (1,) * 4,
    swapped: Sequence[float] = (1,) * 4,
    known: Sequence[bool] = (True, True),
    is_tile: bool = False,
) -> LintPage:
    """A page with four labels, of classes 0, 1, 0 and 0, and as many predictions of class 1."""
    labels = np.array([0, 1, 0, 0])
    predictions = Predictions(
        boxes_xyxy=BOXES + 1, labels=np.ones(4, np.int64), confidences=np.full(4, 0.9),
        is_known=np.array(known), staff_space=10.0,
    )  # fmt: skip
    image = Page(
        image=PurePosixPath("1.png"), width=100, height=100, boxes_xyxy=BOXES, labels=labels
    )
    result = LintPage(
        split="train", source="", path=Path("1.png"), page=image, is_tile=is_tile,
        rows=np.column_stack((labels, BOXES / 100)), recorded_space=10.0, recorded_hash="00" * 32,
        may_be_read=False, predict=lambda _page: predictions,
    )  # fmt: skip
    vars(result)["label_scores"] = LabelScores(
        overlooked=np.array(overlooked), badly_placed=np.array(badly), swapped=np.array(swapped),
        same_class=np.arange(4), other_class=np.arange(4),
    )  # fmt: skip
    return result


def findings(report: LintReport, rule: str) -> list[tuple[str, int, float, str]]:
    of_rule = [f.occurrence for f in report.findings if f.rule == rule]
    return [(o.class_name, o.count, round(o.share, 3), o.detail) for o in of_rule]


def checked(*pages: LintPage, with_predictions: bool = True) -> LintReport:
    from eval.lint.rules import RULES, default_settings

    off = {r.id: replace(default_settings()[r.id], level="off") for r in RULES}
    settings = off | {r.id: default_settings()[r.id] for r in RULES if r.needs_predictions}
    return lint(pages, NAMES, settings, with_predictions=with_predictions)


def test_no_pages() -> None:
    report = checked()
    assert report.findings == []
    assert {rule: len(labels) for rule, labels in report.ranked.items()} == {
        "overlooked-label": 0, "badly-placed-label": 0, "swapped-label": 0,
    }  # fmt: skip


def test_rules_that_need_predictions_are_off_without_them() -> None:
    report = checked(page(badly=(0.1,) * 4), with_predictions=False)
    assert (report.findings, report.ranked) == ([], {})


def test_low_scores_are_findings_with_the_worst_as_examples() -> None:
    pages = [page(badly=(0.5, 1, 0.3, 0.69)), page(badly=(0.71, 0.2, 0.4, 1))]
    report = checked(*pages)
    assert findings(report, "badly-placed-label") == [
        ("head", 4, 0.667, "lowest score 0.30; 4 found as stem")
    ]
    (finding,) = report.findings
    assert [e.box_xyxy for e in finding.occurrence.examples] == [
        tuple(BOXES[2]), tuple(BOXES[2]), tuple(BOXES[0])
    ]  # fmt: skip
    scores = [label.score for label in report.ranked["badly-placed-label"]]
    assert scores == [0.2, 0.3, 0.4, 0.5, 0.69]  # also of a class with too few findings


def test_overlooked_labels_are_counted_by_the_class_of_the_prediction() -> None:
    report = checked(page(overlooked=(0.1, 0.39, 0.41, 0.2)))
    assert findings(report, "overlooked-label") == [("stem", 3, 0.75, "lowest score 0.10")]
    first = report.ranked["overlooked-label"][0]
    assert (first.class_name, first.predicted_class, first.confidence) == ("", "stem", 0.9)
    assert first.example.box_xyxy == first.predicted_xyxy == (11, 11, 21, 21)


def test_classes_that_the_network_lacks_are_not_checked() -> None:
    report = checked(page(swapped=(0.1,) * 4, known=(False, True)))
    assert [label.class_name for label in report.ranked["swapped-label"]] == ["stem"]


def test_in_tiles_boxes_at_the_border_are_not_checked() -> None:
    low = (0.1,) * 4
    report = checked(page(overlooked=low, badly=low, swapped=low, is_tile=True))
    assert [len(labels) for labels in report.ranked.values()] == [3, 3, 3]


def test_only_the_worst_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MOST_RANKED", 2)
    report = checked(page(swapped=(0.3, 0.1, 0.1, 0.2)))
    ranked = report.ranked["swapped-label"]
    assert [label.score for label in ranked] == [0.1, 0.1]
    assert [label.class_name for label in ranked] == ["stem", "head"]
    assert findings(report, "swapped-label")[0][1] == 3  # all are counted
