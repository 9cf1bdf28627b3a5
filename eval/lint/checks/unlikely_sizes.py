"""Rule ``unlikely-size``: boxes whose size does not fit the name of their class.

Shapes: N boxes of an image, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from eval.lint.findings import Occurrence
from eval.lint.pages import LintPage
from eval.lint.symbol_sizes import Range, SymbolSize, symbol_sizes
from eval.lint.tally import BoxTally

_ANY = Range(low=0.0, median=1.0, high=np.inf)
_UNKNOWN = SymbolSize(n=0, width=_ANY, height=_ANY, aspect=_ANY)


class UnlikelySizes:
    """Counts the boxes outside of the size range that engraved pages have, in staff spaces."""

    def __init__(self, names: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self._tally, self._thresholds = BoxTally(names=names), thresholds
        known = symbol_sizes()
        sizes = [known.get(name, _UNKNOWN) for name in names]
        self._is_known = np.array([size.n >= thresholds["min_learnt"] for size in sizes])
        factor = thresholds["factor"]
        self._limits = np.array(  # (C, 3, 2): lowest and highest width, height and aspect
            [
                [(side.low / factor, side.high * factor) for side in (s.width, s.height, s.aspect)]
                for s in sizes
            ]
        )

    def add(self, page: LintPage) -> None:
        """Add the boxes of an image whose staff space is known."""
        checked = page.is_complete & self._is_known[page.page.labels]
        if not checked.any() or (space := page.staff_space) is None:
            return
        slack, limits = self._thresholds["slack_px"], self._limits[page.page.labels]
        smallest = _with_aspect(page.sides - slack, page.sides + slack, space)
        largest = _with_aspect(page.sides + slack, page.sides - slack, space)
        is_unlikely = ((largest < limits[..., 0]) | (smallest > limits[..., 1])).any(axis=1)
        self._tally.add(page, np.asarray(is_unlikely), checked)

    def occurrences(self) -> Iterator[Occurrence]:
        """Yield the classes with enough such boxes."""
        yield from self._tally.occurrences(self._thresholds)


def _with_aspect(
    sides: NDArray[np.float64], other_sides: NDArray[np.float64], space: float
) -> NDArray[np.float64]:
    """Return width and height in staff spaces and the aspect, shape ``(N, 3)``.

    Args:
        sides: Width and height in pixels, shape ``(N, 2)``.
        other_sides: Sides whose height divides the width, shape ``(N, 2)``.
        space: Staff space in pixels.
    """
    aspect = np.maximum(sides[:, 0], 0) / np.maximum(other_sides[:, 1], 1e-9)
    return np.column_stack((sides / space, aspect))
