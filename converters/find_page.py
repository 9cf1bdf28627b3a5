"""Finds one page of a data set, converted or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from class_maps import ClassMap, ConfigError, InputError
from converters.formats.sources import SourceFile, identity_map, open_source
from converters.formats.yolo import DATA_YAML, open_dataset
from converters.names import several
from converters.page import Page
from converters.tally import Tally


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FoundPage:
    """One page, and where it was found."""

    page: Page
    path: Path
    """Its image."""
    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``."""
    split: str
    number: int
    """Place among ``n_pages``, from 1."""
    n_pages: int
    """Of the data set, or of the split that was asked for."""
    warnings: tuple[str, ...] = ()
    """What does not show on the page, such as symbols without a class."""


def find_page(
    data: Path,
    wanted: str,
    *,
    split: str | None = None,
    class_map: ClassMap | None = None,
    annotation_set: str | None = None,
    workers: int = 1,
) -> FoundPage:
    """Find a page by its number or its name.

    Args:
        data: An annotated source, or a YOLO folder.
        wanted: Number from 1 in the order of the data set, the image's name, or a part of that.
        split: Count and look among the pages of this split only.
        class_map: For a source; without it, every category is a class of its own name.
        annotation_set: Of a source, instead of the first or the class map's.
        workers: Processes that decode.

    Raises:
        InputError: There is no such split or page, or the data set cannot be read.
        ConfigError: A converted folder's classes cannot be chosen, or a source's do not fit.
    """
    if data.suffix not in {".yaml", ".yml"} and not (data / DATA_YAML).is_file():
        return _source_page(data, wanted, split, class_map, annotation_set, workers)
    if class_map or annotation_set:
        raise ConfigError(
            f"{data} is converted, its classes stand in its {DATA_YAML}: leave out --classes and "
            "--annotation-set"
        )
    return _converted_page(data, wanted, split)


def _converted_page(data: Path, wanted: str, split: str | None) -> FoundPage:
    """A page of a YOLO folder; splits that share a folder are counted once."""
    dataset = open_dataset(data)
    split_of: dict[Path, str] = {}
    for name, folder in dataset.splits.items():
        if split in {None, name}:
            split_of.setdefault(folder.resolve(), name)
    splits = [split] if split else list(split_of.values())
    places = [(name, path) for name in splits for path in dataset.image_paths(name)]
    images = [path.relative_to(dataset.splits[name]).as_posix() for name, path in places]
    i = _place_of(wanted, images, data)
    name, path = places[i]
    found = next(p for p in dataset.pages(name) if p.image.as_posix() == images[i])
    return FoundPage(
        page=found,
        path=path,
        names=dataset.names,
        split=name,
        number=i + 1,
        n_pages=len(places),
    )


def _source_page(
    data: Path,
    wanted: str,
    split: str | None,
    class_map: ClassMap | None,
    annotation_set: str | None,
    workers: int,
) -> FoundPage:
    """A page of an annotated source; only the file that it stands in is decoded."""
    found, files = open_source(data)
    if class_map:
        source = class_map.source(found, annotation_set)
    else:
        class_map = identity_map(found, files, annotation_set)
        source = class_map.source(found)
    places = [(f, image) for f in _of_split(files, split, data) for image in f.file.images]
    i = _place_of(wanted, [image.as_posix() for _, image in places], data)
    file, image = places[i]
    counts = Tally()
    pages = file.file.pages(source, class_map.labels, counts, clip=True, workers=workers)
    chosen = next(p for p in pages if p.image == image)
    warnings = counts.warnings
    if counts.dropped:
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts.by_reason().items())
        warnings.append(f"left out on all pages of {file.file.path.name} together: {reasons}")
    return FoundPage(
        page=chosen,
        path=file.image_folder / image,
        names=class_map.names,
        warnings=tuple(warnings),
        split=file.split,
        number=i + 1,
        n_pages=len(places),
    )


def _of_split(files: Sequence[SourceFile], split: str | None, data: Path) -> Sequence[SourceFile]:
    if split is None:
        return files
    mine = [file for file in files if file.split == split]
    if not mine:
        known = ", ".join(dict.fromkeys(file.split for file in files))
        raise InputError(f"no split {split!r}; it has: {known}", path=data)
    return mine


def _place_of(wanted: str, images: Sequence[str], data: Path) -> int:
    """Place of the wanted image, from 0: by its number from 1, its name, or a part of that."""
    if wanted.isdecimal() and 1 <= int(wanted) <= len(images):
        return int(wanted) - 1
    found = [i for i, image in enumerate(images) if wanted == image]
    found = found or [i for i, image in enumerate(images) if wanted in image]
    if len(found) == 1:
        return found[0]
    pages = f"--page {wanted}: it has pages 1 to {len(images)}"
    if wanted.isdecimal():
        raise InputError(pages, path=data)
    if found:
        shown = several([images[i] for i in found], "image")
        raise InputError(f"{pages}, and that in the names of {shown}; say more", path=data)
    near = ", ".join(get_close_matches(wanted, images, n=3, cutoff=0.0))
    raise InputError(f"{pages}, and none with that in its name; nearest: {near}", path=data)
