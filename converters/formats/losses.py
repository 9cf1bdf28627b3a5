"""Counts of what a written format cannot represent.

Shapes: N symbols of a page.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from converters.boxes import corner_bounds
from converters.page import Page

UPRIGHT = ("mung", "labelme")
"""Formats of tools that correct pages, which hold no oriented boxes."""
MIN_SLANT = 0.05
"""Smallest share of an upright box outside the oriented box in it, from which this is a loss."""


class Losses:
    """Counts the symbols of which a format loses something.

    Args:
        formats: Formats that are written.
    """

    def __init__(self, formats: Sequence[str]) -> None:
        self._upright = [name for name in formats if name in UPRIGHT]
        self._rounds = "mung" in formats
        self._n = self._n_rounded = self._n_slanted = 0

    def add(self, page: Page) -> None:
        """Count the symbols of a page."""
        if not self._upright:
            return
        self._n += len(page.labels)
        self._n_rounded += int((page.boxes_xyxy % 1 != 0).any(axis=1).sum())
        if page.corners is not None:
            self._n_slanted += int(_is_slanted(page.corners).sum())

    def remarks(self) -> Iterator[str]:
        """Yield a remark on each kind of loss."""
        if self._rounds and self._n_rounded:
            yield f"mung: {self._n_rounded} of {self._n} boxes were rounded to whole pixels"
        if self._n_slanted:
            yield (
                f"{', '.join(self._upright)}: {self._n_slanted} of {self._n} boxes are "
                "oriented, and were replaced by the upright boxes around them"
            )


def _is_slanted(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark symbols whose oriented box differs from the upright box around it, shape ``(N,)``."""
    x, y = corners[..., 0], corners[..., 1]  # (N, 4)
    area = np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(axis=1)) / 2
    around = corner_bounds(corners)
    upright = np.prod(around[:, 2:] - around[:, :2], axis=1)
    return np.asarray(area < (1 - MIN_SLANT) * upright)
