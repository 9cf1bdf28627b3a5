"""Conversion of a data set: every symbol that is read is either written or counted as dropped."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from class_maps import CategoryMapping, ClassMap, ConfigError, InputError, shortened
from converters import tally
from converters.files.atomic_folder import atomic_folder
from converters.files.hashes import sha256, state
from converters.files.overwriting import check_inputs
from converters.files.process_pool import in_order, warm_up
from converters.formats import WRITERS, AnnotationSource, check_formats
from converters.formats.image_folders import several_frames
from converters.formats.sources import open_source
from converters.images import CORRECT_FOLDER, NAME_FOLDER, check_size
from converters.manifest import (
    ClassMapEntry,
    ConversionEntry,
    ManifestBuilder,
    OptionsEntry,
    SourceEntry,
)
from converters.names import IMAGE_FOLDER, LABELS, MAX_NAME_BYTES, page_of, source_names, work_of
from converters.prepare.preparation import Job, PreparationOptions, PreparedPage, prepare
from converters.prepare.splits import (
    SplitBy,
    described_twice,
    group_of,
    held_out,
    shared_works,
    split_advice,
)
from converters.prepare.tiles import tile_name

MOST_DOUBTS = 3
"""Maximum number of pages whose measured staff space is reported as doubtful."""


class Track(Protocol):
    """Progress display."""

    def __call__(self, pages: Iterable[PreparedPage], total: int) -> Iterable[PreparedPage]:
        """Yield each of ``total`` pages unchanged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionOptions:
    """Everything that determines the output; the number of workers does not."""

    class_map: ClassMap
    formats: tuple[str, ...] = ("yolo",)
    """Output formats, see :data:`converters.formats.WRITERS`."""
    annotation_set: str | None = None
    """Annotation set to read; None to use the class map's."""
    preparation: PreparationOptions = field(default_factory=PreparationOptions)
    val: float = 0.0
    """Fraction of the training pages to hold out."""
    split_by: SplitBy = "work"
    """Unit that is never divided between train and val: a work or a page."""
    seed: int = 0
    """Seed for choosing the pages to hold out."""
    labels_only: bool = False
    """Whether to write labels only, without reading or writing images."""

    def __post_init__(self) -> None:
        """Reject unknown formats and invalid fractions."""
        check_formats(self.formats)
        if not 0 <= self.val < 1:
            raise ConfigError(
                "expected a fraction of at least 0 and below 1",
                option="--val",
                value=f"{self.val:g}",
            )


def _untracked(pages: Iterable[PreparedPage], total: int) -> Iterable[PreparedPage]:
    return pages


def convert(
    source: Path,
    target: Path,
    options: ConversionOptions,
    *,
    source_format: str | None = None,
    images: Path | None = None,
    workers: int = 1,
    force: bool = False,
    track: Track = _untracked,
) -> dict[str, Any]:
    """Convert a data set; ``target`` appears only after everything has been written.

    Args:
        source: Folder or file of annotations.
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
    inputs = source, options.class_map.path
    folder_to_fill = atomic_folder(target, force=force, inputs=inputs)
    with folder_to_fill as folder:
        warm_up(workers, "converters.prepare.preparation")
        format_name, files = open_source(source, source_format, images)
        mapping = options.class_map.source(format_name, options.annotation_set)
        val = _held_out(files, options)
        missing_remedy = CORRECT_FOLDER if images else NAME_FOLDER
        remarks = _check_images(files, val, options, missing_remedy)
        check_inputs(target, _inputs(files))
        manifest = ManifestBuilder(names=options.class_map.names)
        manifest.counts.warnings += remarks
        writers = [WRITERS[name](folder, options.class_map.names) for name in options.formats]
        jobs = _jobs(files, mapping, val, options, manifest, folder, workers)
        n_pages = sum(len(file.images) for file in files)
        with closing(in_order(prepare, jobs, workers)) as prepared_pages:
            for prepared_page in track(prepared_pages, n_pages):  # prepared as the loop asks for it
                for page in prepared_page.outputs:
                    for writer in writers:  # label files of YOLO were written by prepare
                        writer.add(prepared_page.split, page)
                manifest.add(prepared_page)
        _check_counts(manifest, source, files, options.class_map.name, mapping)
        for writer in writers:
            writer.close()
        _add_warnings(manifest, files, val, options, mapping)
        digests = [file.sha256() for file in files]
        _check_unchanged(files)
        class_map = ClassMapEntry(
            name=options.class_map.name,
            sha256=options.class_map.sha256,
            unlabelled=mapping.unlabelled,
        )
        entry = _conversion_entry(format_name, mapping, files, digests, class_map, options)
        manifest.write(folder, entry)
    return manifest.summary()


def _inputs(files: Sequence[AnnotationSource]) -> Iterator[Path]:
    """Yield the annotation files and images of a data set."""
    for file in files:
        yield file.path
        yield from (file.image_folder / image for image in file.images)


def _check_unchanged(files: Sequence[AnnotationSource]) -> None:
    """Check that the annotation files are those that were read, because their hash is recorded."""
    for file in files:
        if file.state != state(file.path):
            raise InputError("changed while it was converted; convert it again", path=file.path)


def _check_images(
    files: Sequence[AnnotationSource],
    val: frozenset[str],
    options: ConversionOptions,
    remedy: str,
) -> list[str]:
    """Check the names and sizes of all images before any work is done.

    Args:
        files: Annotation files.
        val: Groups of pages to hold out.
        options: Options of the conversion.
        remedy: Remedy if the image is missing.

    Returns:
        Warnings about images of which only a part is read.
    """
    n_frames: dict[str, int] = {}
    outputs: dict[tuple[str, PurePosixPath], tuple[AnnotationSource, PurePosixPath]] = {}
    for file in files:
        for image, (width, height) in file.images.items():
            split = _split(image, file, val, options)
            output = split, image.with_suffix("")
            _check_output_name(image, file, options)
            other_file, other = outputs.setdefault(output, (file, image))
            if other_file is not file or other != image:
                is_same = other_file.image_folder / other == file.image_folder / image
                raise InputError(
                    f"{image} is also described in {other_file.path}; remove one of the two files"
                    if is_same and other_file.path != file.path
                    else f"two images would be written to {split}/{image.with_suffix('')}: {image} "
                    f"and {other} of {other_file.path}; rename one of them",
                    path=file.path,
                )
            if not options.labels_only:
                path = file.image_folder / image
                n_frames[str(image)] = check_size(path, width, height, remedy)
    return several_frames(n_frames)


def _check_output_name(
    image: PurePosixPath, file: AnnotationSource, options: ConversionOptions
) -> None:
    """Check that the names made from an image's name are not too long."""
    output = tile_name(image, 0, 0) if options.preparation.tiles else image.with_suffix(".jpeg")
    if (n_bytes := len(output.name.encode("utf-8"))) > MAX_NAME_BYTES:
        raise InputError(
            f"the name of this image is too long: with suffix and position of a tile {n_bytes} "
            f"bytes, {MAX_NAME_BYTES} at most; rename it",
            path=file.path,
            where=shortened(image.name),
        )


def _held_out(files: Sequence[AnnotationSource], options: ConversionOptions) -> frozenset[str]:
    if not options.val or _has_val(files):
        return frozenset()
    training = [file for file in files if file.split == "train"]
    images = [image for file in training for image in file.images]
    works = {image: work for file in training for image, work in file.works.items()}
    return held_out(images, options.val, options.split_by, options.seed, works)


def _has_val(files: Sequence[AnnotationSource]) -> bool:
    """Check whether the source has a validation split, which is kept as it is."""
    return any(file.split == "val" for file in files)


def _split(
    image: PurePosixPath, file: AnnotationSource, val: frozenset[str], options: ConversionOptions
) -> str:
    if file.split == "train" and val and group_of(image, options.split_by, file.works) in val:
        return "val"
    return file.split


def _jobs(
    files: Sequence[AnnotationSource],
    mapping: CategoryMapping,
    val: frozenset[str],
    options: ConversionOptions,
    manifest: ManifestBuilder,
    folder: Path,
    workers: int,
) -> Iterator[Job]:
    labels, clip = options.class_map.labels, options.preparation.cleaning.clip
    folders: dict[str, tuple[Path | None, Path | None]] = {}
    sources = source_names((file.split, file.image_folder) for file in files)
    for file in files:
        for page in file.pages(mapping, labels, manifest.counts, clip=clip, workers=workers):
            split = _split(page.image, file, val, options)
            if split not in folders:
                folders[split] = _folders(folder, split, options)
            image_out, label_out = folders[split]
            yield Job(
                page=page,
                split=split,
                source=sources.get((file.split, file.image_folder), ""),
                image_folder=None if options.labels_only else file.image_folder.absolute(),
                image_out=image_out,
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
    image_out = None if options.labels_only else root / IMAGE_FOLDER / split
    label_out = root / LABELS / split if "yolo" in options.formats else None
    for out in filter(None, (image_out, label_out)):
        out.mkdir(parents=True)
    return image_out, label_out


def _check_counts(
    manifest: ManifestBuilder,
    source: Path,
    files: Sequence[AnnotationSource],
    class_map: str,
    mapping: CategoryMapping,
) -> None:
    """Check that all symbols are accounted for, and that some were written."""
    counts = manifest.counts
    counts.check()
    if counts.written:
        return
    if counts.read:
        remedies = map(tally.REMEDIES.get, counts.by_reason())  # most frequent reason first
        causes = [f"{counts.read} read, dropped: {counts.reasons()}"]
        if unmapped := counts.unmapped():
            causes.append(f"not in class map: {tally.with_counts(unmapped)}")
        causes.append(counts.similar(mapping.class_of) or next(filter(None, remedies)))
    else:
        notes = [note for file in files for note in file.warnings]
        causes = ["0 read", *(note for note in notes if ": split " not in note)]
    raise InputError(
        f"no symbols left with class map {class_map}: {'; '.join(causes)}", path=source
    )


def _add_warnings(
    manifest: ManifestBuilder,
    files: Sequence[AnnotationSource],
    val: frozenset[str],
    options: ConversionOptions,
    mapping: CategoryMapping,
) -> None:
    warnings = manifest.counts.warnings
    warnings += filter(None, [manifest.counts.similar(mapping.class_of)])
    for file in files:
        warnings += file.warnings
    if n := manifest.n_measured:
        warnings.append(
            f"staff space of {n} of {manifest.pages.total()} pages measured in their images, "
            "because it is not labelled"
        )
    warnings += manifest.doubts[:MOST_DOUBTS]
    if (n := len(manifest.doubts)) > MOST_DOUBTS:
        warnings.append(f"doubtful staff spaces, of which the first are listed: {n}")
    if options.val and _has_val(files):
        warnings.append(
            f"--val {options.val:g} was not applied: the source has a val split, which was kept"
        )
    warnings += [
        f"no symbols on any {split} page; check its annotations and the location of its label files"
        for split, n in manifest.images.items()
        if manifest.empty_images[split] == n
    ]
    if shared := _shared_works(files, val, options):
        warnings.append(shared)
    warnings += described_twice(
        (file.path, file.image_folder / image) for file in files for image in file.images
    )
    if len(manifest.pages) == 1 and "yolo" in options.formats:
        [split] = manifest.pages
        warnings.append(
            f"no page is held out: data.yaml trains and validates on the {split} pages; "
            + split_advice(split, [_work(image, file) for file in files for image in file.images])
        )


def _shared_works(
    files: Sequence[AnnotationSource], val: frozenset[str], options: ConversionOptions
) -> str | None:
    """Warn about works in several splits, by the names of their images or else by their files.

    Images with the same name but different content count as different pages, unless the name
    contains the work.
    """
    works, paths = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    resolved = cache(Path.resolve)
    n_images = Counter(image for file in files for image in file.images)
    contents = defaultdict[PurePosixPath, list[str]](list)
    for file in files:
        for image in file.images:
            split = _split(image, file, val, options)
            path = file.image_folder / image
            known_work = _work(image, file)
            work = known_work or page_of(image)
            if n_images[image] > 1 and not known_work and not options.labels_only:
                work += _variant(sha256(path), contents[image])
            works[split].add(work)
            real = path.resolve() if path.is_symlink() else resolved(path.parent) / path.name
            paths[split].add(str(real))
    return shared_works(works) or shared_works(paths)


def _variant(digest: str, known: list[str]) -> str:
    """Return a suffix that distinguishes images of one name; empty for the first content."""
    if digest not in known:
        known.append(digest)
    number = known.index(digest)
    return f" ({number + 1})" if number else ""


def _work(image: PurePosixPath, file: AnnotationSource) -> str | None:
    return file.works.get(image) or work_of(image)


def _conversion_entry(
    format_name: str,
    mapping: CategoryMapping,
    files: Sequence[AnnotationSource],
    hashes: Sequence[str],
    class_map: ClassMapEntry,
    options: ConversionOptions,
) -> ConversionEntry:
    """Describe the inputs and options of a conversion for the manifest."""
    sources = tuple(
        SourceEntry(
            name=file.path.name,
            bytes=file.path.stat().st_size,
            sha256=digest,
            split=file.split,
            pages=len(file.images),
        )
        for file, digest in zip(files, hashes, strict=True)
    )
    preparation = options.preparation
    return ConversionEntry(
        source=format_name,
        annotation_set=mapping.annotation_set,
        files=sources,
        class_map=class_map,
        options=OptionsEntry(
            formats=options.formats,
            cleaning=preparation.cleaning,
            staff_space=preparation.staff_space,
            tiles=preparation.tiles,
            val=options.val,
            split_by=options.split_by,
            seed=options.seed,
            labels_only=options.labels_only,
        ),
    )
