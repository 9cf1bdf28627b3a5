"""Division of a conversion into parts, and what determines the output of each."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from class_maps import CategoryMapping
from converters.conversion_options import ConversionOptions
from converters.files.hashes import state
from converters.formats import AnnotationSource
from converters.formats.deepscores_pages import divided
from converters.formats.deepscoresv2 import DeepScoresFile
from converters.names import source_names
from converters.opened_sources import OpenedSource, output_name
from converters.split_assignment import SplitAssignment
from converters.versions import OPENCV, TOOLKIT, code_hash, installed_versions

PART_PAGES = 1000
"""Least number of pages of a part, apart from the last one: small data sets are a single part."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PartFile:
    """An annotation file, or consecutive pages of a large one, and where the pages go."""

    file: AnnotationSource
    whole: AnnotationSource
    """The complete annotation file."""
    mapping: CategoryMapping
    folder: str
    """Folder of its images inside that of each split; empty for a single data set."""
    source: str
    """Name of the data set or folder, for the properties of pages; empty if there is only one."""
    moved: Mapping[PurePosixPath, str]
    """Split of each page that is not in the split of its file."""

    def split_of(self, image: PurePosixPath) -> str:
        """Return the split of a page."""
        return self.moved.get(image, self.file.split)

    def output_name(self, image: PurePosixPath) -> PurePosixPath:
        """Return the name in the output of an image."""
        return output_name(self.folder, image)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """Consecutive annotation files, or pages of a large one, that are converted together."""

    number: int
    """Position among the parts, from 0."""
    files: tuple[PartFile, ...]

    @property
    def n_pages(self) -> int:
        """Number of pages."""
        return sum(len(entry.file.images) for entry in self.files)

    def fingerprint(self, options: ConversionOptions) -> str:
        """Hash what determines the output, apart from the content of the annotation files.

        Images count as unchanged if their size and modification time are.
        """
        digest = hashlib.sha256(_common(options))
        for entry in self.files:
            digest.update(b"\n".join(_lines(entry, with_images=not options.labels_only)))
        return digest.hexdigest()


def plan_parts(
    sources: Sequence[OpenedSource], splits: SplitAssignment, workers: int = 1
) -> list[Part]:
    """Divide data sets into parts of at least ``PART_PAGES`` pages; there may be a smaller one.

    Args:
        sources: Data sets.
        splits: Split of each page.
        workers: Number of processes that read large files; does not change the parts.
    """
    parts: list[Part] = []
    files: list[PartFile] = []
    n_pages = 0
    for entry in _files(sources, splits, workers):
        files.append(entry)
        n_pages += len(entry.file.images)
        if n_pages >= PART_PAGES:
            parts.append(Part(number=len(parts), files=tuple(files)))
            files, n_pages = [], 0
    return [*parts, Part(number=len(parts), files=tuple(files))] if files else parts


def _files(
    sources: Sequence[OpenedSource], splits: SplitAssignment, workers: int
) -> Iterator[PartFile]:
    moved: dict[AnnotationSource, dict[PurePosixPath, str]] = {}
    for (file, image), split in splits.changed.items():
        moved.setdefault(file, {})[image] = split
    for source in sources:
        names = source_names((file.split, file.image_folder) for file in source.files)
        for file in source.files:
            for pages in _divided(file, workers):
                yield PartFile(
                    file=pages,
                    whole=file,
                    mapping=source.mapping,
                    folder=source.name,
                    source=source.name or names.get((file.split, file.image_folder), ""),
                    moved=moved.get(file, {}),
                )


def _divided(file: AnnotationSource, workers: int) -> Sequence[AnnotationSource]:
    return divided(file, PART_PAGES, workers) if isinstance(file, DeepScoresFile) else [file]


def _common(options: ConversionOptions) -> bytes:
    """Encode what determines all parts: options, class map, and code."""
    content = {
        "options": msgspec.to_builtins(options, enc_hook=_ignored_path),
        "class_map": options.class_map.sha256,
        "code": code_hash("converters"),
        "versions": installed_versions(TOOLKIT, "numpy", *OPENCV),
    }
    return msgspec.json.encode(content)


def _ignored_path(value: Any) -> str:  # noqa: ANN401
    """Leave out the path of the class map, which may be moved."""
    return "" if isinstance(value, Path) else str(value)


def _lines(entry: PartFile, *, with_images: bool) -> Iterator[bytes]:
    """Yield what determines the pages of a file, apart from its annotations."""
    file = entry.file
    mapping = (entry.mapping.annotation_set, sorted(entry.mapping.class_of.items()))
    yield msgspec.json.encode((file.path.name, entry.folder, entry.source, mapping))
    for image, size in file.images.items():
        image_state = state(file.image_folder / image) if with_images else None
        work = file.works.get(image, "")
        yield msgspec.json.encode((str(image), entry.split_of(image), size, work, image_state))
