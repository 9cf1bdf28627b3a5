import xml.etree.ElementTree as ET

import pytest

from eval.html.score_plots import Bar, BarRow, Dot, bars, curve, differences, reliability


def attributes(picture: str, tag: str, style: str) -> list[dict[str, str]]:
    shapes = ET.fromstring(picture).iter(tag)
    return [shape.attrib for shape in shapes if style in shape.attrib.get("class", "").split()]


def texts(picture: str) -> list[str]:
    return ["".join(one.itertext()) for one in ET.fromstring(picture).iter("text")]


@pytest.mark.parametrize(
    "picture",
    [
        bars("plot", "label", []),
        differences("plot", "label", [], reach=1),
        curve("plot", "label", []),
        reliability("plot", "label", []),
    ],
)
def test_without_values_only_the_axes_are_drawn(picture: str) -> None:
    root = ET.fromstring(picture)
    assert root.attrib["id"] == "plot"
    assert not [one for tag in ("rect", "path", "circle") for one in root.iter(tag)]


@pytest.mark.parametrize(
    "picture",
    [
        bars(
            'a"b', "<label>", [BarRow(name="<x>", note="<n>", bars=[Bar(value=1, tooltip="<t>")])]
        ),
        curve('a"b', "<label>", [1, 0.5], marked=(0.5, 0.5)),
        reliability('a"b', "<label>", [Dot(x=0.1, y=0.2, weight=1, tooltip="<t>")]),
    ],
)
def test_texts_are_escaped(picture: str) -> None:
    root = ET.fromstring(picture)
    assert (root.attrib["id"], root.attrib["role"]) == ('a"b', "img")
    assert root.attrib["aria-label"] == "<label>"


def test_bars_are_as_long_as_their_values() -> None:
    rows = [BarRow(name="a", bars=[Bar(value=0.5), Bar(value=0.2, pale=True)], note="n")]
    picture = bars("plot", "label", rows, colours=(0, 2))
    [first], [second] = attributes(picture, "rect", "s0"), attributes(picture, "rect", "s2")
    # 95.5 % of the width are 1
    assert (first["x"], first["width"]) == ("1.50%", "47.75%")
    assert (second["x"], second["width"]) == ("1.50%", "19.10%")
    assert "fill-opacity" not in first
    assert second["fill-opacity"] == "0.40"
    assert "an" in texts(picture)


def test_an_interval_is_a_line_with_caps() -> None:
    rows = [BarRow(name="a", bars=[Bar(value=2, interval=(1, 3))])]
    lines = attributes(bars("plot", "label", rows, top=4), "line", "whisker")
    assert [(line["x1"], line["x2"]) for line in lines] == [
        ("25.38%", "73.12%"),
        ("25.38%", "25.38%"),
        ("73.12%", "73.12%"),
    ]


def test_a_bar_without_a_value_is_a_dash_and_0_stays_visible() -> None:
    rows = [BarRow(name="a", bars=[Bar(value=None)]), BarRow(name="b", bars=[Bar(value=0)])]
    picture = bars("plot", "label", rows)
    assert "-" in texts(picture)
    assert [bar["width"] for bar in attributes(picture, "rect", "s0")] == ["0.40%"]


def test_a_curve_starts_at_the_left_and_ends_at_the_right() -> None:
    picture = curve("plot", "label", [1, 0.5, 0.25], marked=(0.5, 1))
    [line], [area] = attributes(picture, "path", "curve"), attributes(picture, "path", "area")
    assert line["d"] == "M0 0L50 50L100 75"
    assert area["d"] == "M0 0L50 50L100 75L100 100L0 100Z"
    [dot] = attributes(picture, "circle", "s4")
    assert (dot["cx"], dot["cy"]) == ("54.00%", "8.0")


def test_a_single_value_is_a_curve() -> None:
    assert 'd="M0 0"' in curve("plot", "label", [1])


def test_reliability_is_measured_from_the_diagonal() -> None:
    dots = [Dot(x=0.5, y=0.75, weight=1, tooltip="t"), Dot(x=1, y=1, weight=0, tooltip="u")]
    picture = reliability("plot", "label", dots)
    links = attributes(picture, "line", "link")
    # 0 is at 228 px and 1 at 8 px
    assert [(line["y1"], line["y2"]) for line in links] == [("118.0", "63.0"), ("8.0", "8.0")]
    assert [dot["r"] for dot in attributes(picture, "circle", "s0")] == ["9", "3"]


def test_differences_go_to_both_sides_of_0() -> None:
    values = {"a": (0.5, (0.25, 0.75)), "b": (-0.5, None), "c": (0.0, None), "d": (-0.1, (-2, 1))}
    rows = [BarRow(name=n, bars=[Bar(value=v, interval=i)]) for n, (v, i) in values.items()]
    picture = differences("plot", "label", rows, reach=1)
    # 47.75 % of the width are 1, and 0 is at 49.25 %
    rights, lefts = attributes(picture, "rect", "s0"), attributes(picture, "rect", "s4")
    assert [(one["x"], one["width"]) for one in rights] == [
        ("49.25%", "23.88%"),
        ("49.25%", "0.40%"),
    ]
    assert [(one["x"], one["width"]) for one in lefts] == [
        ("25.38%", "23.88%"),
        ("44.48%", "4.77%"),
    ]
    whiskers = attributes(picture, "line", "whisker")
    assert [(one["x1"], one["x2"]) for one in whiskers[::3]] == [
        ("61.19%", "85.06%"),
        ("1.50%", "97.00%"),
    ]
    assert [one["x1"] for one in attributes(picture, "line", "reference")] == ["49.25%"] * 4
    assert texts(picture)[:5] == ["-1", "-0.5", "0", "+0.5", "+1"]
