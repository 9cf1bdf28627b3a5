"""Grouping strategies: four ways to divide classes into heads.

All classes must have symbols, and there must be at least as many classes as heads. Each strategy
returns the head of each class, shape ``(C,)``; no head is empty.

Shapes: C classes, H heads.
"""

import numpy as np

from training.grouping.clustering import balanced, kmeans, kmeans_1d, spectral_embedding
from training.grouping.conflicts import Conflicts
from training.grouping.partition import partition
from training.grouping.statistics import ClassStatistics, Floats, Ints

SHAPE_SHARE = 0.5
"""Weight of shapes in :func:`similarity`; the remainder is the weight of common images."""


def geometry(statistics: ClassStatistics, n_heads: int) -> Ints:
    """Group classes of similar shape: k-means on the mean of ln(width / height).

    Args:
        statistics: Statistics of C classes.
        n_heads: Number of heads H, numbered from tall to wide.
    """
    return kmeans_1d(statistics.shapes, n_heads)


def hybrid(
    statistics: ClassStatistics, n_heads: int, *, balance: int | None = None, seed: int = 0
) -> Ints:
    """Group classes that have similar shapes and occur in the same images.

    Args:
        statistics: Statistics of C classes.
        n_heads: Number of heads H, numbered from tall to wide.
        balance: Maximum deviation of a head's number of classes from C / H; None for no limit.
        seed: Seed of the initialisations of k-means.
    """
    points = spectral_embedding(similarity(statistics), n_heads)
    heads = kmeans(points, n_heads, seed)
    if balance is not None:
        least = max(1, len(heads) // n_heads - balance)
        most = -(-len(heads) // n_heads) + balance
        heads = balanced(points, heads, n_heads, least, most)
    shapes = [statistics.shapes[heads == head].mean() for head in range(n_heads)]
    return _in_order(heads, np.array(shapes))


def similarity(statistics: ClassStatistics) -> Floats:
    """Compute the similarity of all pairs of classes by shape and common images.

    Returns:
        Similarities from 0 to 1, shape ``(C, C)``: the mean of exp(-2 d^2), where d is the
        difference in mean ln(width / height), and the Jaccard index of the images that contain the
        classes.
    """
    shapes = np.exp(-2 * (statistics.shapes[:, None] - statistics.shapes) ** 2)
    single = np.diag(statistics.n_images)
    either = single[:, None] + single - statistics.n_images
    jaccard = statistics.n_images / np.maximum(either, 1)
    similar: Floats = SHAPE_SHARE * shapes + (1 - SHAPE_SHARE) * jaccard
    return similar


def anti_confusion(statistics: ClassStatistics, n_heads: int, conflicts: Conflicts) -> Ints:
    """Separate classes that are confused with each other.

    Classes are placed in order of decreasing frequency, each in the head with the fewest symbols
    among those without a conflicting class, or among all heads if every head has one.

    Args:
        statistics: Statistics of C classes.
        n_heads: Number of heads H, numbered in the order in which they receive classes.
        conflicts: Pairs of classes that are confused with each other, shape ``(C, C)``.
    """
    heads = np.full(len(statistics.names), -1)
    filled = np.zeros(n_heads, np.int64)
    for label in np.argsort(-statistics.n_symbols, kind="stable"):
        conflicting = np.isin(np.arange(n_heads), heads[conflicts[label]])
        head = np.lexsort((filled, conflicting))[0]
        heads[label] = head
        filled[head] += statistics.n_symbols[label]
    return heads


def collision(statistics: ClassStatistics, n_heads: int, *, seed: int = 0) -> Ints:
    """Separate classes whose boxes compete for anchor points.

    Args:
        statistics: Statistics of C classes.
        n_heads: Number of heads H, numbered by decreasing number of symbols.
        seed: Seed of the random orders to try.
    """
    heads = partition(statistics.collisions, statistics.n_symbols, n_heads, seed)
    n_symbols = np.bincount(heads, statistics.n_symbols, minlength=n_heads)
    return _in_order(heads, -n_symbols.astype(np.float64))


def _in_order(heads: Ints, keys: Floats) -> Ints:
    """Renumber heads by ascending key; equal keys are ordered by the first class."""
    first = np.array([(heads == head).argmax() for head in range(len(keys))])
    rank = np.empty(len(keys), np.int64)
    rank[np.lexsort((first, keys))] = np.arange(len(keys))
    return rank[heads]
