import numpy as np
import pytest

from converters.tally import NEAR_DUPLICATE, Tally, count


def test_nothing_read_is_a_sum_that_closes() -> None:
    Tally().check()
    assert Tally().by_reason() == {}


def test_a_sum_that_does_not_close_is_a_bug() -> None:
    counts = Tally(read=3)
    counts.written["stem"] += 1
    counts.drop(NEAR_DUPLICATE, np.array([0]), ["stem"])
    with pytest.raises(RuntimeError, match=r"^3 symbols read, but 1 written, 1 dropped$"):
        counts.check()
    counts.read = 2
    counts.check()


def test_parts_add_up_to_the_whole() -> None:
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


def test_count_leaves_out_what_there_is_not() -> None:
    assert count(np.array([2, 2, 0]), ["a", "b", "c"]) == {"a": 1, "c": 2}
    assert count(np.empty(0, np.int64), ["a"]) == {}
