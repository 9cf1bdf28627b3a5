import pytest

from eval.reports.confusion_matrix import Confused, confusions, full_matrix, reduced_matrix
from eval.reports.evaluation import Confusion


def confusion(names: str, *counts: tuple[int, ...]) -> Confusion:
    return Confusion(threshold=0.25, names=(*names, "background"), counts=counts)


EMPTY = confusion("", (0,))
SOME = confusion("abc", (90, 10, 0, 5), (2, 3, 0, 0), (0, 0, 7, 0), (4, 0, 0, 0))


def test_no_classes_are_not_confused() -> None:
    assert confusions(EMPTY) == []
    assert reduced_matrix(EMPTY) is None
    assert [cell.text for row in full_matrix(EMPTY).cells for cell in row] == [""]


def test_confusions_come_with_their_share_of_the_true_class() -> None:
    assert confusions(SOME) == [
        Confused(truth="a", predicted="b", count=10, share=10 / 105),
        Confused(truth="b", predicted="a", count=2, share=0.4),
    ]


def test_classes_that_are_not_confused_are_only_in_the_full_matrix() -> None:
    reduced = reduced_matrix(SOME)
    assert reduced is not None
    assert reduced.row_names == ["a", "b", "(false alarm)"]
    assert reduced.column_names == [("a", "a"), ("b", "b"), ("(missed)", "(missed)")]
    assert [[cell.text for cell in row] for row in reduced.cells] == [
        ["90", "10", "5"],
        ["2", "3", ""],
        ["4", "", ""],
    ]
    assert full_matrix(SOME).row_names == ["a", "b", "c", "(false alarm)"]


def test_cells_name_their_classes() -> None:
    cells = full_matrix(SOME).cells
    assert cells[0][0].tooltip == "90 of a predicted as a (85.7%)"
    assert cells[0][1].tooltip == "10 of a predicted as b (9.5%)"
    assert cells[0][3].tooltip == "5 of a missed (4.8%)"
    assert cells[3][0].tooltip == "4 false alarms for a"


@pytest.mark.parametrize(
    ("count", "style"), [(1, "wrong shade1"), (9, "wrong shade3"), (999, "wrong shade6")]
)
def test_shades_are_logarithmic(count: int, style: str) -> None:
    cells = full_matrix(confusion("ab", (999, count, 0), (0, 0, 0), (0, 0, 0))).cells
    assert cells[0][0].style == "right shade6"
    assert cells[0][1].style == style  # log 2, 10 and 1000, in sixths of log 1000
    assert cells[1][1].style == ""


def test_the_most_confused_of_many_classes_keep_their_order() -> None:
    n = 60
    counts = [[0] * (n + 1) for _ in range(n + 1)]
    for i in range(0, n, 2):
        counts[i][i + 1] = 100 - i
    names = tuple(f"{i:02}" for i in range(n))
    matrix = reduced_matrix(
        Confusion(threshold=0.1, names=(*names, "background"), counts=tuple(map(tuple, counts)))
    )
    assert matrix is not None
    assert matrix.row_names == [*names[:20], "(false alarm)"]
