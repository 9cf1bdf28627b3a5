"""In-memory form of an annotated image, which every reader returns and every writer accepts.

Shapes: N symbols of a page.
"""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes

Rows: TypeAlias = NDArray[np.bool_] | NDArray[np.int64] | slice
"""Selection of symbols: a mask of shape ``(N,)``, indices, or a slice."""

SCORE_DIGITS = 6
"""Decimal places of scores in text formats."""

_SYMBOL_FIELDS = ("boxes_xyxy", "labels", "corners", "symbol_ids", "cut", "scores")
"""Fields of :class:`Page` with one entry per symbol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Position and scale of an image on the page that it was made from.

    A point ``(point_x, point_y)`` of the image is on the page at
    ``((x + point_x) / scale_x, (y + point_y) / scale_y)``.
    """

    page: PurePosixPath
    """Image file of the page."""
    x: int
    """Left edge of the image on the scaled page, in pixels."""
    y: int
    """Top edge of the image on the scaled page, in pixels."""
    scale_x: float
    """Width of the scaled page divided by the width of the page."""
    scale_y: float
    """Height of the scaled page divided by the height of the page."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Page:
    """One image and its N annotated symbols, as parallel arrays.

    A tile is a Page as well; predictions are a Page with ``scores``.

    Raises:
        ValueError: The arrays disagree in length or shape.
    """

    image: PurePosixPath
    """Image file, relative to the image folder of its data set."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    boxes_xyxy: Boxes
    """Boxes in pixels, shape ``(N, 4)``, half-open: ``x_max`` and ``y_max`` are the first pixel
    outside."""
    labels: NDArray[np.int64]
    """Class ids of the class map, shape ``(N,)``."""
    corners: Boxes | None = None
    """Corners of the oriented boxes in pixels, if the source contains them, shape ``(N, 4, 2)``."""
    symbol_ids: NDArray[np.int64] | None = None
    """Id of each symbol's annotation in the source, shape ``(N,)``."""
    cut: NDArray[np.bool_] | None = None
    """True for symbols that extend beyond the border of this tile, shape ``(N,)``."""
    scores: NDArray[np.float64] | None = None
    """Confidence of predictions, 0 to 1, shape ``(N,)``."""
    staff_space: float | None = None
    """Distance between adjacent staff lines in pixels; None for pages without a labelled staff."""
    capture: str = ""
    """How an engraved page was degraded, such as ``scan``; empty if this is unknown."""
    work: str = ""
    """Work of the page, if its image's name does not contain it, see
    :attr:`~converters.formats.AnnotationSource.works`; empty if it is unknown."""
    placement: Placement | None = None
    """Position on the original page, for tiles and scaled pages."""
    n_annotations: int | None = None
    """Number of annotations in the source, including those without a class; None if unknown."""

    def __post_init__(self) -> None:
        """Check the shapes once, so that no other code has to."""
        n = len(self.labels)
        shapes = {
            "boxes_xyxy": (n, 4),
            "corners": (n, 4, 2),
            "symbol_ids": (n,),
            "cut": (n,),
            "scores": (n,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape} to match labels, got {array.shape}"
                )

    def only(self, rows: Rows) -> "Page":
        """Return this page with a selection of its symbols.

        Args:
            rows: Mask of shape ``(N,)``, indices or slice of the symbols to keep.
        """
        arrays = {name: getattr(self, name) for name in _SYMBOL_FIELDS}
        selected = {name: array[rows] for name, array in arrays.items() if array is not None}
        return replace(self, **selected)

    def check_labels(self, n_classes: int) -> None:
        """Check that every label is a valid class id.

        Args:
            n_classes: Number of classes; valid ids are 0 to ``n_classes - 1``.

        Raises:
            ValueError: A label is out of range.
        """
        invalid = self.labels[(self.labels < 0) | (self.labels >= n_classes)]
        if len(invalid):
            raise ValueError(f"label {invalid[0]} is not one of {n_classes} classes: {self.image}")
