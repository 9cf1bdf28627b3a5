import xml.etree.ElementTree as ET

import pytest

from eval.html.plots import (
    DotRow,
    RangeRow,
    ReferenceLine,
    Series,
    binned,
    dots,
    heat_map,
    histogram,
    ranges,
    shortened,
    stacked_bars,
)
from eval.html.svg import ticks


def parsed(picture: str) -> ET.Element:
    return ET.fromstring(picture)


def rects(picture: str, style: str) -> list[dict[str, str]]:
    return [one.attrib for one in parsed(picture).iter("rect") if style in one.attrib["class"]]


def texts(picture: str) -> list[str]:
    return ["".join(one.itertext()) for one in parsed(picture).iter("text")]


def percent(value: str) -> float:
    assert value.endswith("%")
    return float(value[:-1])


EMPTY = [
    histogram("plot", "label", []),
    stacked_bars("plot", "label", [], []),
    ranges("plot", "label", [], limits=(1, 10)),
    dots("plot", "label", []),
    heat_map("plot", "label", [], []),
]


@pytest.mark.parametrize("picture", EMPTY)
def test_nothing_is_drawn_as_an_empty_plot(picture: str) -> None:
    assert parsed(picture).attrib["id"] == "plot"
    assert not list(parsed(picture).iter("rect"))


@pytest.mark.parametrize(
    "picture",
    [
        histogram('a"b', "<label> & more", [(1, 2)]),
        stacked_bars('a"b', "<label> & more", ["<4>"], [Series(name="<loss>", values=[1])]),
        ranges('a"b', "<label> & more", [RangeRow(name="<x>", ranges=[(1, 2, 3)])], limits=(1, 9)),
        dots('a"b', "<label> & more", [DotRow(name="<x>", values=[0.5, 1])]),
        heat_map('a"b', "<label> & more", ["<x>"], [[3]]),
    ],
)
def test_names_are_escaped_and_every_plot_says_what_it_shows(picture: str) -> None:
    root = parsed(picture)
    assert root.attrib["id"] == 'a"b'
    assert (root.attrib["role"], root.attrib["aria-label"]) == ("img", "<label> & more")


@pytest.mark.parametrize(
    ("counts", "n_bins", "expected"),
    [
        ([], 5, []),
        ([(7, 3)], 5, [(7, 7, 3)]),
        ([(0, 1), (9, 2)], 5, [(0, 1, 1), (2, 3, 0), (4, 5, 0), (6, 7, 0), (8, 9, 2)]),
        ([(9, 2), (0, 1), (1, 4)], 3, [(0, 3, 5), (4, 7, 0), (8, 11, 2)]),
        ([(5, 1), (7, 1)], 24, [(5, 5, 1), (6, 6, 0), (7, 7, 1)]),
    ],
)
def test_bins_are_equally_wide_and_lose_nothing(
    counts: list[tuple[int, int]], n_bins: int, expected: list[tuple[int, int, int]]
) -> None:
    assert binned(counts, n_bins) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, 0, [0]),
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (812, 2420, [1000, 1500, 2000]),
    ],
)
def test_ticks_are_round_and_inside(first: float, last: float, expected: list[float]) -> None:
    assert ticks(first, last) == expected


def test_a_bar_of_a_histogram_is_as_high_as_it_is_frequent() -> None:
    picture = histogram("plot", "label", [(0, 10), (1, 5), (3, 1)])
    heights = [float(bar["height"]) for bar in rects(picture, "bar")]
    assert heights == pytest.approx([160, 80, 0, 16])
    lefts = [percent(bar["x"]) for bar in rects(picture, "bar")]
    assert lefts == pytest.approx([1.5, 25.375, 49.25, 73.125], abs=0.01)  # 95.5 % in 4 bins


def test_parts_of_a_stack_stand_on_each_other() -> None:
    series = [
        Series(name="weights", values=[1, 2]),
        Series(name="loss", values=[3, 4]),
        Series(name="assigner", values=[2, 0]),
    ]
    picture = stacked_bars("plot", "label", ["4", "8"], series, top=8)
    bars = rects(picture, "part")
    # 0 is at 260 px and 8 at 40 px: 27.5 px for 1
    assert [float(bar["height"]) for bar in bars] == pytest.approx([27.5, 82.5, 55, 55, 110, 0])
    assert [float(bar["y"]) for bar in bars] == pytest.approx([232.5, 150, 95, 205, 95, 95])
    assert bars[0]["x"] == bars[1]["x"] == bars[2]["x"] != bars[3]["x"]
    assert "8: loss 4" in picture


def test_what_is_higher_than_the_plot_is_cut_off_with_an_arrow() -> None:
    series = [Series(name="loss", values=[2, 40])]
    dashed = Series(name="dense", values=[3, 214])
    picture = stacked_bars("plot", "label", ["4", "8"], series, dashed=dashed, top=8)
    assert {"↑40", "↑214"} <= set(texts(picture))
    assert all(float(bar["y"]) >= 40 for bar in rects(picture, "part"))
    assert not any(text == "↑2" or text == "↑3" for text in texts(picture))


def test_a_stack_points_out_a_category_and_draws_a_level() -> None:
    series = [Series(name="loss", values=[2, 4])]
    reference = ReferenceLine(name="GiB usable", value=4)
    plain = stacked_bars("plot", "label", ["4", "8"], series)
    picture = stacked_bars(
        "plot", "label", ["4", "8"], series, reference=reference, marked="8", top=8
    )
    assert not rects(plain, "band")
    (band,) = rects(picture, "band")
    assert percent(band["x"]) == pytest.approx(percent(rects(picture, "part")[1]["x"]) - 1)
    assert {"4 GiB usable", "4"} <= set(texts(picture))
    (line,) = [
        one.attrib for one in parsed(picture).iter("line") if one.attrib["class"] == "reference"
    ]
    assert float(line["y1"]) == float(line["y2"]) == 150  # halfway up


def test_ranges_stand_on_a_logarithmic_axis() -> None:
    row = RangeRow(name="stem", ranges=[(1, 10, 100)], note="1 x 26", warning="✕")
    picture = ranges("plot", "label", [row], limits=(1, 100), lines=(1, 2, 4))
    (bar,) = [one.attrib for one in parsed(picture).iter("line") if "range" in one.attrib["class"]]
    (middle,) = [
        one.attrib for one in parsed(picture).iter("line") if one.attrib["class"] == "median"
    ]
    assert (percent(bar["x1"]), percent(bar["x2"])) == (1.5, 97)
    assert percent(middle["x1"]) == pytest.approx(49.25)
    assert texts(picture) == ["1", "2", "4", "10", "100", "stem1 x 26✕"]


@pytest.mark.parametrize("low", [0.0, 1e-9])
def test_a_range_below_the_axis_starts_at_its_end(low: float) -> None:
    picture = ranges("plot", "label", [RangeRow(name="x", ranges=[(low, 2, 3)])], limits=(1, 10))
    (bar,) = [one.attrib for one in parsed(picture).iter("line") if "range" in one.attrib["class"]]
    assert percent(bar["x1"]) == 1.5


def test_dots_stand_at_their_shares() -> None:
    picture = dots("plot", "label", [DotRow(name="stem", values=[0.2, 1])])
    circles = [one.attrib for one in parsed(picture).iter("circle")]
    at = {one["class"]: percent(one["cx"]) for one in circles}
    assert at == pytest.approx({"s4 hollow": 20.6, "s0": 97})
    assert "stem20% / 100%" in texts(picture)


def test_cells_are_darker_the_larger_they_are() -> None:
    picture = heat_map("plot", "label", ["a", "b"], [[0, 100], [25, 1234]])
    shades = [float(cell["fill-opacity"]) for cell in rects(picture, "bar")]
    assert shades[0] < shades[2] < shades[1] < shades[3] == 0.65
    assert [text for text in texts(picture) if text not in "ab"] == ["100", "25", "1.2k"]
    assert "b, a: 25" in picture


@pytest.mark.parametrize(
    ("name", "letters", "expected"),
    [
        ("", 5, ""),
        ("stem", 4, "stem"),
        ("noteheadBlackOnLine", 11, "noteh…nLine"),
        ("abcdef", 4, "a…ef"),
    ],
)
def test_long_names_keep_both_ends(name: str, letters: int, expected: str) -> None:
    assert shortened(name, letters) == expected
    assert len(expected) <= letters
