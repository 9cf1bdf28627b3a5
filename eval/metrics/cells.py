"""Symbols of one page, or of one class on it, in ground truth and predictions."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from eval.metrics.symbol_table import SymbolTable

MOST_PAIRS = 1 << 20
"""Maximum number of pairs of a truth and a prediction, unless a single prediction has more."""


def shared_cells(truths: SymbolTable, predictions: SymbolTable) -> Iterator[tuple[slice, slice]]:
    """Yield the truths and predictions of each class on each page that has both.

    Many predictions are yielded in several parts, each with all truths, so that an array of all
    pairs fits in memory.

    Yields:
        Ranges of rows in both tables, which are sorted by page and class.
    """
    n_labels = 1 + max(
        (int(table.labels.max()) for table in (truths, predictions) if len(table.labels)), default=0
    )
    return _shared(*(table.pages * n_labels + table.labels for table in (truths, predictions)))


def shared_pages(truths: SymbolTable, predictions: SymbolTable) -> Iterator[tuple[slice, slice]]:
    """Yield the truths and predictions of each page that has both, as :func:`shared_cells` does."""
    return _shared(truths.pages, predictions.pages)


def _shared(
    truth_keys: NDArray[np.int64], keys: NDArray[np.int64]
) -> Iterator[tuple[slice, slice]]:
    """Yield the rows with the same key, for sorted keys."""
    cells = np.intersect1d(truth_keys, keys)
    bounds = [_bounds(truth_keys, cells), _bounds(keys, cells)]
    for (truth_first, truth_end), (first, end) in zip(*bounds, strict=True):
        step = max(1, MOST_PAIRS // (truth_end - truth_first))
        for start in range(first, end, step):
            yield slice(truth_first, truth_end), slice(start, min(start + step, end))


def _bounds(keys: NDArray[np.int64], cells: NDArray[np.int64]) -> list[tuple[int, int]]:
    first, end = (np.searchsorted(keys, cells, side).tolist() for side in ("left", "right"))
    return list(zip(first, end, strict=True))
