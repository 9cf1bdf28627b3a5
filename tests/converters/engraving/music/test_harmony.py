import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.engraving.music.chords import chord
from converters.engraving.music.keys import LETTERS, Key, Mode, Pitch, above, semitone
from converters.engraving.music.lyrics import Language, draw_line
from converters.engraving.music.melodies import draw_melody
from converters.engraving.music.metres import METRES, VALUES, Metre, rests, written
from converters.engraving.music.progressions import Cadence, graph, progression
from converters.engraving.music.voicing import VoicingRules, broken_at, smoothest, voicings


def spelled(name: str, key: Key) -> str:
    signs = {-2: "bb", -1: "b", 0: "", 1: "#", 2: "x"}
    return " ".join(LETTERS[letter] + signs[alter] for letter, alter in chord(name, key).tones)


@pytest.mark.parametrize(
    ("fifths", "mode", "tonic"),
    [
        (0, "major", (0, 0)),
        (-7, "major", (0, -1)),
        (7, "major", (0, 1)),
        (-7, "minor", (5, -1)),
        (7, "minor", (5, 1)),
        (1, "minor", (2, 0)),
        (-1, "major", (3, 0)),
    ],
)
def test_tonics(fifths: int, mode: Mode, tonic: tuple[int, int]) -> None:
    assert Key(fifths, mode).degree(0) == tonic


def test_keys_have_at_most_seven_accidentals() -> None:
    with pytest.raises(ValueError, match="fifths must be from -7 to 7, got 8"):
        Key(8)


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("V7", Key(0), "g b d f"),
        ("V", Key(5, "minor"), "d# fx a#"),
        ("V7/V", Key(6), "g# b# d# f#"),
        ("viio7/V", Key(-3, "minor"), "f# a c eb"),
        ("N6", Key(-7, "minor"), "bbb db fb"),
        ("iv", Key(-7), "fb abb cb"),
        ("V65/ii", Key(0), "a c# e g"),
        ("V7/III", Key(0, "minor"), "g b d f"),
        ("V42/iv", Key(0, "minor"), "a c# e g"),
        ("iio65", Key(0, "minor"), "b d f a"),
        ("K64", Key(1, "minor"), "e g b"),
    ],
)
def test_chords_are_spelled(name: str, key: Key, expected: str) -> None:
    assert spelled(name, key) == expected


@pytest.mark.parametrize("name", ["H7", "", "I/", "xvi"])
def test_malformed_chord_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: not the name of a chord"):
        chord(name, Key(0))


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_every_chord_is_spelled_in_every_key(mode: Mode) -> None:
    names = graph(mode)
    for name in names.keys() | {n for following in names.values() for n in following}:
        assert name in names  # a chord can follow it
        for fifths in range(-7, 8):
            tones = chord(name, Key(fifths, mode)).tones
            assert all(-2 <= alter <= 2 for _, alter in tones)
            assert len({semitone(tone) for tone in tones}) == len(tones)


@given(st.integers(0, 6), st.integers(-1, 1), st.integers(0, 6), st.integers(0, 11))
def test_above_adds_semitones(letter: int, alter: int, steps: int, n: int) -> None:
    result = above((letter, alter), steps, n)
    assert result[0] == (letter + steps) % 7
    assert semitone(result) == (semitone((letter, alter)) + n) % 12


def test_midi_numbers() -> None:
    assert [Pitch(28, 0).midi, Pitch(28, -1).midi, Pitch(33, 0).midi] == [60, 59, 69]


@pytest.mark.parametrize("metre", METRES.values(), ids=METRES)
def test_values_fill_the_duration(metre: Metre) -> None:
    for onset in range(0, metre.bar, 6):
        for ticks in range(6, metre.bar - onset + 1, 6):
            for divide in (written, rests):
                parts = divide(metre, onset, ticks)
                assert sum(parts) == ticks
                assert all(part in VALUES for part in parts)


@pytest.mark.parametrize(
    ("metre", "onset", "ticks", "expected"),
    [
        ("4/4", 0, 96, (96,)),
        ("4/4", 24, 48, (48,)),
        ("4/4", 24, 36, (24, 12)),
        ("4/4", 36, 24, (12, 12)),
        ("4/4", 12, 24, (24,)),
        ("4/4", 48, 36, (36,)),
        ("3/4", 24, 48, (48,)),
        ("6/8", 0, 48, (36, 12)),
        ("6/8", 24, 24, (12, 12)),
        ("6/8", 0, 72, (72,)),
        ("9/8", 0, 108, (72, 36)),
        ("12/8", 0, 144, (144,)),
        ("3/2", 0, 144, (144,)),
        ("cut", 0, 60, (48, 12)),
    ],
)
def test_long_notes_show_the_beats(
    metre: str, onset: int, ticks: int, expected: tuple[int, ...]
) -> None:
    assert written(METRES[metre], onset, ticks) == expected


@pytest.mark.parametrize(
    ("metre", "onset", "ticks", "expected"),
    [
        ("4/4", 24, 72, (24, 48)),
        ("4/4", 0, 48, (48,)),
        ("3/4", 24, 48, (24, 24)),
        ("6/8", 36, 36, (36,)),
        ("6/8", 12, 60, (12, 12, 36)),
        ("4/4", 12, 36, (12, 24)),
    ],
)
def test_rests_show_the_beats(
    metre: str, onset: int, ticks: int, expected: tuple[int, ...]
) -> None:
    assert rests(METRES[metre], onset, ticks) == expected


@given(
    seed=st.integers(0, 2**32),
    mode=st.sampled_from(["major", "minor"]),
    cadence=st.sampled_from(["authentic", "imperfect", "half", "deceptive", "plagal"]),
    n=st.integers(0, 20),
)
def test_progressions_reach_their_cadence(seed: int, mode: Mode, cadence: Cadence, n: int) -> None:
    weights = [(4, 2, 3, 2)[i % 4] for i in range(n)]
    names = progression(random.Random(seed), mode, weights, cadence)
    assert len(names) == n
    ends = {"half": {"V"}, "deceptive": {"vi", "VI"}}.get(cadence, {"I", "i"})
    assert not names or names[-1] in ends
    for i, (before, name) in enumerate(pairwise(names)):
        if before == "K64":
            assert name in ("V", "V7")
            assert weights[i] > weights[i + 1] or n < 5


def test_no_chords() -> None:
    assert smoothest([], []) == []
    assert draw_melody(random.Random(0), [], [], middle=33, closing=(0,)) == []


@pytest.mark.parametrize(
    ("name", "notes", "n"),
    [
        pytest.param("I", (72, 64, 55, 48), 1, id="as it should be"),
        pytest.param("I", (64, 67, 60, 48), 0, id="voices cross"),
        pytest.param("V", (71, 59, 55, 43), 0, id="two leading tones"),
        pytest.param("I", (72, 67, 60, 48), 0, id="no third"),
        pytest.param("I6", (72, 64, 60, 52), 0, id="no fifth in an inversion"),
        pytest.param("I", (79, 64, 60, 48), 0, id="too far apart"),
        pytest.param("V7", (65, 65, 59, 55), 0, id="two sevenths"),
    ],
)
def test_number_of_permitted_voicings(name: str, notes: tuple[int, int, int, int], n: int) -> None:
    assert len(voicings(chord(name, Key(0)), VoicingRules(lowest=notes, highest=notes)).cost) == n


@pytest.mark.parametrize(
    ("first", "notes", "second", "following", "broken"),
    [
        pytest.param("I", (72, 64, 55, 48), "IV", (72, 65, 57, 53), False, id="all is well"),
        pytest.param("I", (72, 64, 55, 48), "ii", (74, 65, 57, 50), True, id="octaves and fifths"),
        pytest.param("I", (64, 60, 55, 48), "V", (62, 59, 55, 43), False, id="fifths that stay"),
        pytest.param("V", (71, 67, 62, 43), "I", (67, 64, 60, 48), True, id="leading tone falls"),
        pytest.param("V", (74, 67, 59, 43), "I", (76, 67, 60, 48), False, id="and rises"),
        pytest.param("V7", (77, 74, 71, 55), "I", (79, 76, 72, 48), True, id="the seventh rises"),
        pytest.param("I", (64, 60, 55, 48), "IV", (72, 60, 57, 53), True, id="hidden fifths"),
        pytest.param("I", (67, 64, 60, 48), "vi", (72, 69, 64, 45), True, id="voices overlap"),
    ],
)
def test_rules_of_voice_leading(
    first: str,
    notes: tuple[int, int, int, int],
    second: str,
    following: tuple[int, int, int, int],
    broken: bool,
) -> None:
    chords = []
    for name, only in ((first, notes), (second, following)):
        rules = VoicingRules(lowest=only, highest=only, spacing=(24, 24, 24))
        chords.append((chord(name, Key(0)), rules))
    rows = smoothest(chords, [np.zeros(1, np.float32)] * 2)
    assert rows == [0, 0]
    assert broken_at(chords, rows) == ([1] if broken else [])


@given(
    seed=st.integers(0, 2**32),
    n=st.integers(0, 30),
    language=st.sampled_from(["latin", "english"]),
)
def test_lines_of_verse_end_with_a_whole_word(seed: int, n: int, language: Language) -> None:
    line = draw_line(random.Random(seed), n, language, ".")
    assert len(line) == n
    if n:
        assert line[0].text[0].isupper()
        assert line[-1].text.endswith(".")
        assert not line[-1].is_hyphenated
    for before, syllable in pairwise(line):
        assert before.is_hyphenated == (syllable.position in ("m", "t"))
