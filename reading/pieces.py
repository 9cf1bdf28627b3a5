"""Symbols and parts of symbols that a network finds in the tiles of a page.

Shapes: P pieces.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes

TOLERANCE_PX = 1.0
"""Distance by which thin pieces may differ: boxes are extended by it before they are compared."""
MARGIN = TOLERANCE_PX * np.array([-1, -1, 1, 1])
"""Change of a box that extends it by the tolerance."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pieces:
    """Symbols and parts of symbols found in the tiles of one page."""

    boxes_xyxy: Boxes
    """Boxes in pixels of the page, clipped to their tiles, shape ``(P, 4)``."""
    labels: NDArray[np.int64]
    """Class labels, shape ``(P,)``."""
    scores: NDArray[np.float64]
    """Scores, 0 to 1, shape ``(P,)``."""
    tiles: NDArray[np.int64]
    """Tile in which each piece was found, shape ``(P,)``."""

    def only(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Pieces":
        """Return a selection of the pieces.

        Args:
            rows: Mask of shape ``(P,)``, or indices.
        """
        return Pieces(
            boxes_xyxy=self.boxes_xyxy[rows],
            labels=self.labels[rows],
            scores=self.scores[rows],
            tiles=self.tiles[rows],
        )
