"""Conversion of data sets: every symbol that is read is either written or counted as dropped."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from class_maps import InputError
from converters.conversion_checks import (
    add_warnings,
    check_counts,
    check_images,
    check_unchanged,
)
from converters.conversion_options import ConversionOptions
from converters.files.atomic_folder import atomic_folder
from converters.files.overwriting import check_inputs
from converters.files.process_pool import in_order, warm_up
from converters.formats import REFERRING_WRITERS, WRITERS, AnnotationSource, AnnotationWriter
from converters.formats.losses import Losses
from converters.images import CORRECT_FOLDER, NAME_FOLDER
from converters.manifest import (
    ClassMapEntry,
    ConversionEntry,
    DataSetEntry,
    ManifestBuilder,
    OptionsEntry,
    SourceEntry,
)
from converters.names import IMAGE_FOLDER, LABELS, source_names
from converters.opened_sources import OpenedSource, open_all
from converters.prepare.preparation import Job, PreparedPage, prepare
from converters.split_assignment import SplitAssignment, assign_splits

__all__ = ["ConversionOptions", "Track", "convert"]


class Track(Protocol):
    """Progress display."""

    def __call__(self, pages: Iterable[PreparedPage], total: int) -> Iterable[PreparedPage]:
        """Yield each of ``total`` pages unchanged."""


def _untracked(pages: Iterable[PreparedPage], total: int) -> Iterable[PreparedPage]:
    return pages


def convert(
    source: Path | Sequence[Path],
    target: Path,
    options: ConversionOptions,
    *,
    source_format: str | None = None,
    images: Path | None = None,
    workers: int = 1,
    force: bool = False,
    track: Track = _untracked,
) -> dict[str, Any]:
    """Convert data sets to one; ``target`` appears only after everything has been written.

    Args:
        source: Folder or file of annotations, or several of them. The images of each of several
            data sets are in a folder of their own, see :mod:`converters.opened_sources`.
        target: Folder to create.
        options: Everything that determines the output.
        source_format: Format of the source, one of :data:`converters.formats.READERS`; None to
            detect it.
        images: Folder of the images that JSON files name; None to find it, see
            :func:`~converters.formats.json_files.find_images`.
        workers: Number of worker processes; does not change the bytes written.
        force: Whether to replace ``target`` if omr created it.
        track: Progress display.

    Returns:
        The counts in the manifest.

    Raises:
        OmrError: The source, the options or the target is invalid, or writing failed.
    """
    paths, class_map = [source] if isinstance(source, Path) else list(source), options.class_map
    folder_to_fill = atomic_folder(target, force=force, inputs=(*paths, class_map.path))
    with folder_to_fill as folder:
        warm_up(workers, "converters.prepare.preparation")
        sources = open_all(
            paths,
            class_map,
            source_format=source_format,
            images=images,
            annotation_set=options.annotation_set,
        )
        files = [file for opened in sources for file in opened.files]
        splits = assign_splits(sources, options)
        remarks = check_images(sources, splits, options, CORRECT_FOLDER if images else NAME_FOLDER)
        check_inputs(target, _inputs(files))
        manifest = ManifestBuilder(names=class_map.names)
        manifest.counts.warnings += remarks
        writers, losses = _writers(folder, sources, options), Losses(options.formats)
        jobs = _jobs(sources, splits, options, manifest, folder, workers)
        n_pages = sum(len(file.images) for file in files)
        with closing(in_order(prepare, jobs, workers)) as prepared_pages:
            for prepared_page in track(prepared_pages, n_pages):  # prepared as the loop asks for it
                for page in prepared_page.outputs:
                    losses.add(page)
                    for writer in writers:  # label files of YOLO were written by prepare
                        writer.add(prepared_page.split, page)
                manifest.add(prepared_page)
        check_counts(manifest, sources, class_map.name)
        for writer in writers:
            writer.close()
        add_warnings(manifest, sources, splits, options)
        manifest.counts.warnings += losses.remarks()
        entries = [_data_set(opened) for opened in sources]
        check_unchanged(files)
        manifest.write(folder, _conversion_entry(entries, options))
    return manifest.summary()


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


def _inputs(files: Sequence[AnnotationSource]) -> Iterator[Path]:
    """Yield the annotation files and images of a data set."""
    for file in files:
        yield file.path
        yield from (file.image_folder / image for image in file.images)


def _jobs(
    sources: Sequence[OpenedSource],
    splits: SplitAssignment,
    options: ConversionOptions,
    manifest: ManifestBuilder,
    folder: Path,
    workers: int,
) -> Iterator[Job]:
    labels, clip = options.class_map.labels, options.preparation.cleaning.clip
    folders: dict[str, tuple[Path | None, Path | None]] = {}
    for source in sources:
        names = source_names((file.split, file.image_folder) for file in source.files)
        for file in source.files:
            pages = file.pages(source.mapping, labels, manifest.counts, clip=clip, workers=workers)
            for page in pages:
                split = splits.of(file, page.image)
                if split not in folders:
                    folders[split] = _folders(folder, split, options)
                image_out, label_out = folders[split]
                yield Job(
                    page=replace(page, image=source.output_name(page.image)),
                    image=page.image,
                    split=split,
                    source=source.name or names.get((file.split, file.image_folder), ""),
                    work=file.works.get(page.image, ""),
                    image_folder=None if options.labels_only else file.image_folder.absolute(),
                    image_out=image_out,
                    image_mode=options.image_mode,
                    label_out=label_out,
                    return_symbols=set(options.formats) != {"yolo"},
                    names=options.class_map.names,
                    options=options.preparation,
                )


def _folders(
    folder: Path, split: str, options: ConversionOptions
) -> tuple[Path | None, Path | None]:
    """Create the output folders of a split's images and label files; None if not needed."""
    root = folder.absolute()  # a worker may have a different working directory
    has_images = not options.labels_only and options.image_mode != "reference"
    image_out = root / IMAGE_FOLDER / split if has_images else None
    label_out = root / LABELS / split if "yolo" in options.formats else None
    for out in filter(None, (image_out, label_out)):
        out.mkdir(parents=True)
    return image_out, label_out


def _data_set(source: OpenedSource) -> DataSetEntry:
    """Describe a data set for the manifest; called after all its pages have been read."""
    return DataSetEntry(
        name=source.name,
        format=source.format_name,
        annotation_set=source.mapping.annotation_set,
        files=tuple(
            SourceEntry(
                name=file.path.name,
                bytes=file.path.stat().st_size,
                sha256=file.sha256(),
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
