"""Pages in batches, so that an evaluation needs little memory for each page.

An evaluator needs 0.5 to 1 KB per symbol while it compares them, and a tenth of it afterwards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from converters.page import Page
from eval.metrics import backends
from eval.metrics.backends import EvaluatorInput
from eval.metrics.matching import PagePairs
from eval.metrics.symbol_table import SymbolTable

BATCH = 200_000
"""Symbols of ground truth and predictions per batch, unless a single page has more."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batches:
    """Evaluator input for all pages, in their order; can be iterated over several times."""

    pairs: PagePairs
    n_classes: int
    max_det: int
    """Number of best predictions to keep per page and class, at least 1."""
    starts: tuple[int, ...]
    """Index of the first page of each batch."""
    kept: tuple[EvaluatorInput, ...]
    """All batches if they are small enough to be kept; otherwise none."""

    def __iter__(self) -> Iterator[EvaluatorInput]:
        """Yield the batches: at least one, which is empty without pages."""
        yield from self.kept or self._read()

    def _read(self) -> Iterator[EvaluatorInput]:
        ends = (*self.starts[1:], len(self.pairs))
        for first, end in zip(self.starts, ends, strict=True):
            data = evaluator_input(self.pairs[first:end], self.n_classes, self.max_det)
            yield replace(data, first_page=first)


def batches_of(pairs: PagePairs, n_classes: int, max_det: int | None = None) -> Batches:
    """Divide pages into batches.

    Args:
        pairs: Ground truth and predictions of each page.
        n_classes: Number of classes.
        max_det: Number of best predictions to keep per page and class; None to keep all.

    Raises:
        ValueError: ``max_det`` is below 1.
    """
    if max_det is None:
        max_det = max(1, int(pairs.n_symbols.max(initial=0)))
    batches = Batches(
        pairs=pairs, n_classes=n_classes, max_det=max_det, starts=_starts(pairs), kept=()
    )
    return (
        batches
        if pairs.n_symbols.sum() > backends.MOST_AT_ONCE
        else replace(batches, kept=(*batches,))
    )


def _starts(pairs: PagePairs) -> tuple[int, ...]:
    """Return the index of the first page of each batch."""
    counts = pairs.n_symbols.sum(axis=1).tolist()
    starts, n_in_batch = [0], 0
    for i, n in enumerate(counts):
        if n_in_batch and n_in_batch + n > BATCH:
            starts.append(i)
            n_in_batch = 0
        n_in_batch += n
    return tuple(starts)


def evaluator_input(
    pairs: Sequence[tuple[Page, Page]], n_classes: int, max_det: int | None = None
) -> EvaluatorInput:
    """Return the evaluator's input, with page indices in the order of the pairs.

    Args:
        pairs: Ground truth and predictions of each page.
        n_classes: Number of classes.
        max_det: Number of best predictions to keep per page and class; None to keep all.

    Raises:
        ValueError: ``max_det`` is below 1.
    """
    if max_det is None:
        max_det = max((len(page.labels) for page in chain.from_iterable(pairs)), default=0) or 1
    if max_det < 1:
        raise ValueError(f"max_det must be at least 1, got {max_det}")
    return EvaluatorInput(
        truths=SymbolTable.of([truth for truth, _ in pairs]),
        predictions=SymbolTable.of([prediction for _, prediction in pairs]),
        n_classes=n_classes,
        max_det=max_det,
    )
