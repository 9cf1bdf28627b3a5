"""Confusion matrix of an evaluation report, reduced to the classes that are confused."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

from eval.html.number_format import amount, share, short_number
from eval.html.plots import shortened
from eval.reports.evaluation import Confusion

N_SHADES = 6
"""Number of shades, on a logarithmic scale."""
N_SHOWN = 20
"""Maximum number of classes in the reduced matrix."""
_COLUMN_LETTERS = 20
"""Maximum length of the upright names above the columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Cell of a matrix."""

    text: str
    """Number, shortened; empty for 0."""
    style: str
    """Shade; empty for 0."""
    tooltip: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixView:
    """Matrix of some of the classes."""

    label: str
    """Description for screen readers."""
    row_names: Sequence[str]
    column_names: Sequence[tuple[str, str]]
    """Short and full name of each column."""
    cells: Sequence[Sequence[Cell]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Confused:
    """Symbols of one class that are predicted as another one."""

    truth: str
    predicted: str
    count: int
    share: float | None
    """Fraction of the symbols of the true class, 0 to 1."""


def confusions(confusion: Confusion) -> list[Confused]:
    """List pairs of classes that are confused, the most frequent first."""
    background = len(confusion.names) - 1
    pairs = [
        Confused(
            truth=confusion.names[i],
            predicted=confusion.names[j],
            count=count,
            share=count / sum(row),
        )
        for i, row in enumerate(confusion.counts[:background])
        for j, count in enumerate(row[:background])
        if count and i != j
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, pair.truth, pair.predicted))


def full_matrix(confusion: Confusion) -> MatrixView:
    """Describe the matrix of all classes."""
    return _matrix(confusion, range(len(confusion.names)), "all classes")


def reduced_matrix(confusion: Confusion) -> MatrixView | None:
    """Describe the matrix of the most confused classes; None if no classes are confused.

    It has at most ``N_SHOWN`` classes, in their original order, and the background.
    """
    background = len(confusion.names) - 1
    errors = [0] * background
    for i, row in enumerate(confusion.counts[:background]):
        for j, count in enumerate(row[:background]):
            if i != j:
                errors[i] += count
                errors[j] += count
    ranked = sorted(range(background), key=lambda i: (-errors[i], i))
    rows = sorted(i for i in ranked[:N_SHOWN] if errors[i])
    if not rows:
        return None
    return _matrix(confusion, [*rows, background], "the most confused classes")


def _matrix(confusion: Confusion, rows: Sequence[int], subject: str) -> MatrixView:
    last = len(confusion.names) - 1
    columns = ["(missed)" if i == last else confusion.names[i] for i in rows]
    most = max((confusion.counts[i][j] for i in rows for j in rows), default=0)
    cells = [[_cell(confusion, i, j, most) for j in rows] for i in rows]
    return MatrixView(
        label=f"Confusion matrix of {subject}: true class by predicted class",
        row_names=["(false alarm)" if i == last else confusion.names[i] for i in rows],
        column_names=[(shortened(name, _COLUMN_LETTERS), name) for name in columns],
        cells=cells,
    )


def _cell(confusion: Confusion, i: int, j: int, most: int) -> Cell:
    count, last = confusion.counts[i][j], len(confusion.names) - 1
    if not count:
        return Cell(text="", style="", tooltip="")
    shade = ceil(N_SHADES * log(1 + count) / log(1 + most))
    kind = "right" if i == j else "edge" if last in (i, j) else "wrong"
    truth, predicted = confusion.names[i], confusion.names[j]
    if i == last:
        tooltip = f"{amount(count)} false alarms for {predicted}"
    elif j == last:
        tooltip = f"{amount(count)} of {truth} missed ({share(count / sum(confusion.counts[i]))})"
    else:
        tooltip = (
            f"{amount(count)} of {truth} predicted as {predicted} "
            f"({share(count / sum(confusion.counts[i]))})"
        )
    return Cell(text=short_number(count), style=f"{kind} shade{shade}", tooltip=tooltip)
