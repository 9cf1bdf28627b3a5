import numpy as np
import pytest

from converters.tally import NEAR_DUPLICATE, Tally, count


def test_an_empty_tally_is_consistent() -> None:
    Tally().check()
    assert Tally().by_reason() == {}


def test_wrong_sums_are_bugs() -> None:
    counts = Tally(read=3)
    counts.written["stem"] += 1
    counts.drop(NEAR_DUPLICATE, np.array([0]), ["stem"])
    with pytest.raises(RuntimeError, match=r"^3 symbols read, but 1 written, 1 dropped$"):
        counts.check()
    counts.read = 2
    counts.check()


def test_tallies_add_up() -> None:
    parts = [Tally(read=2), Tally(read=1)]
    parts[0].drop(NEAR_DUPLICATE, np.array([1, 1]), ["stem", "beam"])
    parts[1].written["beam"] += 1
    parts[1].warnings.append("said")
    whole = Tally()
    for part in parts:
        whole.update(part)
    whole.check()
    assert whole.by_reason() == {"near duplicate": 2}
    assert whole.warnings == ["said"]


def test_count_omits_classes_without_labels() -> None:
    assert count(np.array([2, 2, 0]), ["a", "b", "c"]) == {"a": 1, "c": 2}
    assert count(np.empty(0, np.int64), ["a"]) == {}


def test_labels_with_the_same_name_add_up() -> None:
    assert count(np.array([0, 1, 1, 2]), ["a", "a", "b"]) == {"a": 3, "b": 1}
