import json
from pathlib import Path

import numpy as np
import pytest

from class_maps import ConfigError, InputError
from settings import head_config
from training.grouping.conflicts import read_confusion, read_pairs
from training.grouping.statistics import Symbols
from training.grouping.suggestion import GroupingOptions, Strategy, suggest, yaml_text

NAMES = ("note black", "note half", "stem", "no", "staff")


def crowded() -> Symbols:
    """Return two images, each with a stem and two noteheads in one cell and a staff below all."""
    boxes = [[0, 0, 8, 8], [0, 0, 8, 8], [2, 2, 6, 6], [0, 0, 64, 8]]
    return Symbols(
        imgsz=64,
        images=np.repeat([0, 1], 4),
        labels=np.array([0, 1, 2, 4] * 2),
        boxes_xyxy=np.array(boxes * 2, np.float64),
    )


def named(*pairs: tuple[str, str]) -> list[list[bool]]:
    both = {*pairs, *((b, a) for a, b in pairs)}
    return [[(a, b) in both for b in NAMES] for a in NAMES]


@pytest.mark.parametrize("strategy", ["geometry", "hybrid", "anti-confusion", "collision"])
def test_what_is_written_is_read_back(tmp_path: Path, strategy: Strategy) -> None:
    conflicts = np.array(named(("stem", "staff"))) if strategy == "anti-confusion" else None
    options = GroupingOptions(strategy=strategy, n_heads=2, strides=(8,))
    suggestion = suggest(crowded(), NAMES, options, conflicts)
    path = tmp_path / "heads.yaml"
    path.write_text(yaml_text(suggestion))
    config = head_config.from_yaml(path)
    assert config == suggestion.config()
    assert config.box == ("shared" if strategy == "anti-confusion" else "separate")
    assert sorted(label for own in config.labels(NAMES) for label in own) == [0, 1, 2, 3, 4]


def test_by_collision() -> None:
    """One head predicts the staff elsewhere and one of the three boxes in the cell; four heads predict all."""
    options = GroupingOptions(strategy="collision", n_heads=4, strides=(8,))
    result = suggest(crowded(), NAMES, options)
    assert [sum(head.classes != ("no",) for head in result.heads)] == [4]
    assert sorted(len(head.classes) for head in result.heads) == [1, 1, 1, 2]
    assert [head.collisions for head in result.heads] == [0, 0, 0, 0]
    assert [head.symbols for head in result.heads] == [2, 2, 2, 2]
    assert result.absent == ("no",)
    assert result.single_head_collisions == 12
    assert (result.single_head, result.these_heads, result.without_candidate) == (0.5, 1, 0)
    assert result.to_json()["heads"][0]["name"] == "head_0"


def test_heads_of_one_class_each_still_share_points_within_it() -> None:
    boxes = np.array([[0, 0, 8, 8]] * 3 + [[90, 90, 99, 99]], np.float64)
    symbols = Symbols(
        imgsz=64, images=np.zeros(4, np.int64), labels=np.array([0, 0, 1, 1]), boxes_xyxy=boxes
    )
    result = suggest(
        symbols, ("a", "b"), GroupingOptions(strategy="geometry", n_heads=2, strides=(8,))
    )
    assert (result.single_head, result.these_heads, result.without_candidate) == (0.25, 0.5, 0.25)
    assert sorted(head.within_classes for head in result.heads) == [0, 1]


def test_no_symbols() -> None:
    nothing = Symbols(
        imgsz=64,
        images=np.empty(0, np.int64),
        labels=np.empty(0, np.int64),
        boxes_xyxy=np.empty((0, 4)),
    )
    with pytest.raises(ConfigError) as error:
        suggest(nothing, NAMES, GroupingOptions(strategy="geometry"))
    assert str(error.value) == "no image contains symbols; a grouping needs labelled images"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.txt", "# taken for another\nnote black, note half\nstem,staff  # both lines\n\n"),
        ("pairs.txt", "note black\tnote half\nstem staff\n"),
        ("pairs.csv", '\ufeff"note black","note half"\n"staff","stem"\n"stem","staff"\n'),
        ("pairs.yaml", "- [note black, note half]\n- [stem, staff]\n"),
    ],
)
def test_pairs(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    expected = named(("note black", "note half"), ("stem", "staff"))
    assert read_pairs(tmp_path / name, NAMES).tolist() == expected


def test_names_in_yaml_are_text(tmp_path: Path) -> None:
    (tmp_path / "pairs.yaml").write_text("- [on, no]\n")
    assert read_pairs(tmp_path / "pairs.yaml", ("on", "no")).tolist() == [
        [False, True],
        [True, False],
    ]


def test_a_number_sign_within_a_name_begins_no_comment(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("D, C# # a semitone\n#D, C\n")
    conflicts = read_pairs(tmp_path / "pairs.txt", ("C", "C#", "D"))
    assert conflicts.tolist() == [[False] * 3, [False, False, True], [False, True, False]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pairs.txt", "", "contains no pairs of names"),
        ("pairs.txt", "stem, staf\nsteem, no\n", "not a class of the data: staf (did you mean staff?), steem (did you mean stem?)"),
        ("pairs.txt", "stem\n", "line 1: expected two names, got: stem"),
        ("pairs.txt", "\nnote black half\n", "line 2: expected two names, got: note, black, half"),
        ("pairs.txt", "stem, stem\n", "line 1: stem is paired with itself; give two classes"),
        ("pairs.yaml", "stem: staff\n", "expected a list of lists of two names"),
        ("pairs.yaml", "- [stem, [no]]\n", "[0]: expected names, got ['stem', ['no']]"),
        ("pairs.yaml", "- " * 5000 + "stem", "lists or mappings are nested too deeply"),
        ("pairs.yaml", "- [stem]\n", "[0]: expected two names, got: stem"),
    ],
)  # fmt: skip
def test_invalid_pairs(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_pairs(tmp_path / name, NAMES)
    assert str(error.value) == f"{tmp_path / name}: {message}"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_pairs(tmp_path / "pairs.txt", NAMES)


MATRIX = [[9, 2, 0, 5], [1, 9, 0, 0], [0, 3, 9, 0], [5, 5, 5, 0]]
OWN = ["staff", "stem", "note half", "background"]


@pytest.mark.parametrize("suffix", [".json", ".csv"])
@pytest.mark.parametrize(
    ("threshold", "pairs"),
    [(0, [("staff", "stem"), ("stem", "note half")]), (2.5, [("staff", "stem"), ("stem", "note half")]), (3, [])],
)  # fmt: skip
def test_confusion(
    tmp_path: Path, suffix: str, threshold: float, pairs: list[tuple[str, str]]
) -> None:
    path = tmp_path / f"confusion{suffix}"
    rows = [[name, *map(str, row)] for name, row in zip(OWN, MATRIX, strict=True)]
    lines = "\n".join(map(",".join, [["", *OWN], *rows]))
    path.write_text(json.dumps({"names": OWN, "matrix": MATRIX}) if suffix == ".json" else lines)
    assert read_confusion(path, NAMES, threshold).tolist() == named(*pairs)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", "", "empty; expected a line of names and one line per name"),
        ("c.csv", ",stem,no\nno,1,2\nstem,1,2\n", "expected the names of the first line, in the same order, as the first column"),
        ("c.csv", ",stem\nstem,1,2\n", "matrix: expected 1 rows of 1 numbers, one per name"),
        ("c.csv", f",{'x' * 200_000}\n", "malformed: field larger than field limit (131072)"),
        ("c.csv", ",stem\nstem,x\n", "matrix: expected non-negative numbers"),
        ("c.csv", ",stem\nstem,-1\n", "matrix: expected non-negative numbers"),
        ("c.csv", ",stem,stem\nstem,1,1\nstem,1,1\n", "names: duplicate: stem"),
        ("c.csv", ",steem\nsteem,1\n", "not a class of the data: steem (did you mean stem?)"),
        ("c.json", "{", "not valid JSON, truncated or damaged: Input data was truncated"),
        ("c.json", '{"names": ["stem"], "names": ["no"], "matrix": [[1]]}', "duplicate key: 'names'"),
        ("c.json", "[]", "expected an object with the lists names and matrix"),
        ("c.json", '{"names": [1], "matrix": [[1]]}', "names[0]: expected `str`, got `int`"),
        ("c.json", '{"names": ["stem"], "matrix": [1]}', "matrix[0]: expected `array`, got `int`"),
        ("c.json", '{"names": ["stem"], "matrix": [[null]]}', "matrix[0][0]: expected `float`, got `null`"),
    ],
)  # fmt: skip
def test_invalid_confusion(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_confusion(tmp_path / name, NAMES)
    assert str(error.value) == f"{tmp_path / name}: {message}"
