"""Which classes get no weight from a new head.

The task-aligned assigner weighs an anchor point by ``score^alpha * overlap^beta``, and divides by
a box's best weight plus a small number, eps. A new head of Ultralytics predicts boxes of 15
strides at every point. Against a notehead of 9 px their overlap is .005, to the power of 6 far
below eps: the point counts for nothing, and its box does not shrink by itself. Such a class waits
until others, which share its box branch, have moved the boxes; a rare or thin one waits in vain.
Here that is worked out for the median box of each class, for Ultralytics' start and for ours.

All numbers come from heads that are really built, only with a few channels: the boxes and the
scores that they start from are the biases of their last layers.

Shapes: C classes, G groups with a box branch each, L levels, R bins of a distance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from ultralytics.nn.modules.head import Detect

from training.assigners.assignment import min_sides
from training.assigners.similarity import SimilarityByClass, iou, raise_scores
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.density.representation import STOCK_BINS
from training.density.sizes import ClassSizes
from training.heads.distance_bins import allow_below_zero, bin_values
from training.heads.grouped import SeparateDetect, box_branches, divided
from training.heads.head_config import HeadConfig
from training.heads.size_prior import ClassSize, head_priors, set_size_prior
from training.losses.detection import STOCK, LossOptions, make_assigner

MOST_DROPPED = 0.5
"""Share of a class's symbols that the augmentation may take out."""
CHANNELS = 16
"""Of the narrow heads; what they start from does not depend on it."""
TOPK = 10
"""Anchor points that a box takes at most; Ultralytics' number."""
OFFSET = 0.25
"""Strides, to the right and down, from a symbol's centre to the anchor point: the mean distance
of the nearest one in each direction."""
LEAST_CHANCE = 0.5
"""That a level has an anchor point in the median box; one with less is not looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """How a class's median box and a new head meet, at the level where they meet best."""

    stride: float
    """Of the level, pixels."""
    width_px: float
    """Of the box that the head starts from."""
    height_px: float
    iou: float
    """Of the two boxes, the anchor point a quarter of a stride off the centre, in x and in y."""
    dropped: float
    """Share of the class's symbols that the augmentation takes out, 0 to 1."""
    overlap: float | None = None
    """The two boxes in the measure of the assigner; None for another one than ``tal``."""
    metric: float | None = None
    """``score^alpha * overlap^beta``; None for another assigner than ``tal``."""
    weight: float | None = None
    """What the class's best anchor point is to predict and counts in the loss; None likewise."""
    cold: bool
    """Whether the metric is not above eps: the class has no weight until others move the boxes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassStart:
    """How a class starts; everything but the name and count is None without symbols."""

    name: str
    count: int
    width: float | None
    """Median, pixels."""
    height: float | None
    """Median, pixels."""
    stock: Start | None
    """With Ultralytics' head, assigner and augmentation."""
    own: Start | None
    """With those of ``omr train``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """The box that ``omr train`` starts a level of a box branch from."""

    group: str | None
    """None where all classes have one box branch."""
    stride: float
    """Of the level, pixels."""
    width_px: float
    height_px: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdStart:
    """How all classes start."""

    classes: tuple[ClassStart, ...]
    """In the order of the names."""
    cold_stock: tuple[str, ...]
    """Classes that have no weight at Ultralytics' start."""
    cold_own: tuple[str, ...]
    """Those that have none at the start of ``omr train``."""
    dropped_stock: tuple[str, ...]
    """Classes of which Ultralytics' augmentation takes out more than half."""
    dropped_own: tuple[str, ...]
    """Those of which that of ``omr train`` does."""
    priors: tuple[Prior, ...]
    """By group and level; empty where there is no symbol."""


def cold_start(
    rows: Sequence[ClassSizes],
    strides: Sequence[int],
    *,
    heads: HeadConfig | None = None,
    options: LossOptions | None = None,
    reg_max: int = STOCK_BINS,
    size_prior: bool = True,
) -> ColdStart:
    """Compare the median box of each class with what a new head predicts.

    Args:
        rows: Sizes of every class; a label is a place in this list.
        strides: Pixels per cell of each level, finest first.
        heads: Groups of classes; a single head if None.
        options: How ``omr train`` assigns; its defaults if None.
        reg_max: Ultralytics' number of bins; 1 for a head without distributions.
        size_prior: Whether ``omr train`` starts boxes at the data's sizes.

    Raises:
        ConfigError: The groups are not of these classes.
    """
    names = [row.name for row in rows]
    sizes = [
        ClassSize(label=label, count=row.count, width=row.width.p50, height=row.height.p50)
        for label, row in enumerate(rows)
        if row.width and row.height
    ]
    stock, own, scores = _new_heads(names, strides, heads, reg_max)
    if sizes and size_prior:
        set_size_prior(own, head_priors(own, sizes))
    dropped = [[row.dropped_by_ultralytics for row in rows], [row.dropped for row in rows]]
    stock_starts = _starts(stock, scores, sizes, STOCK, dropped[0])
    own_starts = _starts(own, scores, sizes, options or LossOptions(), dropped[1])
    return ColdStart(
        classes=tuple(
            ClassStart(
                name=row.name,
                count=row.count,
                width=row.width.p50 if row.width else None,
                height=row.height.p50 if row.height else None,
                stock=stock_starts.get(label),
                own=own_starts.get(label),
            )
            for label, row in enumerate(rows)
        ),
        cold_stock=_names_of(names, stock_starts, lambda start: start.cold),
        cold_own=_names_of(names, own_starts, lambda start: start.cold),
        dropped_stock=_names_of(names, stock_starts, is_dropped),
        dropped_own=_names_of(names, own_starts, is_dropped),
        priors=_priors(own) if sizes and size_prior else (),
    )


def starting_distances(head: Detect) -> Tensor:
    """Read the distances that a new head predicts from the biases of its last layers.

    Args:
        head: Ultralytics' ``Detect``, or a head of several groups.

    Returns:
        Strides to the left, top, right and bottom of the anchor point, shape ``(G, L, 4)``.
    """
    n_groups = len(head.labels) if isinstance(head, SeparateDetect) else 1
    n_levels = len(head.stride)
    # What comes after is the branch without suppression, which starts the same.
    branches = islice(box_branches(head), n_groups * n_levels)
    biases = torch.stack([branch[-1].bias.detach() for branch in branches])
    sides = biases.view(n_levels, n_groups, 4, head.reg_max)
    if head.reg_max > 1:
        return (sides.softmax(dim=-1) @ bin_values(head)).transpose(0, 1)
    return sides[..., 0].transpose(0, 1)


def _new_heads(
    names: Sequence[str], strides: Sequence[int], heads: HeadConfig | None, reg_max: int
) -> tuple[Detect, Detect, Tensor]:
    """Build narrow heads that start as those of any model do.

    Returns:
        Ultralytics' head, that of ``omr train`` before boxes start at the data's sizes, and the
        probability of each class that both predict at each level at first, shape ``(L, C)``.
    """
    with torch.random.fork_rng(devices=[]):  # a training that asks draws the same numbers after
        stock, own = (
            Detect(nc=max(len(names), 1), reg_max=reg_max, ch=(CHANNELS,) * len(strides))
            for _ in range(2)
        )
        for head in (stock, own):
            head.stride = torch.tensor(strides, dtype=torch.float32)
            head.bias_init()
        if heads is None or heads.box_encoding == "signed":
            allow_below_zero(own)
        if heads is not None:
            own = divided(own, heads.labels(names), heads)
    # A group takes over the rows of its classes.
    scores = [branch[-1].bias.detach().sigmoid() for branch in stock.cv3]
    return stock, own, torch.stack(scores)


def _priors(head: Detect) -> tuple[Prior, ...]:
    """Name the boxes that a head starts from."""
    separate = isinstance(head, SeparateDetect)
    groups = [group.name for group in head.config.groups] if separate else [None]
    distances = starting_distances(head) * head.stride[:, None]  # (G, L, 4)
    return tuple(
        Prior(group=group, stride=stride, width_px=left + right, height_px=top + bottom)
        for group, levels in zip(groups, distances.tolist(), strict=True)
        for stride, (left, top, right, bottom) in zip(head.stride.tolist(), levels, strict=True)
    )


def _starts(
    head: Detect,
    scores: Tensor,
    sizes: Sequence[ClassSize],
    options: LossOptions,
    dropped: Sequence[float | None],
) -> dict[int, Start]:
    """Let the median box of each class meet a new head, by label.

    Args:
        head: Single, or of several groups.
        scores: That it predicts at first, shape ``(L, C)``.
        sizes: Of the classes with symbols.
        options: How the training assigns.
        dropped: Share that the augmentation takes out, of each class.
    """
    strides, least = head.stride, min_sides(options.small_boxes, head.stride.tolist())
    assigner = make_assigner(options, head, TOPK, None)
    tal = assigner if isinstance(assigner, SparseTaskAlignedAssigner) else None
    branch = getattr(head, "group_of", torch.zeros(head.nc, dtype=torch.int64))
    distances = starting_distances(head) * strides[:, None]  # (G, L, 4)
    signs = distances.new_tensor([-1, -1, 1, 1])
    starts = {}
    for size in sizes:
        label, sides = size.label, distances.new_tensor([size.width, size.height])
        said = distances[branch[label]]  # (L, 4)
        boxes = said * signs + OFFSET * strides[:, None]
        true = (sides.repeat(2) / 2 * signs).expand_as(boxes)
        figures = {"iou": iou(true, boxes)}  # (L,) each
        if tal:
            figures |= _weighed(tal, label, true, boxes, scores[:, label])
        level = _best_level(figures, _is_reached(sides, strides, distances.new_tensor(least)))
        found = {name: float(values[level]) for name, values in figures.items()}
        starts[label] = Start(
            stride=float(strides[level]),
            width_px=float(said[level, 0::2].sum()),
            height_px=float(said[level, 1::2].sum()),
            dropped=dropped[label] or 0.0,
            cold=tal is not None and found["metric"] <= tal.eps,
            **found,
        )
    return starts


def _names_of(
    names: Sequence[str], starts: Mapping[int, Start], wanted: Callable[[Start], bool]
) -> tuple[str, ...]:
    return tuple(names[label] for label, start in starts.items() if wanted(start))


def is_dropped(start: Start) -> bool:
    """Tell whether the augmentation takes out more than half of a class."""
    return start.dropped > MOST_DROPPED


def _is_reached(sides: Tensor, strides: Tensor, least: Tensor) -> Tensor:
    """Tell which levels likely have an anchor point in a box, bool, shape ``(L,)``.

    Args:
        sides: Width and height of the box, pixels.
        strides: Pixels per cell of each level, shape ``(L,)``.
        least: Pixels that a side counts as at least at each level, shape ``(L,)``.
    """
    longer = torch.maximum(sides, least[:, None])  # (L, 2)
    chances = (longer / strides[:, None]).clamp(max=1).prod(dim=1)  # (L,)
    return chances >= chances.max().clamp(max=LEAST_CHANCE)


def _weighed(
    assigner: SparseTaskAlignedAssigner, label: int, true: Tensor, said: Tensor, scores: Tensor
) -> dict[str, Tensor]:
    """Weigh the one anchor point of each level for a box of a class, ``(L,)`` each."""
    measure, beta = assigner.similarity, assigner.beta
    if isinstance(measure, SimilarityByClass):
        measure = measure.at(torch.full((len(true),), label))
    overlaps = measure(true, said).float()
    metrics = scores.pow(assigner.alpha) * overlaps.pow(
        beta[label] if isinstance(beta, Tensor) else beta
    )
    wanted = raise_scores(overlaps, assigner.min_score) if assigner.min_score else overlaps
    return {
        "overlap": overlaps,
        "metric": metrics,
        "weight": wanted * metrics / (metrics + assigner.eps),
    }


def _best_level(figures: Mapping[str, Tensor], allowed: Tensor) -> int:
    """Find the level of the largest metric, of equals that of the largest IoU."""
    keys = [figures[name].tolist() for name in ("metric", "iou") if name in figures]
    ranks = list(zip(allowed.tolist(), *keys, strict=True))
    return ranks.index(max(ranks))
