"""What each drawing instruction is, told by the group that verovio draws it in and by its glyph."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from converters.engraving import categories, smufl
from converters.engraving.staves import Staff, Staves
from converters.engraving.svg import Shape

SMALL = 0.9
"""A glyph set at less than this share of its staff's size is small: a grace note's, a cue's."""
STEEPEST_SLASH = 0.2
"""Run over rise below which a stroke at a stem is the stem itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a shape is, and which other shapes belong to the same symbol."""

    category: str
    key: Hashable = None
    """Shapes with an equal key are one symbol; None: it is one alone."""
    staff: Staff | None = None
    """Where that is not the one that verovio draws it on."""
    position: int | None = None
    """Of a notehead: half spaces above the lowest line of its staff."""


def tell(shape: Shape, staves: Staves) -> Finding:
    """Say what a shape is; what is not known is of the category ``otherSymbol``."""
    rule = _RULES.get(shape.group.name)
    found = rule(shape, staves) if rule else None
    if found is not None:
        return found
    if shape.kind == "text":
        return Finding(category="text", key=("text", id(shape.element)))
    if shape.element.tag.endswith("}text") and shape.group.name != "dynam":
        return Finding(category="text", key=("text", id(shape.element)))  # a sign among words
    if shape.kind == "glyph":
        return Finding(category=categories.GLYPHS.get(shape.code, categories.OTHER))
    return Finding(category=categories.OTHER, key=shape.group)


def _notehead(shape: Shape, staves: Staves) -> Finding | None:
    kind = categories.NOTEHEADS.get(shape.code)
    staff = staves.of(shape)
    if kind is None or staff is None or not staff.space:
        return None
    position = round(staff.position(shape.origin_xy[1]))
    place = "InSpace" if position % 2 else "OnLine"
    small = "Small" if _is_small(shape, staff) else ""
    return Finding(category=f"{kind}{place}{small}", staff=staff, position=position)


def _accidental(shape: Shape, staves: Staves) -> Finding | None:
    if (kind := categories.ACCIDENTALS.get(shape.code)) is None:
        return None
    has_small = shape.code in categories.SMALL_ACCIDENTALS
    small = has_small and _is_small(shape, staves.of(shape))
    return Finding(category=f"accidental{kind}{'Small' if small else ''}")


def _key_accidental(shape: Shape, staves: Staves) -> Finding | None:
    if shape.code not in categories.KEY_ACCIDENTALS:
        return None
    return Finding(category=f"key{categories.ACCIDENTALS[shape.code]}")


def _clef(shape: Shape, staves: Staves) -> Finding | None:
    staff = staves.of(shape)
    if shape.code in categories.G_CLEFS:
        return Finding(category="clefG")
    if shape.code in categories.F_CLEFS:
        return Finding(category="clefF")
    if shape.code in categories.PERCUSSION_CLEFS:
        return Finding(category="clefUnpitchedPercussion")
    if shape.code in categories.C_CLEFS and staff is not None and staff.space:
        line = round(staff.position(shape.origin_xy[1]) / 2) + 1
        return Finding(category=categories.C_CLEF_LINES.get(line, categories.OTHER))
    return None


def _meter(shape: Shape, staves: Staves) -> Finding | None:
    if shape.code and int(shape.code, 16) in categories.DIGITS:
        return Finding(category=f"timeSig{shape.code[-1]}")
    return None


def _stem(shape: Shape, staves: Staves) -> Finding | None:
    if shape.path_xy is None:
        return None
    dx, dy = np.abs(shape.path_xy[1] - shape.path_xy[0]).tolist()
    return Finding(category="stem" if dx <= STEEPEST_SLASH * dy else "graceSlash")


def _flag(shape: Shape, staves: Staves) -> Finding | None:
    category = categories.GLYPHS.get(shape.code, categories.OTHER)
    small = category in categories.SMALL_FLAGS and _is_small(shape, staves.of(shape))
    return Finding(category=f"{category}Small" if small else category)


def _tuplet_number(shape: Shape, staves: Staves) -> Finding | None:
    if shape.code and int(shape.code, 16) in categories.TUPLET_DIGITS and shape.code[-1] != "0":
        return Finding(category=f"tuplet{shape.code[-1]}")
    return None


def _bar_line(shape: Shape, staves: Staves) -> Finding | None:
    if shape.code == categories.REPEAT_DOT:
        return Finding(category="repeatDot")
    if shape.code == categories.REPEAT_DOTS:
        return Finding(category="repeatDots")
    return Finding(category="barline", key=shape.group) if shape.kind != "glyph" else None


def _multi_rest(shape: Shape, staves: Staves) -> Finding | None:
    return Finding(category="restHBar", key=shape.group) if shape.kind != "glyph" else None


def _fingering(shape: Shape, staves: Staves) -> Finding | None:
    if shape.kind == "text" and shape.text in set("012345"):
        return Finding(category=f"fingering{shape.text}")
    return None


def _beam(shape: Shape, staves: Staves) -> Finding | None:
    return Finding(category="beam", key=shape.group) if shape.kind == "polygon" else None


def _pedal(shape: Shape, staves: Staves) -> Finding | None:
    return Finding(category="pedalLine", key=shape.group) if shape.kind != "glyph" else None


def _arpeggio(shape: Shape, staves: Staves) -> Finding | None:
    """A wave of glyphs; what is drawn without any is the bracket of a chord that is not broken."""
    category = "arpeggiato" if shape.kind == "glyph" else categories.OTHER
    return Finding(category=category, key=shape.group)


def _alone(category: str) -> "Rule":
    return lambda shape, staves: Finding(category=category)


def _as_one(category: str) -> "Rule":
    """All that one group draws is one symbol."""
    return lambda shape, staves: Finding(category=category, key=shape.group)


def _is_small(shape: Shape, staff: Staff | None) -> bool:
    if staff is None or not staff.space:
        return False
    return shape.scale * smufl.UNITS_PER_STAFF_SPACE < SMALL * staff.space


Rule = Callable[[Shape, Staves], Finding | None]
_RULES: dict[str, Rule] = {
    "accid": _accidental,
    "arpeg": _arpeggio,
    "barLine": _bar_line,
    "beam": _beam,
    "beamSpan": _beam,
    "clef": _clef,
    "dots": _alone("augmentationDot"),
    "fTrem": _beam,
    "fing": _fingering,
    "flag": _flag,
    "grpSym": _as_one("brace or bracket"),
    "hairpin": _as_one("hairpin"),
    "keyAccid": _key_accidental,
    "ledgerLines": _alone("ledgerLine"),
    "lv": _as_one("tie"),
    "meterSig": _meter,
    "mordent": _accidental,
    "multiRest": _multi_rest,
    "multiRestNum": _as_one("restHNr"),
    "notehead": _notehead,
    "octave": _as_one("ottavaBracket"),
    "pedal": _pedal,
    "phrase": _as_one("slur"),
    "reh": _as_one("text"),
    "slur": _as_one("slur"),
    "stem": _stem,
    "syl": _alone("lyrics"),
    "system": _alone("systemicBarline"),
    "tie": _as_one("tie"),
    "trill": _accidental,
    "tupletBracket": _as_one("tupletBracket"),
    "tupletNum": _tuplet_number,
    "turn": _accidental,
    "voltaBracket": _as_one("repeatEnding"),
}
