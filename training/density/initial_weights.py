"""Classes to which an untrained head gives no weight in the loss.

The task-aligned assigner scores an anchor point by ``score^alpha * overlap^beta`` and divides the
result by the box's best metric plus a small eps. An untrained head of Ultralytics predicts boxes of
15 strides at every point. Against a notehead of 9 px their overlap is .005; to the power of 6 that
is far below eps, so the point gets no weight and its box does not shrink. Such a class is not
learned until other classes that share its box branch have moved the boxes; a rare or thin class may
never be learned. This module computes the weights for the median box of each class, with the
initial boxes of Ultralytics and of ``omr train``.

All figures come from real heads with few channels: their initial boxes and scores are the biases of
their last layers.

Shapes: C classes, G groups with a box branch each, L levels, R bins of a distance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from ultralytics.nn.modules.head import Detect

from eval.reports.density_figures import InitialWeight, StartingBox
from settings.head_config import HeadConfig
from training.assigners.assignment import min_sides
from training.assigners.similarity import SimilarityByClass, iou, raise_scores
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.density.representation import STOCK_BINS
from training.density.sizes import ClassSizes
from training.heads.distance_bins import allow_below_zero, bin_values
from training.heads.grouped import SeparateDetect, box_branches, divided
from training.heads.size_prior import ClassSize, head_priors, set_size_prior
from training.losses.assigner_factory import make_assigner
from training.losses.loss_options import STOCK, LossOptions

MOST_DROPPED = 0.5
"""Fraction of a class's symbols that the augmentation may drop."""
CHANNELS = 16
"""Channels of the narrow heads; the initial predictions do not depend on them."""
TOPK = 10
"""Maximum number of anchor points per box, as in Ultralytics."""
OFFSET = 0.25
"""Offset in strides, right and down, from the centre of a symbol to its anchor point: the mean
distance of the nearest point in each direction."""
LEAST_CHANCE = 0.5
"""Minimum probability that a level has an anchor point inside the median box."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassInitialWeights:
    """Initial weights of a class; all but name and count are None for a class without symbols."""

    name: str
    count: int
    width: float | None
    """Median width in pixels."""
    height: float | None
    """Median height in pixels."""
    stock: InitialWeight | None
    """Result for Ultralytics' head, assigner and augmentation."""
    ours: InitialWeight | None
    """Result for the head, assigner and augmentation of ``omr train``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialWeightAnalysis:
    """Initial weights of all classes, and the classes with a problem."""

    classes: tuple[ClassInitialWeights, ...]
    """Weights per class, in the order of the names."""
    zero_weight_stock: tuple[str, ...]
    """Classes without initial weight in Ultralytics."""
    zero_weight_ours: tuple[str, ...]
    """Classes without initial weight in ``omr train``."""
    dropped_stock: tuple[str, ...]
    """Classes that lose more than half of their symbols to Ultralytics' augmentation."""
    dropped_ours: tuple[str, ...]
    """Classes that lose more than half of their symbols to the augmentation of ``omr train``."""
    priors: tuple[StartingBox, ...]
    """Initial box sizes of ``omr train`` by group and level; empty without symbols."""


def initial_weights(
    rows: Sequence[ClassSizes],
    strides: Sequence[int],
    *,
    heads: HeadConfig | None = None,
    options: LossOptions | None = None,
    reg_max: int = STOCK_BINS,
    size_prior: bool = True,
) -> InitialWeightAnalysis:
    """Compare the median box of each class with the predictions of an untrained head.

    Args:
        rows: Symbol sizes per class, indexed by label.
        strides: Pixels per cell of each level, finest first.
        heads: Groups of classes; None for a single head.
        options: Assignment options of ``omr train``; None for the defaults.
        reg_max: Number of distance bins (DFL) in Ultralytics' head; 1 for a head without distance
            bins.
        size_prior: Whether ``omr train`` initialises boxes with the sizes of the data.

    Raises:
        ConfigError: The groups do not match the classes.
    """
    names = [row.name for row in rows]
    sizes = [
        ClassSize(label=label, count=row.count, width=row.width.p50, height=row.height.p50)
        for label, row in enumerate(rows)
        if row.width and row.height
    ]
    stock_head, our_head, scores = _untrained_heads(names, strides, heads, reg_max)
    if sizes and size_prior:
        set_size_prior(our_head, head_priors(our_head, sizes))
    dropped = [[row.dropped_by_ultralytics for row in rows], [row.dropped for row in rows]]
    stock = _weights_by_label(stock_head, scores, sizes, STOCK, dropped[0])
    ours = _weights_by_label(our_head, scores, sizes, options or LossOptions(), dropped[1])
    return InitialWeightAnalysis(
        classes=tuple(
            ClassInitialWeights(
                name=row.name,
                count=row.count,
                width=row.width.p50 if row.width else None,
                height=row.height.p50 if row.height else None,
                stock=stock.get(label),
                ours=ours.get(label),
            )
            for label, row in enumerate(rows)
        ),
        zero_weight_stock=_names_with(names, stock, lambda weight: weight.zero_weight),
        zero_weight_ours=_names_with(names, ours, lambda weight: weight.zero_weight),
        dropped_stock=_names_with(names, stock, lambda weight: weight.dropped > MOST_DROPPED),
        dropped_ours=_names_with(names, ours, lambda weight: weight.dropped > MOST_DROPPED),
        priors=_starting_boxes(our_head) if sizes and size_prior else (),
    )


def starting_distances(head: Detect) -> Tensor:
    """Read the distances that an untrained head predicts from the biases of its last layers.

    Args:
        head: Ultralytics' ``Detect``, or a head of several groups.

    Returns:
        Distances to the left, top, right and bottom in strides, shape ``(G, L, 4)``.
    """
    n_groups = len(head.labels) if isinstance(head, SeparateDetect) else 1
    n_levels = len(head.stride)
    # Further branches belong to the NMS-free head, which starts identically.
    branches = islice(box_branches(head), n_groups * n_levels)
    biases = torch.stack([branch[-1].bias.detach() for branch in branches])
    sides = biases.view(n_levels, n_groups, 4, head.reg_max)
    if head.reg_max > 1:
        return (sides.softmax(dim=-1) @ bin_values(head)).transpose(0, 1)
    return sides[..., 0].transpose(0, 1)


def _untrained_heads(
    names: Sequence[str], strides: Sequence[int], heads: HeadConfig | None, reg_max: int
) -> tuple[Detect, Detect, Tensor]:
    """Build narrow heads that are initialised like the head of any model.

    Returns:
        Ultralytics' head, the head of ``omr train`` before its boxes are set to the sizes of the
        data, and the initial class probabilities of both, shape ``(L, C)``.
    """
    with torch.random.fork_rng(devices=[]):  # does not affect the random numbers of the caller
        stock, ours = (
            Detect(nc=max(len(names), 1), reg_max=reg_max, ch=(CHANNELS,) * len(strides))
            for _ in range(2)
        )
        for head in (stock, ours):
            head.stride = torch.tensor(strides, dtype=torch.float32)
            head.bias_init()
        if heads is None or heads.box_encoding == "signed":
            allow_below_zero(ours)
        if heads is not None:
            ours = divided(ours, heads.labels(names), heads)
    # Groups copy the rows of their classes, so the probabilities are those of the single head.
    scores = [branch[-1].bias.detach().sigmoid() for branch in stock.cv3]
    return stock, ours, torch.stack(scores)


def _starting_boxes(head: Detect) -> tuple[StartingBox, ...]:
    """List the initial box sizes of a head by group and level."""
    separate = isinstance(head, SeparateDetect)
    groups = [group.name for group in head.config.groups] if separate else [""]
    distances = starting_distances(head) * head.stride[:, None]  # (G, L, 4)
    return tuple(
        StartingBox(group=group, stride=stride, width_px=left + right, height_px=top + bottom)
        for group, levels in zip(groups, distances.tolist(), strict=True)
        for stride, (left, top, right, bottom) in zip(head.stride.tolist(), levels, strict=True)
    )


def _weights_by_label(
    head: Detect,
    scores: Tensor,
    sizes: Sequence[ClassSize],
    options: LossOptions,
    dropped: Sequence[float | None],
) -> dict[int, InitialWeight]:
    """Match the median box of each class with an untrained head.

    Args:
        head: Head with one or more groups.
        scores: Initial class probabilities, shape ``(L, C)``.
        sizes: Median sizes of the classes with symbols.
        options: Assignment options.
        dropped: Fraction of each class that the augmentation drops.

    Returns:
        Initial weights by label.
    """
    strides, least = head.stride, min_sides(options.small_boxes, head.stride.tolist())
    assigner = make_assigner(options, head, TOPK, None)
    tal = assigner if isinstance(assigner, SparseTaskAlignedAssigner) else None
    branch = getattr(head, "group_of", torch.zeros(head.nc, dtype=torch.int64))
    distances = starting_distances(head) * strides[:, None]  # (G, L, 4)
    signs = distances.new_tensor([-1, -1, 1, 1])
    weights = {}
    for size in sizes:
        label, sides = size.label, distances.new_tensor([size.width, size.height])
        predicted = distances[branch[label]]  # (L, 4)
        boxes = predicted * signs + OFFSET * strides[:, None]
        true = (sides.repeat(2) / 2 * signs).expand_as(boxes)
        figures = {"iou": iou(true, boxes)}  # (L,) each
        if tal:
            figures |= _tal_figures(tal, label, true, boxes, scores[:, label])
        level = _best_level(figures, _is_reached(sides, strides, distances.new_tensor(least)))
        values = {name: float(figure[level]) for name, figure in figures.items()}
        zero_weight = tal is not None and values["metric"] <= tal.eps
        class_dropped = dropped[label] or 0.0
        weights[label] = InitialWeight(
            stride=float(strides[level]),
            width_px=float(predicted[level, 0::2].sum()),
            height_px=float(predicted[level, 1::2].sum()),
            dropped=class_dropped,
            zero_weight=zero_weight,
            learns=not zero_weight and class_dropped <= MOST_DROPPED,
            **values,
        )
    return weights


def _names_with(
    names: Sequence[str],
    weights: Mapping[int, InitialWeight],
    condition: Callable[[InitialWeight], bool],
) -> tuple[str, ...]:
    return tuple(names[label] for label, weight in weights.items() if condition(weight))


def _is_reached(sides: Tensor, strides: Tensor, least: Tensor) -> Tensor:
    """Check which levels probably have an anchor point inside a box.

    Args:
        sides: Width and height of the box in pixels.
        strides: Pixels per cell of each level, shape ``(L,)``.
        least: Minimum side length that the assigner assumes at each level, in pixels, shape
            ``(L,)``.

    Returns:
        Boolean mask, shape ``(L,)``.
    """
    longer = torch.maximum(sides, least[:, None])  # (L, 2)
    chances = (longer / strides[:, None]).clamp(max=1).prod(dim=1)  # (L,)
    return chances >= chances.max().clamp(max=LEAST_CHANCE)


def _tal_figures(
    assigner: SparseTaskAlignedAssigner,
    label: int,
    true: Tensor,
    predicted: Tensor,
    scores: Tensor,
) -> dict[str, Tensor]:
    """Compute overlap, metric and weight of one anchor point per level, shape ``(L,)`` each."""
    measure, beta = assigner.similarity, assigner.beta
    if isinstance(measure, SimilarityByClass):
        measure = measure.at(torch.full((len(true),), label))
    overlaps = measure(true, predicted).float()
    metrics = scores.pow(assigner.alpha) * overlaps.pow(
        beta[label] if isinstance(beta, Tensor) else beta
    )
    targets = raise_scores(overlaps, assigner.min_score) if assigner.min_score else overlaps
    return {
        "overlap": overlaps,
        "metric": metrics,
        "weight": targets * metrics / (metrics + assigner.eps),
    }


def _best_level(figures: Mapping[str, Tensor], allowed: Tensor) -> int:
    """Return the allowed level with the largest metric; the larger IoU decides between equals."""
    keys = [figures[name].tolist() for name in ("metric", "iou") if name in figures]
    ranks = list(zip(allowed.tolist(), *keys, strict=True))
    return ranks.index(max(ranks))
