"""Typesetting of music with verovio, each page in its own layout.

Verovio's unit is half the distance between two staff lines.
"""

import random
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import verovio

from converters.engraving import smufl, typefaces
from converters.engraving.music.decoration import decorate
from converters.engraving.typefaces import Typeface

REFERENCE_WIDTH = 1960
"""Page width in pixels to which staff sizes refer: the width of most DeepScoresV2 pages."""
STAFF_SPACE_PX = (10.5, 18.5)
"""Smallest and largest staff space in pixels on a page of the reference width."""
LEAST_STAFF_SPACE_PX = 6.0
"""Smallest staff space in pixels; below it, noteheads and dots are indistinguishable."""
LEAST_LINE_PX = 1.0
"""Smallest line thickness in pixels; thinner lines would be grey and vanish when thresholded."""
ATTRIBUTES = ["staff@n", "note@staff", "chord@staff", "rest@staff"]
"""Attributes of the encoding to copy to the SVG: the staves of notes that cross staves."""
MARGINS = (0.03, 0.09)
"""Smallest and largest margin as a fraction of the page width."""
_PX_AT_100 = 18.0
"""Staff space in pixels at verovio's scale of 100 percent."""
_TRANSPOSITIONS = {
    "+m2": -5,
    "-m2": 5,
    "+M2": 2,
    "-M2": -2,
    "+m3": -3,
    "-m3": 3,
    "+P4": -1,
    "-P4": 1,
}
"""Intervals, and the number of sharps that they add to a key."""
_MOST_SIGNS = 6
"""Largest number of sharps or flats in a transposed key."""
_KEY = re.compile(r'(?:keysig|key\.sig|\bsig)="(\d+)([sf]?)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLayout:
    """Font, staff size and verovio's options for a page."""

    font: str
    staff_space: float
    """Distance between staff lines in pixels."""
    options: Mapping[str, Any]
    """Options of verovio."""
    typeface: Typeface = field(default_factory=Typeface)


@dataclass(frozen=True, kw_only=True, slots=True)
class SetPage:
    """One page typeset by verovio."""

    svg: str
    number: int
    """Number of the page within the piece, from 1."""
    n_pages: int


def draw_layout(rng: random.Random, width: int, height: int, fonts: Sequence[str]) -> PageLayout:
    """Draw a layout.

    Args:
        rng: Random number generator.
        width: Width of the page in pixels.
        height: Height of the page in pixels.
        fonts: Music fonts to choose from.
    """
    font = rng.choice(list(fonts))
    drawn_space = rng.uniform(*STAFF_SPACE_PX) * width / REFERENCE_WIDTH
    scale = max(1, round(100 * max(drawn_space, LEAST_STAFF_SPACE_PX) / _PX_AT_100))
    space = scale / 100 * _PX_AT_100
    margins = [round(share * width * 100 / scale) for share in MARGINS]
    options = {
        "pageWidth": width,
        "pageHeight": height,
        "scaleToPageSize": True,
        "scale": scale,
        "font": font,
        "header": "auto" if rng.random() < 0.5 else "none",
        "footer": "none",
        "breaks": "auto",
        "svgFormatRaw": True,
        "outputFormatRaw": True,
        "xmlIdSeed": rng.randint(_FIRST_SEED, 2**31 - 1),
        "dynamSingleGlyphs": True,
        **{f"pageMargin{side}": min(500, rng.randint(*margins)) for side in _SIDES},
        **_spacing(rng),
        **_lines(rng, space),
        "svgAdditionalAttribute": ATTRIBUTES,
    }
    details = random.Random(options["xmlIdSeed"])  # leaves the music of a page as it is
    return PageLayout(
        font=font,
        staff_space=space,
        options=options | _details(details),
        typeface=typefaces.draw_typeface(details),
    )


_SIDES = ("Left", "Right", "Top", "Bottom")


def _spacing(rng: random.Random) -> dict[str, Any]:
    """Draw distances in verovio's units, the spacing of notes, and how pages are filled."""
    return {
        "spacingStaff": rng.randint(8, 14),
        "spacingSystem": rng.randint(3, 10),
        "spacingLinear": round(rng.uniform(0.18, 0.3), 3),
        "spacingNonLinear": round(rng.uniform(0.5, 0.7), 3),
        "systemMaxPerPage": rng.choice((*[0] * 9, 4, 5, 6)),
        "justifyVertically": rng.random() < 0.5,
        "lyricSize": round(rng.uniform(3.8, 5.0), 2),
        "mnumInterval": rng.choice((0, 0, 1, 5)),
    }


def _lines(rng: random.Random, staff_space: float) -> dict[str, Any]:
    """Draw line thicknesses in verovio's units, none below ``LEAST_LINE_PX``."""
    least = LEAST_LINE_PX / (staff_space / 2)
    widths = {
        "staffLineWidth": (0.1, 0.2),
        "stemWidth": (0.15, 0.34),
        "barLineWidth": (0.2, 0.45),
        "ledgerLineThickness": (0.18, 0.35),
        "hairpinThickness": (0.15, 0.3),
        "tupletBracketThickness": (0.15, 0.3),
        "octaveLineThickness": (0.15, 0.3),
        "repeatEndingLineThickness": (0.15, 0.3),
        "slurEndpointThickness": (0.08, 0.2),
        "tieEndpointThickness": (0.08, 0.2),
    }
    greatest = {"staffLineWidth": 0.3, "slurEndpointThickness": 0.25, "tieEndpointThickness": 0.25}
    drawn = {name: round(rng.uniform(*limits), 3) for name, limits in widths.items()}
    return {
        **{name: min(greatest.get(name, 0.5), max(least, w)) for name, w in drawn.items()},
        "slurMidpointThickness": round(rng.uniform(0.35, 0.85), 2),
        "tieMidpointThickness": round(rng.uniform(0.3, 0.75), 2),
        "beamMaxSlope": rng.randint(0, 20),
        "beamFrenchStyle": rng.random() < 0.1,
        "useBraceGlyph": rng.random() < 0.5,
    }


def _details(rng: random.Random) -> dict[str, Any]:
    """Draw the shape of slurs and the strokes of barlines, in verovio's units."""
    return {
        "slurCurveFactor": round(rng.uniform(0.8, 1.4), 2),
        "slurSymmetry": round(rng.uniform(0.0, 0.3), 2),
        "thickBarlineThickness": round(rng.uniform(0.8, 1.25), 2),
        "barLineSeparation": round(rng.uniform(0.6, 1.1), 2),
        "repeatBarLineDotSeparation": round(rng.uniform(0.28, 0.5), 2),
        "bracketThickness": round(rng.uniform(0.8, 1.2), 2),
    }


def typeset(
    music: str,
    layout: PageLayout,
    rng: random.Random,
    *,
    decorated: bool = False,
    transpose: bool = False,
    number: int | None = None,
) -> SetPage | None:
    """Typeset a piece and choose one of its pages; None if verovio cannot read it.

    Args:
        music: MEI, MusicXML or Humdrum text.
        layout: Layout of the page.
        rng: Random number generator for the page, the decorations and the transposition.
        decorated: Whether to add rare symbols.
        transpose: Whether to transpose at random, for pieces that are used repeatedly.
        number: Number of the page, from 1; drawn at random if None.
    """
    options = dict(layout.options)
    if transpose:
        options["transpose"] = _draw_transposition(music, rng)
    if decorated:  # decorations are added last: transposing them would lead to unusual keys
        transposition = options.pop("transpose", "")
        is_mei = "<mei " in music[:1000] and not transposition
        mei = music if is_mei else to_mei(music, transposition)
        if mei is None:
            return None
        music = decorate(mei, rng)
    with typefaces.resources(layout.font, layout.typeface) as folder:
        toolkit = _toolkit(options, folder)
        if not toolkit.loadData(music) or not (n_pages := toolkit.getPageCount()):
            return None
        number = number or rng.randint(1, n_pages)
        page = toolkit.renderToSVG(number)
    page = typefaces.restyle(page, layout.font, layout.typeface)
    return SetPage(svg=page, number=number, n_pages=n_pages)


def _draw_transposition(music: str, rng: random.Random) -> str:
    """Draw an interval, possibly none, that leads to keys with common signatures."""
    signs = _KEY.findall(to_mei(music) or "")
    keys = {-int(n) if sign == "f" else int(n) for n, sign in signs}
    fitting = [
        interval
        for interval, fifths in _TRANSPOSITIONS.items()
        if all(abs(key + fifths) <= _MOST_SIGNS for key in keys)
    ]
    return rng.choice(["", "", *fitting])


PLAIN_FONT = "Leipzig"


def plain_pages(music: str) -> list[str]:
    """Typeset all pages in a plain layout, as SVG; empty if verovio cannot read the music."""
    options = {"font": PLAIN_FONT, "xmlIdSeed": _FIRST_SEED, "svgFormatRaw": True}
    toolkit = _toolkit(options | {"pageWidth": REFERENCE_WIDTH, "scaleToPageSize": True})
    n_pages = toolkit.getPageCount() if toolkit.loadData(music) else 0
    return [toolkit.renderToSVG(number) for number in range(1, n_pages + 1)]


def to_mei(music: str, transpose: str = "") -> str | None:
    """Convert music to MEI; None if verovio cannot read it.

    Args:
        music: MEI, MusicXML or Humdrum text.
        transpose: Interval of the transposition, such as ``-m2``; empty for none.
    """
    toolkit = _toolkit({"xmlIdSeed": 1, "outputFormatRaw": True, "transpose": transpose})
    return str(toolkit.getMEI({"removeIds": False})) if toolkit.loadData(music) else None


_FIRST_SEED = 2
"""Smallest seed of the ids that verovio generates; :func:`to_mei` uses 1, to avoid duplicates."""
_prepared = threading.local()


def print_warnings() -> None:
    """Let verovio report unreadable input on standard error, in this thread."""
    _prepare()
    verovio.enableLog(verovio.LOG_WARNING)


def _prepare() -> None:
    """Set up verovio, which keeps the path to its fonts per thread."""
    if not getattr(_prepared, "done", False):
        verovio.setDefaultResourcePath(str(smufl.resources()))
        verovio.enableLog(verovio.LOG_OFF)
        _prepared.done = True


def _toolkit(options: Mapping[str, Any], resources: Path | None = None) -> Any:  # noqa: ANN401
    """Make a fresh toolkit, because one that has typeset music before keeps state.

    Args:
        options: Options of verovio.
        resources: Folder of its fonts; None for the bundled ones.
    """
    _prepare()
    toolkit = verovio.toolkit(resources is None)
    if resources is not None and not toolkit.setResourcePath(str(resources)):
        raise RuntimeError(f"verovio cannot read its fonts in {resources}")
    toolkit.setOptions({"mdivAll": True, **options})
    return toolkit
