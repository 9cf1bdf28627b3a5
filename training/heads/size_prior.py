"""Initial box sizes of a detection head, chosen from the symbol sizes of the data.

A new head of Ultralytics predicts boxes of 15 strides at every anchor point: 120 px at the finest
level. Its IoU with a notehead of 9 px is 0.005, and a positive with that IoU has no weight, so that
the box never shrinks. Here each level starts with a box size that is chosen so that every class has
a level with a similar box.

Shapes: L levels, C classes, K candidate boxes, N symbols, R bins of a distance.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from ultralytics.nn.modules.head import Detect

from training.assigners.similarity import ciou_nwd
from training.heads.distance_bins import strides_below_zero
from training.heads.grouped import SeparateDetect, box_branches

WEIGHT_SCALE = 0.3
"""Factor for the last layer's random weights, which would otherwise obscure the prior."""
PEAK_BINS = 1.0
"""Standard deviation of the initial distribution over distances, in bins."""
MAX_CANDIDATES = 32
"""Maximum number of class sizes to try: a million combinations for four levels, about a second."""
MIN_REACH_PX = 16
"""Minimum side of a box when its candidates are listed, as in supported Ultralytics versions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSize:
    """Median size of a class in pixels of the network input."""

    label: int
    count: int
    width: float
    """Median width in pixels."""
    height: float
    """Median height in pixels."""


def class_sizes(labels: NDArray[np.int64], sizes: NDArray[np.float64]) -> tuple[ClassSize, ...]:
    """Compute the median size of every class that occurs.

    Args:
        labels: Class of each symbol, shape ``(N,)``.
        sizes: Width and height in pixels of the network input, shape ``(N, 2)``.
    """
    result = []
    for label in np.unique(labels):
        class_sides = sizes[labels == label]
        width, height = map(float, np.median(class_sides, axis=0))
        result.append(
            ClassSize(label=int(label), count=len(class_sides), width=width, height=height)
        )
    return tuple(result)


def sizes_of(rows: Sequence[Mapping[str, Any]], imgsz: int) -> tuple[ClassSize, ...]:
    """Compute class sizes from the labels of images.

    Args:
        rows: Labels of each image: ``shape``, height and width; ``cls``, shape ``(N, 1)``; and
            ``bboxes``, shape ``(N, 4)``, with width and height as fractions of the image in the
            last two columns.
        imgsz: Pixels to which the longer side of an image is resized.
    """
    sides = np.array([row["shape"][::-1] for row in rows], dtype=np.float64)  # width, height
    factors = sides * imgsz / sides.max(axis=1, keepdims=True)
    sizes = [row["bboxes"][:, 2:] * factor for row, factor in zip(rows, factors, strict=True)]
    labels = np.concatenate([row["cls"][:, 0] for row in rows]).astype(np.int64)
    return class_sizes(labels, np.concatenate(sizes))


def head_priors(head: Detect, sizes: Sequence[ClassSize]) -> Tensor:
    """Choose the initial boxes of a head, for each group that has its own box branch.

    Args:
        head: Ultralytics' ``Detect``, or a head of several groups.
        sizes: Sizes of one or more classes.

    Returns:
        Priors for :func:`set_size_prior`.
    """
    strides, reach = head.stride.tolist(), reach_of(head)
    if not isinstance(head, SeparateDetect):
        return level_priors(sizes, strides, reach)
    group_sizes = ([size for size in sizes if size.label in labels] for labels in head.labels)
    # A group without symbols gets the priors of all classes.
    return torch.stack([level_priors(group or sizes, strides, reach) for group in group_sizes])


def level_priors(sizes: Sequence[ClassSize], strides: Sequence[float], reach: float) -> Tensor:
    """Choose the initial box of each level.

    Candidates are the sizes of the most frequent classes. The value of a level for a class is the
    similarity of its box, placed a quarter of a stride from the symbol, times the probability that
    the level has an anchor point in the symbol. The value of a combination is the sum over classes
    of the logarithm of the best level's value, weighted by the square root of the class count.
    Because of the logarithm no class is neglected.

    Args:
        sizes: Sizes of one or more classes.
        strides: Pixels per cell of each level, finest first.
        reach: Largest distance in strides that the head can encode, see :func:`reach_of`.

    Returns:
        Width and height in pixels, shape ``(L, 2)``.

    Raises:
        ValueError: There are no classes.
    """
    if not sizes:
        raise ValueError("sizes: empty; expected one or more classes")
    shapes = torch.tensor([[size.width, size.height] for size in sizes], dtype=torch.float64)
    shapes = shapes.clamp(min=1)
    weights = torch.tensor([size.count for size in sizes], dtype=torch.float64).sqrt()  # (C,)
    common = weights.argsort(descending=True, stable=True)[:MAX_CANDIDATES]
    candidates = shapes[common].unique(dim=0)  # (K, 2)
    values, starts = [], []
    for stride in strides:
        boxes = candidates.clamp(max=2 * reach * stride)
        values.append(_values(shapes, boxes, stride).clamp(min=1e-12).log())  # (K, C)
        starts.append(boxes)
    chosen = _best_combination(torch.stack(values), weights)
    return torch.stack([boxes[k] for boxes, k in zip(starts, chosen, strict=True)]).float()


def reach_of(head: Detect) -> float:
    """Return the largest distance in strides from which a side of a box can start."""
    return head.reg_max - 1.1 - strides_below_zero(head) if head.reg_max > 1 else math.inf


def _values(shapes: Tensor, boxes: Tensor, stride: float) -> Tensor:
    """Compute the value of a level for each class (C, 2) with each box (K, 2), shape ``(K, C)``."""
    low_high = torch.tensor([-0.5, 0.5], dtype=boxes.dtype)
    true = (shapes[:, None] * low_high[:, None]).flatten(1)  # (C, 4), about the origin
    start = (boxes[:, None] * low_high[:, None]).flatten(1) + stride / 4  # (K, 4)
    pairs = (len(boxes), len(shapes), 4)
    fit = ciou_nwd(
        true[None].expand(pairs).reshape(-1, 4), start[:, None].expand(pairs).reshape(-1, 4)
    ).view(pairs[:2])
    reach = (shapes.clamp(min=MIN_REACH_PX) / stride).clamp(max=1).prod(dim=1)  # (C,)
    return fit * reach


def _best_combination(values: Tensor, weights: Tensor) -> list[int]:
    """Choose one candidate per level by trying every combination.

    Args:
        values: Logarithmic values, shape ``(L, K, C)``.
        weights: Weight of each class, shape ``(C,)``.
    """
    n_levels, n_candidates, _ = values.shape
    last = values[-1]
    # All pairs of the last two levels at once, in a loop over those of the levels before.
    pair = torch.maximum(values[-2][:, None], last[None]) if n_levels > 1 else last[None]
    best, chosen = -math.inf, [0] * n_levels
    for first in itertools.product(range(n_candidates), repeat=max(n_levels - 2, 0)):
        fit = pair
        for level, k in enumerate(first):
            fit = torch.maximum(fit, values[level, k])
        totals = fit @ weights  # (K, K), or (1, K) for a single level
        if float(totals.max()) > best:
            best = float(totals.max())
            row, column = divmod(int(totals.argmax()), n_candidates)
            chosen = [*first, row, column][-n_levels:]
    return chosen


def start_logits(distances: Tensor, reg_max: int) -> Tensor:
    """Compute logits with a given expected distance.

    Args:
        distances: Expected distances in strides, any shape ``(...)``.
        reg_max: Number of bins 0, 1, ... R - 1.

    Returns:
        Logits of a discrete Gaussian with that mean, shape ``(..., R)``.
    """
    bins = torch.arange(reg_max, dtype=torch.float64)
    target = distances.double().clamp(0.02, reg_max - 1.02)
    low = torch.full_like(target, -20.0 * reg_max)
    high = -low
    logits = torch.zeros(*target.shape, reg_max)
    for _ in range(60):
        middle = (low + high) / 2
        logits = -((bins - middle[..., None]) ** 2) / (2 * PEAK_BINS**2)
        too_low = (logits.softmax(dim=-1) * bins).sum(dim=-1) < target
        low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
    return (logits - logits.amax(dim=-1, keepdim=True)).clamp(min=-20.0).float()


@torch.no_grad()
def set_size_prior(head: Detect, priors: Tensor) -> None:
    """Make a new head predict the prior of each level at every anchor point.

    Args:
        head: Ultralytics' ``Detect``, with or without distributions, with one or two branches, or a
            head of several groups.
        priors: Width and height of each level in pixels, shape ``(L, 2)``; shape ``(G, L, 2)`` for
            a head with a box branch for each of G groups.

    Raises:
        ValueError: The number of priors does not match the levels and groups.
    """
    n_groups = len(head.labels) if isinstance(head, SeparateDetect) else 1
    expected = n_groups, len(head.stride), 2
    priors = priors[None] if priors.ndim == 2 else priors
    if priors.shape != expected:
        raise ValueError(f"priors: expected shape {expected}, got {tuple(priors.shape)}")
    # Strides to the left, top, right and bottom, (G, L, 4).
    half = priors.repeat(1, 1, 2) / 2 / head.stride[:, None].cpu()
    if head.reg_max > 1:
        half = half + strides_below_zero(head)  # distance from the first bin
    # By level and group, and again for a second branch that needs no NMS.
    starts = half.transpose(0, 1).flatten(0, 1)  # (L * G, 4)
    for branch, distances in zip(box_branches(head), itertools.cycle(starts)):
        start = start_logits(distances, head.reg_max) if head.reg_max > 1 else distances
        branch[-1].bias.copy_(start.flatten())
        branch[-1].weight.mul_(WEIGHT_SCALE)
