"""Quotas of rare classes."""

from collections import Counter
from pathlib import Path

import pytest

from class_maps import ConfigError, load
from converters.engraving import balance, pages
from converters.engraving.balance import Balance, Quota, quotas_of_page, summary, unmet
from converters.engraving.dataset import EngravingOptions
from converters.engraving.pages import PageOptions, engrave_page


@pytest.mark.parametrize("least", [1, 7, 50, 100, 200])
def test_quotas_of_a_block_add_up(least: int) -> None:
    goal = Balance(per_100_pages=least)
    total: Counter[str] = Counter()
    for number in range(100):
        for quota in quotas_of_page(goal, number):
            total[quota.category] += quota.least
    for quota in balance._quotas(goal):
        assert total[quota.category] >= least - balance._ORDINARY.get(quota.category, 0)
    assert len(total) == len(balance._quotas(goal))


def test_every_second_page_has_quotas_and_blocks_are_alike() -> None:
    goal = Balance(per_100_pages=100)
    quotas = [quotas_of_page(goal, number) for number in range(200)]
    assert not any(quotas[1::2])
    assert all(quotas[::2])
    assert quotas[:100] == quotas[100:]
    assert not any(quotas_of_page(None, number) for number in range(100))


def test_quotas_include_the_rare_classes_of_harmony() -> None:
    names = {quota.name for quota in balance._quotas(Balance(per_100_pages=100))}
    assert {"timeSig1", "timeSig9", "flag16th", "rest16th", "accidentalDoubleFlat"} < names
    assert {"keyNatural", "clefCAlto", "repeatDot", "barlineDouble", "tie"} < names
    assert names < set(load("harmony").names)


@pytest.mark.parametrize(
    ("least", "message"),
    [
        (0, "--balance 0: too few; expected at least 1"),
        (201, "--balance 201: too many; at most 200 symbols of barlineDouble fit in 100 pages"),
    ],
)
def test_impossible_quotas_are_errors(least: int, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Balance(per_100_pages=least)
    assert str(error.value) == message


def test_quotas_need_composed_music(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        EngravingOptions(
            pages=1, page=PageOptions(balance=Balance(per_100_pages=5)), scores=str(tmp_path)
        )
    assert str(error.value) == "--balance 5: needs composed music; omit --scores"


def test_unmet_quotas_are_listed() -> None:
    quota = Quota(
        name="fermata",
        categories=frozenset({"fermataAbove", "fermataBelow"}),
        category="fermataAbove",
        n_pages=1,
        least=3,
        turn=0,
    )
    assert unmet([], Counter()) == []
    assert unmet([quota], Counter(fermataAbove=1, fermataBelow=1, tie=9)) == ["fermata"]
    assert unmet([quota], Counter(fermataAbove=1, fermataBelow=2)) == []


def test_classes_with_too_few_symbols_are_named(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nclasses: [hold, grace]\nsources:\n  engraved:\n    annotation_set: engraved\n"
        "    map: {fermataAbove: hold, fermataBelow: hold, graceNoteAcciaccaturaStemUp: grace}\n"
    )
    goal = Balance(per_100_pages=10, classes=str(path))
    counts = {"fermataAbove": 2, "fermataBelow": 3, "tie": 5}
    assert summary(goal, counts, n_pages=50) == {
        "least": 5,
        "classes": {"hold": 5, "grace": 0},
        "below": ["grace"],
    }


def test_pages_are_drawn_again_until_they_meet_their_quotas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([["tie", "fermata"], []])
    monkeypatch.setattr(pages, "unmet", lambda quotas, counts: next(answers))
    page = engrave_page(0, (), PageOptions(width=500, height=400))
    assert page.rejected == {"too few symbols of tie": 1}


def test_pages_meet_their_quotas() -> None:
    goal = Balance(per_100_pages=8)
    number = next(n for n in range(0, 100, 2) if len(quotas_of_page(goal, n)) == 1)
    page = engrave_page(number, (), PageOptions(seed=7, width=1000, height=1000, balance=goal))
    counts = Counter(symbol.category for symbol in page.symbols)
    assert unmet(quotas_of_page(goal, number), counts) == []
    assert page.number == 1
