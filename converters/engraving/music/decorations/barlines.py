"""Signs that belong to a bar as a whole: repeats, endings, segno and coda, words."""

from collections.abc import Callable, Sequence

from lxml.etree import _Element as Element

from converters.engraving.music.decorations.bars import Bar
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
"""Probability that a repeat begins at a bar, at density 1."""
_SIGNS = ("dir", "tempo", "repeatMark")


def add_repeats(bars: Sequence[Bar], marker: Marker, density: float) -> None:
    """Have some of the bars repeated, with or without two endings."""
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


def mark_bar(bar: Bar, marker: Marker, density: float) -> None:
    """Put a sign or a word above a bar, or a double bar after it; a bar has one at most."""
    has_one = next(bar.measure.iterchildren(*map(tag, _SIGNS)), None) is not None
    if has_one or not bar.staves:
        return
    for kind, probability in BAR_MARKS.items():
        if marker.happens(probability * density):
            kind(bar, marker)
            return


def _sign(bar: Bar, marker: Marker) -> None:
    kind = marker.rng.choice(("segno", "coda"))
    _above(bar, marker, "repeatMark", {"func": kind})


def _word(bar: Bar, marker: Marker) -> None:
    _above(bar, marker, "dir", {}).text = marker.rng.choice(WORDS)


def _tempo(bar: Bar, marker: Marker) -> None:
    _above(bar, marker, "tempo", {}).text = marker.rng.choice(TEMPI)


def _double_bar(bar: Bar, marker: Marker) -> None:
    if bar.measure.get("right") is None:
        bar.measure.set("right", "dbl")


BAR_MARKS: dict[Callable[[Bar, Marker], None], float] = {
    _sign: 0.04,
    _word: 0.06,
    _tempo: 0.02,
    _double_bar: 0.03,
}
"""Kinds of signs, each with its probability for a bar at density 1."""


def _above(bar: Bar, marker: Marker, sign: str, attributes: dict[str, str]) -> Element:
    where = {"staff": next(iter(bar.staves)), "tstamp": "1", "place": "above"}
    element = marker.pen.write(sign, where | attributes)
    bar.measure.append(element)
    return element


def _is_plain(bars: Sequence[Bar], *, by_right: bool = True) -> bool:
    """Whether bars stand side by side in a section, without special barlines between them."""
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
