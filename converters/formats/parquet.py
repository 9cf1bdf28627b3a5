"""Writer of Parquet tables of symbols and images, for analysis with polars or pandas.

Tables are ``parquet/symbols_<split>/*.parquet`` and ``parquet/images_<split>/*.parquet``. They are
written in parts, so that a data set need not fit in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from class_maps import MissingExtraError
from converters.page import Page

if TYPE_CHECKING:
    import polars as pl  # large: imported only when tables are written

PARQUET_FOLDER = "parquet"
ROWS_PER_PART = 1_000_000


class ParquetWriter:
    """Collects pages and writes them in parts of about a million symbols.

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
        """Add one page, and write a part if enough symbols have been collected."""
        image = PurePosixPath(self._images.get(page.image, page.image))
        self._pending.setdefault(split, []).append(replace(page, image=image))
        self._rows[split] = self._rows.get(split, 0) + len(page.labels)
        if self._rows[split] >= ROWS_PER_PART:
            self._write(split)

    def close(self) -> None:
        """Write the remaining pages."""
        for split in list(self._pending):
            self._write(split)

    def _write(self, split: str) -> None:
        pages = self._pending.pop(split)
        part = self._parts[split] = self._parts.get(split, -1) + 1
        self._rows[split] = 0
        tables = {"symbols": symbol_table(pages, self._names), "images": image_table(pages)}
        for name, table in tables.items():
            path = self._folder / f"{name}_{split}" / f"part-{part:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            buffer = BytesIO()  # polars reports a full disk as damaged data
            table.write_parquet(buffer)
            path.write_bytes(buffer.getvalue())


def symbol_table(pages: Sequence[Page], names: Sequence[str]) -> "pl.DataFrame":
    """Return a table with one row per symbol: image, id, class, boxes in pixels, and cut.

    If any page has scores, a last column contains them.
    """
    import polars as pl

    sizes = [len(page.labels) for page in pages]
    boxes_xyxy = np.concatenate([page.boxes_xyxy for page in pages])
    labels = np.concatenate([page.labels for page in pages])
    corners = [_or_missing(page.corners, (len(page.labels), 4, 2), np.nan) for page in pages]
    ids = [_or_missing(page.symbol_ids, (len(page.labels),), -1) for page in pages]
    cut = [_or_missing(page.cut, (len(page.labels),), False) for page in pages]
    has_scores = any(page.scores is not None for page in pages)
    scores = [_or_missing(page.scores, (len(page.labels),), np.nan) for page in pages]
    return pl.DataFrame(
        {
            "image": np.repeat([page.image.as_posix() for page in pages], sizes),
            "symbol_id": np.concatenate(ids),
            "label": labels,
            **{
                side: boxes_xyxy[:, i]
                for i, side in enumerate(("x_min", "y_min", "x_max", "y_max"))
            },
            "corners": np.concatenate(corners).reshape(-1, 8),
            "cut": np.concatenate(cut),
            **({"score": np.concatenate(scores)} if has_scores else {}),
        },
        schema_overrides={"corners": pl.Array(pl.Float64, 8), "image": pl.String},
    ).insert_column(3, pl.Series("name", np.array(names)[labels], dtype=pl.Enum(names)))


def image_table(pages: Sequence[Page]) -> "pl.DataFrame":
    """Return a table with one row per image: size, staff space, and position on its page."""
    import polars as pl

    placements = [page.placement for page in pages]
    columns = {
        "image": ([page.image.as_posix() for page in pages], pl.String),
        "width": ([page.width for page in pages], pl.Int64),
        "height": ([page.height for page in pages], pl.Int64),
        "staff_space": ([page.staff_space for page in pages], pl.Float64),
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


def _or_missing(array: np.ndarray | None, shape: tuple[int, ...], missing: float) -> np.ndarray:
    return np.full(shape, missing) if array is None else array
