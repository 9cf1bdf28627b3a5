"""Four ways to divide classes into heads.

Each takes classes that all have symbols, at least as many as heads, and gives the head of each
class, shape ``(C,)``; no head is left empty.

Shapes: C classes, H heads.
"""

import numpy as np

from training.grouping.clustering import balanced, kmeans, kmeans_1d, spectral_embedding
from training.grouping.conflicts import Conflicts
from training.grouping.partition import partition
from training.grouping.statistics import ClassStatistics, Floats, Ints

SHAPE_SHARE = 0.5
"""Of the similarity of shapes in :func:`similarity`; the rest is that of the images."""


def geometry(statistics: ClassStatistics, n_heads: int) -> Ints:
    """Put classes of like shape together: k-means on the mean of ln(width / height).

    Args:
        statistics: Of C classes.
        n_heads: H; they come out from tall to wide.
    """
    return kmeans_1d(statistics.shapes, n_heads)


def hybrid(
    statistics: ClassStatistics, n_heads: int, *, balance: int | None = None, seed: int = 0
) -> Ints:
    """Put classes together that are of like shape and occur in the same images.

    Args:
        statistics: Of C classes.
        n_heads: H; they come out from tall to wide.
        balance: How many classes more or fewer than C / H a head may have; None for any number.
        seed: Of the starts of k-means.
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
    """Compare each two classes by shape and by the images they occur in.

    Returns:
        0 to 1: half of exp(-2 d^2), where d is the difference of the means of ln(width / height),
        and half of the share of the images with either that have both, shape ``(C, C)``.
    """
    shapes = np.exp(-2 * (statistics.shapes[:, None] - statistics.shapes) ** 2)
    single = np.diag(statistics.n_images)
    either = single[:, None] + single - statistics.n_images
    jaccard = statistics.n_images / np.maximum(either, 1)
    similar: Floats = SHAPE_SHARE * shapes + (1 - SHAPE_SHARE) * jaccard
    return similar


def anti_confusion(statistics: ClassStatistics, n_heads: int, conflicts: Conflicts) -> Ints:
    """Keep classes apart that are taken for one another.

    The most frequent first, each goes to the head with the fewest symbols among those without
    a conflict, or, where every head has one, among all.

    Args:
        statistics: Of C classes.
        n_heads: H, in the order in which they are first filled.
        conflicts: Which classes are taken for one another, shape ``(C, C)``.
    """
    heads = np.full(len(statistics.names), -1)
    filled = np.zeros(n_heads, np.int64)
    for label in np.argsort(-statistics.n_symbols, kind="stable"):
        hostile = np.isin(np.arange(n_heads), heads[conflicts[label]])
        head = np.lexsort((filled, hostile))[0]
        heads[label] = head
        filled[head] += statistics.n_symbols[label]
    return heads


def collision(statistics: ClassStatistics, n_heads: int, *, seed: int = 0) -> Ints:
    """Keep classes apart whose boxes compete for anchor points.

    Args:
        statistics: Of C classes.
        n_heads: H; those with the most symbols come first.
        seed: Of the orders that are tried.
    """
    heads = partition(statistics.collisions, statistics.n_symbols, n_heads, seed)
    n_symbols = np.bincount(heads, statistics.n_symbols, minlength=n_heads)
    return _in_order(heads, -n_symbols.astype(np.float64))


def _in_order(heads: Ints, keys: Floats) -> Ints:
    """Number heads anew, those of the least key first, equal ones as their classes come."""
    first = np.array([(heads == head).argmax() for head in range(len(keys))])
    rank = np.empty(len(keys), np.int64)
    rank[np.lexsort((first, keys))] = np.arange(len(keys))
    return rank[heads]
