"""Holds pages out for validation, so that no work stands on both sides."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Literal

from class_maps import ConfigError
from converters.names import several, work_of

SplitBy = Literal["work", "page"]


def held_out(
    images: Iterable[PurePosixPath], fraction: float, split_by: SplitBy, seed: int
) -> frozenset[str]:
    """Choose the groups that become the validation set.

    Groups are taken in the order of a hash of their name and the seed: which one comes early does
    not depend on the order of the files, nor on what else there is.

    Args:
        images: Names of the training images.
        fraction: Of the images, above 0 and below 1; whole groups come as close as they can, but
            at least one is taken and at least one is left.
        split_by: What may not be divided.
        seed: Another one gives another choice.

    Returns:
        Names of groups, as :func:`group_of` gives them.

    Raises:
        ConfigError: There are fewer than two groups.
    """
    sizes = Counter(group_of(image, split_by) for image in images)
    if len(sizes) < 2:
        raise ConfigError(
            f"--val needs at least two {split_by}s to hold one out, the training set has "
            f"{len(sizes)}"
        )
    wanted, taken = fraction * sizes.total(), 0
    chosen: list[str] = []
    for group in shuffled(sizes, seed)[: len(sizes) - 1]:
        if chosen and taken + sizes[group] / 2 > wanted:
            break
        chosen.append(group)
        taken += sizes[group]
    return frozenset(chosen)


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """Put names in the order of a hash: which of two comes first depends on nothing else."""
    return sorted(names, key=lambda name: _hash(name, seed))


def group_of(image: PurePosixPath, split_by: SplitBy) -> str:
    """Name of the group that must stay on one side.

    Raises:
        ConfigError: The work is wanted and the name does not say it.
    """
    if split_by == "page":
        return image.as_posix()
    work = work_of(image)
    if work is None:
        raise ConfigError(
            f"{image}: the name does not say which work this is a page of (expected "
            "lg-<work>-aug-<font>--page-<n>); use --split-by page if no two pages share one"
        )
    return work


def shared_works(works_of: dict[str, set[str]]) -> str | None:
    """Warn of works that stand in more than one split; ``works_of`` gives each split's."""
    counts = Counter(work for works in works_of.values() for work in works)
    if repeated := sorted(work for work, n in counts.items() if n > 1):
        return f"in more than one split: {several(repeated, 'work')}; scores there flatter"
    return None


def _hash(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
