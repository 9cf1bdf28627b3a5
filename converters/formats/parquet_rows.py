"""Rows of Parquet tables of images and symbols, and the pages that they describe.

Shapes: N symbols of a batch of images, or of one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from class_maps import CategoryMapping
from converters.boxes import Boxes, upright_corners
from converters.formats.parquet import SIDES
from converters.formats.symbol_lists import mapped_labels
from converters.page import Page, Placement
from converters.tally import Tally

if TYPE_CHECKING:
    import polars as pl  # large: imported only when tables are read


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRow:
    """A row of a table of images."""

    name: str
    """Name in the tables."""
    image: PurePosixPath
    """Name in the image folder."""
    size: tuple[int, int]
    """Width and height in pixels."""
    staff_space: float | None
    capture: str
    work: str
    placement: Placement | None
    n_symbols: int


def image_row(
    row: Mapping[str, Any],
    located: Mapping[str, tuple[PurePosixPath, int, int]],
    n_symbols: Mapping[str, int],
) -> ImageRow:
    """Convert a row.

    Args:
        row: Row of a table of images.
        located: Name on the disk, width and height of each image.
        n_symbols: Number of symbols of each image.
    """
    image, width, height = located[row["image"]]
    placed = [row[column] for column in ("page", "x", "y", "scale_x", "scale_y")]
    page, x, y, scale_x, scale_y = placed
    return ImageRow(
        name=row["image"],
        image=image,
        size=(width, height),
        staff_space=row["staff_space"],
        capture=row["capture"] or "",
        work=row["work"] or "",
        placement=None
        if None in placed
        else Placement(page=PurePosixPath(page), x=x, y=y, scale_x=scale_x, scale_y=scale_y),
        n_symbols=n_symbols.get(row["image"], 0),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SymbolColumns:
    """Columns of symbols as arrays, of which an image takes a slice."""

    numbers: Sequence[int]
    """Numbers of their rows in the tables."""
    names: Sequence[str]
    boxes_xyxy: Boxes
    corners: Boxes
    """NaN if they are missing, shape ``(N, 4, 2)``."""
    symbol_ids: NDArray[np.int64]
    """-1 if they are missing, shape ``(N,)``."""
    has_id: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    has_cut: NDArray[np.bool_]

    @classmethod
    def of(cls, table: "pl.DataFrame") -> "SymbolColumns":
        """Convert a table."""
        return cls(
            numbers=table["row"].to_list(),
            names=table["name"].to_list(),
            boxes_xyxy=table.select(SIDES).to_numpy(),
            corners=table["corners"].to_numpy().reshape(-1, 4, 2),
            symbol_ids=table["symbol_id"].fill_null(-1).to_numpy(),
            has_id=table["symbol_id"].is_not_null().to_numpy(),
            cut=table["cut"].fill_null(value=False).to_numpy(),
            has_cut=table["cut"].is_not_null().to_numpy(),
        )

    def only(self, rows: slice) -> "SymbolColumns":
        """Return the symbols of some rows."""
        return SymbolColumns(
            **{field.name: getattr(self, field.name)[rows] for field in fields(self)}
        )


NO_SYMBOLS = SymbolColumns(
    numbers=(),
    names=(),
    boxes_xyxy=np.empty((0, 4)),
    corners=np.empty((0, 4, 2)),
    symbol_ids=np.empty(0, np.int64),
    has_id=np.empty(0, np.bool_),
    cut=np.empty(0, np.bool_),
    has_cut=np.empty(0, np.bool_),
)


def page_of(
    row: ImageRow,
    symbols: SymbolColumns,
    mapping: CategoryMapping,
    labels: Mapping[str, int],
    counts: Tally,
) -> Page:
    """Return an image with its symbols; those without a class have the label -1."""
    width, height = row.size
    return Page(
        image=row.image,
        width=width,
        height=height,
        boxes_xyxy=symbols.boxes_xyxy,
        labels=mapped_labels(symbols.names, mapping, labels, counts),
        staff_space=row.staff_space,
        capture=row.capture,
        placement=row.placement,
        n_annotations=len(symbols.names),
        corners=_corners(symbols.corners, symbols.boxes_xyxy),
        symbol_ids=symbols.symbol_ids if symbols.has_id.any() else None,
        cut=symbols.cut if symbols.has_cut.any() else None,
    )


def _corners(corners: Boxes, boxes_xyxy: Boxes) -> Boxes | None:
    """Replace missing corners by those of the box; None if all are missing.

    Args:
        corners: Corners, NaN if they are missing, shape ``(N, 4, 2)``.
        boxes_xyxy: Boxes in pixels, shape ``(N, 4)``.
    """
    is_missing = np.asarray(np.isnan(corners).any(axis=(1, 2)))
    if is_missing.all():
        return None
    return np.where(is_missing[:, None, None], upright_corners(boxes_xyxy), corners)
