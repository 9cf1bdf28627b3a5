"""Validation split: pages held out for validation without dividing a work between two splits."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from class_maps import ConfigError
from converters.names import count_of, page_of, work_of

SplitBy = Literal["work", "page"]
_STRICTNESS = ("train", "val", "test")
"""Splits; a group with pages in several of them belongs to the last."""


def strictest(splits: Iterable[str]) -> str:
    """Return the split of a group with pages in several: test, otherwise val, otherwise train."""
    return max(splits, key=_STRICTNESS.index)


def held_out(
    images: Iterable[PurePosixPath],
    fraction: float,
    split_by: SplitBy,
    seed: int,
    works: Mapping[PurePosixPath, str] | None = None,
) -> frozenset[str]:
    """Choose the groups of pages that become the validation set.

    Groups are taken in the order of a hash of their name and the seed, so the order of any two
    groups depends neither on the order of the files nor on the other groups.

    Args:
        images: Image names of the training pages.
        fraction: Fraction of the images to hold out, between 0 and 1 exclusive. Whole groups
            approximate it; at least one group is held out and at least one remains.
        split_by: Whether a group consists of the pages of a work or of a single page.
        seed: Seed of the choice.
        works: Work of each image that has it not in its name, see :func:`group_of`.

    Returns:
        Names of the groups as returned by :func:`group_of`.

    Raises:
        ConfigError: There are fewer than two groups.
    """
    return held_out_groups(
        Counter(group_of(image, split_by, works) for image in images), fraction, split_by, seed
    )


def held_out_groups(
    sizes: Mapping[str, int],
    fraction: float,
    split_by: SplitBy,
    seed: int,
    names: Mapping[str, str] | None = None,
) -> frozenset[str]:
    """Choose groups by their numbers of images, see :func:`held_out`.

    Args:
        sizes: Number of images of each group.
        fraction: Fraction of the images to hold out, between 0 and 1 exclusive.
        split_by: Kind of the groups, for the error message.
        seed: Seed of the choice.
        names: Name by which each group is drawn; None for its key in ``sizes``.

    Raises:
        ConfigError: There are fewer than two groups.
    """
    if len(sizes) < 2:
        raise ConfigError(
            f"needs at least two {split_by}s to hold one out, but the training set has "
            f"{len(sizes)}",
            option="--val",
        )
    target, taken = fraction * sum(sizes.values()), 0
    chosen: list[str] = []
    order = sorted(sizes, key=lambda group: _hash(names[group] if names else group, seed))
    for group in order[: len(sizes) - 1]:
        if chosen and taken + sizes[group] / 2 > target:
            break
        chosen.append(group)
        taken += sizes[group]
    return frozenset(chosen)


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """Sort names by a hash of name and seed; the order of two names depends on nothing else."""
    return sorted(names, key=lambda name: _hash(name, seed))


def group_of(
    image: PurePosixPath, split_by: SplitBy, works: Mapping[PurePosixPath, str] | None = None
) -> str:
    """Return the name of the group of pages that an image belongs to.

    Args:
        image: Image name of the page.
        split_by: Whether a group consists of the pages of a work or of a single page.
        works: Work of each image that has it not in its name.

    Raises:
        ConfigError: Pages are grouped by work, but the image's name does not contain its work.
    """
    if split_by == "page":
        return page_of(image)
    work = (works or {}).get(image) or work_of(image)
    if work is None:
        raise unknown_work(image)
    return work


def unknown_work(image: PurePosixPath) -> ConfigError:
    """Describe an image whose work is unknown, although pages are grouped by work."""
    return ConfigError(
        f"{image}: the work is not in the name (expected lg-<work>-aug-<font>--page-<n>); use "
        "--split-by page if no two pages are of the same work"
    )


def shared_works(works_of: dict[str, set[str]]) -> str | None:
    """Warn about works that occur in several splits.

    Args:
        works_of: Works by split.

    Returns:
        The warning; None if no work occurs in two splits.
    """
    counts = Counter(work for works in works_of.values() for work in works)
    if repeated := sorted(work for work, n in counts.items() if n > 1):
        return (
            f"in more than one split: {count_of(repeated, 'work')}; scores will be too optimistic"
        )
    return None


def described_twice(images: Iterable[tuple[Path, Path]]) -> Iterator[str]:
    """Warn about images that two annotation files describe.

    Some programs export each split with images of the same names, and then overwrite the images of
    one split with those of the other.

    Args:
        images: Annotation file and image file of each image.
    """
    first: dict[Path, Path] = {}
    names: dict[tuple[str, str], list[str]] = {}
    for file, image in images:
        other = first.setdefault(image, file)
        if other != file:
            names.setdefault((other.name, file.name), []).append(image.name)
    for (one, other_name), repeated in names.items():
        yield (
            f"described in both {one} and {other_name}: {count_of(sorted(repeated), 'image')}; if "
            "they mean different images of one name, labels are wrong: export each split with its "
            "own images"
        )


def split_advice(split: str, works_of_pages: Sequence[str | None]) -> str:
    """Suggest what to do when there is only one split.

    Args:
        split: Name of the split.
        works_of_pages: Work of each page; None if it is unknown.
    """
    works = set(works_of_pages)
    if split != "train":
        return "convert training pages as well"
    if None not in works and len(works) > 1:
        return "use --val 0.1 to hold out works"
    if None in works and len(works_of_pages) > 1:
        return "use --val 0.1 --split-by page to hold out pages, if each is of another work"
    return "convert pages of other works as well"


def _hash(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
