"""Output of a conversion: files that contain whole splits, and the manifest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from class_maps import InputError
from converters.conversion_checks import (
    add_warnings,
    check_counts,
    check_unchanged,
)
from converters.conversion_options import ConversionOptions
from converters.formats import REFERRING_WRITERS, WRITERS, AnnotationSource, AnnotationWriter
from converters.formats.losses import Losses
from converters.manifest import (
    ClassMapEntry,
    ConversionEntry,
    DataSetEntry,
    ManifestBuilder,
    OptionsEntry,
    SourceEntry,
)
from converters.opened_sources import OpenedSource
from converters.parts.making import PartsMade
from converters.parts.plan import Part
from converters.prepare.preparation import PreparedPage
from converters.split_assignment import SplitAssignment


class SheetWriter(Protocol):
    """Writes contact sheets of a data set."""

    def add(self, page: PreparedPage) -> None:
        """Add the candidates of a page."""

    def write(self, folder: Path) -> None:
        """Write the sheets to the folder of the complete data set; must not raise an error."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OpenedData:
    """Opened data sets, checked and divided into parts."""

    sources: Sequence[OpenedSource]
    files: Sequence[AnnotationSource]
    splits: SplitAssignment
    parts: Sequence[Part]
    remarks: Sequence[str]
    """Warnings about images."""

    @property
    def split_names(self) -> list[str]:
        """The splits that have pages."""
        return sorted({self.splits.of(file, i) for file in self.files for i in file.images})


def write_pages(
    pages: Iterable[PreparedPage],
    folder: Path,
    opened: OpenedData,
    manifest: ManifestBuilder,
    options: ConversionOptions,
    losses: Losses,
    sheets: SheetWriter | None,
) -> None:
    """Add pages to the files of all formats; the label files of YOLO have been written already."""
    writers = _writers(folder, opened.sources, options)
    for page in pages:
        for output in page.outputs:
            losses.add(output)
            for writer in writers:
                writer.add(page.split, output)
        manifest.add(page)
        if sheets:
            sheets.add(page)
    for writer in writers:
        writer.close()


def _writers(
    folder: Path, sources: Sequence[OpenedSource], options: ConversionOptions
) -> list[AnnotationWriter]:
    """Create the writers of all formats.

    Raises:
        InputError: Images are referred to, and two of different splits have the same name.
    """
    names = options.class_map.names
    if options.image_mode != "reference":
        return [WRITERS[name](folder, names) for name in options.formats]
    files: dict[PurePosixPath, Path] = {}
    for source in sources:
        for file in source.files:
            for image in file.images:
                path = file.image_folder.absolute() / image
                other = files.setdefault(source.output_name(image), path)
                if other != path:
                    reason = (
                        f"has the same name as {other}; use --images link, or rename one of them"
                    )
                    raise InputError(reason, path=path)
    return [REFERRING_WRITERS[name](folder, names, files) for name in options.formats]


def write_manifest(
    folder: Path,
    opened: OpenedData,
    manifest: ManifestBuilder,
    made: PartsMade,
    options: ConversionOptions,
    losses: Losses,
) -> None:
    """Check the counts of a conversion, and that its inputs are unchanged; write both down."""
    check_counts(manifest, opened.sources, options.class_map.name)
    add_warnings(manifest, opened.sources, opened.splits, options)
    manifest.counts.warnings += losses.remarks()
    entries = [_data_set(source, made.sha256) for source in opened.sources]
    check_unchanged(opened.files)
    manifest.write(folder, _conversion_entry(entries, options))


def _data_set(source: OpenedSource, sha256: Mapping[AnnotationSource, str]) -> DataSetEntry:
    """Describe a data set for the manifest; annotation files without a known hash are read."""
    return DataSetEntry(
        name=source.name,
        format=source.format_name,
        annotation_set=source.mapping.annotation_set,
        files=tuple(
            SourceEntry(
                name=file.path.name,
                bytes=file.path.stat().st_size,
                sha256=sha256.get(file) or file.sha256(),
                split=file.split,
                pages=len(file.images),
            )
            for file in source.files
        ),
        unlabelled=source.mapping.unlabelled,
    )


def _conversion_entry(
    data_sets: Sequence[DataSetEntry], options: ConversionOptions
) -> ConversionEntry:
    """Describe the inputs and options of a conversion for the manifest."""
    preparation, class_map = options.preparation, options.class_map
    formats = sorted({data_set.format for data_set in data_sets})
    annotation_sets = {data_set.annotation_set for data_set in data_sets}
    unlabelled = [
        name
        for name in data_sets[0].unlabelled
        if all(name in data_set.unlabelled for data_set in data_sets)
    ]
    return ConversionEntry(
        source="+".join(formats),
        annotation_set=annotation_sets.pop() if len(annotation_sets) == 1 else None,
        files=tuple(file for data_set in data_sets for file in data_set.files),
        class_map=ClassMapEntry(
            name=class_map.name, sha256=class_map.sha256, unlabelled=tuple(unlabelled)
        ),
        options=OptionsEntry(
            formats=options.formats,
            cleaning=preparation.cleaning,
            staff_space=preparation.staff_space,
            tiles=preparation.tiles,
            val=options.val,
            split_by=options.split_by,
            seed=options.seed,
            labels_only=options.labels_only,
            images=options.image_mode,
        ),
        data_sets=tuple(data_sets) if len(data_sets) > 1 else (),
    )
