"""Tests of the choice of symbols for contact sheets."""

import random
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from converters.page import Page
from eval.lint.findings import Example, Finding, Occurrence
from eval.lint.pages import LintPage
from eval.sheets.selection import MOST_OF_A_PAGE, Selector

NAMES = ["head", "stem"]


def lint_page(
    name: str,
    labels: list[int],
    sides: list[float] | None = None,
    *,
    source: str = "",
    space: float | None = 10.0,
    left: float = 50.0,
) -> LintPage:
    """A page of 1000 px with boxes in a column."""
    sides = sides or [10.0] * len(labels)
    tops = 20.0 + 60 * np.arange(len(labels))
    boxes = np.array(
        [[left, top, left + side, top + side] for top, side in zip(tops, sides, strict=True)]
    ).reshape(-1, 4)
    page = Page(
        image=PurePosixPath(name), width=1000, height=1000, boxes_xyxy=boxes,
        labels=np.array(labels, np.int64),
    )  # fmt: skip
    return LintPage(
        split="train", source=source, path=Path(name), page=page,
        rows=np.zeros((len(labels), 5)), is_tile=False, recorded_space=space, recorded_hash="",
    )  # fmt: skip


def test_the_choice_does_not_depend_on_the_order_of_images() -> None:
    pages = [lint_page(f"{i}.png", [0] * 6 + [1] * (i % 3)) for i in range(30)]
    chosen = []
    for seed in range(3):
        random.Random(seed).shuffle(pages)
        selector = Selector(NAMES, 10, 0)
        for page in pages:
            selector.add(page)
        assert selector.counts == {("head", ""): 180, ("stem", ""): 30}
        chosen.append({(s.class_name, s.image, s.box_xyxy) for s in selector.chosen()})
    assert chosen[0] == chosen[1] == chosen[2]
    assert len(chosen[0]) == 20


def test_few_symbols_come_from_one_image() -> None:
    selector = Selector(NAMES, 10, 0)
    for i in range(3):
        selector.add(lint_page(f"{i}.png", [0] * 9))
    images = [symbol.image for symbol in selector.chosen()]
    assert len(images) == 10
    assert max(images.count(image) for image in images) <= MOST_OF_A_PAGE


def test_largest_and_smallest_are_those_in_staff_spaces() -> None:
    selector = Selector(["head"], 0, 1)
    selector.add(lint_page("a.png", [0, 0, 0], [10, 30, 20]))
    selector.add(lint_page("b.png", [0, 0], [24, 32], space=20.0))  # 1.2 and 1.6 spaces
    selector.add(lint_page("c.png", [0], [500.0], space=None))
    found = {s.reason: (str(s.image), s.box_xyxy[2] - s.box_xyxy[0]) for s in selector.chosen()}
    assert found == {"largest": ("a.png", 30), "smallest": ("a.png", 10)}


def test_sources_are_apart_and_empty_images_do_no_harm() -> None:
    selector = Selector(NAMES, 5, 0)
    selector.add(lint_page("empty.png", []))
    assert selector.chosen() == []
    selector.add(lint_page("a.png", [0], source="x"))
    selector.add(lint_page("b.png", [0, 1], source="y"))
    found = [(s.class_name, s.source, str(s.image)) for s in selector.chosen()]
    assert found == [("head", "x", "a.png"), ("head", "y", "b.png"), ("stem", "y", "b.png")]


@pytest.mark.parametrize(("classes", "expected"), [("stem", 1), ("head + stem", 2), ("", 0)])
def test_examples_of_findings_come_first(classes: str, expected: int) -> None:
    selector = Selector(NAMES, 5, 0)
    page = lint_page("a.png", [0, 1])
    selector.add(page)
    x0, y0, x1, y1 = page.page.boxes_xyxy[1].tolist()
    example = Example(split="train", page=PurePosixPath("a.png"), box_xyxy=(x0, y0, x1, y1))
    occurrence = Occurrence(class_name=classes, source="", count=1, share=1.0, examples=(example,))
    finding = Finding(rule="too-small", level="error", occurrence=occurrence, meaning="", remedy="")
    chosen = selector.chosen([finding])
    assert sum(symbol.reason == "too-small" for symbol in chosen) == expected
    stems = [symbol.reason for symbol in chosen if symbol.class_name == "stem"]
    assert stems == (["too-small"] if expected else ["random"])
