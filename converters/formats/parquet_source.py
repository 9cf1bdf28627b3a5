"""Reader of data sets in Parquet tables, as :mod:`.parquet` writes them.

A table of images is one source, so that large data sets are converted in parts. Its symbols are
read for a batch of images at a time. Scores of predictions are ignored.

Shapes: N symbols of a batch of images, or of one of them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from class_maps import CategoryMapping, InputError, shortened
from converters.files.hashes import sha256, state
from converters.formats.json_files import (
    LocatedImages,
    find_images,
    referenced_images,
    split_of_folder,
)
from converters.formats.parquet import ROW_GROUP
from converters.formats.parquet_rows import NO_SYMBOLS, ImageRow, SymbolColumns, image_row, page_of
from converters.formats.parquet_tables import (
    SUFFIX,
    category_names,
    check_installed,
    read_images,
    read_symbols,
    rows_per_image,
    table_files,
    tables_folder,
)
from converters.formats.symbol_lists import boxes_inside
from converters.names import IMAGE_FOLDER, PARQUET_FOLDER, checked_images, count_of
from converters.page import Page
from converters.tally import Tally

if TYPE_CHECKING:
    import polars as pl  # large: imported only when tables are read

IMAGES_PER_BATCH = 5_000
MOST_SYMBOLS = 1_000_000
"""Largest number of symbols of an image, which take 300 MB."""
LAYOUT = (
    "expected images_<split>/*.parquet and symbols_<split>/*.parquet, as `omr convert --format "
    "parquet` writes them"
)


def recognises(path: Path) -> bool:
    """Check whether a path is a Parquet file, or a folder that contains some."""
    if path.is_file():
        return path.suffix.lower() == SUFFIX
    folder = tables_folder(path)
    return any(next(folder.glob(pattern), None) for pattern in (f"*{SUFFIX}", f"*/*{SUFFIX}"))


def open_files(path: Path, images: Path | None = None) -> list["ParquetFile"]:
    """Open the tables of a data set: one source per table of images.

    Args:
        path: Folder of the data set, or its folder of tables.
        images: Folder of the images; None to search next to the tables. Absolute paths are used as
            they are if omr wrote them.

    Raises:
        InputError: A table is missing, damaged or inconsistent.
        MissingExtraError: polars is not installed.
    """
    check_installed()
    if path.is_file():
        raise InputError(f"is a single table; convert its folder; {LAYOUT}", path=path)
    folder = tables_folder(path)
    of_images, of_symbols = table_files(folder, "images"), table_files(folder, "symbols")
    if not of_images:
        raise InputError(f"no tables of images; {LAYOUT}", path=folder)
    for split in sorted(of_images.keys() ^ of_symbols.keys()):
        kind = "symbols" if split in of_images else "images"
        raise InputError(f"no tables {kind}_{split}; {LAYOUT}", path=folder)
    root = path.absolute().parent if path.absolute().name == PARQUET_FOLDER else path
    files: list[ParquetFile] = []
    for name, tables in of_images.items():
        split = split_of_folder(name) or ""
        if not split and len(of_images) > 1:
            reason = f"no split in the name images_{name}; rename it to train, val or test"
            raise InputError(reason, path=folder)
        notes = () if split else (f"images_{name}: split train, because its name contains none",)
        opened = _open_split(tables, of_symbols[name], _folders(root, name, images), images)
        files += [
            replace(file, split=split or "train", warnings=(*notes, *file.warnings))
            for file in opened
        ]
    return files


def _folders(root: Path, split: str, chosen: Path | None) -> list[Path]:
    """List the folders that may contain the images of a split, the most likely one first."""
    if chosen:
        bases = [chosen, chosen / IMAGE_FOLDER]
        return [folder for base in bases for folder in (base / split, base)]
    bases = [root / IMAGE_FOLDER, root]
    return [bases[0] / split, root / split / IMAGE_FOLDER, root / split, *bases]


@dataclass(frozen=True, kw_only=True, eq=False)
class ParquetFile:
    """A table of images and its symbols; implements :class:`~converters.formats.AnnotationSource`.

    It contains no symbols, and is pickled as it is.
    """

    path: Path
    split: str
    image_folder: Path
    warnings: Sequence[str]
    rows: Sequence[ImageRow]
    names: tuple[str, ...]
    """Names of the categories."""
    symbols: Mapping[Path, frozenset[str]]
    """Tables with symbols of these images, and the images in each."""
    states: Mapping[Path, tuple[int, int] | None]
    """State of each table before it was read, see :func:`~converters.files.hashes.state`."""

    @property
    def state(self) -> tuple[int, int] | None:
        """State of the table of images before it was read."""
        return self.states[self.path]

    @cached_property
    def images(self) -> Mapping[PurePosixPath, tuple[int, int]]:
        """Width and height of each image in pixels."""
        return {row.image: row.size for row in self.rows}

    @cached_property
    def works(self) -> Mapping[PurePosixPath, str]:
        """Work of each image whose row contains one."""
        return {row.image: row.work for row in self.rows if row.work}

    def categories(self, _mapping: CategoryMapping) -> tuple[str, ...]:
        """Return all names that the tables of symbols can contain."""
        return self.names

    def sha256(self) -> str:
        """Hash the tables.

        Raises:
            InputError: A table has changed since it was opened.
        """
        digest = hashlib.sha256()
        for file, before in self.states.items():
            digest.update(f"{file.name} {sha256(file)}\n".encode())
            if state(file) != before:
                raise InputError("changed while it was converted; convert it again", path=file)
        return digest.hexdigest()

    def pages(
        self,
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the pages in the order of the table of images.

        Args:
            mapping: Class of each name.
            labels: Label of each class.
            counts: Receives the numbers of symbols read, and of those dropped because their name
                has no class.
            clip: Accept boxes that extend beyond the image; cleaning clips them later.
            workers: Not used.

        Raises:
            InputError: A table is damaged, or contains an invalid value.
        """
        for batch, table, bounds in self.tables():
            symbols = SymbolColumns.of(table) if len(table) else NO_SYMBOLS
            for i, row in enumerate(batch):
                rows = symbols.only(slice(bounds[i], bounds[i + 1]))
                page = page_of(row, rows, mapping, labels, counts)
                places = [f"row {number}" for number in rows.numbers]
                file = next(
                    (f for f, names in self.symbols.items() if row.name in names), self.path
                )
                boxes_xyxy = boxes_inside(page.boxes_xyxy, row.size, places, file, clip=clip)
                yield replace(page, boxes_xyxy=boxes_xyxy).only(page.labels >= 0)

    def tables(self) -> Iterator[tuple[list[ImageRow], "pl.DataFrame", list[int]]]:
        """Yield batches of images, the rows of their symbols, and the first row of each image.

        The number of rows follows the first rows.

        Raises:
            InputError: A table is damaged, or contains an invalid value.
        """
        for batch in _batches(self.rows):
            yield batch, *self._symbols(batch)

    def _symbols(self, batch: Sequence[ImageRow]) -> tuple["pl.DataFrame", list[int]]:
        """Read the symbols of some images.

        Returns:
            Rows of all images, in the order of the images, and the first row of each image,
            followed by the number of rows.
        """
        import polars as pl

        positions = {row.name: i for i, row in enumerate(batch)}
        tables = [
            read_symbols(file, sorted(positions.keys() & images))
            for file, images in self.symbols.items()
            if not positions.keys().isdisjoint(images)
        ]
        if not tables:
            return pl.DataFrame({"row": []}), [0] * (len(batch) + 1)
        table = pl.concat(tables)
        image_of = np.array([positions[name] for name in table["image"].to_list()], np.int64)
        order = np.argsort(image_of, kind="stable")
        bounds = np.searchsorted(image_of[order], np.arange(len(batch) + 1))
        return table[order], bounds.tolist()


def _open_split(
    tables: Sequence[Path], symbols: Sequence[Path], folders: Sequence[Path], chosen: Path | None
) -> list[ParquetFile]:
    """Open the tables of a split; see :func:`open_files`."""
    states = {file: state(file) for file in (*tables, *symbols)}
    counts = {file: rows_per_image(file) for file in symbols}
    names = tuple(dict.fromkeys(name for file in symbols for name in category_names(file)))
    n_symbols = Counter[str]()
    for file in symbols:
        n_symbols.update(counts[file])
    rows = {file: read_images(file) for file in tables}
    _check_images(rows, counts, n_symbols)
    located = _located(rows, folders, chosen)
    opened: list[ParquetFile] = []
    for file, table in rows.items():
        images = [image_row(row, located.images, n_symbols) for row in table]
        listed = {image.name for image in images}
        shared = {s: frozenset(listed & counts[s].keys()) for s in symbols}
        of_file = {s: images_of for s, images_of in shared.items() if images_of}
        opened.append(
            ParquetFile(
                path=file,
                split="train",
                image_folder=located.folder,
                warnings=() if opened else tuple(located.warnings),
                rows=images,
                names=names,
                symbols=of_file,
                states={table: states[table] for table in (file, *of_file)},
            )
        )
    return opened


def _check_images(
    rows: Mapping[Path, Sequence[Mapping[str, Any]]],
    counts: Mapping[Path, Mapping[str, int]],
    n_symbols: Mapping[str, int],
) -> None:
    """Check that images are unique, and that each symbol has one.

    Args:
        rows: Rows of each table of images.
        counts: Symbols per image in each table of symbols.
        n_symbols: Symbols per image in all tables.
    """
    known: dict[str, Path] = {}
    for file, table in rows.items():
        for row in table:
            if known.setdefault(row["image"], file) != file:
                name, other = shortened(row["image"]), known[row["image"]].name
                raise InputError(f"duplicate image: {name} is also in {other}", path=file)
    for file, of_file in counts.items():
        if missing := [name for name in of_file if name not in known]:
            reason = f"symbols of {count_of(missing, 'image')} without a row in the table of images"
            raise InputError(f"{reason}; add the images, or remove the symbols", path=file)
        for name in of_file:
            if n_symbols[name] > MOST_SYMBOLS:
                reason = f"{n_symbols[name]:,} symbols; expected at most {MOST_SYMBOLS:,} per image"
                raise InputError(reason, path=file, where=f"image {shortened(name)}")


def _located(
    rows: Mapping[Path, Sequence[Mapping[str, Any]]], folders: Sequence[Path], chosen: Path | None
) -> LocatedImages[str]:
    """Find the images of a split by their names, or by the absolute paths of existing files."""
    first = next(iter(rows))
    names = [row["image"] for table in rows.values() for row in table]
    root = folders[-1].absolute()  # of the data set, unless a folder was chosen
    referenced = None if chosen else referenced_images(names, root / PARQUET_FOLDER / first.name)
    known_names = iter(referenced[1] if referenced else names)
    images: dict[str, tuple[PurePosixPath, int, int]] = {}
    for file, table in rows.items():
        entries = [(i, next(known_names), r["width"], r["height"]) for i, r in enumerate(table)]
        checked = checked_images(entries, file, "image", chosen, are_paths=bool(referenced))
        images |= {table[i]["image"]: image for i, image in checked.items()}
    if referenced:
        return LocatedImages(referenced[0], images, [])
    return find_images(first, images, chosen, folders)


def _batches(rows: Sequence[ImageRow]) -> Iterator[list[ImageRow]]:
    """Divide images into batches of about a row group."""
    batch: list[ImageRow] = []
    n_symbols = 0
    for row in rows:
        if batch and (n_symbols + row.n_symbols > ROW_GROUP or len(batch) == IMAGES_PER_BATCH):
            yield batch
            batch, n_symbols = [], 0
        batch.append(row)
        n_symbols += row.n_symbols
    if batch:
        yield batch
