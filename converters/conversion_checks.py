"""Checks of a conversion before and after its work, and its warnings."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from class_maps import InputError, short_list, shortened
from converters import tally
from converters.conversion_options import ConversionOptions
from converters.files.hashes import sha256, state
from converters.formats import AnnotationSource
from converters.formats.image_folders import several_frames
from converters.image_headers import check_size
from converters.manifest import ManifestBuilder
from converters.names import MAX_NAME_BYTES, count_of, page_of, work_of
from converters.opened_sources import (
    MOST_NAMES,
    OpenedSource,
    differing_class_maps,
    mixed_releases,
)
from converters.prepare.splits import described_twice, shared_works, split_advice
from converters.prepare.tiles import tile_name
from converters.split_assignment import SplitAssignment

MIN_EXPECTED = 3.0
"""Expected number of symbols from which a class without any is reported as unlabelled."""
MOST_DOUBTS = 3
"""Maximum number of pages whose measured staff space is reported as doubtful."""


def check_images(
    sources: Sequence[OpenedSource],
    splits: SplitAssignment,
    options: ConversionOptions,
    remedy: str,
    opened: Container[tuple[AnnotationSource, PurePosixPath]],
) -> list[str]:
    """Check the names of all images, and the sizes of those to convert, before any work is done.

    Args:
        sources: Data sets.
        splits: Split of each page.
        options: Options of the conversion.
        remedy: Remedy if an image is missing.
        opened: Annotation file and name of each image that is opened.

    Returns:
        Warnings about images of which only a part is read.

    Raises:
        InputError: An image is missing, damaged or of another size, or its name is too long or that
            of another image.
    """
    n_frames: dict[str, int] = {}
    outputs: dict[tuple[str, PurePosixPath], tuple[AnnotationSource, PurePosixPath]] = {}
    for source, file, image in _pages(sources):
        name, split = source.output_name(image), splits.of(file, image)
        _check_output_name(name, file, options)
        other_file, other = outputs.setdefault((split, name.with_suffix("")), (file, image))
        if other_file is not file or other != image:
            is_same = other_file.image_folder / other == file.image_folder / image
            raise InputError(
                f"{image} is also described in {other_file.path}; remove one of the two files"
                if is_same and other_file.path != file.path
                else f"two images would be written to {split}/{name.with_suffix('')}: {image} "
                f"and {other} of {other_file.path}; rename one of them",
                path=file.path,
            )
        if not options.labels_only and (file, image) in opened:
            width, height = file.images[image]
            n_frames[str(name)] = check_size(file.image_folder / image, width, height, remedy)
    return several_frames(n_frames)


def _pages(
    sources: Sequence[OpenedSource],
) -> Iterator[tuple[OpenedSource, AnnotationSource, PurePosixPath]]:
    """Yield all pages: their data set, their annotation file, and their image as named there."""
    for source in sources:
        for file in source.files:
            for image in file.images:
                yield source, file, image


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


def check_unchanged(files: Sequence[AnnotationSource]) -> None:
    """Check that the annotation files are those that were read, because their hash is recorded.

    Raises:
        InputError: A file has changed.
    """
    for file in files:
        if file.state != state(file.path):
            raise InputError("changed while it was converted; convert it again", path=file.path)


def check_counts(
    manifest: ManifestBuilder, sources: Sequence[OpenedSource], class_map: str
) -> None:
    """Check that all symbols are accounted for, and that some of each data set were written.

    Raises:
        InputError: No symbol of a data set was written.
    """
    counts = manifest.counts
    counts.check()
    problem = f"no symbols left with class map {class_map}"
    if not counts.written:
        causes = "; ".join(_causes(manifest, sources))
        raise InputError(f"{problem}: {causes}", path=sources[0].path)
    for source in sources:
        if source.name and not manifest.written_of_source[source.name].total():
            raise InputError(
                f"{problem}; `omr classes check {class_map} {source.path}` counts its categories",
                path=source.path,
            )


def _causes(manifest: ManifestBuilder, sources: Sequence[OpenedSource]) -> Iterator[str]:
    """Yield the reasons why no symbol was written, and a remedy."""
    counts = manifest.counts
    if not counts.read:
        yield "0 read"
        notes = (note for source in sources for file in source.files for note in file.warnings)
        yield from (note for note in notes if ": split " not in note)
        return
    yield f"{counts.read} read, dropped: {counts.reasons()}"
    if unmapped := counts.unmapped():
        yield f"not in class map: {tally.with_counts(unmapped)}"
    remedies = map(tally.REMEDIES.get, counts.by_reason())  # most frequent reason first
    yield _similar(manifest, sources) or next(filter(None, remedies))


def _similar(manifest: ManifestBuilder, sources: Sequence[OpenedSource]) -> str:
    return manifest.counts.similar({c for source in sources for c in source.mapping.class_of})


def add_warnings(
    manifest: ManifestBuilder,
    sources: Sequence[OpenedSource],
    splits: SplitAssignment,
    options: ConversionOptions,
) -> None:
    """Add the warnings about a finished conversion to its counts."""
    warnings = manifest.counts.warnings
    warnings += filter(None, [_similar(manifest, sources)])
    for source in sources:
        for file in source.files:
            warnings += file.warnings
    warnings += [*differing_class_maps(sources), *mixed_releases(sources)]
    warnings += [*_missing_classes(manifest, sources), *_staff_spaces(manifest), *splits.warnings]
    if manifest.reencoded:
        images = count_of(manifest.reencoded, "image")
        warnings.append(
            f"copied instead of linked: {images}; not all readers would read the same pixels"
        )
    warnings += [
        f"no symbols on any {split} page; check its annotations and the location of its label files"
        for split, n in manifest.images.items()
        if manifest.empty_images[split] == n
    ]
    warnings += filter(None, [_shared_works(sources, splits, options)])
    warnings += described_twice(
        (file.path, file.image_folder / image) for _, file, image in _pages(sources)
    )
    if len(manifest.pages) == 1 and "yolo" in options.formats:
        [split] = manifest.pages
        warnings.append(
            f"no page is held out: data.yaml trains and validates on the {split} pages; "
            + split_advice(split, [_work(image, file) for _, file, image in _pages(sources)])
        )


def _missing_classes(manifest: ManifestBuilder, sources: Sequence[OpenedSource]) -> Iterator[str]:
    """Warn about classes that a data set lacks, although the others have many symbols of them.

    If these symbols occur on its pages, but were not annotated, training would learn that they are
    background.
    """
    written = manifest.written_of_source
    n_pages = {source.name: sum(len(file.images) for file in source.files) for source in sources}
    for source in sources if len(sources) > 1 else ():
        n_others = sum(n_pages.values()) - n_pages[source.name]
        n_of_others = sum((written[s.name] for s in sources if s is not source), Counter[str]())
        missing = [
            name
            for name in manifest.names
            if not written[source.name][name]
            and name not in source.mapping.unlabelled
            and n_of_others[name] * n_pages[source.name] >= MIN_EXPECTED * n_others
        ]
        if missing:
            yield (
                f"{source.name}: no symbols of {short_list(missing, MOST_NAMES)}, which are "
                "frequent in the other sources, so its pages are negative examples of them; if "
                "they were not annotated, convert this source alone with a class map that lists "
                "them as unlabelled, and merge the result"
            )


def _staff_spaces(manifest: ManifestBuilder) -> Iterator[str]:
    """Warn about staff spaces that were measured, and about those that are doubtful."""
    if n := manifest.n_measured:
        yield (
            f"staff space of {n} of {manifest.pages.total()} pages measured in their images, "
            "because it is not labelled"
        )
    yield from manifest.doubts[:MOST_DOUBTS]
    if (n := len(manifest.doubts)) > MOST_DOUBTS:
        yield f"doubtful staff spaces, of which the first are listed: {n}"


def _shared_works(
    sources: Sequence[OpenedSource], splits: SplitAssignment, options: ConversionOptions
) -> str | None:
    """Warn about works in several splits, by the names of their images or else by their files.

    Images with the same name but different content count as different pages, unless the name
    contains the work.
    """
    works, paths = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    resolved = cache(Path.resolve)
    n_images = Counter(image for _, _, image in _pages(sources))
    contents = defaultdict[PurePosixPath, list[str]](list)
    for _, file, image in _pages(sources):
        split, path = splits.of(file, image), file.image_folder / image
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
