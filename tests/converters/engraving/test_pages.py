"""Complete pages compared with resvg, with their pixels and with their encoding."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, cycle
from typing import TypeAlias, get_args

import numpy as np
import pytest
from alone import ink_box
from lxml import etree
from numpy.typing import NDArray

from class_maps import catalogue
from converters.boxes import whole_pixels
from converters.engraving import (
    categories,
    distributions,
    raster,
    smufl,
    svg,
    typesetting,
    warping,
)
from converters.engraving.captures import Capture
from converters.engraving.music.composition import compose
from converters.engraving.music.decoration import decorate
from converters.engraving.outlines import joined
from converters.engraving.pages import PageOptions, engrave_page
from converters.engraving.svg import Drawing
from converters.engraving.symbols import Symbol, symbols
from converters.engraving.text_fonts import LIBERATION

MEI = "{http://www.music-encoding.org/ns/mei}"
ID = "{http://www.w3.org/XML/1998/namespace}id"
WIDTH, HEIGHT = 1960, 2772
Transform: TypeAlias = tuple[float, float, float, float, float, float]
SET_BY_OMR = {"text", "lyrics"}
"""Categories that omr sets itself from verovio's typefaces; resvg spaces letters differently."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A page with its encoding."""

    mei: str
    drawing: Drawing
    symbols: list[Symbol]

    def boxes(self) -> NDArray[np.float64]:
        return np.array([s.outline.box_xyxy() for s in self.symbols])


@cache
def sheet(seed: int, font: str, *, decorated: bool) -> Sheet:
    rng = random.Random(f"{seed}/{font}")
    mei = compose(rng, bars=24)
    if decorated:
        mei = decorate(mei, rng)
    layout = typesetting.draw_layout(rng, WIDTH, HEIGHT, [font])
    # resvg draws fingerings too, but does not scale the other fonts for text
    layout = replace(layout, typeface=replace(layout.typeface, text=LIBERATION))
    page = typesetting.typeset(mei, layout, rng)
    assert page is not None
    drawing = svg.read(page.svg, font)
    return Sheet(mei=mei, drawing=drawing, symbols=symbols(drawing))


def sheets(n: int) -> Iterator[Sheet]:
    """Yield ``n`` pages in every font, every other one decorated."""
    for seed in range(n):
        for font in smufl.FONTS:
            yield sheet(seed, font, decorated=seed % 2 == 0)


def pages_in(font: str, *, decorated: bool) -> Iterator[Sheet]:
    """Yield the decorated or the other ones of five pages in a font."""
    for seed in range(not decorated, 5, 2):
        yield sheet(seed, font, decorated=decorated)


# ---- resvg -------------------------------------------------------------------------------------

MEAN_PX, WORST_PX = 0.1, 0.3


def turned(degrees: float) -> Transform:
    """Make the transform, in the order of SVG, that rotates a page about its centre."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y = WIDTH / 2, HEIGHT / 2
    return (cos, sin, -sin, cos, x - cos * x + sin * y, y - sin * x - cos * y)


def compare(
    n_pages: int,
    matrix: Transform,
    warps: Sequence[warping.Warp | None],
    most: int = len(smufl.FONTS),
    without: Container[str] = (),
) -> set[str]:
    """Compare a symbol per category and page with resvg's rendering.

    Args:
        n_pages: Number of pages in every font.
        matrix: Transform that resvg applies.
        warps: Warps that are applied afterwards, each to every few pages.
        most: Maximum number of symbols per category.
        without: Categories to skip.

    Returns:
        Categories that were compared.
    """
    rng = random.Random(str(matrix))
    linear = np.array([matrix[:2], matrix[2:4]])
    gaps: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for page, warp in zip(sheets(n_pages), cycle(warps)):
        by_category: dict[str, list[Symbol]] = defaultdict(list)
        for symbol in _with_whole_glyphs(page.symbols):
            if symbol.category not in SET_BY_OMR and symbol.category not in without:
                by_category[symbol.category].append(symbol)
        for category, result in by_category.items():
            if len(gaps[category]) == most:
                continue
            symbol = rng.choice(result)
            outline = symbol.outline.moved(lambda points: points @ linear + matrix[4:])
            box = outline.box_xyxy()
            if warp is None:
                truth = ink_box(symbol, box, matrix)
            else:
                truth = ink_box(symbol, box, matrix, warp)
                [outline] = warping.warped([outline], warp)
            assert truth is not None, f"{category}: no ink at {box}"
            gaps[category].append(np.abs(outline.box_xyxy() - truth))
    everything = np.concatenate([*gaps.values()])
    worst = max(gaps, key=lambda name: np.max(gaps[name]))
    assert everything.mean() <= MEAN_PX
    assert everything.max() <= WORST_PX, worst
    return set(gaps)


def _with_whole_glyphs(result: list[Symbol]) -> Iterator[Symbol]:
    """Yield symbols, with an octave clef and its figure joined because they are one glyph."""
    parts: dict[int, list[Symbol]] = defaultdict(list)
    for symbol in result:
        if symbol.shapes[0].code in categories.OCTAVE_CLEFS:
            parts[id(symbol.shapes[0])].append(symbol)
        else:
            yield symbol
    for together in parts.values():
        whole = joined([part.outline for part in together])
        yield replace(together[0], category="octave clef", outline=whole)


@pytest.mark.parametrize("degrees", [0.0, -1.3])
def test_boxes_agree_with_resvg(degrees: float) -> None:
    assert len(compare(2, turned(degrees), [None])) >= 100


def warps(n: int) -> list[warping.Warp]:
    """Draw strong warps: rotated by up to 3 degrees, curled, bowed and seen at an angle."""
    result = []
    for seed in range(n):
        rng = random.Random(seed)
        degradation = replace(
            distributions.draw_degradation("photo", rng),
            rotation=rng.uniform(-3, 3),
            pinch=rng.choice((-0.015, 0.015)),
            pull=0.006,
            bow=rng.choice((-0.01, 0.01)),
            waves=0.001,
            tilt_x=rng.uniform(-0.06, 0.06),
            tilt_y=rng.uniform(-0.1, 0.1),
        )
        content = 60, 60, WIDTH - 60, HEIGHT - 60
        result.append(
            warping.draw_warp(degradation, rng, width=WIDTH, height=HEIGHT, content_xyxy=content)
        )
    return result


def test_warped_boxes_agree_with_resvg() -> None:
    assert len(compare(2, turned(0), warps(5))) >= 100


@pytest.mark.slow
def test_boxes_agree_with_resvg_on_many_pages() -> None:
    """Categories that the pages of the other tests lack are compared on these."""
    others = {s.category for page in sheets(2) for s in _with_whole_glyphs(page.symbols)}
    compared = compare(5, turned(0.7), [None], 2, others)
    assert compare(5, turned(0), warps(7), 2, others) == compared
    assert "octave clef" in compared | others
    assert len(compared | others - SET_BY_OMR) >= 120


# ---- pixels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", ["none", "photo"])
def test_every_box_contains_ink_up_to_its_edges(capture: Capture) -> None:
    empty = loose = total = 0
    for page in sheets(2):
        shapes = [shape.outline for shape in page.drawing.shapes]
        result = [symbol.outline for symbol in page.symbols]
        boxes = page.boxes()
        extent = [*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]
        degradation = distributions.draw_degradation(capture, random.Random(1))
        warp = warping.draw_warp(
            degradation, random.Random(1), width=WIDTH, height=HEIGHT, content_xyxy=extent
        )
        drawn = warping.warped(shapes, warp)
        ink = raster.rasterise(drawn, WIDTH, HEIGHT, rasteriser="numpy") < 250
        moved = np.array([o.box_xyxy() for o in warping.warped(result, warp)])
        for x0, y0, x1, y1 in whole_pixels(moved).tolist():
            inside = ink[y0:y1, x0:x1]
            total += 1
            empty += not inside.any()
            edges = (inside[0], inside[-1], inside[:, 0], inside[:, -1])
            loose += not all(edge.any() for edge in edges)
    assert total > 5000
    assert empty == 0
    assert loose / total <= 0.01


# ---- encoding ----------------------------------------------------------------------------------


def elements(page: Sheet) -> dict[str, etree._Element]:
    """Map ids to the elements of the encoding that are on this page."""
    drawn = {group.id for shape in page.drawing.shapes for group in shape.group.up()}
    root = etree.fromstring(page.mei.encode())
    return {e.get(ID): e for e in root.iter() if e.get(ID) in drawn}


def count(page: Sheet, pattern: str) -> int:
    """Count the encoded elements of symbols whose category matches."""
    return sum(len(s.ids) for s in page.symbols if re.fullmatch(pattern, s.category))


@pytest.mark.parametrize("decorated", [False, True])
@pytest.mark.parametrize("font", smufl.FONTS)
def test_counts_match_the_encoding(font: str, decorated: bool) -> None:
    for page in pages_in(font, decorated=decorated):
        encoded = elements(page)
        tags = Counter(etree.QName(e).localname for e in encoded.values())
        notes = [e for e in encoded.values() if etree.QName(e).localname == "note"]
        dots = sum(map(_dots, encoded.values()))
        rests = sum(tags[name] for name in ("rest", "mRest", "multiRest"))
        assert tags["note"] > 0
        assert count(page, "notehead.*") == tags["note"]
        assert count(page, "accidental.*") == sum(1 for e in notes for _ in _printed(e))
        assert count(page, "rest(?!HNr).*") == rests
        assert count(page, "fermata.*") == tags["fermata"]
        assert count(page, "augmentationDot") == dots


def _dots(element: etree._Element) -> int:
    """Count the augmentation dots of an element; a chord has them for each of its notes."""
    if element.getparent() is not None and element.getparent().tag == f"{MEI}chord":
        return 0
    return int(element.get("dots", 0)) * max(1, len(element.findall(f"{MEI}note")))


def _printed(note: etree._Element) -> Iterator[str]:
    """Yield the printed accidentals of a note."""
    for element in (note, *note.iter(f"{MEI}accid")):
        if element.get("accid"):
            yield element.get("accid")


STEPS = "cdefgab"
CLEFS = {"G": (4, 4), "F": (3, 3), "C": (0, 4)}
"""Step and octave of the pitch on a clef's line."""
SHARE = {False: 0.99, True: 0.9}
"""Smallest fraction of noteheads whose position is compared, by decorated."""


@pytest.mark.parametrize("decorated", [False, True])
@pytest.mark.parametrize("font", smufl.FONTS)
def test_noteheads_are_where_pitch_and_clef_place_them(font: str, decorated: bool) -> None:
    compared = total = 0
    for page in pages_in(font, decorated=decorated):
        expected = positions(etree.fromstring(page.mei.encode()))
        for symbol in page.symbols:
            if symbol.position is None:
                continue
            for note in symbol.ids:
                total += 1
                if note in expected:
                    compared += 1
                    assert symbol.position == expected[note], note
            parity = "InSpace" if symbol.position % 2 else "OnLine"
            assert parity in symbol.category
    assert compared > 150
    assert compared / total > SHARE[decorated], compared / total


def positions(root: etree._Element) -> dict[str, int]:
    """Compute the half spaces above the lowest line of every note from the clef before it.

    Notes are skipped if their clef depends on their onset, because another voice of the bar changes
    it, and in bars under an ottava, which are written at a different height.
    """
    clefs: dict[str, etree._Element] = {}
    result: dict[str, int] = {}
    changed: dict[etree._Element, etree._Element] = {}
    shifted = set(_under_ottava(root))
    for element in root.iter(f"{MEI}staffDef", f"{MEI}clef", f"{MEI}note"):
        kind = etree.QName(element).localname
        staff = next(element.iterancestors(f"{MEI}staff", f"{MEI}staffDef"), element)
        if kind == "staffDef":
            given = {k[5:]: v for k, v in element.attrib.items() if k.startswith("clef.")}
            if given:
                clefs[staff.get("n")] = etree.Element("clef", given)
        elif kind == "clef":
            clefs[staff.get("n")] = element
            changed[staff] = _layer(element)
        elif changed.get(staff, _layer(element)) is _layer(element) and staff not in shifted:
            clef = clefs[staff.get("n")]
            if clef.get("shape") in CLEFS and not element.get("staff"):
                result[element.get(ID)] = _position(element, clef)
    return result


def _layer(element: etree._Element) -> etree._Element | None:
    return next(element.iterancestors(f"{MEI}layer"), None)


def _under_ottava(root: etree._Element) -> Iterator[etree._Element]:
    """Yield the staves of the bars from the start to the end of an ottava."""
    staff_of = {e.get(ID): s for s in root.iter(f"{MEI}staff") for e in s.iter() if e.get(ID)}
    staves = list(root.iter(f"{MEI}staff"))
    for octave in root.iter(f"{MEI}octave"):
        first, last = (staff_of[octave.get(end)[1:]] for end in ("startid", "endid"))
        within = staves[staves.index(first) : staves.index(last) + 1]
        yield from (staff for staff in within if staff.get("n") == first.get("n"))


def _position(note: etree._Element, clef: etree._Element) -> int:
    step, octave = CLEFS[clef.get("shape")]
    octaves = {"8": 1, "15": 2, "22": 3}.get(clef.get("dis"), 0)
    octave += octaves if clef.get("dis.place") == "above" else -octaves
    height = int(note.get("oct")) * 7 + STEPS.index(note.get("pname"))
    return height - (octave * 7 + step) + 2 * (int(clef.get("line")) - 1)


# ---- pages -------------------------------------------------------------------------------------


def test_pages_have_notes_and_few_collisions_within_their_bounds() -> None:
    n_symbols = n_collisions = 0
    for number in range(6):
        options = PageOptions(seed=3, style="mixed")
        page = engrave_page(number, (), options)
        assert any(s.category.startswith("notehead") for s in page.symbols)
        assert (page.boxes_xyxy[:, :2] >= 0).all()
        assert (page.boxes_xyxy[:, 2:] <= (WIDTH, HEIGHT)).all()
        n_symbols += len(page.symbols)
        n_collisions += page.n_collisions
    assert n_collisions / n_symbols < 0.01


def test_every_category_is_in_the_catalogue() -> None:
    known = {category.name for category in catalogue("engraved").categories}
    result = {symbol.category for page in sheets(4) for symbol in page.symbols}
    assert result <= known
    assert len(result) > 80


@pytest.mark.parametrize("degrade", get_args(distributions.DegradeOption))
def test_equal_numbers_and_seeds_give_equal_pages(degrade: distributions.DegradeOption) -> None:
    options = PageOptions(seed=5, width=800, height=700, degrade=degrade, style="mixed")
    one, again = (engrave_page(2, (), options) for _ in range(2))
    assert np.array_equal(one.boxes_xyxy, again.boxes_xyxy)
    assert np.array_equal(one.pixels, again.pixels)


def test_other_numbers_and_seeds_give_other_pages() -> None:
    options = PageOptions(seed=5, width=800, height=700, style="mixed")
    chosen = ((2, options), (3, options), (2, replace(options, seed=6)))
    pages = [engrave_page(number, (), options).boxes_xyxy.tolist() for number, options in chosen]
    assert all(one != other for one, other in combinations(pages, 2))


def test_labels_do_not_depend_on_the_rasteriser() -> None:
    options = PageOptions(width=800, height=700)
    one, other = (
        engrave_page(1, (), replace(options, rasteriser=rasteriser))
        for rasteriser in ("numpy", "blend2d")
    )
    assert np.array_equal(one.boxes_xyxy, other.boxes_xyxy)
    assert [s.category for s in one.symbols] == [s.category for s in other.symbols]
    gap = np.abs(one.pixels.astype(int) - other.pixels)
    assert gap.max() < 16
