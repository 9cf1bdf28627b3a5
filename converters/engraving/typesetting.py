"""Sets scores with verovio, each in a layout of its own.

Verovio measures in units: half of the distance between two staff lines.
"""

import random
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import verovio

from converters.engraving import smufl
from converters.engraving.music.decoration import decorate

REFERENCE_WIDTH = 1960
"""Width in pixels that staff sizes are meant for: that of most pages of DeepScoresV2."""
STAFF_SPACE_PX = (10.5, 18.5)
"""Smallest and largest distance of two staff lines on a page of that width."""
LEAST_STAFF_SPACE_PX = 6.0
"""Below it, no reader and no detector tells a notehead from a dot."""
LEAST_LINE_PX = 1.0
"""No line is thinner: it would be grey, and gone after a binarisation."""
ATTRIBUTES = ["staff@n", "note@staff", "chord@staff", "rest@staff"]
"""What verovio's SVG is to repeat of the encoding: on which staff a note is that changes staves."""
MARGINS = (0.03, 0.09)
"""Smallest and largest margin, share of the width."""
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
"""Intervals, and what they add to the sharps of a key."""
_MOST_SIGNS = 6
"""Sharps or flats of a key that people write."""
_KEY = re.compile(r'(?:keysig|key\.sig|\bsig)="(\d+)([sf]?)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a page is set."""

    font: str
    staff_space: float
    """Pixels between staff lines."""
    options: Mapping[str, Any]
    """Of verovio."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetPage:
    """One page as verovio draws it."""

    svg: str
    number: int
    """Which page of the score it is, from 1."""
    n_pages: int


def draw_layout(rng: random.Random, width: int, height: int, fonts: Sequence[str]) -> Layout:
    """Choose a layout.

    Args:
        rng: Decides.
        width: Of the page in pixels.
        height: Of the page in pixels.
        fonts: Music fonts to choose from.
    """
    font = rng.choice(list(fonts))
    wanted = rng.uniform(*STAFF_SPACE_PX) * width / REFERENCE_WIDTH
    scale = max(1, round(100 * max(wanted, LEAST_STAFF_SPACE_PX) / _PX_AT_100))
    space = scale / 100 * _PX_AT_100
    margins = [round(share * width * 100 / scale) for share in MARGINS]
    return Layout(
        font=font,
        staff_space=space,
        options={
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
        },
    )


_SIDES = ("Left", "Right", "Top", "Bottom")


def _spacing(rng: random.Random) -> dict[str, Any]:
    """Distances, in units; how far notes stand apart; how a page is filled."""
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
    """Thicknesses, in units, none below the least line."""
    least = LEAST_LINE_PX / (staff_space / 2)
    widths = {
        "staffLineWidth": (0.1, 0.2),
        "stemWidth": (0.15, 0.3),
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
        "slurMidpointThickness": round(rng.uniform(0.4, 0.8), 2),
        "tieMidpointThickness": round(rng.uniform(0.35, 0.65), 2),
        "beamMaxSlope": rng.randint(0, 20),
        "beamFrenchStyle": rng.random() < 0.1,
        "useBraceGlyph": rng.random() < 0.5,
    }


def set_score(
    score: str,
    layout: Layout,
    rng: random.Random,
    *,
    decorated: bool = False,
    transpose: bool = False,
) -> SetPage | None:
    """Set a score and choose one of its pages; None where verovio cannot read it.

    Args:
        score: MEI, MusicXML or Humdrum text.
        layout: How.
        rng: Chooses the page, the decorations and the interval.
        decorated: Add the rest of the vocabulary.
        transpose: Set it in another key now and then, for scores that are used more than once.
    """
    options = dict(layout.options)
    if transpose:
        options["transpose"] = _draw_transposition(score, rng)
    if decorated:  # transposing what is decorated would lead to keys that nobody writes
        transposition = options.pop("transpose", "")
        is_mei = "<mei " in score[:1000] and not transposition
        mei = score if is_mei else to_mei(score, transposition)
        if mei is None:
            return None
        score = decorate(mei, rng)
    toolkit = _toolkit(options)
    if not toolkit.loadData(score) or not (n_pages := toolkit.getPageCount()):
        return None
    number = rng.randint(1, n_pages)
    return SetPage(svg=toolkit.renderToSVG(number), number=number, n_pages=n_pages)


def _draw_transposition(score: str, rng: random.Random) -> str:
    """An interval, or none, that leads to keys that people write."""
    signs = _KEY.findall(to_mei(score) or "")
    keys = {-int(n) if sign == "f" else int(n) for n, sign in signs}
    fitting = [
        interval
        for interval, fifths in _TRANSPOSITIONS.items()
        if all(abs(key + fifths) <= _MOST_SIGNS for key in keys)
    ]
    return rng.choice(["", "", *fitting])


PLAIN_FONT = "Leipzig"


def plain_pages(score: str) -> list[str]:
    """All pages of a score as SVG in a plain layout; none where verovio cannot read it."""
    options = {"font": PLAIN_FONT, "xmlIdSeed": _FIRST_SEED, "svgFormatRaw": True}
    toolkit = _toolkit(options | {"pageWidth": REFERENCE_WIDTH, "scaleToPageSize": True})
    n_pages = toolkit.getPageCount() if toolkit.loadData(score) else 0
    return [toolkit.renderToSVG(number) for number in range(1, n_pages + 1)]


def to_mei(score: str, transpose: str = "") -> str | None:
    """Read a score and write it as MEI; None where verovio cannot read it.

    Args:
        score: MEI, MusicXML or Humdrum text.
        transpose: Interval, such as ``-m2``.
    """
    toolkit = _toolkit({"xmlIdSeed": 1, "outputFormatRaw": True, "transpose": transpose})
    return str(toolkit.getMEI({"removeIds": False})) if toolkit.loadData(score) else None


_FIRST_SEED = 2
"""Of ids that verovio makes up; those of scores that it has written begin from another one."""
_prepared = threading.local()


def _toolkit(options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """A fresh toolkit: one that has set a score before is not as it was.

    Verovio looks for its fonts in a folder that it knows for each thread on its own.
    """
    if not getattr(_prepared, "done", False):
        verovio.setDefaultResourcePath(str(smufl.resources()))
        verovio.enableLog(verovio.LOG_OFF)
        _prepared.done = True
    toolkit = verovio.toolkit()
    toolkit.setOptions(dict(options))
    return toolkit
