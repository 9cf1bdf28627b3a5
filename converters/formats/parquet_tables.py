"""Parquet tables of a data set: their files and columns, and errors in them.

Tables are read lazily: a query fetches the columns and row groups that it needs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from class_maps import InputError, MissingExtraError, listed, shortened
from converters.formats.parquet import SIDES
from converters.names import PARQUET_FOLDER

if TYPE_CHECKING:
    import polars as pl  # large: imported only when tables are read

SUFFIX = ".parquet"
MAX_ROWS = 20_000_000
"""Maximum number of rows of a file: a table of 1 KB can have any number of equal ones."""
MAX_IMAGES = 1_000_000
"""Maximum number of rows of a table of images, which are in memory at the same time."""
MAX_TEXT_BYTES = 4096
"""Maximum length of a name, or of an absolute path."""
TEXT, NUMBER, WHOLE, CORNERS, FLAG = (
    "text",
    "numbers",
    "whole numbers",
    "8 numbers",
    "true or false",
)
"""Kinds of columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Columns of a kind of table; all others are ignored."""

    required: Mapping[str, str]
    """Kind of each column that must be there and has no missing values."""
    optional: Mapping[str, str]


IMAGES = Columns(
    required={"image": TEXT, "width": WHOLE, "height": WHOLE},
    optional={
        "staff_space": NUMBER,
        "capture": TEXT,
        "work": TEXT,
        "page": TEXT,
        "x": WHOLE,
        "y": WHOLE,
        "scale_x": NUMBER,
        "scale_y": NUMBER,
    },
)
SYMBOLS = Columns(
    required={"image": TEXT, "name": TEXT, **dict.fromkeys(SIDES, NUMBER)},
    optional={"symbol_id": WHOLE, "corners": CORNERS, "cut": FLAG},
)


def check_installed() -> None:
    """Check that polars is installed.

    Raises:
        MissingExtraError: It is not.
    """
    if find_spec("polars") is None:
        raise MissingExtraError(
            "reading Parquet needs polars, which is not installed; pip install polars"
        )


def tables_folder(path: Path) -> Path:
    """Return the folder of the tables of a data set, or the path itself."""
    return path / PARQUET_FOLDER if (path / PARQUET_FOLDER).is_dir() else path


def table_files(folder: Path, kind: str) -> dict[str, list[Path]]:
    """List the files ``<kind>_<split>/*.parquet`` and ``<kind>_<split>.parquet`` by split.

    Args:
        folder: Folder of the tables.
        kind: ``images`` or ``symbols``.

    Raises:
        InputError: A file is a pipe or a device.
    """
    files: dict[str, list[Path]] = {}
    for entry in sorted(folder.glob(f"{kind}_*")):
        split = entry.name.removeprefix(f"{kind}_").removesuffix(SUFFIX)
        parts = sorted(p for p in entry.glob(f"*{SUFFIX}") if p.name[0] not in "._")
        if parts or (entry.suffix == SUFFIX and not entry.is_dir()):
            files.setdefault(split, []).extend(parts or [entry])
    for file in (file for of_split in files.values() for file in of_split):
        if not file.is_file():  # a pipe would be waited for
            raise InputError("is not a regular file", path=file)
    return files


def lazy_table(file: Path, columns: Columns) -> "pl.LazyFrame":
    """Open a table with its rows numbered from 1 in ``row``, and missing columns added as null.

    Raises:
        InputError: The file is damaged, lacks a column, or has a column of another type.
    """
    import polars as pl

    lazy = pl.scan_parquet(file, glob=False, row_index_name="row", row_index_offset=1)
    schema = dict(collected(lazy.limit(0), file).schema)
    check_rows(collected(lazy.select(pl.len()), file).item(), MAX_ROWS, file)
    if missing := [column for column in columns.required if column not in schema]:
        raise InputError(
            f"no column {listed(missing)}; expected a table that `omr convert --format parquet` "
            "writes",
            path=file,
        )
    kinds = {**columns.required, **columns.optional}
    return lazy.select(
        pl.col("row"),
        *(
            _as_kind(column, kind, schema.get(column, pl.Null()), file)
            for column, kind in kinds.items()
        ),
    )


def _as_kind(column: str, kind: str, dtype: "pl.DataType", file: Path) -> "pl.Expr":
    """Return a column as the only type of its kind.

    Raises:
        InputError: It has a type of another kind.
    """
    import polars as pl

    types = {
        TEXT: pl.String(),
        NUMBER: pl.Float64(),
        WHOLE: pl.Int64(),
        CORNERS: pl.Array(pl.Float64, 8),
        FLAG: pl.Boolean(),
    }
    is_valid = {
        TEXT: dtype in (pl.String, pl.Enum, pl.Categorical),
        NUMBER: dtype.is_numeric(),
        WHOLE: dtype.is_integer(),
        CORNERS: _has_numbers(dtype),
        FLAG: dtype == pl.Boolean,
    }
    if dtype == pl.Null:
        return pl.lit(None, types[kind]).alias(column)
    if not is_valid[kind]:
        raise InputError(f"expected {kind}, got {shortened(str(dtype))}", path=file, where=column)
    if dtype == types[kind]:
        return pl.col(column)  # statistics apply only to a column as it is in the file
    if isinstance(dtype, pl.List):
        return pl.col(column).cast(pl.List(pl.Float64)).list.to_array(8)
    return pl.col(column).cast(types[kind])


def _has_numbers(dtype: "pl.DataType") -> bool:
    """Check whether a column has lists of 8 numbers, or lists whose length is known only later."""
    import polars as pl

    is_long = isinstance(dtype, pl.List) or (isinstance(dtype, pl.Array) and dtype.size == 8)
    inner = getattr(dtype, "inner", None)
    return is_long and inner is not None and inner.is_numeric()


def collected(lazy: "pl.LazyFrame", file: Path) -> "pl.DataFrame":
    """Execute a query of one file.

    Raises:
        InputError: The file cannot be read, is damaged, or has a value of another type.
    """
    import polars as pl

    try:
        return lazy.collect()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"cannot be read: {reason}", path=file) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = shortened(str(error).partition("\n")[0])
        raise InputError(f"is not a valid Parquet file: {reason}", path=file) from error


def check_rows(n_rows: int, most: int, file: Path) -> None:
    """Check the number of rows.

    Raises:
        InputError: There are too many.
    """
    if n_rows > most:
        raise InputError(f"has {n_rows:,} rows; expected at most {most:,}, divide it", path=file)


def check_lengths(names: Iterable[str], column: str, file: Path) -> None:
    """Check that names are short enough to be repeated in memory for every row.

    Raises:
        InputError: A name is too long.
    """
    for name in names:
        if len(name) > MAX_TEXT_BYTES:
            reason = f"text of {len(name):,} characters; expected at most {MAX_TEXT_BYTES:,}"
            raise InputError(reason, path=file, where=column)


def check_complete(table: "pl.DataFrame", columns: Sequence[str], file: Path) -> None:
    """Check that columns have no missing values.

    Raises:
        InputError: A value is missing.
    """
    for column in columns:
        if table[column].null_count():
            row = table["row"].to_list()[table[column].is_null().arg_max() or 0]
            raise InputError("missing value", path=file, where=f"row {row}, {column}")


def category_names(file: Path) -> tuple[str, ...]:
    """Return all names that the column ``name`` can contain, or else those that it contains.

    Raises:
        InputError: The file is damaged, or a name is too long.
    """
    import polars as pl

    lazy = pl.scan_parquet(file, glob=False).select("name")
    dtype = collected(lazy.limit(0), file).schema["name"]
    if isinstance(dtype, pl.Enum):
        names = dtype.categories.to_list()
    else:
        unique = collected(lazy.select(pl.col("name").cast(pl.String).unique()), file)["name"]
        names = sorted(unique.drop_nulls().to_list())
    check_lengths(names, "name", file)
    return tuple(names)


def rows_per_image(file: Path) -> dict[str, int]:
    """Count the symbols of each image in a table of symbols.

    Raises:
        InputError: The file is damaged, or a name is missing.
    """
    import polars as pl

    lazy = lazy_table(file, SYMBOLS).group_by("image").agg(pl.len(), pl.col("row").min())
    table = collected(lazy.sort("row"), file)
    check_complete(table, ["image"], file)
    return dict(zip(table["image"].to_list(), table["len"].to_list(), strict=True))


def read_images(file: Path) -> list[dict[str, Any]]:
    """Read a table of images.

    Raises:
        InputError: The file is damaged, or contains an invalid value.
    """
    import polars as pl

    lazy = lazy_table(file, IMAGES)
    check_rows(collected(lazy.select(pl.len()), file).item(), MAX_IMAGES, file)
    table = collected(lazy, file)
    for column in ("image", "capture", "work", "page"):
        check_lengths(table[column].drop_nulls().unique().to_list(), column, file)
    check_complete(table, list(IMAGES.required), file)
    for column in ("staff_space", "scale_x", "scale_y"):
        invalid = table.filter(~((table[column] > 0) & table[column].is_finite()))
        if len(invalid):
            where = f"row {invalid['row'][0]}, {column}"
            raise InputError(f"expected above 0, got {invalid[column][0]}", path=file, where=where)
    return table.to_dicts()


def read_symbols(file: Path, images: Sequence[str]) -> "pl.DataFrame":
    """Read the symbols of some images from a table, and check them.

    Args:
        file: Table of symbols.
        images: Names of images, sorted.

    Raises:
        InputError: The file is damaged, or contains an invalid value.
    """
    import polars as pl

    name = pl.col("image")
    # polars skips row groups by the range
    in_range = name.is_between(pl.lit(images[0]), pl.lit(images[-1]))
    lazy = lazy_table(file, SYMBOLS).filter(in_range & name.is_in(images))
    table = collected(lazy, file)
    check_complete(table, list(SYMBOLS.required), file)
    boxes_xyxy = table.select(SIDES).to_numpy()
    corners = table["corners"].to_numpy()
    for invalid, problem in (
        (~np.isfinite(boxes_xyxy).all(axis=1), "box with NaN or Inf"),
        ((boxes_xyxy[:, 2:] < boxes_xyxy[:, :2]).any(axis=1), "negative width or height"),
        (np.isinf(corners).any(axis=1), "corners with Inf"),
    ):
        if invalid.any():
            raise InputError(
                problem, path=file, where=f"row {table['row'][int(np.argmax(invalid))]}"
            )
    return table
