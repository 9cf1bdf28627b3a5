"""Categories of glyphs: SMuFL code points to DeepScoresV2's names and to the toolkit's additions.

Source: SMuFL, https://w3c.github.io/smufl/latest/tables/.
"""

OTHER = "otherSymbol"

NOTEHEADS = {
    "E0A0": "noteheadDoubleWhole",
    "E0A1": "noteheadDoubleWhole",
    "E0A2": "noteheadWhole",
    "E0A3": "noteheadHalf",
    "E0A4": "noteheadBlack",
    "E0FB": "noteheadBlack",  # a filled half notehead, which looks the same
}
ACCIDENTALS = {
    "E260": "Flat",
    "E261": "Natural",
    "E262": "Sharp",
    "E263": "DoubleSharp",
    "E264": "DoubleFlat",
}
SMALL_ACCIDENTALS = {"E260", "E261", "E262"}
"""Accidentals for which DeepScoresV2 has a small category."""
KEY_ACCIDENTALS = {"E260", "E261", "E262"}
SMALL_FLAGS = {"flag8thUp", "flag8thDown"}

G_CLEFS = {"E050", "E051", "E052", "E053", "E054", "E07A"}
C_CLEFS = {"E05C", "E05D", "E07B"}
C_CLEF_LINES = {3: "clefCAlto", 4: "clefCTenor"}
"""C clefs by staff line, counted from the lowest; DeepScoresV2 has no name for the others."""
F_CLEFS = {"E062", "E063", "E064", "E065", "E066", "E07C"}
PERCUSSION_CLEFS = {"E069", "E06A"}
TABLATURE_CLEFS = {"E06D", "E06E"}
OCTAVE_CLEFS = {
    "E051": "clef15",
    "E052": "clef8",
    "E053": "clef8",
    "E054": "clef15",
    "E05D": "clef8",
    "E063": "clef15",
    "E064": "clef8",
    "E065": "clef8",
    "E066": "clef15",
}
"""Clef glyphs that include an 8 or 15, and the category of that figure."""

REPEAT_DOT, REPEAT_DOTS = "E044", "E043"
DIGITS = range(0xE080, 0xE08A)
TUPLET_DIGITS = range(0xE880, 0xE88A)

_ABOVE_BELOW = {
    0xE4A0: "articAccent",
    0xE4A2: "articStaccato",
    0xE4A4: "articTenuto",
    0xE4A6: "articStaccatissimo",
    0xE4A8: "articStaccatissimo",  # the wedge, which some fonts use for staccatissimo
    0xE4AC: "articMarcato",
    0xE4C0: "fermata",
}
_FLAGS = ("8th", "16th", "32nd", "64th", "128th")
GLYPHS = {
    **{f"{code:04X}": f"{name}Above" for code, name in _ABOVE_BELOW.items()},
    **{f"{code + 1:04X}": f"{name}Below" for code, name in _ABOVE_BELOW.items()},
    **{f"{0xE240 + 2 * i:04X}": f"flag{name}Up" for i, name in enumerate(_FLAGS)},
    **{f"{0xE241 + 2 * i:04X}": f"flag{name}Down" for i, name in enumerate(_FLAGS)},
    **{f"{0xE220 + i:04X}": f"tremolo{i + 1}" for i in range(5)},
    **{f"{0xE4E6 + i:04X}": f"rest{name}" for i, name in enumerate(_FLAGS)},
    "E047": "segno",
    "E048": "coda",
    "E08A": "timeSigCommon",
    "E08B": "timeSigCutCommon",
    "E4AA": "articStroke",
    "E4AB": "articStroke",
    "E4CE": "breathMark",
    "E4D1": "caesura",
    "E4E2": "restDoubleWhole",
    "E4E3": "restWhole",
    "E4F4": "restWhole",
    "E4E4": "restHalf",
    "E4F5": "restHalf",
    "E4E5": "restQuarter",
    "E4EE": "restHBar",
    "E520": "dynamicP",
    "E521": "dynamicM",
    "E522": "dynamicF",
    "E523": "dynamicR",
    "E524": "dynamicS",
    "E525": "dynamicZ",
    "E526": "dynamicOther",
    "E566": "ornamentTrill",
    "E567": "ornamentTurn",
    "E568": "ornamentTurnInverted",
    "E56C": "ornamentShortTrill",
    "E56D": "ornamentMordent",
    "E610": "stringsDownBow",
    "E611": "stringsDownBow",  # inverted, below a note
    "E612": "stringsUpBow",
    "E613": "stringsUpBow",
    "E650": "keyboardPedalPed",
    "E655": "keyboardPedalUp",
}
"""Glyphs whose category does not depend on their context."""
