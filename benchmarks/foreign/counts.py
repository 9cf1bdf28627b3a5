"""Counts of symbols in MusicXML, to compare with the labels of foreign pages."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lxml import etree

from class_maps import OmrError
from converters.engraving.symbols import Symbol

PREFIXES = {
    "noteheads": "notehead",
    "rests": "rest",
    "accidentals": "accidental",
    "dots": "augmentationDot",
    "fermatas": "fermata",
}
"""First part of the categories by kind of symbol."""

FREE = ("accidentals", "dots")
"""Kinds that engravers may draw differently: they add accidentals by rules of their own, and two
voices can share dots."""

Element = Any
"""An lxml element; lxml has no type annotations."""


def encoded(musicxml: str) -> dict[str, tuple[int, int]]:
    """Count the symbols in a score.

    Returns:
        Least and greatest number of symbols by kind: a notehead that two voices share may be
        drawn for each of them, and so may its dots and accidental.
    """
    alone: Counter[str] = Counter()
    shared: set[tuple[object, ...]] = set()
    for position, note in _placed(etree.fromstring(musicxml.encode())):
        pitch = (*position, note.findtext("pitch/step"), note.findtext("pitch/octave"))
        for kind, n in _counts(note).items():
            alone[kind] += n
            shared |= {(kind, i, *pitch, id(note) if kind == "rests" else 0) for i in range(n)}
    least = Counter(str(key[0]) for key in shared)
    return {kind: (least[kind], alone[kind]) for kind in PREFIXES}


def _counts(note: Element) -> dict[str, int]:
    is_rest = note.find("rest") is not None
    return {
        "noteheads": int(not is_rest),
        "rests": int(is_rest),
        "accidentals": len(note.findall("accidental")),
        "dots": len(note.findall("dot")),
        "fermatas": len(note.findall("notations/fermata")),
    }


def _placed(score: Element) -> Iterator[tuple[tuple[object, ...], Element]]:
    """Yield each note with its part, staff, measure and onset in the measure."""
    for part in score.iter("part"):
        for i, measure in enumerate(part):
            at = onset = 0
            for element in measure.iter("note", "backup", "forward"):
                ticks = int(element.findtext("duration"))
                if element.tag == "note":
                    onset = onset if element.find("chord") is not None else at
                    yield (part.get("id"), element.findtext("staff"), i, onset), element
                    at = onset + ticks
                else:
                    at += ticks if element.tag == "forward" else -ticks


def labelled(symbols: Iterable[Symbol]) -> dict[str, int]:
    """Count the symbols of a page by kind."""
    categories = Counter(symbol.category for symbol in symbols)
    return {
        kind: sum(n for category, n in categories.items() if category.startswith(prefix))
        for kind, prefix in PREFIXES.items()
    }


def compare(expected: Mapping[str, tuple[int, int]], drawn: Mapping[str, int], name: str) -> str:
    """Compare the number of labels of a piece with its encoding.

    Args:
        expected: Least and greatest number of symbols by kind.
        drawn: Number of labels by kind.
        name: Name of the piece for the message.

    Returns:
        Differences in kinds that engravers may draw differently, empty if there are none.

    Raises:
        OmrError: Another kind of symbol is labelled more or less often than encoded.
    """
    differences = {
        kind: f"{drawn[kind]} {kind} are labelled, {most} are encoded"
        for kind, (least, most) in expected.items()
        if not least <= drawn[kind] <= most
    }
    if errors := [text for kind, text in differences.items() if kind not in FREE]:
        raise OmrError(f"{name}: {', '.join(errors)}")
    return ", ".join(differences.values())
