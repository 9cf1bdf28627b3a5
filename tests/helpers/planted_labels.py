"""Label bugs that are planted into the boxes of engraved pages.

Shapes: N boxes of a page.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from converters.boxes import cxcywh_to_xyxy, xywh_to_xyxy, xyxy_to_cxcywh
from eval.lint.pages import LintPage

Rows: TypeAlias = NDArray[np.float64]
"""Label, then centre, width and height as fractions of the page, shape ``(N, 5)``."""
Bug: TypeAlias = Callable[[Rows, Sequence[str]], Rows]
"""Makes wrong rows of right ones; names are those of the classes."""


def with_rows(page: LintPage, rows: Rows) -> LintPage:
    """Return a page with other boxes."""
    size = [page.page.width, page.page.height] * 2
    boxes = cxcywh_to_xyxy(rows[:, 1:] * size)
    labels = rows[:, 0].astype(np.int64)
    changed = replace(page, rows=rows, page=replace(page.page, boxes_xyxy=boxes, labels=labels))
    kept = "pixels", "ink", "predictions"  # not computed again
    vars(changed).update({name: value for name, value in vars(page).items() if name in kept})
    return changed


def planted(
    pages: Iterable[LintPage],
    names: Sequence[str],
    bug: Bug,
    share: float,
    *,
    only: Sequence[str] = (),
    adds: bool = False,
) -> list[LintPage]:
    """Plant a bug into a share of the boxes, chosen at random over all pages.

    Args:
        pages: Correct pages.
        names: Names of the classes.
        bug: Makes wrong rows of right ones.
        share: Share of the boxes, 0 to 1.
        only: Classes whose boxes may become wrong; empty for all.
        adds: Whether the wrong rows are added to the right ones, instead of replacing them.
    """
    rng = np.random.default_rng(0)
    result = []
    for page in pages:
        may = [names[label] in only or not only for label in page.page.labels]
        chosen = (rng.random(len(page.rows)) < share) & np.array(may, bool)
        kept = page.rows if adds else page.rows[~chosen]
        result.append(with_rows(page, np.concatenate((kept, bug(page.rows[chosen], names)))))
    return result


def corners_as_sizes(rows: Rows, _names: Sequence[str]) -> Rows:
    """Read ``x1 y1 x2 y2`` as ``x y width height``, and clamp to the page."""
    boxes = xywh_to_xyxy(cxcywh_to_xyxy(rows[:, 1:]))
    return np.column_stack((rows[:, 0], xyxy_to_cxcywh(boxes.clip(0, 1))))


def moved_by_5_px(rows: Rows, _names: Sequence[str]) -> Rows:
    """Move boxes to the left by 5 px on a page that is 1300 px wide."""
    return np.subtract(rows, [0, 5 / 1300, 0, 0, 0])


def at_random(rows: Rows, _names: Sequence[str]) -> Rows:
    """Move boxes anywhere on the page."""
    moved = rows.copy()
    moved[:, 1:3] = 0.05 + 0.9 * np.random.default_rng(1).random((len(rows), 2))
    return moved


def mirrored(page: LintPage) -> LintPage:
    """Flip the boxes of a page, not its image."""
    rows = page.rows * [1, -1, 1, 1, 1] + np.array([0, 1, 0, 0, 0])
    return with_rows(page, rows)


def upside_down(page: LintPage) -> LintPage:
    rows = page.rows * [1, 1, -1, 1, 1] + np.array([0, 0, 1, 0, 0])
    return with_rows(page, rows)


def swapped(first: str, second: str) -> Bug:
    """Return a bug that swaps two classes."""

    def swap(rows: Rows, names: Sequence[str]) -> Rows:
        a, b = names.index(first), names.index(second)
        return np.column_stack((np.where(rows[:, 0] == a, b, a), rows[:, 1:]))

    return swap


def halves_swapped(rows: Rows, _names: Sequence[str]) -> Rows:
    """Write width and height before the centre, clamped to the page."""
    boxes = cxcywh_to_xyxy(rows[:, [3, 4, 1, 2]]).clip(0, 1)
    return np.column_stack((rows[:, 0], xyxy_to_cxcywh(boxes)))


def removed(rows: Rows, _names: Sequence[str]) -> Rows:
    return rows[:0]


def identity(rows: Rows, _names: Sequence[str]) -> Rows:
    return rows.copy()


def jittered(rows: Rows, _names: Sequence[str]) -> Rows:
    return np.add(rows, [0, 1e-6, 1e-6, 0, 0])


def as_next_class(rows: Rows, names: Sequence[str]) -> Rows:
    labels = (rows[:, 0] + 1) % len(names)
    return np.column_stack((labels, rows[:, 1:]))


def at_the_edge(rows: Rows, _names: Sequence[str]) -> Rows:
    moved = rows.copy()
    moved[:, 1] = 1 - rows[:, 3] / 2
    return moved


def of_one_size(rows: Rows, _names: Sequence[str]) -> Rows:
    return np.column_stack((rows[:, :3], np.full((len(rows), 2), 0.02)))


def enlarged(rows: Rows, _names: Sequence[str]) -> Rows:
    return rows * [1, 1, 1, 4, 4]


def overlapping(rows: Rows, _names: Sequence[str]) -> Rows:
    """Move boxes so that their IoU with the original is 0.8."""
    moved = rows.copy()
    moved[:, 2] += rows[:, 4] / 9
    return moved


def flattened(rows: Rows, _names: Sequence[str]) -> Rows:
    return rows * [1, 1, 1, 1, 1e-3]
