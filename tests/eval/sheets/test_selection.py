"""Tests of the choice of symbols for contact sheets."""

import random
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.page import Page
from converters.prepare.candidates import MOST_OF_AN_IMAGE, CandidateLimits, find_candidates
from eval.sheets import selection
from eval.sheets.selection import ChosenSymbol, Selector, SourceImage, open_for

NAMES = ["head", "stem"]
MANY = CandidateLimits(n_random=1000, n_extreme=2)


def page(
    name: str, labels: list[int], sides: list[float] | None = None, *, space: float | None = 10.0
) -> Page:
    """A page of 1000 px with square boxes in a column."""
    sides = sides or [10.0] * len(labels)
    tops = 20.0 + 60 * np.arange(len(labels))
    boxes = [[50, top, 50 + side, top + side] for top, side in zip(tops, sides, strict=True)]
    return Page(
        image=PurePosixPath(name), width=1000, height=1000, labels=np.array(labels, np.int64),
        boxes_xyxy=np.array(boxes).reshape(-1, 4), staff_space=space,
    )  # fmt: skip


def selector_of(
    pages: list[Page], n_random: int, n_extreme: int, *, source: str = "", found: bool = False
) -> Selector:
    limits = CandidateLimits(n_random=n_random, n_extreme=n_extreme)
    selector = Selector(limits)
    for one in pages:
        add(selector, one, MANY if found else limits, source)
    return selector


def add(selector: Selector, one: Page, limits: CandidateLimits, source: str = "") -> None:
    image = SourceImage(
        source=source, split="train", name=one.image, path=Path(one.image),
        staff_space=one.staff_space,
    )  # fmt: skip
    selector.add([image], find_candidates([one], limits), NAMES)


def keys(symbols: list[ChosenSymbol]) -> set[tuple[str, str, object, str]]:
    return {(s.class_name, str(s.image.name), s.box_xyxy, s.reason) for s in symbols}


@pytest.mark.parametrize("most_rows", [10, 50_000])
def test_the_choice_depends_on_neither_order_nor_removal_of_candidates(
    most_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MOST_ROWS", most_rows)
    sizes = iter(np.random.default_rng(0).permutation(1000) + 5.0)
    pages = [
        page(f"{i}.png", labels := [0] * 6 + [1] * (i % 3), [next(sizes) for _ in labels])
        for i in range(30)
    ]
    chosen = []
    for seed in range(3):
        random.Random(seed).shuffle(pages)
        chosen.append(keys(selector_of(pages, 10, 2).chosen()))
    assert chosen[0] == chosen[1] == chosen[2]
    assert len([key for key in chosen[0] if key[3] == "random"]) >= 10
    largest = max(pages, key=lambda p: float(np.ptp(p.boxes_xyxy[:, ::2], axis=1).max()))
    assert str(largest.image) in {key[1] for key in chosen[0] if key[3] == "largest"}


def test_few_symbols_come_from_one_image() -> None:
    pages = [page(f"{i}.png", [0] * 9) for i in range(3)]
    images = [symbol.image.name for symbol in selector_of(pages, 10, 0).chosen()]
    assert len(images) == 10
    assert max(images.count(image) for image in images) <= MOST_OF_AN_IMAGE


def test_largest_and_smallest_are_those_in_staff_spaces() -> None:
    pages = [
        page("a.png", [0, 0, 0], [10, 30, 20]),
        page("b.png", [0, 0], [24, 32], space=20.0),  # 1.2 and 1.6 spaces
        page("c.png", [0], [500.0], space=None),
    ]
    chosen = selector_of(pages, 0, 1).chosen()
    sizes = {s.reason: (str(s.image.name), s.box_xyxy[2] - s.box_xyxy[0]) for s in chosen}
    assert (sizes["largest"], sizes["smallest"]) == (("a.png", 30), ("a.png", 10))


def test_sources_are_apart_and_empty_images_do_no_harm() -> None:
    limits = CandidateLimits(n_random=5, n_extreme=0)
    selector = Selector(limits)
    add(selector, page("empty.png", []), limits)
    assert selector.chosen() == []
    add(selector, page("a.png", [0]), limits, "x")
    add(selector, page("b.png", [0, 1]), limits, "y")
    chosen = [(s.class_name, s.image.source, str(s.image.name)) for s in selector.chosen()]
    assert chosen == [("head", "x", "a.png"), ("head", "y", "b.png"), ("stem", "y", "b.png")]


def test_given_symbols_come_first_and_once() -> None:
    selector = selector_of([page("a.png", [0, 1])], 5, 0)
    _, stem = selector.chosen()
    example = ChosenSymbol(
        class_name="stem", image=stem.image, box_xyxy=stem.box_xyxy, reason="too-small"
    )
    assert [s.reason for s in selector.chosen([example])] == ["random", "too-small"]


def test_few_images_show_as_many_classes_as_possible() -> None:
    pages = [page(f"{i}.png", [0] * 8) for i in range(40)]
    pages[17] = page("17.png", [0] * 8 + [1])  # the only stem
    pages[23] = page("23.png", [0] * 8, [40.0] + [10.0] * 7)  # the largest head
    selector = selector_of(pages, 500, 1)
    limits = CandidateLimits(n_random=3, n_extreme=1)
    chosen = selector.chosen(limits=limits, most_images=1)
    assert {str(s.image.name) for s in chosen} == {"17.png"}
    assert {s.class_name for s in chosen} == {"head", "stem"}
    chosen = selector.chosen(limits=limits, most_images=3, folder=Path("data"))
    paths = {s.image.path for s in chosen}
    assert paths > {Path("data/17.png"), Path("data/23.png")}
    assert len(paths) == 3
    assert 1 <= [s.reason for s in chosen if s.class_name == "head"].count("random") <= 3
    assert "largest" in {s.reason for s in chosen}


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 6)), max_size=40),
    st.integers(0, 7),
    st.sets(st.integers(0, 6)),
)
def test_opened_images_show_every_item_if_they_may(
    pairs: list[tuple[int, int]], most_images: int, already_open: set[int]
) -> None:
    items, images = np.array(pairs, int).reshape(-1, 2).T
    hashes = np.linspace(0.9, 0, 7)
    is_open = np.isin(np.arange(7), list(already_open))
    before = is_open.copy()
    open_for(items, images, hashes, is_open, most_images)
    assert (is_open >= before).all()
    assert is_open.sum() <= max(most_images, len(already_open))
    if is_open.sum() < most_images:
        assert {i for i, image in pairs if is_open[image]} == {i for i, _ in pairs}
    newly = set(np.flatnonzero(is_open & ~before).tolist())
    assert newly <= set(images.tolist())  # none is opened in vain
