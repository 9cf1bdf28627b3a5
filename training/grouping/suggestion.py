"""Suggests heads for a data set, and tells what they are good for.

Shapes: C classes, H heads.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from class_maps import ConfigError
from converters.files.overwriting import check_files
from training.grouping import strategies
from training.grouping.conflicts import Conflicts
from training.grouping.matching import capacity
from training.grouping.statistics import ClassStatistics, Ints, Symbols, measure
from training.heads.head_config import BoxBranch, Group, HeadConfig, to_yaml

Strategy = Literal["geometry", "hybrid", "anti-confusion", "collision"]
STRIDES = (8, 16, 32)
"""Pixels per cell of each level of the usual models."""
BOX: dict[Strategy, BoxBranch] = {
    "geometry": "separate",
    "hybrid": "separate",
    "anti-confusion": "shared",
    "collision": "separate",
}
"""What a strategy is for: only confusion is the class branches' concern alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupingOptions:
    """How to divide the classes.

    Raises:
        ConfigError: They contradict each other.
    """

    strategy: Strategy
    n_heads: int = 4
    strides: tuple[int, ...] = STRIDES
    """Pixels per cell of each level, finest first."""
    balance: int | None = None
    """Of ``hybrid``: how many classes more or fewer than the average a head may have."""
    seed: int = 0
    """Of ``hybrid`` and ``collision``, which try several starts."""

    def __post_init__(self) -> None:
        """Check what a user can get wrong."""
        if self.strategy not in get_args(Strategy):
            known = ", ".join(get_args(Strategy))
            raise ConfigError(f"strategy: {self.strategy} is none of {known}")
        if self.n_heads < 1:
            raise ConfigError(f"heads: must be at least 1, got {self.n_heads}")
        if not self.strides or min(self.strides) < 1:
            raise ConfigError("strides: must be numbers above 0")
        if self.seed < 0:
            raise ConfigError(f"seed: must be at least 0, got {self.seed}")
        if self.balance is not None and self.strategy != "hybrid":
            raise ConfigError(f"balance: is for hybrid, not for {self.strategy}")
        if self.balance is not None and self.balance < 0:
            raise ConfigError(f"balance: must be at least 0, got {self.balance}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SuggestedHead:
    """A head, and what its classes hold."""

    name: str
    classes: tuple[str, ...]
    symbols: int
    collisions: int
    """Anchor points that are candidates of two of its classes, summed over pairs of classes."""
    within_classes: int
    """Anchor points that are candidates of several boxes of a class, summed over classes."""
    conflicts: int | None
    """Pairs of its classes that are taken for one another; None where that is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """Heads, and how many boxes they leave an anchor point of its own."""

    strategy: Strategy
    imgsz: int
    strides: tuple[int, ...]
    symbols: int
    heads: tuple[SuggestedHead, ...]
    box: BoxBranch
    single_head_collisions: int
    """Collisions of a head with all classes."""
    single_head: float
    """Share of the boxes that can each have an anchor point of their own, with a single head."""
    these_heads: float
    """The same with these heads and a box branch for each."""
    without_candidate: float
    """Share of the boxes that have no candidate at all."""
    absent: tuple[str, ...]
    """Classes without a symbol, which were put where the fewest classes are."""

    def config(self) -> HeadConfig:
        """Give the head config that the trainer reads."""
        groups = tuple(Group(name=head.name, classes=head.classes) for head in self.heads)
        return HeadConfig(groups=groups, box=self.box)

    def to_json(self) -> dict[str, Any]:
        """Give nested dicts, lists and numbers."""
        return asdict(self)


def suggest(
    symbols: Symbols,
    names: Sequence[str],
    options: GroupingOptions,
    conflicts: Conflicts | None = None,
) -> Suggestion:
    """Divide the classes of a data set into heads.

    Args:
        symbols: Of all images.
        names: Class names; a label is a place in this list.
        options: How to divide them.
        conflicts: Which classes are taken for one another, shape ``(C, C)``; for anti-confusion.

    Raises:
        ConfigError: As :func:`check` says, or there are no symbols.
    """
    check(names, symbols.imgsz, options, conflicts)
    if not len(symbols):
        raise ConfigError("no symbol in any image, so nothing to go by")
    statistics = measure(symbols, names, options.strides)
    heads = divide(statistics, options, conflicts)
    single = np.zeros(len(names), np.int64)
    alone, without = capacity(symbols, single, options.strides)
    return Suggestion(
        strategy=options.strategy,
        imgsz=symbols.imgsz,
        strides=options.strides,
        symbols=len(symbols),
        heads=_described(statistics, heads, options.n_heads, conflicts),
        box=BOX[options.strategy],
        single_head_collisions=int(np.triu(statistics.collisions, k=1).sum()),
        single_head=alone / len(symbols),
        these_heads=capacity(symbols, heads, options.strides)[0] / len(symbols),
        without_candidate=without / len(symbols),
        absent=tuple(name for name, n in zip(names, statistics.n_symbols, strict=True) if not n),
    )


def check(
    names: Sequence[str], imgsz: int, options: GroupingOptions, conflicts: Conflicts | None
) -> None:
    """Make sure that options fit a data set, before its labels are read.

    Args:
        names: Class names.
        imgsz: Side of the network's input in pixels.
        options: How to divide the classes.
        conflicts: Which classes are taken for one another, if that is known.

    Raises:
        ConfigError: There are fewer classes than heads, the size of the input is no multiple of
            a stride, or conflicts are given where they do not count or missing where they do.
    """
    if len(names) < options.n_heads:
        raise ConfigError(f"heads: {len(names)} classes cannot fill {options.n_heads} heads")
    if imgsz < 1 or any(imgsz % stride for stride in options.strides):
        shown = ", ".join(map(str, options.strides))
        raise ConfigError(f"imgsz ({imgsz}): must be a multiple of every stride: {shown}")
    if (conflicts is None) == (options.strategy == "anti-confusion"):
        wanted = "needs" if conflicts is None else "does without"
        raise ConfigError(f"{options.strategy} {wanted} pairs of classes or a confusion matrix")


def divide(
    statistics: ClassStatistics, options: GroupingOptions, conflicts: Conflicts | None = None
) -> Ints:
    """Give each class a head.

    The order of the classes does not matter: ties are decided by their names. Those without
    a symbol, of which nothing is known, go where the fewest classes are.

    Args:
        statistics: Of C classes.
        options: How to divide them.
        conflicts: Which classes are taken for one another, shape ``(C, C)``; that is, divide by
            anti-confusion.

    Returns:
        Head of each class, shape ``(C,)``; none of them is empty.

    Raises:
        ValueError: There are fewer classes than heads.
    """
    names, n_heads = statistics.names, options.n_heads
    if not 1 <= n_heads <= len(names):
        raise ValueError(f"{len(names)} classes cannot be divided into {n_heads} heads")
    by_name = np.array(sorted(range(len(names)), key=lambda label: (names[label], label)))
    present = by_name[statistics.n_symbols[by_name] > 0]
    heads = np.full(len(names), -1)
    if len(present):
        hostile = None if conflicts is None else conflicts[np.ix_(present, present)]
        heads[present] = _by_strategy(statistics.of(present), options, hostile)
    for label in by_name[statistics.n_symbols[by_name] == 0]:
        heads[label] = np.bincount(heads[heads >= 0], minlength=n_heads).argmin()
    return heads


def write(suggestion: Suggestion, path: Path, *, force: bool = False) -> None:
    """Write a head config that :func:`training.heads.head_config.from_yaml` reads.

    Args:
        suggestion: What to write.
        path: A YAML file.
        force: Replace the file, if there is one.

    Raises:
        ConfigError: As :func:`check_free` says, or it cannot be written.
    """
    check_free(path, force=force)
    title = f"# By {suggestion.strategy}, for a training at {suggestion.imgsz} px.\n"
    try:
        path.write_text(title + to_yaml(suggestion.config()), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def check_free(path: Path, *, force: bool) -> None:
    """Make sure that a head config can be written here, before anything takes time.

    Raises:
        ConfigError: It is no YAML file, or there is one already and ``force`` is not set.
    """
    if path.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"{path}: a head config is a .yaml file")
    check_files(path, force=force)


def _by_strategy(
    statistics: ClassStatistics, options: GroupingOptions, conflicts: Conflicts | None
) -> Ints:
    n_heads = min(options.n_heads, len(statistics.names))
    if conflicts is not None:
        return strategies.anti_confusion(statistics, n_heads, conflicts)
    if options.strategy == "geometry":
        return strategies.geometry(statistics, n_heads)
    if options.strategy == "hybrid":
        return strategies.hybrid(statistics, n_heads, balance=options.balance, seed=options.seed)
    return strategies.collision(statistics, n_heads, seed=options.seed)


def _described(
    statistics: ClassStatistics, heads: Ints, n_heads: int, conflicts: Conflicts | None
) -> tuple[SuggestedHead, ...]:
    described = []
    for head in range(n_heads):
        labels = np.flatnonzero(heads == head)
        own = statistics.of(labels)
        hostile = None if conflicts is None else conflicts[np.ix_(labels, labels)]
        described.append(
            SuggestedHead(
                name=f"head_{head}",
                classes=own.names,
                symbols=int(own.n_symbols.sum()),
                collisions=int(np.triu(own.collisions, k=1).sum()),
                within_classes=int(np.trace(own.collisions)),
                conflicts=None if hostile is None else int(np.triu(hostile, k=1).sum()),
            )
        )
    return tuple(described)
