import random
import re
from fractions import Fraction
from itertools import combinations, pairwise

import pytest
import verovio
from hypothesis import given, settings
from hypothesis import strategies as st
from mei_reader import ID, MEI, Piece, read

from converters.engraving.music.composition import compose
from converters.engraving.music.forms import draw_key
from converters.engraving.music.keys import Key
from converters.engraving.music.styles import STYLES

RANGES = ((60, 81), (55, 76), (48, 72), (38, 62))
KEYS = [Key(fifths, mode) for fifths in range(-7, 8) for mode in ("major", "minor")]
NAMES = [style.name for _, style in STYLES]
CHORDAL = [style.name for _, style in STYLES if not style.broken]

seeds = st.integers(0, 2**32)
lengths = st.sampled_from([1, 2, 3, 5, 8, 13, 24])
keys = st.sampled_from(KEYS)
names = st.sampled_from(NAMES)
chordal = st.sampled_from(CHORDAL)


def piece_of(seed: int, bars: int, key: Key | None = None, style: str | None = None) -> Piece:
    return read(compose(random.Random(seed), bars=bars, key=key, style=style))


@given(seed=seeds, bars=lengths, style=names)
@settings(max_examples=60, deadline=None)
def test_bars_are_full(seed: int, bars: int, style: str) -> None:
    piece = piece_of(seed, bars, style=style)
    for measure in piece.measures:
        assert set(measure.layers) == {measure.length}
        assert measure.length == measure.metre or not measure.counts
    short = [m for m in piece.measures if not m.counts]
    # The last bar before the next upbeat is shortened by the length of the upbeat.
    assert len(short) % 2 == 0
    for first, second in zip(short[::2], short[1::2], strict=True):
        assert first.length + second.length == first.metre
    assert len([m for m in piece.measures if m.counts]) + len(short) // 2 >= bars


@given(seed=seeds, bars=lengths, style=names, key=keys)
@settings(max_examples=60, deadline=None)
def test_printed_accidentals_yield_the_sounding_pitches(
    seed: int, bars: int, style: str, key: Key
) -> None:
    piece = piece_of(seed, bars, key, style)
    for measure in piece.measures:
        for head in measure.heads:
            assert head.alter == head.encoded, head


@given(seed=seeds, bars=lengths, style=chordal, key=keys)
@settings(max_examples=80, deadline=None)
def test_voices_keep_their_order_and_range(seed: int, bars: int, style: str, key: Key) -> None:
    piece = piece_of(seed, bars, key, style)
    assert len(piece.voices) == 4
    for _, notes, _ in piece.sonorities():
        sounding = [n for n in notes if n is not None]
        assert sounding == sorted(sounding, reverse=True)
        for note, (low, high) in zip(notes, RANGES, strict=True):
            assert note is None or low <= note <= high


def parallels(
    sonorities: list[tuple[Fraction, list[int | None], list[bool]]],
) -> list[tuple[Fraction, int, int]]:
    """List the onsets and voices of parallel fifths, octaves and unisons."""
    result = []
    for (_, before, _), (onset, after, _) in pairwise(sonorities):
        for upper, lower in combinations(range(4), 2):
            notes = before[upper], before[lower], after[upper], after[lower]
            if None in notes:
                continue
            a, b, c, d = (int(n or 0) for n in notes)
            if a != c and b != d and (a - b) % 12 == (c - d) % 12 in (0, 7):
                result.append((onset, upper, lower))
    return result


@given(seed=seeds, bars=lengths, style=chordal, key=keys)
@settings(max_examples=120, deadline=None)
def test_no_parallel_fifths_or_octaves(seed: int, bars: int, style: str, key: Key) -> None:
    piece = piece_of(seed, bars, key, style)
    assert parallels(list(piece.sonorities())) == []


@given(seed=seeds, bars=lengths, style=chordal, key=keys)
@settings(max_examples=80, deadline=None)
def test_no_parallel_fifths_or_octaves_from_beat_to_beat(
    seed: int, bars: int, style: str, key: Key
) -> None:
    """Check pairs of beats on which two voices start, if one of them holds in between."""
    piece = piece_of(seed, bars, key, style)
    following = dict(pairwise(piece.beats()))
    sonorities = list(piece.sonorities())
    at = {onset: i for i, (onset, _, _) in enumerate(sonorities)}
    for onset, i in at.items():
        j = at.get(following.get(onset, Fraction(-1)))
        if j is None:
            continue
        for _, upper, lower in parallels([sonorities[i], sonorities[j]]):
            both_begin = all(sonorities[k][2][v] for k in (i, j) for v in (upper, lower))
            between = [s[2] for s in sonorities[i + 1 : j]]
            held = not all(any(b[v] for b in between) for v in (upper, lower))
            assert not (both_begin and held), (onset, upper, lower)


@given(seed=seeds, bars=lengths, style=chordal, key=keys)
@settings(max_examples=80, deadline=None)
def test_pieces_end_with_a_cadence_on_the_tonic(seed: int, bars: int, style: str, key: Key) -> None:
    piece = piece_of(seed, bars, key, style)
    assert piece.measures[-1].attributes["right"] in ("end", "rptend")
    chords = [s for s in piece.sonorities() if None not in s[1]]
    tonic = (7 * key.fifths + (9 if key.mode == "minor" else 0)) % 12
    last = [n for n in chords[-1][1] if n is not None]
    assert last[3] % 12 == tonic
    assert {(n - tonic) % 12 for n in last} <= {0, 3, 4, 7}
    degrees = [{(int(n or 0) - tonic) % 12 for n in notes} for _, notes, _ in chords]
    before = [d for d in reversed(degrees) if not d <= {0, 3, 4, 7}][:3]
    assert any(d & {5, 11} for d in before)  # the fourth degree or the leading tone
    for voice in (0, 3):
        notes = [n for _, _, n in piece.sounds(voice) if n is not None]
        if (notes[-2] - tonic) % 12 == 11:
            assert notes[-1] == notes[-2] + 1


@given(seed=seeds, bars=lengths, style=names)
@settings(max_examples=60, deadline=None)
def test_ties_and_ids(seed: int, bars: int, style: str) -> None:
    piece = piece_of(seed, bars, style=style)
    identities = [e.get(ID) for e in piece.root.iter() if e.get(ID) is not None]
    assert len(identities) == len(set(identities))
    music = piece.root.find(f".//{MEI}score")
    assert music is not None
    for element in music.iter():
        for name in ("startid", "endid"):
            assert element.get(name, "#" + str(identities[0]))[1:] in identities
    for voice in piece.voices:
        for before, head in pairwise(voice):
            if head.tied_from is not None:
                assert head.tied_from is before
                assert head.pitch_name == before.pitch_name
                assert head.onset == before.end or piece.measures[head.bar].ending == "2"


@given(seed=seeds, bars=lengths)
@settings(max_examples=20, deadline=None)
def test_equal_seeds_give_equal_music(seed: int, bars: int) -> None:
    assert compose(random.Random(seed), bars=bars) == compose(random.Random(seed), bars=bars)


def test_all_keys_occur() -> None:
    rng = random.Random(1)
    assert {draw_key(rng) for _ in range(1500)} == set(KEYS)


@pytest.mark.parametrize("bars", [0, -3])
def test_a_piece_needs_at_least_one_bar(bars: int) -> None:
    with pytest.raises(ValueError, match=f"bars must be at least 1, got {bars}"):
        compose(random.Random(0), bars=bars)


@pytest.mark.parametrize("seed", range(12))
def test_verovio_engraves_every_note(seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    text = compose(random.Random(seed), bars=16, style=NAMES[seed % len(NAMES)])
    verovio.enableLog(verovio.LOG_WARNING)
    toolkit = verovio.toolkit()
    toolkit.setOptions({"xmlIdSeed": 1, "header": "none", "footer": "none"})
    assert toolkit.loadData(text)
    pages = [toolkit.renderToSVG(n) for n in range(1, toolkit.getPageCount() + 1)]
    heads = sum(len(re.findall(r'class="notehead"', page)) for page in pages)
    assert heads == text.count("<note ")
    assert capfd.readouterr().err == ""


def test_a_corpus_contains_every_feature() -> None:
    missing = set(WANTED)
    for seed in range(250):
        text = compose(random.Random(seed), bars=24)
        missing -= {part for part in missing if part in text}
        if not missing:
            break
    assert missing == set()


WANTED = (
    "<tie ", "<slur ", "<fermata ", "<chord ", "<mRest ", "<rest ", "<beam ", "<ending ",
    "<tempo ", "<verse ", 'n="4"><syl', 'con="d"', 'con="u"', 'func="caution"', 'enclose="paren"',
    'right="dbl"', 'right="end"', 'right="rptend"', 'left="rptstart"', 'metcon="false"',
    'shape="C" line="3"', 'shape="C" line="4"', 'dis="8"', 'symbol="brace"', 'symbol="bracket"',
    'accid="x"', 'accid="ff"', 'accid="n"', 'meter.sym="common"', 'meter.sym="cut"',
    'dur="16"', 'dur="8" dots="1"', 'dur="4" dots="1"', 'dur="2" dots="1"', 'dur="1"',
    'keysig="7s"', 'keysig="7f"', 'keysig="0"', 'meter.count="12"', 'meter.count="9"',
    'bar.thru="false"', "<labelAbbr>",
)  # fmt: skip
