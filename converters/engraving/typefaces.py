"""Sizes of glyphs, dots and ties, and fonts for text, which differ as between engravers.

verovio typesets with bounding boxes and anchors that are stretched like the glyphs, so that stems
touch noteheads and accidentals keep their distance. Its SVG is stretched afterwards, and labels are
read from the stretched SVG.
"""

import random
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from converters.engraving import smufl, svg
from converters.engraving.text_fonts import LIBERATION

Limits = tuple[float, float]
"""Smallest and largest value."""

BRACE = "E000"
_CLEFS_G = ("E050", "E051", "E052", "E053", "E054", "E07A")
_CLEFS_F = ("E062", "E063", "E064", "E065", "E066", "E07C")
_FLAGS = tuple(f"{code:04X}" for code in range(0xE240, 0xE24A))
_SHORT_RESTS = ("E4E6", "E4E7", "E4E8", "E4E9", "E4EA")
_DIGITS = tuple(f"{code:04X}" for code in range(0xE080, 0xE08A))

STRETCHES: Sequence[tuple[tuple[str, ...], Limits, Limits]] = (
    (("E0A2",), (0.95, 1.25), (0.97, 1.03)),  # whole notes
    (("E0A3",), (0.96, 1.13), (0.97, 1.03)),  # half notes
    (("E0A4",), (0.96, 1.06), (0.97, 1.03)),  # black noteheads
    (_FLAGS, (0.74, 1.05), (0.9, 1.02)),
    (("E044",), (0.9, 1.2), (0, 0)),  # repeat dots
    (("E260",), (0.96, 1.14), (0.97, 1.05)),  # flats
    (("E261",), (0.95, 1.08), (0.97, 1.16)),  # naturals
    (("E262",), (0.94, 1.12), (0.97, 1.12)),  # sharps
    (_CLEFS_G, (0.95, 1.03), (0.97, 1.07)),
    (_CLEFS_F, (0.95, 1.03), (0.95, 1.03)),
    (("E05C", "E05D", "E07B"), (0.95, 1.08), (0.97, 1.03)),  # C clefs
    (_DIGITS, (0.91, 1.04), (0.98, 1.02)),
    (("E08A", "E08B"), (0.96, 1.04), (0.84, 1.03)),  # common and cut time
    (("E4E3", "E4F4", "E4E4", "E4F5"), (0.92, 1.22), (0.95, 1.16)),  # whole and half rests
    (("E4E5",), (0.96, 1.16), (0.92, 1.02)),  # quarter rests
    (_SHORT_RESTS, (0.94, 1.08), (0.95, 1.05)),
    (("E4C0", "E4C1"), (0.96, 1.16), (0, 0)),  # fermatas
    ((BRACE,), (0.9, 1.45), (1, 1)),
)
"""Code points, and limits of the horizontal and vertical scaling, about the origin of the glyph.

Glyphs of one row have the same scaling; limits of 0 mean that height and width scale equally.
"""
DOT = (0.36, 0.52)
"""Smallest and largest diameter of augmentation dots, in staff spaces."""
_DOT_OF_VEROVIO = 0.4
TEXT = {LIBERATION: 0.4, "STIX": 0.15, "DejaVu Serif": 0.25, "DejaVu Sans": 0.2}
"""Probabilities of the fonts for text."""
TIE_HEIGHT = (0.65, 1.2)
"""Smallest and largest height of a tie of three staff spaces, relative to that of verovio."""
TIE_GROWTH = (0.0, 0.07)
"""Smallest and largest relative increase of a tie's height per staff space of its length."""
_TIE_LENGTH = 3.0
_TIE_FACTORS = (0.5, 1.6)
"""Smallest and largest height of a tie of any length, relative to that of verovio."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Typeface:
    """Appearance of a page apart from its music font; by default that of verovio."""

    stretches: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Horizontal and vertical scaling of glyphs by code point."""
    dot: float = _DOT_OF_VEROVIO
    """Diameter of augmentation dots in staff spaces."""
    text: str = LIBERATION
    """Font for text, one of :data:`text_fonts.TEXT_FONTS`."""
    tie_height: float = 1.0
    """Height of a tie of three staff spaces, relative to that of verovio."""
    tie_growth: float = 0.0
    """Relative increase of a tie's height per staff space of its length."""


def draw_typeface(rng: random.Random) -> Typeface:
    """Draw the appearance of a page."""
    stretches: dict[str, tuple[float, float]] = {}
    for codes, horizontal, vertical in STRETCHES:
        across = round(rng.uniform(*horizontal), 3)
        stretch = across, round(rng.uniform(*vertical), 3) if any(vertical) else across
        stretches |= dict.fromkeys(codes, stretch)
    return Typeface(
        stretches=stretches,
        dot=round(rng.uniform(*DOT), 3),
        text=rng.choices(list(TEXT), list(TEXT.values()))[0],
        tie_height=round(rng.uniform(*TIE_HEIGHT), 3),
        tie_growth=round(rng.uniform(*TIE_GROWTH), 3),
    )


@contextmanager
def resources(font: str, typeface: Typeface) -> Iterator[Path]:
    """Provide verovio's resources with the stretched metrics of a font, in a temporary folder."""
    source = smufl.resources()
    with tempfile.TemporaryDirectory(prefix="omr-font-") as name:
        folder = Path(name)
        for entry in source.iterdir():
            if entry.name != f"{font}.xml":
                (folder / entry.name).symlink_to(entry)
        metrics = _stretched_metrics(source / f"{font}.xml", typeface)
        (folder / f"{font}.xml").write_bytes(metrics)
        yield folder


def _stretched_metrics(path: Path, typeface: Typeface) -> bytes:
    """Stretch the bounding boxes and anchors of a font, except for the brace's; verovio fits it."""
    root = etree.parse(path).getroot()
    for glyph in root:
        code = glyph.get("c")
        if code not in typeface.stretches or code == BRACE:
            continue
        across, up = typeface.stretches[code]
        for element in (glyph, *glyph):
            for names, factor in ((("x", "w", "h-a-x"), across), (("y", "h"), up)):
                for name in names:
                    if (value := element.get(name)) is not None:
                        element.set(name, f"{float(value) * factor:.4g}")
    return bytes(etree.tostring(root))


_GLYPH = re.compile(r'(<g id="(\w{4})[^"]*"><path transform=")scale\(1,-1\)')
_DOTS = re.compile(r'class="dots">(?:<ellipse [^>]*/>)+')
_RADIUS = re.compile(r'(?<= r[xy]=")[\d.]+')
_TIE = re.compile(r'(class="(?:tie|lv)[ "][^>]*>(?:<path d="[^"]*"[^>]*/>)+)')
_CURVE = re.compile(r'(?<=<path d=")M([^C"]*)C([^C"]*)C([^C"]*)(?=")')


def restyle(page: str, font: str, typeface: Typeface) -> str:
    """Stretch the glyphs, dots and ties of a page, and set the font of its text.

    Args:
        page: SVG as written by verovio with the resources of :func:`resources`.
        font: Music font of the page.
        typeface: Typeface of the page.
    """

    def glyph(match: re.Match[str]) -> str:
        across, up = typeface.stretches.get(match[2], (1.0, 1.0))
        shift = (1 - across) * _right(font, match[2]) if match[2] == BRACE else 0.0
        return f"{match[1]}matrix({across:g},0,0,{-up:g},{shift:g},0)"

    def dots(match: re.Match[str]) -> str:
        factor = typeface.dot / _DOT_OF_VEROVIO
        return _RADIUS.sub(lambda radius: f"{float(radius[0]) * factor:g}", match[0])

    def tie(match: re.Match[str]) -> str:
        return _CURVE.sub(lambda curve: _tie(curve, typeface), match[0])

    page = page.replace("<svg ", f'<svg font-family="{typeface.text}" ', 1)
    return _TIE.sub(tie, _DOTS.sub(dots, _GLYPH.sub(glyph, page)))


def _right(font: str, code: str) -> float:
    """Return the right edge of a glyph, in glyph units."""
    glyph = smufl.glyph(font, code)
    return 0.0 if glyph is None else float(glyph.points_xy[:, 0].max())


def _tie(curve: re.Match[str], typeface: Typeface) -> str:
    """Change the height of a tie, two Bézier curves between its ends, but not its thickness."""
    start, first, second = (
        [tuple(map(float, point.split(","))) for point in part.split()] for part in curve.groups()
    )
    (x0, y0), (x3, y3) = start[0], first[2]
    length = abs(x3 - x0) / svg.UNITS_PER_STAFF_SPACE
    factor = typeface.tie_height * (1 + typeface.tie_growth * (length - _TIE_LENGTH))
    factor = min(max(factor, _TIE_FACTORS[0]), _TIE_FACTORS[1])

    def lowered(x: float, y: float) -> float:
        return y - y0 - (y3 - y0) * (x - x0) / ((x3 - x0) or 1.0)

    pairs = (first[0], second[1]), (first[1], second[0])
    raised = [(factor - 1) * (lowered(*outer) + lowered(*inner)) / 2 for outer, inner in pairs]
    moved = ((first[0], raised[0]), (first[1], raised[1]), (first[2], 0.0))
    back = ((second[0], raised[1]), (second[1], raised[0]), (second[2], 0.0))
    there, home = (" ".join(f"{x:g},{y + up:g}" for (x, y), up in part) for part in (moved, back))
    return f"M{x0:g},{y0:g} C{there} C{home}"
