"""Writer of Parquet tables of symbols and images; :mod:`.parquet_source` reads them.

Tables are ``parquet/symbols_<split>/*.parquet`` and ``parquet/images_<split>/*.parquet``. They are
written in parts, so that a data set need not fit in memory. Each part is sorted by image, so that
readers skip the row groups of other images by their statistics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from class_maps import MissingExtraError
from converters.names import PARQUET_FOLDER
from converters.page import Page

if TYPE_CHECKING:
    import polars as pl  # large: imported only when tables are written

SIDES = "x_min", "y_min", "x_max", "y_max"
"""Columns of boxes, in pixels."""
ROWS_PER_PART = 500_000
"""Symbols from which a part is written."""
IMAGES_PER_PART = 20_000
"""Images from which a part is written; tiles may have few symbols."""
ROW_GROUP = 100_000
"""Rows of a row group, the smallest unit that is read: 150 dense pages."""


class ParquetWriter:
    """Collects pages and writes them in parts of about half a million symbols.

    Args:
        folder: Output folder.
        names: Names of the classes.
        images: Image file of each page that is not in the output folder.

    Raises:
        MissingExtraError: polars is not installed.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        images: Mapping[PurePosixPath, Path] | None = None,
    ) -> None:
        if find_spec("polars") is None:
            raise MissingExtraError(
                "--format parquet: needs polars, which is not installed; pip install polars, or "
                "choose another format"
            )
        self._folder, self._names = folder / PARQUET_FOLDER, list(names)
        self._images = images or {}
        self._pending: dict[str, list[Page]] = {}
        self._rows: dict[str, int] = {}
        self._parts: dict[str, int] = {}

    def add(self, split: str, page: Page) -> None:
        """Add one page, and write a part if enough symbols or images have been collected."""
        image = PurePosixPath(self._images.get(page.image, page.image))
        self._pending.setdefault(split, []).append(replace(page, image=image))
        self._rows[split] = self._rows.get(split, 0) + len(page.labels)
        is_full = len(self._pending[split]) >= IMAGES_PER_PART
        if is_full or self._rows[split] >= ROWS_PER_PART:
            self._write(split)

    def close(self) -> None:
        """Write the remaining pages."""
        for split in list(self._pending):
            self._write(split)

    def _write(self, split: str) -> None:
        pages = sorted(self._pending.pop(split), key=lambda page: page.image.as_posix())
        part = self._parts[split] = self._parts.get(split, -1) + 1
        self._rows[split] = 0
        tables = {"symbols": symbol_table(pages, self._names), "images": image_table(pages)}
        for name, table in tables.items():
            path = self._folder / f"{name}_{split}" / f"part-{part:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            buffer = BytesIO()  # polars reports a full disk as damaged data
            table.write_parquet(
                buffer, compression="zstd", statistics=True, row_group_size=ROW_GROUP
            )
            path.write_bytes(buffer.getvalue())


def symbol_table(pages: Sequence[Page], names: Sequence[str]) -> "pl.DataFrame":
    """Return a table with one row per symbol: image, id, class, boxes in pixels, and cut.

    If any page has scores, a last column contains them. Ids, corners and cut are null for the
    symbols of pages without them.
    """
    import polars as pl

    sizes = [len(page.labels) for page in pages]
    images = pl.Series([page.image.as_posix() for page in pages], dtype=pl.String)
    boxes_xyxy = np.concatenate([page.boxes_xyxy for page in pages])
    labels = np.concatenate([page.labels for page in pages])
    optional = {
        "symbol_id": _column(pages, "symbol_ids", (), 0),
        "corners": _column(pages, "corners", (4, 2), np.nan).reshape(-1, 8),
        "cut": _column(pages, "cut", (), 0).astype(bool),
    }
    is_given = {
        "symbol_id": np.repeat([page.symbol_ids is not None for page in pages], sizes),
        "corners": np.repeat([page.corners is not None for page in pages], sizes),
        "cut": np.repeat([page.cut is not None for page in pages], sizes),
    }
    has_scores = any(page.scores is not None for page in pages)
    table = pl.DataFrame(
        {
            "image": images.gather(np.repeat(np.arange(len(pages)), sizes)),
            "symbol_id": optional["symbol_id"],
            "label": labels,
            "name": pl.Series(names, dtype=pl.Enum(names)).gather(labels),
            **{side: boxes_xyxy[:, i] for i, side in enumerate(SIDES)},
            "corners": optional["corners"],
            "cut": optional["cut"],
            **({"score": _column(pages, "scores", (), np.nan)} if has_scores else {}),
        },
        schema_overrides={"corners": pl.Array(pl.Float64, 8)},
    )
    return table.with_columns(
        pl.when(pl.Series(given)).then(pl.col(name)).alias(name) for name, given in is_given.items()
    )


def image_table(pages: Sequence[Page]) -> "pl.DataFrame":
    """Return a table with one row per image: its size, and what is known of its page."""
    import polars as pl

    placements = [page.placement for page in pages]
    columns = {
        "image": ([page.image.as_posix() for page in pages], pl.String),
        "width": ([page.width for page in pages], pl.Int64),
        "height": ([page.height for page in pages], pl.Int64),
        "staff_space": ([page.staff_space for page in pages], pl.Float64),
        "capture": ([page.capture or None for page in pages], pl.String),
        "work": ([page.work or None for page in pages], pl.String),
        "page": ([p.page.as_posix() if p else None for p in placements], pl.String),
        "x": ([p.x if p else None for p in placements], pl.Int64),
        "y": ([p.y if p else None for p in placements], pl.Int64),
        "scale_x": ([p.scale_x if p else None for p in placements], pl.Float64),
        "scale_y": ([p.scale_y if p else None for p in placements], pl.Float64),
    }
    return pl.DataFrame(
        {name: values for name, (values, _) in columns.items()},
        schema={name: dtype for name, (_, dtype) in columns.items()},
    )


def _column(pages: Sequence[Page], name: str, shape: tuple[int, ...], missing: float) -> np.ndarray:
    """Concatenate a field of all pages, with a value for the symbols of pages without it."""
    return np.concatenate(
        [
            np.full((len(page.labels), *shape), missing, np.asarray(missing).dtype)
            if (array := getattr(page, name)) is None
            else array
            for page in pages
        ]
    )
