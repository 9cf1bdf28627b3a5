"""Lyrics: lines of plain Latin or English words, divided into syllables.

The words are in random order and make no sense together.
"""

import random
from dataclasses import dataclass
from typing import Literal

_LATIN = """
lux nox pax mons fons ver sol mel est et in ad per cum nos flos ros
ter-ra cae-lum stel-la ma-re sil-va can-tus ven-tus lu-men flu-men cam-pus ro-sa a-qua
ma-ne no-cte lu-na di-es an-ni ho-ra um-bra ni-dus a-vis por-ta vi-a ri-vus tem-pus
ser-va can-ta lau-da ve-ni ma-ter pa-ter fra-ter ho-mo cor-da no-stra tu-a al-ta lon-ga
au-ro-ra ho-di-e do-mi-nus gau-di-um pe-re-gri-nus mon-ti-bus a-mi-ci se-re-nus a-e-ter-na
mi-se-re-re gau-de-a-mus glo-ri-a can-te-mus lae-ti-ti-a ves-pe-re in-ter-ea su-a-vis
"""
_ENGLISH = """
the and of to in from with by on for our thy a as now then here there all who
light night day sun moon star hill wind rain field stream sea stone road bread song bell door
sing rise wake sleep come go turn hold shine fall grow rest hear see bless keep lead still
morn-ing eve-ning win-ter sum-mer riv-er gar-den shep-herd moun-tain val-ley gold-en si-lent
gen-tle sing-ing ris-ing fall-ing o-pen a-bove a-round re-turn a-wake be-hold re-joice be-yond
wa-ter mer-cy glo-ry peo-ple chil-dren fa-ther moth-er har-vest bright-ness sil-ver ten-der
e-ter-nal e-ter-ni-ty har-mo-ny med-i-tate com-pan-ion wan-der-er re-mem-ber for-ev-er
"""

WordPosition = Literal["", "i", "m", "t"]
"""Position of a syllable in its word, as MEI encodes it."""


@dataclass(frozen=True, slots=True)
class Syllable:
    """A syllable of a verse."""

    text: str
    position: WordPosition
    """Initial, medial or terminal; empty for a word of one syllable."""

    @property
    def is_hyphenated(self) -> bool:
        """Whether a hyphen follows, because the word continues."""
        return self.position in ("i", "m")


def _positions(n: int) -> list[WordPosition]:
    """List the positions of the syllables of a word of ``n`` syllables."""
    if n == 1:
        return [""]
    inner: list[WordPosition] = ["m"] * (n - 2)
    return ["i", *inner, "t"]


def _by_length(text: str) -> dict[int, list[list[str]]]:
    divided = [word.split("-") for word in text.split()]
    longest = max(map(len, divided))
    return {n: [word for word in divided if len(word) == n] for n in range(1, longest + 1)}


_WORDS = {"latin": _by_length(_LATIN), "english": _by_length(_ENGLISH)}

Language = Literal["latin", "english"]


def draw_line(
    rng: random.Random, n: int, language: Language, ending: str, *, capital: bool = True
) -> list[Syllable]:
    """Draw a line of verse.

    Args:
        rng: Random number generator.
        n: Number of syllables.
        language: Language of the words.
        ending: Punctuation after the last word.
        capital: Whether the line starts with a capital letter.

    Returns:
        Syllables of the line, which ends with the end of a word.
    """
    syllables: list[Syllable] = []
    vocabulary = _WORDS[language]
    while len(syllables) < n:
        lengths = [length for length in vocabulary if length <= n - len(syllables)]
        weights = [{1: 4, 2: 5, 3: 2}.get(length, 1) for length in lengths]
        parts = rng.choice(vocabulary[rng.choices(lengths, weights)[0]])
        if len(parts) == 1 and syllables and syllables[-1].text.lower() == parts[0]:
            continue
        positions = _positions(len(parts))
        syllables += [Syllable(p, position) for p, position in zip(parts, positions, strict=True)]
    if syllables:
        first = syllables[0]
        syllables[0] = Syllable(first.text.capitalize() if capital else first.text, first.position)
        syllables[-1] = Syllable(syllables[-1].text + ending, syllables[-1].position)
    return syllables
