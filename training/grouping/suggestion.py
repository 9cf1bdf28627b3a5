"""Suggestion of heads for a data set, and a description of the resulting groups.

Shapes: C classes, H heads.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from class_maps import ConfigError
from eval.html.number_format import counted
from settings.head_config import BoxBranch, Group, HeadConfig, to_yaml
from training.grouping import strategies
from training.grouping.conflicts import Conflicts
from training.grouping.matching import capacity
from training.grouping.statistics import ClassStatistics, Ints, Symbols, measure

Strategy = Literal["geometry", "hybrid", "anti-confusion", "collision"]
STRIDES = (8, 16, 32)
"""Pixels per cell of each level of common models."""
BOX: dict[Strategy, BoxBranch] = {
    "geometry": "separate",
    "hybrid": "separate",
    "anti-confusion": "shared",
    "collision": "separate",
}
"""Box branches by strategy; only ``anti-confusion`` uses a shared box branch, because confusion
concerns the class branches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupingOptions:
    """Options of a grouping.

    Raises:
        ConfigError: A value is invalid, or options contradict each other.
    """

    strategy: Strategy
    n_heads: int = 4
    strides: tuple[int, ...] = STRIDES
    """Pixels per cell of each level, finest first."""
    balance: int | None = None
    """Maximum deviation of a head's number of classes from the average; for ``hybrid`` only."""
    seed: int = 0
    """Seed of the random initialisations of ``hybrid`` and ``collision``."""

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            known = ", ".join(get_args(Strategy))
            reason = f"unknown; expected one of {known}"
            raise ConfigError(reason, option="--strategy", value=self.strategy)
        if self.n_heads < 1:
            raise ConfigError("must be at least 1", option="--heads", value=self.n_heads)
        if not self.strides or min(self.strides) < 1:
            strides = ",".join(map(str, self.strides))
            raise ConfigError("expected numbers above 0", option="--strides", value=strides)
        if self.seed < 0:
            raise ConfigError("must be at least 0", option="--seed", value=self.seed)
        if self.balance is not None and self.strategy != "hybrid":
            reason = f"only for --strategy hybrid, not for {self.strategy}; omit it"
            raise ConfigError(reason, option="--balance", value=self.balance)
        if self.balance is not None and self.balance < 0:
            raise ConfigError("must be at least 0", option="--balance", value=self.balance)


@dataclass(frozen=True, kw_only=True, slots=True)
class SuggestedHead:
    """Suggested head with the figures of its classes."""

    name: str
    classes: tuple[str, ...]
    symbols: int
    collisions: int
    """Anchor points that are candidates of two classes of the head, summed over pairs."""
    within_classes: int
    """Anchor points that are candidates of several boxes of one class, summed over classes."""
    conflicts: int | None
    """Pairs of its classes that are confused with each other; None if unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """Suggested heads and their effect on the competition for anchor points."""

    strategy: Strategy
    imgsz: int
    strides: tuple[int, ...]
    symbols: int
    heads: tuple[SuggestedHead, ...]
    box: BoxBranch
    single_head_collisions: int
    """Collisions in a single head with all classes."""
    single_head: float
    """Fraction of boxes that can each have an anchor point to themselves, with a single head."""
    these_heads: float
    """Same fraction with the suggested heads, each with its own box branch."""
    without_candidate: float
    """Fraction of boxes without candidate anchor points."""
    absent: tuple[str, ...]
    """Classes without symbols, which were assigned to the heads with the fewest classes."""

    def config(self) -> HeadConfig:
        """Return the head config for the trainer."""
        groups = tuple(Group(name=head.name, classes=head.classes) for head in self.heads)
        return HeadConfig(groups=groups, box=self.box)

    def to_json(self) -> dict[str, Any]:
        """Return the suggestion as nested dicts, lists and numbers."""
        return asdict(self)


def suggest(
    symbols: Symbols,
    names: Sequence[str],
    options: GroupingOptions,
    conflicts: Conflicts | None = None,
) -> Suggestion:
    """Divide the classes of a data set into heads.

    Args:
        symbols: Symbols of all images.
        names: Class names, indexed by label.
        options: Options of the grouping.
        conflicts: Pairs of classes that are confused with each other, shape ``(C, C)``; for
            anti-confusion only.

    Raises:
        ConfigError: The options do not fit the data set (see :func:`check`), or it has no symbols.
    """
    check(names, symbols.imgsz, options, conflicts)
    if not len(symbols):
        raise ConfigError("no image contains symbols; a grouping needs labelled images")
    statistics = measure(symbols, names, options.strides)
    heads = divide(statistics, options, conflicts)
    single = np.zeros(len(names), np.int64)
    matched, without_candidate = capacity(symbols, single, options.strides)
    return Suggestion(
        strategy=options.strategy,
        imgsz=symbols.imgsz,
        strides=options.strides,
        symbols=len(symbols),
        heads=_describe(statistics, heads, options.n_heads, conflicts),
        box=BOX[options.strategy],
        single_head_collisions=int(np.triu(statistics.collisions, k=1).sum()),
        single_head=matched / len(symbols),
        these_heads=capacity(symbols, heads, options.strides)[0] / len(symbols),
        without_candidate=without_candidate / len(symbols),
        absent=tuple(name for name, n in zip(names, statistics.n_symbols, strict=True) if not n),
    )


def check(
    names: Sequence[str], imgsz: int, options: GroupingOptions, conflicts: Conflicts | None
) -> None:
    """Check that options fit a data set, before its labels are read.

    Args:
        names: Class names.
        imgsz: Network input side in pixels.
        options: Options of the grouping.
        conflicts: Pairs of classes that are confused with each other; None if unknown.

    Raises:
        ConfigError: There are fewer classes than heads, the input size is not a multiple of every
            stride, or conflicts are missing for anti-confusion or given for another strategy.
    """
    if len(names) < options.n_heads:
        classes = counted(len(names), "class", "classes")
        reason = f"the data set has only {classes}; use fewer heads"
        raise ConfigError(reason, option="--heads", value=options.n_heads)
    if imgsz < 1 or any(imgsz % stride for stride in options.strides):
        shown = ", ".join(map(str, options.strides))
        reason = f"must be a multiple of every stride: {shown}"
        raise ConfigError(reason, option="--imgsz", value=imgsz)
    if (conflicts is None) == (options.strategy == "anti-confusion"):
        reason = (
            "needs confused classes; add --pairs or --confusion"
            if conflicts is None
            else "does not use confused classes; omit --pairs and --confusion"
        )
        raise ConfigError(reason, option="--strategy", value=options.strategy)


def divide(
    statistics: ClassStatistics, options: GroupingOptions, conflicts: Conflicts | None = None
) -> Ints:
    """Assign a head to each class.

    The order of the classes does not matter: ties are broken by name. Classes without symbols go to
    the heads with the fewest classes.

    Args:
        statistics: Statistics of C classes.
        options: Options of the grouping.
        conflicts: Pairs of classes that are confused with each other, shape ``(C, C)``; if given,
            the strategy is anti-confusion.

    Returns:
        Head of each class, shape ``(C,)``; no head is empty.

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
        conflicting = None if conflicts is None else conflicts[np.ix_(present, present)]
        heads[present] = _by_strategy(statistics.of(present), options, conflicting)
    for label in by_name[statistics.n_symbols[by_name] == 0]:
        heads[label] = np.bincount(heads[heads >= 0], minlength=n_heads).argmin()
    return heads


def yaml_text(suggestion: Suggestion) -> str:
    """Format a head config that :func:`settings.head_config.from_yaml` reads."""
    title = f"# By {suggestion.strategy}, for a training at {suggestion.imgsz} px.\n"
    return title + to_yaml(suggestion.config())


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


def _describe(
    statistics: ClassStatistics, heads: Ints, n_heads: int, conflicts: Conflicts | None
) -> tuple[SuggestedHead, ...]:
    described = []
    for head in range(n_heads):
        labels = np.flatnonzero(heads == head)
        group = statistics.of(labels)
        conflicting = None if conflicts is None else conflicts[np.ix_(labels, labels)]
        described.append(
            SuggestedHead(
                name=f"head_{head}",
                classes=group.names,
                symbols=int(group.n_symbols.sum()),
                collisions=int(np.triu(group.collisions, k=1).sum()),
                within_classes=int(np.trace(group.collisions)),
                conflicts=None if conflicting is None else int(np.triu(conflicting, k=1).sum()),
            )
        )
    return tuple(described)
