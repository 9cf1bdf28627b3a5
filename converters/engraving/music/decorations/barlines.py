"""Signs that belong to a whole bar: repeats, endings, segno and coda, directions."""

from collections.abc import Callable, Sequence

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import MeiBar
from converters.engraving.music.decorations.marker import Marker
from converters.engraving.music.decorations.mei import name, tag

WORDS = (
    "dolce",
    "espr.",
    "cantabile",
    "legato",
    "sim.",
    "cresc.",
    "dim.",
    "poco rit.",
    "rall.",
    "accel.",
    "a tempo",
    "pizz.",
    "arco",
    "con sord.",
    "senza sord.",
    "sotto voce",
    "marcato",
    "leggiero",
    "Fine",
    "D.C. al Fine",
    "D.S. al Coda",
)
TEMPI = (
    "Adagio",
    "Allegretto",
    "Allegro",
    "Allegro ma non troppo",
    "Andante",
    "Grave",
    "Largo",
    "Lento",
    "Meno mosso",
    "Moderato",
    "Più mosso",
    "Presto",
    "Tempo I",
    "Vivace",
)
REPEATS_PER_BAR = 0.08
"""Probability that a repeat starts at a given bar, at density 1."""
_SIGNS = ("dir", "tempo", "repeatMark")


def add_repeats(bars: Sequence[MeiBar], marker: Marker, density: float) -> None:
    """Add repeats around some of the bars, with or without two endings."""
    i = 0
    while i < len(bars):
        length = marker.rng.randint(2, 8)
        span = bars[i : i + length]
        if marker.happens(REPEATS_PER_BAR * density) and len(span) > 1 and _is_plain(span):
            if i or marker.happens(0.3):
                span[0].measure.set("left", "rptstart")
            span[-1].measure.set("right", "rptend")
            after = bars[i + length : i + length + 1]
            if after and _is_plain([span[-1], *after], by_right=False) and marker.happens(0.5):
                _add_endings(span[-1].measure, after[0].measure, marker)
            i += length
        i += 1


def mark_bar(bar: MeiBar, marker: Marker, density: float) -> None:
    """Add a sign or direction above a bar, or a double barline after it; at most one per bar."""
    has_one = next(bar.measure.iterchildren(*map(tag, _SIGNS)), None) is not None
    if has_one or not bar.staves:
        return
    for kind, probability in BAR_MARKS.items():
        if marker.happens(probability * density):
            kind(bar, marker)
            return


def _sign(bar: MeiBar, marker: Marker) -> None:
    kind = marker.rng.choice(("segno", "coda"))
    _above(bar, marker, "repeatMark", {"func": kind})


def _word(bar: MeiBar, marker: Marker) -> None:
    _above(bar, marker, "dir", {}).text = marker.rng.choice(WORDS)


def _tempo(bar: MeiBar, marker: Marker) -> None:
    _above(bar, marker, "tempo", {}).text = marker.rng.choice(TEMPI)


def _double_bar(bar: MeiBar, marker: Marker) -> None:
    if bar.measure.get("right") is None:
        bar.measure.set("right", "dbl")


BAR_MARKS: dict[Callable[[MeiBar, Marker], None], float] = {
    _sign: 0.04,
    _word: 0.06,
    _tempo: 0.02,
    _double_bar: 0.03,
}
"""Functions that mark a bar, with their probabilities at density 1."""


def _above(bar: MeiBar, marker: Marker, sign: str, attributes: dict[str, str]) -> Element:
    where = {"staff": next(iter(bar.staves)), "tstamp": "1", "place": "above"}
    element = marker.pen.write(sign, where | attributes)
    bar.measure.append(element)
    return element


def _is_plain(bars: Sequence[MeiBar], *, by_right: bool = True) -> bool:
    """Check that bars are adjacent in a section, without special barlines between them."""
    measures = [bar.measure for bar in bars]
    parent = measures[0].getparent()
    return name(parent) == "section" and all(
        measure.getparent() is parent
        and measure.get("left") is None
        and (not by_right or measure.get("right") in {None, "single"})
        and measure.get("metcon") != "false"
        for measure in measures
    )


def _add_endings(first: Element, second: Element, marker: Marker) -> None:
    if second.getprevious() is not first:
        return
    for measure, n in ((first, "1"), (second, "2")):
        ending = marker.pen.write("ending", {"n": n})
        measure.addprevious(ending)
        ending.append(measure)
