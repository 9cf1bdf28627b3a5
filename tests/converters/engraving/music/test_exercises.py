"""Exercises with wanted symbols."""

import random
from collections import Counter

import pytest
from lxml import etree

from converters.engraving import svg, typesetting
from converters.engraving.music.decorations.bars import read_bars
from converters.engraving.music.decorations.lanes import _length
from converters.engraving.music.decorations.mei import ID, inside, tag
from converters.engraving.music.decorations.studies import STUDIES
from converters.engraving.music.exercises import CATEGORIES, LEAST, METRES, compose_exercises
from converters.engraving.symbols import symbols


def compose(seed: int, n_staves: int = 2, bars: int = 12, **wanted: int) -> str:
    return compose_exercises(random.Random(seed), bars=bars, n_staves=n_staves, wanted=wanted)


def counts(mei: str) -> Counter[str]:
    """Count the categories on all pages of a score."""
    return Counter(
        symbol.category
        for page in typesetting.plain_pages(mei)
        for symbol in symbols(svg.read(page, typesetting.PLAIN_FONT))
    )


@pytest.mark.parametrize("category", sorted(CATEGORIES))
def test_wanted_symbols_occur(category: str) -> None:
    least = LEAST[category]
    total, seed = 0, 1
    while total < least and seed <= 2:
        total += counts(compose(seed, bars=6, **{category: least}))[category]
        seed += 1
    assert total >= least


@pytest.mark.parametrize("n_staves", [2, 4])
def test_all_symbols_can_be_wanted_together(n_staves: int) -> None:
    mei = compose(1, n_staves, **dict.fromkeys(CATEGORIES, 1))
    root = etree.fromstring(mei.encode())
    ids = [element.get(ID) for element in root.iter(etree.Element) if element.get(ID)]
    assert len(ids) == len(set(ids))
    references = [e.get(end)[1:] for e in root.iter() for end in ("startid", "endid") if e.get(end)]
    assert set(references) <= set(ids)
    bars = read_bars(root)
    assert [bar.measure.get("n") for bar in bars] == [str(i + 1) for i in range(len(bars))]
    assert {len(bar.staves) for bar in bars} == {n_staves}


def test_studies_fill_their_bars() -> None:
    """New bars have one layer per staff, whose notes add up to the metre."""
    for seed in range(6):
        wanted = dict.fromkeys(STUDIES, 2)
        root = etree.fromstring(compose(seed, **wanted).encode())
        checked = 0
        for bar in read_bars(root):
            for layer in bar.measure.iter(tag("layer")):
                sounds = [e for e in layer.iter(tag("note"), tag("rest")) if not inside(e, "chord")]
                if not sounds or str(layer.get(ID)).startswith("e"):
                    continue
                assert bar.metre is not None
                ticks = sum(_length(e) * (1.5 if e.get("dots") else 1) for e in sounds)
                assert ticks == bar.metre.length
                checked += 1
        assert checked > 10


def test_metres_serve_several_figures() -> None:
    root = etree.fromstring(compose(0, bars=4, timeSig1=2, timeSig8=2, timeSig2=2).encode())
    metres = [(e.get("meter.count"), e.get("meter.unit")) for e in root.iter(tag("scoreDef"))]
    assert ("12", "8") in metres
    assert len(metres) == 1


def test_exercises_depend_only_on_the_generator() -> None:
    assert compose(3, timeSig9=4, restHalf=3) == compose(3, timeSig9=4, restHalf=3)
    assert compose(3, timeSig9=4) != compose(4, timeSig9=4)
    assert METRES.keys() < CATEGORIES
