"""Data sets to convert, opened together.

The images of several data sets are kept apart by a folder with the name of their data set.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import compress, pairwise
from pathlib import Path, PurePosixPath

from class_maps import CategoryMapping, ClassMap, ConfigError, InputError, catalogue, short_list
from converters.formats import AnnotationSource
from converters.formats.sources import open_source
from converters.manifest import ClassMapEntry, read_manifest
from converters.names import IMAGE_FOLDER

MOST_NAMES = 5
"""Maximum number of classes in a message."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OpenedSource:
    """One of the data sets to convert."""

    path: Path
    name: str
    """Folder of its images in the output; empty if it is the only data set."""
    format_name: str
    mapping: CategoryMapping
    """Class of each category; ``unlabelled`` includes classes that its manifest records, and those
    that its release does not distinguish."""
    files: Sequence[AnnotationSource]
    class_map: ClassMapEntry
    """Class map that it was converted with; empty if omr did not convert it."""

    def output_name(self, image: PurePosixPath) -> PurePosixPath:
        """Return the name in the output of one of its images."""
        return output_name(self.name, image)


def output_name(folder: str, image: PurePosixPath) -> PurePosixPath:
    """Return the name in the output of an image, without folders called ``images``.

    Args:
        folder: Folder of the images of its data set; empty if it is the only one.
        image: Name of the image in its data set.
    """
    return PurePosixPath(folder, *(part for part in image.parts if part != IMAGE_FOLDER))


def open_all(
    paths: Sequence[Path],
    class_map: ClassMap,
    *,
    source_format: str | None = None,
    images: Path | None = None,
    annotation_set: str | None = None,
) -> list[OpenedSource]:
    """Open data sets that are converted together.

    Args:
        paths: Folders or files of annotations.
        class_map: Class map of all of them.
        source_format: Format of all of them; None to detect the format of each.
        images: Folder of the images of the only data set, see
            :func:`~converters.formats.sources.open_source`.
        annotation_set: Annotation set to read; None to use the class map's. Of several data sets,
            it applies to those whose format has annotation sets.

    Raises:
        ConfigError: A data set is a duplicate, or ``images`` is given for several.
        InputError: A data set cannot be opened, or two of them have an annotation file in common.
    """
    if not paths:
        raise ConfigError("SOURCE: expected at least one data set")
    if images and len(paths) > 1:
        raise ConfigError(
            f"for a single SOURCE, but there are {len(paths)}; convert this one separately, and "
            "merge the results",
            option="--image-folder",
            value=images,
        )
    _check_distinct(paths)
    names = _names(paths) if len(paths) > 1 else [""]
    used, opened = {name.casefold() for name in names}, list[OpenedSource]()
    for path, name in zip(paths, names, strict=True):
        format_name, files = open_source(path, source_format, images)
        has_sets = len(paths) == 1 or bool(catalogue(format_name).annotation_sets)
        mapping = class_map.source(format_name, annotation_set if has_sets else None)
        recorded = _recorded_class_map(path, files[0].path)
        source = OpenedSource(
            path=path,
            name=name,
            format_name=format_name,
            mapping=_with_unlabelled(mapping, recorded.unlabelled),
            files=files,
            class_map=recorded,
        )
        opened += _by_release(source, used)
    _check_files(opened)
    return opened


def differing_class_maps(sources: Sequence[OpenedSource]) -> Iterator[str]:
    """Warn about data sets that omr converted with different class maps, but that share classes."""
    converted = [source for source in sources if source.class_map.name]
    for i, second in enumerate(converted):
        for first in converted[:i]:
            if first.class_map.sha256 != second.class_map.sha256 and (
                names := _shared(first, second)
            ):
                yield (
                    f"{first.path} and {second.path}: converted with different class maps "
                    f"({first.class_map.name}, {second.class_map.name}), but share classes: "
                    f"{short_list(names, MOST_NAMES)}; check that these mean the same in both, "
                    "otherwise convert their sources again with one class map"
                )


def _shared(first: OpenedSource, second: OpenedSource) -> list[str]:
    """Return the mapped categories that two data sets have in common."""
    categories = [
        {name for file in source.files for name in file.categories(source.mapping)}
        for source in (first, second)
    ]
    return sorted(categories[0] & categories[1] & first.mapping.class_of.keys())


def _check_distinct(paths: Sequence[Path]) -> None:
    resolved = [path.resolve() for path in paths]
    if repeated := [str(p) for i, p in enumerate(paths) if resolved[i] in resolved[:i]]:
        raise ConfigError(f"SOURCE: duplicate: {', '.join(repeated)}; give each data set once")


def _check_files(sources: Sequence[OpenedSource]) -> None:
    """Check that no annotation file belongs to two data sets, such as a folder and its parent."""
    owner: dict[Path, OpenedSource] = {}
    for source in sources:
        for file in source.files:
            other = owner.setdefault(file.path.resolve(), source)
            if other is not source:
                raise InputError(
                    f"belongs to both {other.path} and {source.path}; give only one of them",
                    path=file.path,
                )


def _names(paths: Sequence[Path]) -> list[str]:
    """Name data sets by the last part of their paths, preceded by other parts where they agree."""
    without_suffix = [path.with_suffix("") if path.is_file() else path for path in paths]
    parts = [
        (path if without_suffix.count(short) > 1 else short).absolute().parts[1:] or ("source",)
        for path, short in zip(paths, without_suffix, strict=True)
    ]
    lengths = [1 + (names[-1] == IMAGE_FOLDER) for names in parts]
    while True:
        named = zip(parts, lengths, strict=True)
        names = ["-".join(part[-n:]).lstrip(".") or "source" for part, n in named]
        folded = [name.casefold() for name in names]  # as on file systems that ignore case
        repeated = [i for i, name in enumerate(folded) if folded.count(name) > 1]
        longer = [i for i in repeated if lengths[i] < len(parts[i])]
        if not longer:
            return [f"{name}-{i + 1}" if i in repeated else name for i, name in enumerate(names)]
        for i in longer:
            lengths[i] += 1


def _recorded_class_map(source: Path, file: Path) -> ClassMapEntry:
    """Return the class map in the manifest of a data set that omr converted.

    Args:
        source: Folder or file of annotations.
        file: Annotation file in it, possibly in a subfolder such as ``annotations``.
    """
    root = source if source.is_dir() else source.parent
    for folder in (file.parent, root):
        with suppress(InputError):  # a file of another program
            if (class_map := read_manifest(folder).class_map).name:
                return class_map
    return ClassMapEntry()


def mixed_releases(sources: Sequence[OpenedSource]) -> Iterator[str]:
    """Report data sets that were divided, because some of their files distinguish more classes."""
    for later, earlier in pairwise(sources):
        if later.path == earlier.path:
            known = set(later.mapping.unlabelled)
            names = [name for name in earlier.mapping.unlabelled if name not in known]
            yield (
                f"{earlier.path}: contains two releases; the pages of {len(earlier.files):,} of "
                f"{len(later.files) + len(earlier.files):,} files are in the folder "
                f"{earlier.name}, because their release does not distinguish "
                f"{short_list(names, MOST_NAMES)}, and these count as unlabelled there"
            )


def _by_release(source: OpenedSource, names: set[str]) -> list[OpenedSource]:
    """Divide a data set whose files are of two releases, of which the earlier distinguishes less.

    Args:
        source: Data set.
        names: Names of all data sets, to which that of the earlier release is added.
    """
    mapping, files = source.mapping, source.files
    is_earlier = [bool(_undivided(mapping, [file])) for file in files]
    earlier = [*compress(files, is_earlier)]
    undivided = _undivided(mapping, earlier)
    of_earlier = replace(source, mapping=_with_unlabelled(mapping, undivided))
    classes = mapping.class_of.keys() & {*undivided}
    if not (classes and any(classes.intersection(f.categories(mapping)) for f in files)):
        return [of_earlier]
    later = [file for file, of_other in zip(files, is_earlier, strict=True) if not of_other]
    name = source.name or _names([source.path])[0]
    other = f"{name}-earlier"
    while other.casefold() in names:
        other += "-earlier"
    names.add(other.casefold())
    return [replace(source, name=name, files=later), replace(of_earlier, name=other, files=earlier)]


def _undivided(mapping: CategoryMapping, files: Sequence[AnnotationSource]) -> list[str]:
    """Return the categories that an early release labels as one category without a class."""
    splits = catalogue(mapping.name).splits
    unmapped = splits.keys() - mapping.class_of.keys()
    in_files = {name for file in files if unmapped for name in file.categories(mapping)}
    return [later for name in sorted(unmapped & in_files) for later in splits[name]]


def _with_unlabelled(mapping: CategoryMapping, categories: Sequence[str]) -> CategoryMapping:
    """Add the classes of categories that the data set does not label."""
    classes = [mapping.class_of[name] for name in categories if name in mapping.class_of]
    return replace(mapping, unlabelled=tuple(dict.fromkeys((*mapping.unlabelled, *classes))))
