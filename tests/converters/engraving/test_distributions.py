"""Distributions of the parameters of pictures."""

from collections import Counter
from dataclasses import fields
from functools import cache
from pathlib import Path
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.engraving.captures import Capture, Degradation
from converters.engraving.distributions import (
    EFFECTS,
    GROUPS,
    HIDING,
    METHODS,
    MIXED,
    RANGES,
    DegradeOption,
    Range,
    draw_degradation,
)

NEUTRAL = Degradation()
REMOVED = {*HIDING, "threshold", "edge"}
"""Parameters that a single threshold for the page changes."""
every_capture = pytest.mark.parametrize("capture", get_args(Capture))


@cache
def sample(option: DegradeOption, n: int) -> list[Degradation]:
    return [draw_degradation(option, Random(seed)) for seed in range(n)]


def test_none_is_neutral() -> None:
    assert draw_degradation("none", Random(1)) == NEUTRAL
    assert NEUTRAL.applied() == {"capture": "none", "effects": ()}


def test_shares_of_mixed() -> None:
    assert sum(MIXED.values()) == pytest.approx(1)
    assert set(MIXED) == set(get_args(Capture))
    counts = Counter(degradation.capture for degradation in sample("mixed", 200))
    for capture, share in MIXED.items():
        deviation = (200 * share * (1 - share)) ** 0.5
        assert abs(counts[capture] - 200 * share) <= 3 * deviation


def test_effects_of_mixed_occur_as_often_as_stated() -> None:
    n = 200
    drawn = Counter(effect for degradation in sample("mixed", n) for effect in degradation.effects)
    for effect in EFFECTS:
        share = sum(
            MIXED[capture] * group.get(effect, 0)
            for capture, groups in GROUPS.items()
            for group in groups
        )
        if effect in {"gutter", "yellow"}:  # which binarisation removes
            share *= 0.9
        deviation = (n * share * (1 - share)) ** 0.5
        assert abs(drawn[effect] - n * share) <= 3 * deviation + 1, effect
        assert drawn[effect] > 0, effect


@every_capture
def test_groups_are_probabilities_of_known_effects(capture: Capture) -> None:
    for group in GROUPS[capture]:
        assert sum(group.values()) <= 1
        assert set(group) <= set(EFFECTS)
    names = {field.name for field in fields(Degradation)}
    assert set(RANGES[capture]) <= names
    assert all(set(ranges) <= names for ranges in EFFECTS.values())


@every_capture
def test_parameters_are_within_their_ranges(capture: Capture) -> None:
    for degradation in sample(capture, 300):
        ranges = dict(RANGES[capture])
        for effect in degradation.effects:
            ranges |= EFFECTS[effect]
        method = degradation.binarisation
        assert (method != "none") == ("threshold" in ranges)
        assert method == "none" or method in METHODS[capture]
        changed = {"stain_depth"} if method in ("none", "adaptive") else REMOVED
        for field in fields(Degradation):
            value, neutral = getattr(degradation, field.name), getattr(NEUTRAL, field.name)
            if field.name in {"capture", "effects", "binarisation"} | changed:
                continue
            if field.name not in ranges:
                assert value == neutral
            elif value != neutral:
                limits = ranges[field.name]
                assert limits.low <= (abs(value) if limits.signed else value) <= limits.high
                assert isinstance(value, type(neutral))


@every_capture
def test_parameters_are_neutral_as_often_as_stated(capture: Capture) -> None:
    n = 600
    plain = [d for d in (draw_degradation(capture, Random(s)) for s in range(n)) if not d.effects]
    for name, limits in RANGES[capture].items():
        if 0 < limits.probability < 1 and name not in REMOVED:
            share = sum(getattr(d, name) != getattr(NEUTRAL, name) for d in plain) / len(plain)
            deviation = (limits.probability * (1 - limits.probability) / len(plain)) ** 0.5
            assert abs(share - limits.probability) <= 3.5 * deviation, name


@given(option=st.sampled_from(get_args(DegradeOption)), seed=st.integers(0, 2**32))
def test_legibility_limits(option: DegradeOption, seed: int) -> None:
    """Only one effect removes detail, and the extremes are those of the documentation."""
    degradation = draw_degradation(option, Random(seed))
    assert degradation == draw_degradation(option, Random(seed))
    losses = {
        "low-resolution",
        "blurred",
        "thin-ink",
        "broken-ink",
        "compressed",
        "binarised",
        "lost-lines",
    }
    assert len(losses & set(degradation.effects)) <= 1
    assert abs(degradation.rotation) <= 3
    assert degradation.blur_px <= 4
    assert degradation.dpi == 0 or 75 <= degradation.dpi <= 400
    assert degradation.jpeg_quality == 0 or degradation.jpeg_quality >= 20
    if degradation.binarisation != "none":
        assert degradation.blur_px <= 1
        assert degradation.jpeg_quality == 0
        assert degradation.warmth == 0
    if degradation.binarisation in ("fixed", "otsu"):
        assert degradation.gutter == degradation.shadow == degradation.stains == 0
        assert degradation.shade <= 0.1


# ---- documentation -----------------------------------------------------------------------------

DOCS = Path(__file__).parents[3] / "docs" / "engraving.md"
COLUMNS: tuple[Capture, ...] = ("scan", "photo", "fax", "worn")


def limits(values: Range) -> str:
    if values.low == values.high == 0:
        return "none"
    return f"{'± ' if values.signed else ''}{values.low:g} to {values.high:g}"


def effect_row(effect: str) -> list[str]:
    ranges = ", ".join(f"`{name}` {limits(values)}" for name, values in EFFECTS[effect].items())
    shares = [sum(group.get(effect, 0) for group in GROUPS[capture]) for capture in COLUMNS]
    return [ranges, *(f"{share:.0%}" if share else "" for share in shares)]


def parameter_cell(name: str, capture: Capture) -> str:
    values = RANGES[capture].get(name)
    if values is None:
        return ""
    share = f"{values.probability:.0%}: " if values.probability < 1 else ""
    return share + limits(values)


def test_documented_table_is_that_of_the_code() -> None:
    rows = [line.strip("|").split("|") for line in DOCS.read_text().splitlines() if line[:1] == "|"]
    table = {row[0].strip(" *`"): [cell.strip() for cell in row[1:]] for row in rows}
    for effect in EFFECTS:
        assert table[effect] == effect_row(effect)
    names = sorted(set().union(*(RANGES[capture] for capture in COLUMNS)))
    for name in names:
        assert table[name][1:] == [parameter_cell(name, capture) for capture in COLUMNS]


def test_documented_shares_are_those_of_the_code() -> None:
    text = DOCS.read_text()
    shares = {name: f"{share:.0%} `{name}`" for name, share in MIXED.items() if name != "none"}
    assert f"`mixed`: {MIXED['none']:.0%} clean pages, {', '.join(shares.values())}\n" in text
