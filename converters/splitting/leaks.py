"""Leaks: images, works, pieces and writers that occur in several splits."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from converters.page_groups import piece_of, work_key, writer_of
from converters.splitting.images import SplitImage
from converters.splitting.perceptual_hash import (
    TrackHashes,
    copies_between_splits,
    perceptual_hashes,
)
from converters.tracking import untracked

LeakKind = Literal["image", "similar image", "work", "piece", "writer", "page"]

MIN_SYMBOLS_OF_TILE = 10
"""Number of symbols from which a tile is compared: tiles with little but staff lines look alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Something that occurs in several splits."""

    kind: LeakKind
    key: str
    """Name of the work, piece, writer or page; image of the first split."""
    images: Mapping[str, PurePosixPath]
    """One of its images in each split, relative to the image folder of the split."""

    def to_json(self) -> dict[str, Any]:
        """Return the leak as in ``omr split --check --json``."""
        images = {split: str(image) for split, image in self.images.items()}
        return {"kind": self.kind, "key": self.key, "images": images}


def find_leaks(
    images: Sequence[SplitImage], *, similar: bool = True, track: TrackHashes = untracked
) -> list[Leak]:
    """Find equal and similar images, works, pieces and writers in several splits.

    Args:
        images: Images of all splits.
        similar: Whether to compare the pixels of images, which decodes each of them.
        track: Progress display of this comparison.

    Raises:
        InputError: An image is missing or damaged.
    """
    equal = list(_equal_images(images))
    leaks = [*equal, *_named(images)]
    if similar:
        known = {(split, image) for leak in equal for split, image in leak.images.items()}
        leaks += _similar_images(images, known, track)
    return leaks


def _equal_images(images: Sequence[SplitImage]) -> Iterator[Leak]:
    """Yield pages with images in several splits; empty tiles may be equal and are skipped."""
    by_hash = defaultdict[int, list[SplitImage]](list)
    for image in images:
        if len(image.labels) or image.page != image.name:
            by_hash[image.page_hash].append(image)
    for same in by_hash.values():
        yield from _leak("image", str(same[0].name), same)


def _named(images: Sequence[SplitImage]) -> Iterator[Leak]:
    """Yield works, pieces and writers in several splits, by the names of their pages."""
    by_key = defaultdict[tuple[LeakKind, str], list[SplitImage]](list)
    for image in images:
        if key := _key(image):
            by_key[key].append(image)
    for (kind, name), same in sorted(by_key.items()):
        yield from _leak(kind, name, same)


def _key(image: SplitImage) -> tuple[LeakKind, str] | None:
    """Return the largest unit that the name of a page contains, or that the manifest records."""
    if writer := writer_of(image.page):
        return "writer", writer
    if work := image.work:
        return "work", work
    if piece := piece_of(image.page):
        return "piece", piece
    page = work_key(image.name)  # of a tile, or of an augmented copy
    return ("page", page) if page else None


def _leak(kind: LeakKind, key: str, same: Sequence[SplitImage]) -> Iterator[Leak]:
    """Yield a leak if images are in several splits."""
    firsts: dict[str, PurePosixPath] = {}
    for image in same:
        firsts.setdefault(image.split, image.name)
    if len(firsts) > 1:
        yield Leak(kind=kind, key=key, images=firsts)


def _similar_images(
    images: Sequence[SplitImage], known: set[tuple[str, PurePosixPath]], track: TrackHashes
) -> Iterator[Leak]:
    """Yield pairs of images with symbols that show the same, apart from known equal images."""
    compared = [
        image
        for image in images
        if len(image.labels) >= (MIN_SYMBOLS_OF_TILE if image.page != image.name else 1)
        and (image.split, image.name) not in known
    ]
    paths, splits = [image.path for image in compared], [image.split for image in compared]
    if len(set(splits)) < 2:
        return
    for i, j in copies_between_splits(paths, splits, perceptual_hashes(paths, track)):
        yield from _leak("similar image", str(compared[i].name), (compared[i], compared[j]))
