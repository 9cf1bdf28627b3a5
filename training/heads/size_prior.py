"""Starts a detection head from the sizes of the data's symbols.

A new head of Ultralytics predicts boxes of 15 strides at every anchor: 120 px at the finest
level. Against a notehead of 9 px that is an IoU of .005, and a positive of that overlap carries no
weight, so the box never shrinks. Here each level starts at a box of its own, chosen so that every
class has a level whose box resembles it.

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

from training.assigners.similarity import overlap
from training.heads.distance_bins import has_bins_below_zero
from training.heads.grouped import SeparateDetect, box_branches

WEIGHT_SCALE = 0.3
"""What is left of the last layer's random weights, so that they do not drown the prior."""
PEAK_BINS = 1.0
"""Standard deviation of the starting distribution over distances, in bins."""
MAX_CANDIDATES = 32
"""Classes whose sizes are tried: of four levels a million combinations, about a second."""
MIN_REACH_PX = 16
"""A shorter side is enlarged to this when an anchor is looked for, from Ultralytics 8.4.130 on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSize:
    """A class's middle size, as the network sees it."""

    label: int
    count: int
    width: float
    """Pixels, the median."""
    height: float
    """Pixels, the median."""


def class_sizes(labels: NDArray[np.int64], sizes: NDArray[np.float64]) -> tuple[ClassSize, ...]:
    """Take the median size of every class that occurs.

    Args:
        labels: Shape ``(N,)``.
        sizes: Width and height in pixels of the network's input, shape ``(N, 2)``.
    """
    result = []
    for label in np.unique(labels):
        own = sizes[labels == label]
        width, height = np.median(own, axis=0)
        result.append(
            ClassSize(label=int(label), count=len(own), width=float(width), height=float(height))
        )
    return tuple(result)


def sizes_of(rows: Sequence[Mapping[str, Any]], imgsz: int) -> tuple[ClassSize, ...]:
    """Measure the symbols of images as the network sees them.

    Args:
        rows: Of each image ``shape``, height and width, ``cls``, shape ``(N, 1)``, and ``bboxes``,
            whose last two columns are width and height as shares of the image, shape ``(N, 4)``.
        imgsz: The longer side of an image is resized to this, in pixels.
    """
    sides = np.array([row["shape"][::-1] for row in rows], dtype=np.float64)  # width, height
    factors = sides * imgsz / sides.max(axis=1, keepdims=True)
    sizes = [row["bboxes"][:, 2:] * factor for row, factor in zip(rows, factors, strict=True)]
    labels = np.concatenate([row["cls"][:, 0] for row in rows]).astype(np.int64)
    return class_sizes(labels, np.concatenate(sizes))


def head_priors(head: Detect, sizes: Sequence[ClassSize]) -> Tensor:
    """Choose the boxes that a head starts from, for each group that has a box branch of its own.

    Args:
        head: Ultralytics' ``Detect``, or a head of several groups.
        sizes: One or more classes.

    Returns:
        As :func:`set_size_prior` takes them.
    """
    strides, reach = head.stride.tolist(), reach_of(head)
    if not isinstance(head, SeparateDetect):
        return level_priors(sizes, strides, reach)
    of_groups = ([size for size in sizes if size.label in own] for own in head.labels)
    # A group without a symbol may start anywhere.
    return torch.stack([level_priors(own or sizes, strides, reach) for own in of_groups])


def level_priors(sizes: Sequence[ClassSize], strides: Sequence[float], reach: float) -> Tensor:
    """Choose the box that each level starts from.

    Candidates are the most frequent classes' own sizes. A level's worth for a class is how well
    its box, placed a quarter of a stride away from the symbol, overlaps it, times the chance that
    the level has an anchor in the symbol at all; a choice's worth is the sum over classes of the
    logarithm of the best level's, each class by the root of its count. The logarithm is what
    keeps a class from being left out.

    Args:
        sizes: One or more classes.
        strides: Pixels per cell of each level, finest first.
        reach: Strides that the head can say at most, as :func:`reach_of` tells.

    Returns:
        Width and height in pixels, shape ``(L, 2)``.

    Raises:
        ValueError: There are no classes.
    """
    if not sizes:
        raise ValueError("no classes to take a size from")
    shapes = torch.tensor([[size.width, size.height] for size in sizes], dtype=torch.float64)
    shapes = shapes.clamp(min=1)
    weights = torch.tensor([size.count for size in sizes], dtype=torch.float64).sqrt()  # (C,)
    common = weights.argsort(descending=True, stable=True)[:MAX_CANDIDATES]
    candidates = shapes[common].unique(dim=0)  # (K, 2)
    worths, starts = [], []
    for stride in strides:
        boxes = candidates.clamp(max=2 * reach * stride)
        worths.append(_worth(shapes, boxes, stride).clamp(min=1e-12).log())  # (K, C)
        starts.append(boxes)
    chosen = _best_choice(torch.stack(worths), weights)
    return torch.stack([boxes[k] for boxes, k in zip(starts, chosen, strict=True)]).float()


def reach_of(head: Detect) -> float:
    """Tell how many strides from the anchor point a head can start a side of a box."""
    return head.reg_max - 1.1 - has_bins_below_zero(head) if head.reg_max > 1 else math.inf


def _worth(shapes: Tensor, boxes: Tensor, stride: float) -> Tensor:
    """How much a level's start with each box (K, 2) is worth to each class (C, 2): ``(K, C)``."""
    low_high = torch.tensor([-0.5, 0.5], dtype=boxes.dtype)
    true = (shapes[:, None] * low_high[:, None]).flatten(1)  # (C, 4), about the origin
    start = (boxes[:, None] * low_high[:, None]).flatten(1) + stride / 4  # (K, 4)
    pairs = (len(boxes), len(shapes), 4)
    fit = overlap(
        true[None].expand(pairs).reshape(-1, 4), start[:, None].expand(pairs).reshape(-1, 4)
    ).view(pairs[:2])
    reach = (shapes.clamp(min=MIN_REACH_PX) / stride).clamp(max=1).prod(dim=1)  # (C,)
    return fit * reach


def _best_choice(worths: Tensor, weights: Tensor) -> list[int]:
    """Pick a candidate per level by trying every combination.

    Args:
        worths: Shape ``(L, K, C)``.
        weights: Shape ``(C,)``.
    """
    n_levels, n_candidates, _ = worths.shape
    last = worths[-1]
    # The last two levels at once, one by one what comes before them.
    pair = torch.maximum(worths[-2][:, None], last[None]) if n_levels > 1 else last[None]
    best, chosen = -math.inf, [0] * n_levels
    for first in itertools.product(range(n_candidates), repeat=max(n_levels - 2, 0)):
        fit = pair
        for level, k in enumerate(first):
            fit = torch.maximum(fit, worths[level, k])
        totals = fit @ weights  # (K, K), or (1, K) of a single level
        if float(totals.max()) > best:
            best = float(totals.max())
            row, column = divmod(int(totals.argmax()), n_candidates)
            chosen = [*first, row, column][-n_levels:]
    return chosen


def start_logits(distances: Tensor, reg_max: int) -> Tensor:
    """Give the logits whose expected distance is the wanted one.

    Args:
        distances: In strides, any shape ``(...)``.
        reg_max: R, the number of bins 0, 1, ... R - 1.

    Returns:
        Shape ``(..., R)``: a discrete Gaussian, moved until its mean is right.
    """
    bins = torch.arange(reg_max, dtype=torch.float64)
    wanted = distances.double().clamp(0.02, reg_max - 1.02)
    low = torch.full_like(wanted, -20.0 * reg_max)
    high = -low
    logits = torch.zeros(*wanted.shape, reg_max)
    for _ in range(60):
        middle = (low + high) / 2
        logits = -((bins - middle[..., None]) ** 2) / (2 * PEAK_BINS**2)
        short = (logits.softmax(dim=-1) * bins).sum(dim=-1) < wanted
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (logits - logits.amax(dim=-1, keepdim=True)).clamp(min=-20.0).float()


@torch.no_grad()
def set_size_prior(head: Detect, priors: Tensor) -> None:
    """Make a new head predict its level's prior at every anchor.

    Args:
        head: Ultralytics' ``Detect``, with or without distributions, with one branch or two, or a
            head of several groups.
        priors: Width and height in pixels of each level, shape ``(L, 2)``; of a head with a box
            branch for each of G groups, shape ``(G, L, 2)``.

    Raises:
        ValueError: There is not one prior for each level.
    """
    n_groups = len(head.labels) if isinstance(head, SeparateDetect) else 1
    expected = n_groups, len(head.stride), 2
    priors = priors[None] if priors.ndim == 2 else priors
    if priors.shape != expected:
        raise ValueError(f"priors: expected shape {expected}, got {tuple(priors.shape)}")
    # Strides to the left, top, right and bottom, (G, L, 4).
    half = priors.repeat(1, 1, 2) / 2 / head.stride[:, None].cpu()
    if head.reg_max > 1:
        half = half + has_bins_below_zero(head)  # from the first bin
    # By level and group; once more for a branch that needs no suppression.
    starts = half.transpose(0, 1).flatten(0, 1)  # (L * G, 4)
    for branch, distances in zip(box_branches(head), itertools.cycle(starts)):
        start = start_logits(distances, head.reg_max) if head.reg_max > 1 else distances
        branch[-1].bias.copy_(start.flatten())
        branch[-1].weight.mul_(WEIGHT_SCALE)
