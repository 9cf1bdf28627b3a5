"""Lookup of one page of a data set, by its number or name."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from class_maps import ClassMap, ConfigError, InputError, catalogue
from converters.formats import AnnotationSource, yolo
from converters.formats.sources import identity_map, open_source
from converters.formats.yolo_dataset import open_yolo_folder
from converters.names import count_of
from converters.page import Page
from converters.tally import Tally


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FoundPage:
    """One page and its position in the data set."""

    page: Page
    path: Path
    """Image file of the page."""
    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``."""
    split: str
    number: int
    """Number of the page among ``n_pages``, starting at 1."""
    n_pages: int
    """Number of pages in the data set, or in the chosen split."""
    warnings: tuple[str, ...] = ()
    """Problems that are not visible on the page, such as symbols without a class."""


def find_page(
    data: Path,
    wanted: str,
    *,
    split: str | None = None,
    class_map: ClassMap | None = None,
    annotation_set: str | None = None,
    workers: int = 1,
) -> FoundPage:
    """Find a page by its number or name; only the file that contains it is decoded.

    Args:
        data: Data set in any format that can be read.
        wanted: Number of the page, starting at 1, or all or part of its image name.
        split: Split to search; None for all of them.
        class_map: Class map to apply; None to make every category a class of the same name.
        annotation_set: Annotation set to read; None to use the class map's or, without one, the
            first one of the data set.
        workers: Number of processes that decode the annotations.

    Raises:
        InputError: The split or page does not exist, or the data set cannot be read.
        ConfigError: The class map or the annotation set does not apply to the data set.
    """
    format_name, files = _opened(data, split)
    if class_map is None:
        if annotation_set and not catalogue(format_name).annotation_sets:
            raise ConfigError(
                f"{format_name} data have no annotation sets; omit the option",
                option="--annotation-set",
                value=annotation_set,
            )
        class_map, annotation_set = identity_map(format_name, files, annotation_set), None
    source = class_map.source(format_name, annotation_set)
    candidates = [(file, image) for file in files for image in file.images]
    i = _index_of(wanted, [image.as_posix() for _, image in candidates], data)
    file, image = candidates[i]
    counts = Tally()
    pages = file.pages(source, class_map.labels, counts, clip=True, workers=workers)
    page = next(page for page in pages if page.image == image)
    warnings = counts.warnings
    if counts.dropped and format_name != "yolo":
        warnings.append(f"dropped on all pages of {file.path.name}: {counts.reasons()}")
    return FoundPage(
        page=page,
        path=file.image_folder / image,
        names=class_map.names,
        warnings=tuple(warnings),
        split=file.split,
        number=i + 1,
        n_pages=len(candidates),
    )


def _opened(data: Path, split: str | None) -> tuple[str, Sequence[AnnotationSource]]:
    """Open a data set, or only the files of one split."""
    if yolo.recognises(data) and split:  # may share its folder with a split that comes first
        return "yolo", [yolo.YoloSplit(open_yolo_folder(data), split)]
    format_name, files = open_source(data, "yolo" if yolo.recognises(data) else None)
    if split is None:
        return format_name, files
    matches = [file for file in files if file.split == split]
    if not matches:
        known = ", ".join(dict.fromkeys(file.split for file in files))
        raise InputError(f"no split {split!r}; available: {known}", path=data)
    return format_name, matches


def _index_of(wanted: str, images: Sequence[str], data: Path) -> int:
    """Return the index of an image: by its number starting at 1, its name, or a part of it."""
    if wanted.isdecimal() and 1 <= int(wanted) <= len(images):
        return int(wanted) - 1
    matches = [i for i, image in enumerate(images) if wanted == image]
    matches = matches or [i for i, image in enumerate(images) if wanted in image]
    if len(matches) == 1:
        return matches[0]
    if wanted.isdecimal():
        problem = "no such page"
    elif matches:
        names = count_of([images[i] for i in matches], "image")
        problem = f"matches {names}, give a longer part of the name"
    else:
        nearest = ", ".join(get_close_matches(wanted, images, n=3, cutoff=0.0))
        problem = f"matches no image, the nearest names are {nearest}"
    raise InputError(
        f"{problem}; pages are numbered from 1 to {len(images)}",
        path=data,
        where=f"--page {wanted}",
    )
