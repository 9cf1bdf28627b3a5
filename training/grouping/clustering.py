"""k-means and spectral clustering of a few hundred classes; equal input, equal result.

Shapes: C things to cluster, K clusters, D dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from training.grouping.statistics import Floats, Ints

MAX_STEPS = 100
N_STARTS = 20
"""Drawn starts of k-means, besides the one that is not."""


def kmeans_1d(values: Floats, n_clusters: int) -> Ints:
    """Divide numbers into clusters of the least sum of squared distances from their means.

    In one dimension clusters are intervals, so that dynamic programming finds the best.

    Args:
        values: Shape ``(C,)``, at least as many as clusters.
        n_clusters: K, at least 1.

    Returns:
        Cluster of each value, from the lowest values to the highest, shape ``(C,)``; none is empty.

    Raises:
        ValueError: There are fewer values than clusters.

    Source: H. Wang, M. Song, https://doi.org/10.32614/RJ-2011-015.
    """
    _check(len(values), n_clusters)
    order = np.argsort(values, kind="stable")
    x = values[order] - values.mean()  # about 0, where sums of squares lose least
    costs = _interval_costs(x)
    best = costs[0]  # (C + 1,): of the first values, divided into one cluster
    firsts = []
    for _ in range(1, n_clusters):
        totals = best[:, None] + costs  # (C + 1, C + 1): the last cluster begins at the row
        firsts.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    clusters = np.zeros(len(values), np.int64)
    end = len(values)
    for first in reversed(firsts):
        begin = int(first[end])
        clusters[order[begin:]] += 1
        end = begin
    return clusters


def _interval_costs(x: Floats) -> Floats:
    """Squared distances from the mean of ``x[i:j]``, infinite where that is empty."""
    sums, squares = (np.concatenate(([0.0], np.cumsum(v))) for v in (x, x * x))
    i, j = np.meshgrid(np.arange(len(x) + 1), np.arange(len(x) + 1), indexing="ij")
    lengths = np.maximum(j - i, 1)
    costs = squares[None] - squares[:, None] - (sums[None] - sums[:, None]) ** 2 / lengths
    filled: Floats = np.where(j > i, np.maximum(costs, 0), np.inf)
    return filled


def spectral_embedding(similarity: Floats, n_clusters: int) -> Floats:
    """Place things so that similar ones lie together, on the unit sphere.

    Args:
        similarity: Symmetric, from 0, shape ``(C, C)``; the diagonal does not count.
        n_clusters: D, of the result.

    Returns:
        Shape ``(C, D)``.

    Source: A. Ng, M. Jordan, Y. Weiss, On Spectral Clustering, NeurIPS 2001.
    """
    edges = similarity - np.diag(np.diag(similarity))
    scale = 1 / np.sqrt(np.maximum(edges.sum(axis=1), np.finfo(np.float64).tiny))
    normalised = scale[:, None] * edges * scale
    vectors = np.linalg.eigh(np.eye(len(edges)) - normalised)[1][:, :n_clusters]
    largest = np.abs(vectors).argmax(axis=0)
    vectors *= np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1, 1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    placed: Floats = vectors / np.maximum(lengths, np.finfo(np.float64).tiny)
    return placed


def kmeans(points: Floats, n_clusters: int, seed: int = 0) -> Ints:
    """Divide points into clusters by Lloyd's method, the best of several starts.

    Args:
        points: Shape ``(C, D)``, at least as many as clusters.
        n_clusters: K, at least 1.
        seed: Of the drawn starts.

    Returns:
        Cluster of each point, shape ``(C,)``; none is empty.

    Raises:
        ValueError: There are fewer points than clusters.
    """
    _check(len(points), n_clusters)
    rng = np.random.default_rng(seed)
    starts = [_centres(points, n_clusters, None)]
    starts += [_centres(points, n_clusters, rng) for _ in range(N_STARTS)]
    found = [_lloyd(points, centres) for centres in starts]
    inertias = [_inertia(points, clusters, n_clusters) for clusters in found]
    # Equal ones differ in the last bits, by which none may win.
    good = min(inertias) + 1e-9 * (1 + min(inertias))
    return next(clusters for clusters, n in zip(found, inertias, strict=True) if n <= good)


def balanced(points: Floats, clusters: Ints, n_clusters: int, least: int, most: int) -> Ints:
    """Move points until every cluster has a number of them within bounds.

    Each time the point goes that is by far not as much nearer to its own cluster's mean as others.

    Args:
        points: Shape ``(C, D)``.
        clusters: Of each point, shape ``(C,)``.
        n_clusters: K.
        least: Points of a cluster, at most C / K.
        most: Points of a cluster, at least C / K.

    Raises:
        ValueError: The bounds cannot be kept.
    """
    if not least * n_clusters <= len(points) <= most * n_clusters:
        raise ValueError(f"{len(points)} points in {n_clusters} clusters of {least} to {most}")
    clusters = clusters.copy()
    distances = _distances(points, _means(points, clusters, n_clusters))
    while True:
        sizes = np.bincount(clusters, minlength=n_clusters)
        over, under = sizes > most, sizes < least
        if not (over.any() or under.any()):
            return clusters
        # From too large to what has room; or, where none is too large, from what can spare one.
        gives = over if over.any() else sizes > least
        takes = under if under.any() else sizes < most
        price = distances - distances[np.arange(len(points)), clusters][:, None]  # (C, K)
        price[~gives[clusters]] = np.inf
        price[:, ~takes] = np.inf
        point, cluster = np.unravel_index(price.argmin(), price.shape)
        clusters[point] = cluster


def _check(n: int, n_clusters: int) -> None:
    if not 1 <= n_clusters <= n:
        raise ValueError(f"{n} things cannot be divided into {n_clusters} clusters")


def _centres(points: Floats, n_clusters: int, rng: np.random.Generator | None) -> Floats:
    """Each the point farthest from those before it, or drawn by the square of that distance."""
    nearest = ((points - points.mean(axis=0)) ** 2).sum(axis=1)  # (C,)
    chosen: list[int] = []
    for _ in range(n_clusters):
        total = nearest.sum()
        if rng is None or total == 0:
            chosen.append(int(nearest.argmax()))
        else:
            chosen.append(int(rng.choice(len(points), p=nearest / total)))
        away = ((points - points[chosen[-1]]) ** 2).sum(axis=1)
        nearest = np.minimum(nearest, away) if len(chosen) > 1 else away
    return points[chosen]


def _lloyd(points: Floats, centres: Floats) -> Ints:
    clusters = np.full(len(points), -1)
    for _ in range(MAX_STEPS):
        distances = _distances(points, centres)
        new = _without_empty(distances, distances.argmin(axis=1))
        if (new == clusters).all():
            break
        clusters = new
        centres = _means(points, clusters, len(centres))
    return clusters


def _without_empty(distances: Floats, clusters: Ints) -> Ints:
    """Give each empty cluster the point that is farthest from its own, and not alone there."""
    for cluster in range(distances.shape[1]):
        sizes = np.bincount(clusters, minlength=distances.shape[1])
        if not sizes[cluster]:
            own = np.take_along_axis(distances, clusters[:, None], axis=1)[:, 0]
            clusters[np.where(sizes[clusters] > 1, own, -1).argmax()] = cluster
    return clusters


def _distances(points: Floats, centres: Floats) -> Floats:
    """Squared, shape ``(C, K)``."""
    squared: NDArray[np.float64] = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
    return squared


def _means(points: Floats, clusters: Ints, n_clusters: int) -> Floats:
    return np.stack([points[clusters == k].mean(axis=0) for k in range(n_clusters)])


def _inertia(points: Floats, clusters: Ints, n_clusters: int) -> float:
    return float(((points - _means(points, clusters, n_clusters)[clusters]) ** 2).sum())
