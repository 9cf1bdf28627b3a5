"""Split of each page of the data sets that are converted together.

A single data set keeps its splits, apart from training pages that are held out. In several data
sets, pages of a work, piece or writer, and copies of an image, form a group, which is never divided
between splits: all its pages get the strictest split of any of them.

Shapes: P pages of all data sets.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from converters.conversion_options import ConversionOptions
from converters.files.hashes import hashes_of_copies
from converters.formats import AnnotationSource
from converters.names import count_of, page_of, work_of
from converters.opened_sources import OpenedSource
from converters.page_groups import DisjointGroups, work_key
from converters.prepare.splits import group_of, held_out, held_out_groups, strictest, unknown_work


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitAssignment:
    """Split of each page."""

    changed: Mapping[tuple[AnnotationSource, PurePosixPath], str]
    """Split of the pages that are not in the split of their file."""
    warnings: tuple[str, ...] = ()

    def of(self, file: AnnotationSource, image: PurePosixPath) -> str:
        """Return the split of a page.

        Args:
            file: Annotation file of the page.
            image: Image of the page, as named in this file.
        """
        return self.changed.get((file, image), file.split)


def assign_splits(sources: Sequence[OpenedSource], options: ConversionOptions) -> SplitAssignment:
    """Choose the split of each page.

    Raises:
        ConfigError: Pages are held out by work, but the work of a page is unknown, or there is only
            one.
        InputError: An image of several data sets cannot be read.
    """
    skipped = tuple(_not_held_out(sources, options))
    if len(sources) > 1:
        return _assign_groups(sources, options, skipped)
    files = [file for file in sources[0].files if file.split == "train"]
    if not options.val or has_val(sources[0]):
        return SplitAssignment(changed={}, warnings=skipped)
    images = [image for file in files for image in file.images]
    works = {image: work for file in files for image, work in file.works.items()}
    val = held_out(images, options.val, options.split_by, options.seed, works)
    changed = {
        (file, image): "val"
        for file in files
        for image in file.images
        if group_of(image, options.split_by, file.works) in val
    }
    return SplitAssignment(changed=changed)


def has_val(source: OpenedSource) -> bool:
    """Check whether a data set has a validation split, which is kept as it is."""
    return any(file.split == "val" for file in source.files)


def _not_held_out(sources: Sequence[OpenedSource], options: ConversionOptions) -> Iterator[str]:
    for source in sources if options.val else ():
        if has_val(source):
            of = f"source {source.name}" if source.name else "the source"
            yield f"--val {options.val:g} was not applied: {of} has a val split, which was kept"


@dataclass(kw_only=True, slots=True, eq=False)
class _PageOfSource:
    """A page, and the group that it belongs to."""

    source: OpenedSource
    file: AnnotationSource
    image: PurePosixPath
    work: str | None
    group: str = ""

    @property
    def name(self) -> str:
        """Name in the output."""
        return self.source.output_name(self.image).as_posix()

    @property
    def name_to_draw(self) -> str:
        """Name by which pages are drawn at random, the same as if its data set was converted alone.

        The validation pages of a data set then stay the same when others are added.
        """
        if self.work is None:
            return page_of(self.image)
        return self.file.works.get(self.image) or work_of(self.image) or self.work


def _assign_groups(
    sources: Sequence[OpenedSource], options: ConversionOptions, skipped: tuple[str, ...]
) -> SplitAssignment:
    pages = [
        _PageOfSource(
            source=source, file=file, image=image, work=_work(source, file, image, options)
        )
        for source in sources
        for file in source.files
        for image in file.images
    ]
    hashes = [] if options.labels_only else _image_hashes(pages)
    _group(pages, hashes)
    split_of = _splits_of_groups(pages, options)
    moved = [page for page in pages if split_of[page.group] != page.file.split]
    held = {group for group, split in split_of.items() if split == "val"} - {
        page.group for page in pages if page.file.split == "val"
    }
    return SplitAssignment(
        changed={(page.file, page.image): split_of[page.group] for page in moved},
        warnings=(
            *skipped,
            *_moved([page.name for page in moved if page.group not in held]),
            *_in_two_sources(pages, hashes),
        ),
    )


def _work(
    source: OpenedSource, file: AnnotationSource, image: PurePosixPath, options: ConversionOptions
) -> str | None:
    """Return the work, piece or writer of a page; None if pages are grouped by image only."""
    if options.split_by == "page":
        return None
    work = file.works.get(image) or work_key(image)
    if work is None and options.val:
        raise unknown_work(source.output_name(image))
    return work


def _image_hashes(pages: Sequence[_PageOfSource]) -> list[int]:
    """Return a number for the image of each page, which only copies have in common.

    Pages whose image does not exist are refused later.
    """
    paths = [page.file.image_folder / page.image for page in pages]
    existing = [path for path in dict.fromkeys(paths) if path.is_file()]
    hash_of, other_of = hashes_of_copies(existing), {path: i for i, path in enumerate(paths)}
    return [hash_of.get(path, other_of[path]) for path in paths]


def _group(pages: Sequence[_PageOfSource], hashes: Sequence[int]) -> None:
    """Set the group of each page: pages of a work, and copies of an image, are in one."""
    groups = DisjointGroups()
    keys = [
        f"work {page.work}" if page.work else f"page {page_of(PurePosixPath(page.name))}"
        for page in pages
    ]
    for key, number in zip(keys, hashes, strict=False):  # labels only: no hashes
        groups.join([key, f"~{number:x}"])
    for page, key in zip(pages, keys, strict=True):
        page.group = groups.find(key)


def _splits_of_groups(pages: Sequence[_PageOfSource], options: ConversionOptions) -> dict[str, str]:
    """Return the split of each group: the strictest of its pages, or val if it is held out."""
    split_of: dict[str, str] = {}
    for page in pages:
        known = split_of.get(page.group, page.file.split)
        split_of[page.group] = strictest((known, page.file.split))
    if not options.val:
        return split_of
    with_val = {page.source.name for page in pages if page.file.split == "val"}
    sizes = Counter(
        page.group
        for page in pages
        if split_of[page.group] == "train" and page.source.name not in with_val
    )
    if sizes:
        names: dict[str, str] = {}
        for page in pages:
            names.setdefault(page.group, page.name_to_draw)
        chosen = held_out_groups(sizes, options.val, options.split_by, options.seed, names)
        split_of |= dict.fromkeys(chosen, "val")
    return split_of


def _moved(names: Sequence[str]) -> Iterator[str]:
    if names:
        yield (
            "moved to the split that other pages of the same work, piece, writer or image have: "
            f"{count_of(names, 'image')}"
        )


def _in_two_sources(pages: Sequence[_PageOfSource], hashes: Sequence[int]) -> Iterator[str]:
    """Warn about images that several data sets contain."""
    copies = defaultdict[int, list[_PageOfSource]](list)
    for page, number in zip(pages, hashes, strict=False):
        copies[number].append(page)
    names = [
        " = ".join(page.name for page in same)
        for same in copies.values()
        if len({page.source.name for page in same}) > 1
    ]
    if names:
        yield (
            f"in more than one source: {count_of(names, 'image')}; training sees each of them "
            "once per source, possibly with different labels"
        )
