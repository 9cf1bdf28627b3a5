"""Formats of annotated data sets, one module each; this module lists them.

Main path: :func:`sources.open_source` finds the entry of :data:`READERS` that recognises a source
and opens it; writers are created from :data:`WRITERS`. A new format is a new module with a class
that implements :class:`AnnotationSource` or :class:`AnnotationWriter`, and an entry in
:data:`READERS` or :data:`WRITERS`. To let class maps refer to a new reader, add its name to
:data:`class_maps.catalogues.SOURCES` and, unless ``class_maps/`` has a JSON catalogue for it, to
:data:`~class_maps.catalogues.ANY_NAME`. Remove its suffix from :data:`sources.OTHER_SUFFIXES`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from class_maps import CategoryMapping, ConfigError, with_nearest
from converters.formats import coco, deepscoresv2, labelme, mung_source, parquet_source, voc, yolo
from converters.formats.mung import MungWriter
from converters.formats.parquet import ParquetWriter
from converters.page import Page
from converters.tally import Tally


class AnnotationSource(Protocol):
    """An opened annotation file, or one split of a folder of annotation files."""

    @property
    def path(self) -> Path:
        """The annotation file, named in error messages."""

    @property
    def state(self) -> tuple[int, int] | None:
        """State of this file before it was read, see :func:`~converters.files.hashes.state`."""

    @property
    def split(self) -> str:
        """Split of the pages: train, val or test."""

    @property
    def image_folder(self) -> Path:
        """Folder that image names are relative to."""

    @property
    def warnings(self) -> Sequence[str]:
        """Remarks on what was assumed or skipped."""

    @property
    def images(self) -> Mapping[PurePosixPath, tuple[int, int]]:
        """Width and height of each image in pixels."""

    @property
    def works(self) -> Mapping[PurePosixPath, str]:
        """Work of each image, for data sets that have it not in the names of images."""

    def categories(self, mapping: CategoryMapping) -> tuple[str, ...]:
        """Return the names of the categories in the order of their ids.

        Args:
            mapping: Specifies the annotation set, for formats with several annotation sets.
        """

    def pages(
        self,
        mapping: CategoryMapping,
        labels: Mapping[str, int],
        counts: Tally,
        *,
        clip: bool = False,
        workers: int = 1,
    ) -> Iterator[Page]:
        """Yield the pages in the order of ``images``.

        Args:
            mapping: Entry of the class map: annotation set to read, and class of each category.
            labels: Label of each class.
            counts: Receives the numbers of symbols read, and of those dropped by the reader.
            clip: Accept boxes that extend beyond the page; cleaning clips them later.
            workers: Number of processes, for formats that are decoded in parallel.

        Raises:
            InputError: The annotations are malformed or inconsistent.
        """

    def sha256(self) -> str:
        """Hash the annotations; called after all pages have been read."""


class Format(NamedTuple):
    """A format that can be read."""

    name: str
    recognises: Callable[[Path], bool]
    """Check whether a file or folder has this format; raises an InputError if it is damaged."""
    open: Callable[[Path, Path | None], Sequence[AnnotationSource]]
    """Open a file or folder: one source per annotation file or split, possibly none. The second
    path is the image folder, for annotation files that do not specify it."""


class AnnotationWriter(Protocol):
    """Writes the pages of all splits to one folder."""

    def add(self, split: str, page: Page) -> None:
        """Add one page."""

    def close(self) -> None:
        """Write everything that has not been written yet."""


READERS: dict[str, Format] = {
    "deepscoresv2": Format("deepscoresv2", deepscoresv2.recognises, deepscoresv2.open_files),
    "engraved": Format("engraved", deepscoresv2.recognises_engraved, deepscoresv2.open_files),
    "coco": Format("coco", coco.recognises, coco.open_files),
    "yolo": Format("yolo", yolo.recognises, yolo.open_splits),
    "labelme": Format("labelme", labelme.recognises, labelme.open_files),
    "muscima": Format("muscima", mung_source.recognises_muscima, mung_source.open_files),
    "doremi": Format("doremi", mung_source.recognises_doremi, mung_source.open_files),
    "mung": Format("mung", mung_source.recognises_mung, mung_source.open_files),
    "voc": Format("voc", voc.recognises, voc.open_files),
    "parquet": Format("parquet", parquet_source.recognises, parquet_source.open_files),
}
"""Formats that can be read, by name, in the order in which they are tried."""

WRITERS: dict[str, Callable[[Path, Sequence[str]], AnnotationWriter]] = {
    "yolo": yolo.YoloWriter,
    "coco": coco.CocoWriter,
    "parquet": ParquetWriter,
    "mung": MungWriter,
    "labelme": labelme.LabelmeWriter,
}
"""Writers by format; each is created with the output folder and the names of the classes."""

REFERRING_WRITERS: dict[
    str, Callable[[Path, Sequence[str], Mapping[PurePosixPath, Path]], AnnotationWriter]
] = {
    "coco": coco.CocoWriter,
    "parquet": ParquetWriter,
    "labelme": labelme.LabelmeWriter,
}
"""Writers of the formats that can refer to images elsewhere; the last argument is the image file of
each page, for pages whose image is not in the output folder."""


def check_formats(formats: Iterable[str]) -> None:
    """Check that all output formats exist.

    Raises:
        ConfigError: A format is unknown.
    """
    if unknown := set(formats) - set(WRITERS):
        raise ConfigError(
            f"unknown format: {with_nearest(unknown, WRITERS)}; expected one of "
            f"{', '.join(WRITERS)}",
            option="--format",
        )
