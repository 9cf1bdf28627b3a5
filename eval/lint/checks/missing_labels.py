"""Rule ``missing-labels``: noteheads and other symbols without a box.

Filled noteheads look alike in all fonts: an ellipse. Other symbols are recognised by the shapes of
their class, if other ink does not touch them. Dots, which articulations and letters have as well,
must be to the right of a note or rest with a box, or beside a barline with one.

Shapes: K symbols found on a page, N boxes of the page.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes
from eval.lint.checks.note_parts import starts_with, touches_any
from eval.lint.findings import N_EXAMPLES, Example, Occurrence
from eval.lint.ink import Ink
from eval.lint.ink_check import InkCheck
from eval.lint.missing_heads import HEAD, HEIGHT, WIDTH, area_with_heads, find_heads
from eval.lint.missing_symbols import find_symbols, sought_classes
from eval.lint.pages import LintPage
from eval.lint.unlabelled import Unlabelled

MAX_SIDE = 20.0
"""Side of the largest boxes that explain noteheads, in staff spaces; staves are larger."""
BORDER = 1.5
"""Distance from the border within which tiles are not searched, in staff spaces."""
DOTS = "augmentationDot", "repeatDot"
"""Classes of dots."""
REACH = 1.0
"""Distance of a dot from its note, rest or barline, in staff spaces."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Missing:
    """Symbols of an image without a box."""

    boxes_xyxy: Boxes
    """Boxes in pixels, shape ``(K, 4)``."""
    groups: tuple[str, ...]
    """Class of each, or several that look alike, such as ``keyFlat + accidentalFlat``."""


class MissingLabels(InkCheck[Missing]):
    """Counts what looks like a symbol, and is in no box."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._names, self._thresholds = names, thresholds
        self._is_head = starts_with(names, HEAD)
        self._is_dotted = starts_with(names, "notehead", "rest")
        self._is_barline = starts_with(names, "barline")
        self._group_of = sought_classes(names)
        self._n_boxes: dict[str, NDArray[np.int64]] = {}
        self._n_missing: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], list[Example]] = defaultdict(list)

    def measure(self, page: LintPage) -> Missing | None:
        """Search an image with staves."""
        ink, space, unlabelled = page.ink, page.staff_space, page.unlabelled
        if ink is None or space is None or unlabelled is None:
            return None
        heads = self._missing_heads(page, ink, unlabelled, space)
        others, classes = find_symbols(ink, unlabelled, space, self._thresholds["max_distance"])
        is_sought = np.array([name in self._group_of for name in classes], bool)
        is_sought &= ~np.isin(classes, DOTS) | self._dots_in_place(page, others, space)
        boxes = np.concatenate((heads, others[is_sought]))
        head = "".join([name for name in self._names if name.startswith(HEAD)][:1])
        groups = [head] * len(heads)
        groups += [self._group_of[classes[i]] for i in np.flatnonzero(is_sought).tolist()]
        is_inside = self._inside(page, boxes, space)
        return Missing(
            boxes_xyxy=boxes[is_inside],
            groups=tuple(np.array(groups, object)[is_inside].tolist()),
        )

    def _missing_heads(
        self, page: LintPage, ink: Ink, unlabelled: Unlabelled, space: float
    ) -> Boxes:
        """Return the boxes of filled noteheads without a box, shape ``(K, 4)``."""
        small = page.page.boxes_xyxy[(page.sides <= MAX_SIDE * space).all(axis=1)]
        area = area_with_heads(unlabelled, small, space) if self._is_head.any() else None
        if area is None:
            return np.empty((0, 4))
        heads = find_heads(ink, space, self._thresholds["min_similarity"], area)
        points = np.concatenate((heads, heads), axis=1)
        missing = heads[~touches_any(points, small, (0.0,) * 4)]
        half = np.array([WIDTH, HEIGHT]) * space / 2
        return np.concatenate((missing - half, missing + half), axis=1)

    def _dots_in_place(self, page: LintPage, dots_xyxy: Boxes, space: float) -> NDArray[np.bool_]:
        """Return which dots are beside a box that may have one, shape ``(K,)``."""
        boxes, labels = page.page.boxes_xyxy, page.page.labels
        reach, width = REACH * space, dots_xyxy[:, 2] - dots_xyxy[:, 0]
        left = dots_xyxy - width[:, None] * [0, 0, 1, 0]
        return touches_any(left, boxes[self._is_dotted[labels]], (reach, 0, 0, 0)) | touches_any(
            dots_xyxy, boxes[self._is_barline[labels]], (reach, 0, reach, 0)
        )

    @staticmethod
    def _inside(page: LintPage, boxes_xyxy: Boxes, space: float) -> NDArray[np.bool_]:
        """Return which boxes are far enough from the border of a tile, shape ``(K,)``."""
        if not page.is_tile:
            return np.ones(len(boxes_xyxy), bool)
        centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
        size, margin = np.array([page.page.width, page.page.height]), BORDER * space
        return np.asarray(((centres > margin) & (centres < size - margin)).all(axis=1))

    def count(self, page: LintPage, measured: Missing) -> None:
        """Add the symbols of an image, with and without a box."""
        total = self._n_boxes.setdefault(page.source, np.zeros(len(self._names), np.int64))
        total += np.bincount(page.page.labels, minlength=len(self._names))
        for group, box in zip(measured.groups, measured.boxes_xyxy.tolist(), strict=True):
            self._n_missing[page.source, group] += 1
            examples = self._examples[page.source, group]
            if len(examples) < N_EXAMPLES:
                x_min, y_min, x_max, y_max = box
                corners = (x_min, y_min, x_max, y_max)
                examples.append(Example(split=page.split, page=page.page.image, box_xyxy=corners))

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough symbols without a box."""
        limits = self._thresholds
        for (source, group), count in self._n_missing.items():
            share = count / (count + self._labelled(source, group))
            is_head = group.startswith(HEAD)
            least = limits["min_share"] if is_head else limits["min_share_of_others"]
            if count >= limits["min_count"] and share >= least:
                yield Occurrence(
                    class_name=group,
                    source=source,
                    count=count,
                    share=share,
                    examples=tuple(self._examples[source, group]),
                    detail="share of these symbols, with and without a box",
                )

    def _labelled(self, source: str, group: str) -> int:
        """Return the number of boxes of the classes of a group."""
        if group.startswith(HEAD):
            return int(self._n_boxes[source][self._is_head].sum())
        names = group.split(" + ")
        chosen = [i for i, name in enumerate(self._names) if name in names]
        return int(self._n_boxes[source][chosen].sum())
