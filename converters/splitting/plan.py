"""New split of each image of a data set."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError
from converters.page_groups import DisjointGroups, GroupBy
from converters.prepare.splits import strictest
from converters.splitting.images import SplitImage, group_names
from converters.splitting.stratified import divide


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """How a data set is divided.

    Raises:
        ConfigError: A fraction is invalid, or both are missing.
    """

    by: GroupBy = "work"
    """Unit that is never divided between splits."""
    val: float | None = None
    """Fraction of the images and symbols for validation; None to keep the validation split."""
    test: float | None = None
    """Fraction of the images and symbols for tests; None to keep the test split."""
    seed: int = 0
    """Seed for choosing between groups that are equally suitable."""

    def __post_init__(self) -> None:
        fractions = self.fractions()
        if not fractions:
            raise ConfigError("--val or --test: expected a fraction, such as --val 0.1")
        for split, fraction in fractions.items():
            if not 0 <= fraction < 1:
                problem = "expected a fraction of at least 0 and below 1"
                raise ConfigError(problem, option=f"--{split}", value=f"{fraction:g}")
        if sum(fractions.values()) >= 1:
            raise ConfigError(
                f"--val {self.val:g} --test {self.test:g}: leave nothing to train on; expected "
                "fractions with a sum below 1"
            )

    def fractions(self) -> dict[str, float]:
        """Return the fractions of the new splits apart from train."""
        given = {"val": self.val, "test": self.test}
        return {split: fraction for split, fraction in given.items() if fraction is not None}


def plan(images: Sequence[SplitImage], n_classes: int, options: SplitOptions) -> list[str]:
    """Choose the new split of each image.

    Images of a group, of one page, and copies of an image stay together. A split whose fraction is
    not given keeps its images, together with their groups.

    Args:
        images: Images of all splits.
        n_classes: Number of classes.
        options: How to divide them.

    Raises:
        ConfigError: The group of an image is unknown, or there are fewer groups than splits.
    """
    groups = _groups(images, options.by)
    kept = _kept(images, groups, options)
    counts = _counts(images, groups, n_classes)
    fractions = {split: part for split, part in options.fractions().items() if part}
    fractions = {"train": 1 - sum(fractions.values()), **fractions}
    free = {group: row for group, row in counts.items() if group not in kept}
    if len(free) < len(fractions):
        raise ConfigError(
            f"needs at least {len(fractions)} {options.by}s for {', '.join(fractions)}, got "
            f"{len(free)}; add pages of others, or divide by another unit",
            option="--by",
            value=options.by,
        )
    split_of = kept | divide(free, fractions, options.seed)
    return [split_of[group] for group in groups]


def _groups(images: Sequence[SplitImage], by: GroupBy) -> list[str]:
    """Return the group of each image, joined with those that contain the same page."""
    groups = DisjointGroups()
    keys = [f"group {name}" for name in group_names(images, by)]
    for image, key in zip(images, keys, strict=True):
        groups.join([key, f"~{image.page_hash:x}"])
    return [groups.find(key) for key in keys]


def _kept(
    images: Sequence[SplitImage], groups: Sequence[str], options: SplitOptions
) -> dict[str, str]:
    """Return the split of the groups with images in a split that is kept."""
    splits = defaultdict[str, set[str]](set)
    for image, group in zip(images, groups, strict=True):
        if image.split not in {"train", *options.fractions()}:
            splits[group].add(image.split)
    return {group: strictest(of_group) for group, of_group in splits.items()}


def _counts(
    images: Sequence[SplitImage], groups: Sequence[str], n_classes: int
) -> dict[str, NDArray[np.int64]]:
    """Count the images of each group, then its symbols of each class, shape ``(1 + C,)``."""
    counts: Mapping[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(1 + n_classes, np.int64))
    for image, group in zip(images, groups, strict=True):
        counts[group][0] += 1
        counts[group][1:] += np.bincount(image.labels, minlength=n_classes)
    return dict(counts)


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCounts:
    """Counts of the new splits."""

    images: Mapping[str, int]
    groups: Mapping[str, int]
    symbols: Mapping[str, Mapping[str, int]]
    """Number of symbols of each class, by split and class."""


def count_splits(
    images: Sequence[SplitImage], splits: Sequence[str], names: Sequence[str], by: GroupBy
) -> SplitCounts:
    """Count the images, groups and symbols of each split.

    Args:
        images: Images.
        splits: New split of each image.
        names: Names of the classes.
        by: Unit of the groups.
    """
    used = [split for split in ("train", "val", "test") if split in splits]
    totals = {split: np.zeros(len(names), np.int64) for split in used}
    members = defaultdict[str, set[str]](set)
    for image, split, group in zip(images, splits, group_names(images, by), strict=True):
        totals[split] += np.bincount(image.labels, minlength=len(names))
        members[split].add(group)
    return SplitCounts(
        images={split: splits.count(split) for split in used},
        groups={split: len(members[split]) for split in used},
        symbols={
            split: dict(zip(names, row.tolist(), strict=True)) for split, row in totals.items()
        },
    )
