"""Symbols of all pages as parallel arrays, the input of the evaluators.

Shapes: N symbols of all pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from converters.page import Page


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SymbolTable:
    """Symbols of all pages, in an order that does not depend on the order of the input."""

    n_pages: int
    pages: NDArray[np.int64]
    """Index of each symbol's page, shape ``(N,)``."""
    labels: NDArray[np.int64]
    """Class of each symbol, shape ``(N,)``."""
    boxes_xyxy: Boxes
    """Boxes in pixels, shape ``(N, 4)``."""
    scores: NDArray[np.float64] | None
    """Confidence of predictions, shape ``(N,)``; None for ground truth."""

    @classmethod
    def of(cls, pages: Sequence[Page]) -> "SymbolTable":
        """Join the symbols of pages, sorted by page, class and box.

        Evaluators break ties between equal scores by position, so that the order of the input would
        otherwise affect the result.
        """
        counts = [len(page.labels) for page in pages]
        index = np.repeat(np.arange(len(pages)), counts)
        labels = np.concatenate([np.empty(0, np.int64), *(page.labels for page in pages)])
        boxes = np.concatenate([np.empty((0, 4)), *(page.boxes_xyxy for page in pages)])
        scores = [page.scores for page in pages if page.scores is not None]
        ends = np.cumsum(counts)
        orders = [
            end - n + table_order(page) for page, n, end in zip(pages, counts, ends, strict=True)
        ]
        order = np.concatenate([np.empty(0, np.int64), *orders])
        return cls(
            n_pages=len(pages),
            pages=index[order],
            labels=labels[order],
            boxes_xyxy=boxes[order],
            scores=np.concatenate(scores)[order] if scores else None,
        )

    @classmethod
    def joined(cls, tables: Sequence["SymbolTable"]) -> "SymbolTable":
        """Return the symbols of several sets of pages, one set after the other."""
        first_pages = np.cumsum([0, *(table.n_pages for table in tables)])
        scores = [table.scores for table in tables if table.scores is not None]
        return cls(
            n_pages=int(first_pages[-1]),
            pages=np.concatenate(
                [table.pages + first for table, first in zip(tables, first_pages, strict=False)]
            ),
            labels=np.concatenate([table.labels for table in tables]),
            boxes_xyxy=np.concatenate([table.boxes_xyxy for table in tables]),
            scores=np.concatenate(scores) if scores else None,
        )

    @property
    def areas(self) -> NDArray[np.float64]:
        """Areas of the boxes in square pixels, shape ``(N,)``."""
        sides = self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]
        return sides[:, 0] * sides[:, 1]

    def only(self, rows: NDArray[np.bool_]) -> "SymbolTable":
        """Return a selection of the symbols, of the same pages.

        Args:
            rows: Symbols to keep, shape ``(N,)``.
        """
        return replace(
            self,
            pages=self.pages[rows],
            labels=self.labels[rows],
            boxes_xyxy=self.boxes_xyxy[rows],
            scores=None if self.scores is None else self.scores[rows],
        )

    def extended(self, pixels: float) -> "SymbolTable":
        """Return the same symbols with each side of their boxes moved outwards."""
        outwards = np.array([-pixels, -pixels, pixels, pixels])
        return replace(self, boxes_xyxy=self.boxes_xyxy + outwards)

    def counts(self, n_classes: int) -> NDArray[np.int64]:
        """Count the symbols of each page and class, shape ``(pages, C)``."""
        cells = np.bincount(
            self.pages * n_classes + self.labels, minlength=self.n_pages * n_classes
        )
        return cells.reshape(self.n_pages, n_classes).astype(np.int64)


def table_order(page: Page) -> NDArray[np.int64]:
    """Return the order of a page's symbols in a table: by class, then by box."""
    return np.lexsort((*page.boxes_xyxy.T[::-1], page.labels)).astype(np.int64)
