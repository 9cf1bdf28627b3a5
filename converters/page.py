"""The one in-memory form that every reader returns and every writer takes."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from converters.boxes import Boxes


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where an image lies on the page that it was made from.

    A point of the image is on the page at ``((x + point_x) / scale_x, (y + point_y) / scale_y)``.
    """

    page: PurePosixPath
    """Image file of the page."""
    x: int
    """Pixels of the scaled page, left of the image."""
    y: int
    """Pixels of the scaled page, above the image."""
    scale_x: float
    """Pixels of the scaled page for one of the page."""
    scale_y: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Page:
    """One image and its N annotated symbols, as parallel arrays.

    A tile is a Page too; a prediction is a Page with ``scores``.

    Raises:
        ValueError: The arrays disagree in length or shape.
    """

    image: PurePosixPath
    """Image file, relative to the image folder of its data set."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    boxes_xyxy: Boxes
    """Shape ``(N, 4)``, pixels, half open: ``x_max`` and ``y_max`` are the first pixel outside."""
    labels: NDArray[np.int64]
    """Shape ``(N,)``, ids of the class map."""
    corners: Boxes | None = None
    """Shape ``(N, 4, 2)``: the oriented boxes' corners in pixels, where the source has them."""
    symbol_ids: NDArray[np.int64] | None = None
    """Shape ``(N,)``: the annotation of the source that each symbol came from."""
    cut: NDArray[np.bool_] | None = None
    """Shape ``(N,)``: True where a symbol goes on beyond the border of this tile."""
    scores: NDArray[np.float64] | None = None
    """Shape ``(N,)``, 0 to 1, for predictions."""
    staff_space: float | None = None
    """Pixels from staff line to staff line; None where the page has no labelled staff."""
    placement: Placement | None = None
    """For tiles and scaled pages: where they come from."""
    n_annotations: int | None = None
    """Annotations that the source has for it, those without a class included, where it says."""

    def __post_init__(self) -> None:
        """Check the shapes once, so that nobody else has to."""
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

    def check_labels(self, n_classes: int) -> None:
        """Make sure that every label is one of ``n_classes``.

        Raises:
            ValueError: One is not.
        """
        strange = self.labels[(self.labels < 0) | (self.labels >= n_classes)]
        if len(strange):
            raise ValueError(f"label {strange[0]} is not one of {n_classes} classes: {self.image}")
