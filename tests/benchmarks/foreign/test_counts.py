import numpy as np
import pytest

from benchmarks.foreign import counts
from class_maps import OmrError
from converters.engraving.outlines import outline
from converters.engraving.symbols import Symbol

NOTHING = dict.fromkeys(counts.PREFIXES, (0, 0))


def note(step: str, *, duration: int = 4, inner: str = "") -> str:
    pitch = f"<pitch><step>{step}</step><octave>4</octave></pitch>"
    return f"<note>{pitch}<duration>{duration}</duration>{inner}</note>"


def score(*measures: str) -> str:
    inner = "".join(f"<measure>{measure}</measure>" for measure in measures)
    return f'<score-partwise><part id="P1">{inner}</part></score-partwise>'


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ([], {}),
        ([note("C") + note("D")], {"noteheads": (2, 2)}),
        ([note("C"), note("C")], {"noteheads": (2, 2)}),
        (
            [note("C") + "<backup><duration>4</duration></backup>" + note("C")],
            {"noteheads": (1, 2)},
        ),
        (
            [note("C", inner="<dot/>") + note("E", inner="<chord/><dot/>") + note("E")],
            {"noteheads": (3, 3), "dots": (2, 2)},
        ),
        (
            ["<forward><duration>4</duration></forward>" + note("C", inner="<accidental/>")],
            {"noteheads": (1, 1), "accidentals": (1, 1)},
        ),
        (
            ["<note><rest/><duration>4</duration><dot/></note>"] * 2,
            {"rests": (2, 2), "dots": (2, 2)},
        ),
        (
            [note("C", inner="<notations><fermata/></notations>")],
            {"noteheads": (1, 1), "fermatas": (1, 1)},
        ),
    ],
)
def test_symbols_of_a_score(measures: list[str], expected: dict[str, tuple[int, int]]) -> None:
    assert counts.encoded(score(*measures)) == NOTHING | expected


def test_labels_are_counted_by_kind() -> None:
    ink = outline([np.zeros((3, 2))])
    names = "noteheadBlackOnLine", "noteheadWholeInSpace", "restHalf", "keyFlat", "fermataBelow"
    symbols = [Symbol(category=name, outline=ink, shapes=()) for name in names]
    assert counts.labelled(symbols) == {
        "noteheads": 2,
        "rests": 1,
        "accidentals": 0,
        "dots": 0,
        "fermatas": 1,
    }


@pytest.mark.parametrize("n", [1, 2])
def test_shared_noteheads_may_be_drawn_once_or_twice(n: int) -> None:
    assert counts.compare({"noteheads": (1, 2)}, {"noteheads": n}, "piece 0") == ""


def test_engravers_may_draw_other_accidentals_and_dots() -> None:
    expected = {"noteheads": (2, 2), "accidentals": (1, 1), "dots": (4, 4)}
    difference = counts.compare(expected, {"noteheads": 2, "accidentals": 2, "dots": 4}, "piece 0")
    assert difference == "2 accidentals are labelled, 1 are encoded"


@pytest.mark.parametrize("n", [0, 3])
def test_missing_and_additional_symbols_are_errors(n: int) -> None:
    with pytest.raises(OmrError, match=f"piece 0: {n} noteheads are labelled, 2 are encoded"):
        counts.compare({"noteheads": (1, 2)}, {"noteheads": n}, "piece 0")
