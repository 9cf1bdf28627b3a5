"""Reader of predictions in Parquet tables, as ``omr predict --format parquet`` writes them.

A table of symbols has a row for each of N predictions, a table of images one for each image, see
:mod:`converters.formats.parquet`. Without a table of images, their sizes are unknown.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from class_maps import InputError, MissingExtraError, listed, shortened
from converters.formats.parquet import SIDES
from converters.formats.parquet_tables import check_rows, collected
from omr.scoring.named_predictions import NamedSymbols, class_names, labelled_images
from omr.scoring.predicted_images import PredictionSet
from omr.scoring.protocol import ScoredSource, hash_of_files

if TYPE_CHECKING:
    import polars as pl  # large: imported only when tables are read

SYMBOLS = "image", "name", *SIDES, "score"
"""Columns of a table of symbols."""
IMAGES = "image", "width", "height"
"""Columns of a table of images."""
TEXTS = "image", "name"
MAX_ROWS = 5_000_000
"""Maximum number of rows: a table of 1 KB can have any number of equal ones."""
Sizes: TypeAlias = dict[str, tuple[Path, tuple[int, int]]]
"""File of each image, and its width and height in pixels, by name."""


def read_parquet(path: Path, files: Sequence[Path], data_names: Sequence[str]) -> PredictionSet:
    """Read predictions in tables of symbols, and the sizes of images in tables of images.

    Args:
        path: Folder of the files, or the only file.
        files: Files to read.
        data_names: Class names of the data set.

    Raises:
        InputError: A file is damaged, lacks a column, or contains an invalid value.
        MissingExtraError: polars is not installed.
    """
    if find_spec("polars") is None:
        raise MissingExtraError(
            "reading Parquet needs polars, which is not installed; pip install polars"
        )
    tables = {file: _table(file) for file in files}
    symbol_tables = {file: table for file, table in tables.items() if not _is_of_images(table)}
    sizes = _sizes({file: table for file, table in tables.items() if file not in symbol_tables})
    images = [i for file, table in symbol_tables.items() for i in _images(table, file, sizes)]
    named = {image.name for image in images}
    empty = [_empty(name, file, size) for name, (file, size) in sizes.items() if name not in named]
    root = path if path.is_dir() else path.parent
    digest = hash_of_files(files, root)
    names = _names(symbol_tables.values()) or class_names(path, images, data_names)
    return PredictionSet(
        path=path,
        source=ScoredSource(kind="parquet", name=path.resolve().name, sha256=digest),
        names=names,
        images=labelled_images([*images, *empty], path, names),
        is_complete=bool(sizes),
    )


def _table(file: Path) -> "pl.DataFrame":
    """Read a table of images or symbols.

    Raises:
        InputError: The file is damaged, lacks a column, or has a column of another type.
    """
    import polars as pl

    lazy = pl.scan_parquet(file, glob=False)
    check_rows(collected(lazy.select(pl.len()), file).item(), MAX_ROWS, file)
    table = collected(lazy, file)
    columns = IMAGES if _is_of_images(table) else SYMBOLS
    if missing := [column for column in columns if column not in table.columns]:
        remedy = "; expected predictions" if missing == ["score"] else ""
        raise InputError(f"no column {listed(missing)}{remedy}", path=file)
    for column in columns:
        expected = "text" if column in TEXTS else "numbers"
        dtype = table.schema[column]
        is_text = dtype in (pl.String, pl.Enum, pl.Categorical)
        if not (is_text if column in TEXTS else dtype.is_numeric()):
            raise InputError(f"expected {expected}, got {dtype}", path=file, where=column)
        if table[column].null_count():
            raise InputError("contains missing values", path=file, where=column)
    return table


def _is_of_images(table: "pl.DataFrame") -> bool:
    return {"width", "height"} <= set(table.columns)


def _images(table: "pl.DataFrame", file: Path, sizes: Sizes) -> Iterator[NamedSymbols]:
    """Yield the predictions for each image of a table of symbols."""
    image_of = table["image"].cast(str).to_numpy()  # (N,)
    boxes_xyxy = table.select(SIDES).to_numpy().astype(np.float64)  # (N, 4)
    classes = table["name"].cast(str).to_numpy()  # (N,)
    scores = table["score"].to_numpy().astype(np.float64)  # (N,)
    names, groups = np.unique(image_of, return_inverse=True)
    order = np.argsort(groups, kind="stable")
    ends = np.bincount(groups, minlength=len(names)).cumsum()
    for name, rows in zip(names.tolist(), np.split(order, ends[:-1]), strict=True):
        yield NamedSymbols(
            name=name,
            file=file,
            boxes_xyxy=boxes_xyxy[rows],
            classes=classes[rows].tolist(),
            scores=scores[rows],
            where=[f"row {row + 1}" for row in rows.tolist()],
            size=sizes[name][1] if name in sizes else None,
        )


def _sizes(tables: Mapping[Path, "pl.DataFrame"]) -> Sizes:
    """Return the sizes of all images.

    Raises:
        InputError: An image is a duplicate.
    """
    sizes: Sizes = {}
    for file, table in tables.items():
        rows = zip(table["image"].cast(str), table["width"], table["height"], strict=True)
        for name, width, height in rows:
            if name in sizes:
                raise InputError(f"duplicate image: {shortened(name)}", path=file)
            sizes[name] = file, (int(width), int(height))
    return sizes


def _empty(name: str, file: Path, size: tuple[int, int]) -> NamedSymbols:
    return NamedSymbols(
        name=name,
        file=file,
        boxes_xyxy=np.empty((0, 4)),
        classes=(),
        scores=np.empty(0),
        where=(),
        size=size,
    )


def _names(tables: Iterable["pl.DataFrame"]) -> tuple[str, ...]:
    """Return all classes that the columns ``name`` can contain; empty if they hold any text."""
    import polars as pl

    names: dict[str, None] = {}
    for table in tables:
        dtype = table.schema["name"]
        if not isinstance(dtype, pl.Enum):
            return ()
        names |= dict.fromkeys(dtype.categories.to_list())
    return tuple(names)
