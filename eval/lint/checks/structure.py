"""Rule ``structure``: parts of notes without the part that they belong to."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.lint.checks.note_parts import MARGIN, starts_with, stemmed_heads, touches_any
from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.tally import BoxTally


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Relation:
    """Symbols that always touch another symbol."""

    parts: NDArray[np.bool_]
    """Classes of the symbols, shape ``(C,)``."""
    partners: NDArray[np.bool_]
    """Classes of the other symbols, shape ``(C,)``."""
    margins: tuple[float, float, float, float]
    """Distance at which they still touch, to the left, top, right and bottom, in staff spaces."""
    detail: str
    """Problem of a symbol without a partner."""


class Structure:
    """Counts noteheads without stem, stems and dots without note, and flags without stem."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds
        self._n_partners: Counter[tuple[str, str]] = Counter()  # by source and detail
        heads, stems = stemmed_heads(names), starts_with(names, "stem")
        notes, around = starts_with(names, "notehead", "rest"), (MARGIN,) * 4
        self._relations = [
            _Relation(
                parts=parts,
                partners=partners,
                margins=margins,
                detail=detail,
            )
            for parts, partners, margins, detail in (
                (heads, stems, around, "no stem"),
                (stems, starts_with(names, "notehead"), around, "no notehead"),
                (starts_with(names, "flag"), stems, around, "no stem"),
                (
                    starts_with(names, "augmentationDot"),
                    notes,
                    (4.0, 1.0, 0.0, 1.0),
                    "no note or rest to the left",
                ),
            )
        ]

    def add(self, page: LintPage) -> None:
        """Add the boxes of a page with staves."""
        if not len(page.rows) or (space := page.staff_space) is None:
            return
        boxes, labels = page.page.boxes_xyxy, page.page.labels
        for relation in self._relations:
            parts, partners = relation.parts[labels], relation.partners[labels]
            self._n_partners[page.source, relation.detail] += int(partners.sum())
            alone = np.zeros(len(labels), bool)
            if parts.any():
                margins = [space * margin for margin in relation.margins]
                alone[parts] = ~touches_any(boxes[parts], boxes[partners], margins)
            self._tally.add(page, alone, parts, relation.detail)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough lone symbols, if their partners are labelled at all."""
        for occurrence in self._tally.occurrences(self._thresholds):
            if self._n_partners[occurrence.source, occurrence.detail]:
                yield occurrence
