"""Classification rules for drawing instructions, by verovio's group and by glyph."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from converters.engraving import categories, smufl
from converters.engraving.staves import Staff, Staves
from converters.engraving.svg import Shape

SMALL = 0.9
"""Fraction of the staff's size below which a glyph is small, as in grace notes and cues."""
STEEPEST_SLASH = 0.2
"""Largest ratio of run to rise of a stem; a flatter stroke at a stem is a grace slash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """Category of a shape, and its relation to the other shapes of the same symbol."""

    category: str
    key: Hashable = None
    """Key shared by the shapes of one symbol; None for a symbol of one shape."""
    staff: Staff | None = None
    """Staff of the symbol, if it differs from the one that verovio draws the shape in."""
    position: int | None = None
    """Position of a notehead in half spaces above the lowest line of its staff."""


def classify(shape: Shape, staves: Staves) -> Classification:
    """Determine the category of a shape; unknown shapes become ``otherSymbol``."""
    rule = _RULES.get(shape.group.name)
    classification = rule(shape, staves) if rule else None
    if classification is not None:
        return classification
    category = categories.GLYPHS.get(shape.code) if shape.kind == "glyph" else None
    if category is not None:  # also within text, such as the sign in "Dal segno"
        return Classification(category=category)
    is_text = shape.element.tag.endswith("}text") and shape.group.name != "dynam"
    if shape.kind == "text" or is_text:
        return Classification(category="text", key=("text", id(shape.element)))
    if shape.kind == "glyph":
        return Classification(category=categories.OTHER)
    return Classification(category=categories.OTHER, key=shape.group)


def _notehead(shape: Shape, staves: Staves) -> Classification | None:
    kind = categories.NOTEHEADS.get(shape.code)
    staff = staves.of(shape)
    if kind is None or staff is None:
        return None
    position = round(staff.position(shape.origin_xy[1]))
    parity = "InSpace" if position % 2 else "OnLine"
    small = "Small" if _is_small(shape, staff) else ""
    return Classification(category=f"{kind}{parity}{small}", staff=staff, position=position)


def _accidental(shape: Shape, staves: Staves) -> Classification | None:
    if (kind := categories.ACCIDENTALS.get(shape.code)) is None:
        return None
    has_small = shape.code in categories.SMALL_ACCIDENTALS
    small = has_small and _is_small(shape, staves.of(shape))
    return Classification(category=f"accidental{kind}{'Small' if small else ''}")


def _key_accidental(shape: Shape, staves: Staves) -> Classification | None:
    if shape.code not in categories.KEY_ACCIDENTALS:
        return None
    return Classification(category=f"key{categories.ACCIDENTALS[shape.code]}")


def _clef(shape: Shape, staves: Staves) -> Classification | None:
    staff = staves.of(shape)
    if shape.code in categories.G_CLEFS:
        return Classification(category="clefG")
    if shape.code in categories.F_CLEFS:
        return Classification(category="clefF")
    if shape.code in categories.PERCUSSION_CLEFS:
        return Classification(category="clefUnpitchedPercussion")
    if shape.code in categories.C_CLEFS and staff is not None:
        line = round(staff.position(shape.origin_xy[1]) / 2) + 1
        return Classification(category=categories.C_CLEF_LINES.get(line, categories.OTHER))
    return None


def _meter(shape: Shape, staves: Staves) -> Classification | None:
    if shape.code and int(shape.code, 16) in categories.DIGITS:
        return Classification(category=f"timeSig{shape.code[-1]}")
    return None


def _stem(shape: Shape, staves: Staves) -> Classification | None:
    if shape.path_xy is None:
        return None
    dx, dy = np.abs(shape.path_xy[1] - shape.path_xy[0]).tolist()
    return Classification(category="stem" if dx <= STEEPEST_SLASH * dy else "graceSlash")


def _flag(shape: Shape, staves: Staves) -> Classification | None:
    category = categories.GLYPHS.get(shape.code, categories.OTHER)
    small = category in categories.SMALL_FLAGS and _is_small(shape, staves.of(shape))
    return Classification(category=f"{category}Small" if small else category)


def _tuplet_number(shape: Shape, staves: Staves) -> Classification | None:
    if shape.code and int(shape.code, 16) in categories.TUPLET_DIGITS and shape.code[-1] != "0":
        return Classification(category=f"tuplet{shape.code[-1]}")
    return None


def _bar_line(shape: Shape, staves: Staves) -> Classification | None:
    if shape.code == categories.REPEAT_DOT:
        return Classification(category="repeatDot")
    if shape.code == categories.REPEAT_DOTS:
        return Classification(category="repeatDots")
    return Classification(category="barline", key=shape.group) if shape.kind != "glyph" else None


def _multi_rest(shape: Shape, staves: Staves) -> Classification | None:
    return Classification(category="restHBar", key=shape.group) if shape.kind != "glyph" else None


def _fingering(shape: Shape, staves: Staves) -> Classification | None:
    if shape.kind == "text" and shape.text in set("012345"):
        return Classification(category=f"fingering{shape.text}")
    return None


def _beam(shape: Shape, staves: Staves) -> Classification | None:
    return Classification(category="beam", key=shape.group) if shape.kind == "polygon" else None


def _pedal(shape: Shape, staves: Staves) -> Classification | None:
    return Classification(category="pedalLine", key=shape.group) if shape.kind != "glyph" else None


def _arpeggio(shape: Shape, staves: Staves) -> Classification | None:
    """Classify the glyphs of a wavy line; a line without glyphs is a non-arpeggio bracket."""
    category = "arpeggiato" if shape.kind == "glyph" else categories.OTHER
    return Classification(category=category, key=shape.group)


def _one_per_shape(category: str) -> "Rule":
    return lambda shape, staves: Classification(category=category)


def _one_per_group(category: str) -> "Rule":
    """Make a rule that combines all shapes of a group into one symbol."""
    return lambda shape, staves: Classification(category=category, key=shape.group)


def _is_small(shape: Shape, staff: Staff | None) -> bool:
    if staff is None:
        return False
    return shape.scale * smufl.UNITS_PER_STAFF_SPACE < SMALL * staff.space


Rule = Callable[[Shape, Staves], Classification | None]
_RULES: dict[str, Rule] = {
    "accid": _accidental,
    "arpeg": _arpeggio,
    "barLine": _bar_line,
    "beam": _beam,
    "beamSpan": _beam,
    "clef": _clef,
    "dots": _one_per_shape("augmentationDot"),
    "fTrem": _beam,
    "fing": _fingering,
    "flag": _flag,
    "grpSym": _one_per_group("brace or bracket"),
    "hairpin": _one_per_group("hairpin"),
    "keyAccid": _key_accidental,
    "ledgerLines": _one_per_shape("ledgerLine"),
    "lv": _one_per_group("tie"),
    "meterSig": _meter,
    "mRpt2": _bar_line,  # verovio draws the barline that the sign covers
    "mordent": _accidental,
    "multiRest": _multi_rest,
    "multiRestNum": _one_per_group("restHNr"),
    "notehead": _notehead,
    "octave": _one_per_group("ottavaBracket"),
    "pedal": _pedal,
    "phrase": _one_per_group("slur"),
    "reh": _one_per_group("text"),
    "slur": _one_per_group("slur"),
    "stem": _stem,
    "syl": _one_per_shape("lyrics"),
    "system": _one_per_shape("systemicBarline"),
    "tie": _one_per_group("tie"),
    "trill": _accidental,
    "tupletBracket": _one_per_group("tupletBracket"),
    "tupletNum": _tuplet_number,
    "turn": _accidental,
    "voltaBracket": _one_per_group("repeatEnding"),
}
