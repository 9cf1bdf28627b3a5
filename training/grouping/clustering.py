"""Deterministic k-means and spectral clustering of a few hundred classes.

Shapes: C items to cluster, K clusters, D dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from training.grouping.statistics import Floats, Ints

MAX_STEPS = 100
N_STARTS = 20
"""Number of random initialisations of k-means, in addition to a deterministic one."""


def kmeans_1d(values: Floats, n_clusters: int) -> Ints:
    """Divide numbers into clusters with the least sum of squared distances from the cluster means.

    In one dimension clusters are intervals, so dynamic programming finds the optimum.

    Args:
        values: Numbers to cluster, shape ``(C,)``.
        n_clusters: Number of clusters K, 1 to C.

    Returns:
        Cluster of each value, in ascending order of values, shape ``(C,)``; no cluster is empty.

    Raises:
        ValueError: There are fewer values than clusters.

    Source: H. Wang, M. Song, https://doi.org/10.32614/RJ-2011-015.
    """
    _check(len(values), n_clusters)
    order = np.argsort(values, kind="stable")
    x = values[order] - values.mean()  # centred, to reduce rounding errors
    costs = _interval_costs(x)
    best = costs[0]  # (C + 1,): cost of the first values as one cluster
    firsts = []
    for _ in range(1, n_clusters):
        totals = best[:, None] + costs  # (C + 1, C + 1): rows are starts of the last cluster
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
    """Sum the squared distances of ``x[i:j]`` from its mean; infinite for empty intervals."""
    sums, squares = (np.concatenate(([0.0], np.cumsum(v))) for v in (x, x * x))
    i, j = np.meshgrid(np.arange(len(x) + 1), np.arange(len(x) + 1), indexing="ij")
    lengths = np.maximum(j - i, 1)
    costs = squares[None] - squares[:, None] - (sums[None] - sums[:, None]) ** 2 / lengths
    filled: Floats = np.where(j > i, np.maximum(costs, 0), np.inf)
    return filled


def spectral_embedding(similarity: Floats, n_clusters: int) -> Floats:
    """Embed items on the unit sphere so that similar items are close.

    Args:
        similarity: Symmetric, non-negative similarities, shape ``(C, C)``; the diagonal is ignored.
        n_clusters: Number of dimensions D.

    Returns:
        Coordinates, shape ``(C, D)``.

    Source: A. Ng, M. Jordan, Y. Weiss, On Spectral Clustering, NeurIPS 2001.
    """
    edges = similarity - np.diag(np.diag(similarity))
    scale = 1 / np.sqrt(np.maximum(edges.sum(axis=1), np.finfo(np.float64).tiny))
    normalised = scale[:, None] * edges * scale
    vectors = np.linalg.eigh(np.eye(len(edges)) - normalised)[1][:, :n_clusters]
    largest = np.abs(vectors).argmax(axis=0)
    vectors *= np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1, 1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    embedding: Floats = vectors / np.maximum(lengths, np.finfo(np.float64).tiny)
    return embedding


def kmeans(points: Floats, n_clusters: int, seed: int = 0) -> Ints:
    """Divide points into clusters by Lloyd's algorithm, using the best of several initialisations.

    Args:
        points: Coordinates, shape ``(C, D)``.
        n_clusters: Number of clusters K, 1 to C.
        seed: Seed of the random initialisations.

    Returns:
        Cluster of each point, shape ``(C,)``; no cluster is empty.

    Raises:
        ValueError: There are fewer points than clusters.
    """
    _check(len(points), n_clusters)
    rng = np.random.default_rng(seed)
    starts = [_centres(points, n_clusters, None)]
    starts += [_centres(points, n_clusters, rng) for _ in range(N_STARTS)]
    results = [_lloyd(points, centres) for centres in starts]
    inertias = [_inertia(points, clusters, n_clusters) for clusters in results]
    # Rounding errors must not decide between equal results.
    limit = min(inertias) + 1e-9 * (1 + min(inertias))
    return next(clusters for clusters, n in zip(results, inertias, strict=True) if n <= limit)


def balanced(points: Floats, clusters: Ints, n_clusters: int, least: int, most: int) -> Ints:
    """Move points until the size of every cluster is within bounds.

    Each step moves the point whose squared distance from the cluster mean increases least.

    Args:
        points: Coordinates, shape ``(C, D)``.
        clusters: Cluster of each point, shape ``(C,)``.
        n_clusters: Number of clusters K.
        least: Minimum size of a cluster, at most C / K.
        most: Maximum size of a cluster, at least C / K.

    Raises:
        ValueError: The bounds cannot be satisfied.
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
        # Oversized clusters give points first, then clusters above the minimum.
        gives = over if over.any() else sizes > least
        takes = under if under.any() else sizes < most
        price = distances - distances[np.arange(len(points)), clusters][:, None]  # (C, K)
        price[~gives[clusters]] = np.inf
        price[:, ~takes] = np.inf
        point, cluster = np.unravel_index(price.argmin(), price.shape)
        clusters[point] = cluster


def _check(n: int, n_clusters: int) -> None:
    if not 1 <= n_clusters <= n:
        raise ValueError(f"{n} items cannot be divided into {n_clusters} clusters")


def _centres(points: Floats, n_clusters: int, rng: np.random.Generator | None) -> Floats:
    """Choose initial centres: the farthest points, or a sample weighted by squared distance."""
    nearest = ((points - points.mean(axis=0)) ** 2).sum(axis=1)  # (C,)
    chosen: list[int] = []
    for _ in range(n_clusters):
        total = nearest.sum()
        if rng is None or total == 0:
            chosen.append(int(nearest.argmax()))
        else:
            chosen.append(int(rng.choice(len(points), p=nearest / total)))
        distances = ((points - points[chosen[-1]]) ** 2).sum(axis=1)
        nearest = np.minimum(nearest, distances) if len(chosen) > 1 else distances
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
    """Move to each empty cluster the point farthest from its centre in a cluster of several."""
    for cluster in range(distances.shape[1]):
        sizes = np.bincount(clusters, minlength=distances.shape[1])
        if not sizes[cluster]:
            distance = np.take_along_axis(distances, clusters[:, None], axis=1)[:, 0]
            clusters[np.where(sizes[clusters] > 1, distance, -1).argmax()] = cluster
    return clusters


def _distances(points: Floats, centres: Floats) -> Floats:
    """Compute squared distances, shape ``(C, K)``."""
    squared: NDArray[np.float64] = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
    return squared


def _means(points: Floats, clusters: Ints, n_clusters: int) -> Floats:
    return np.stack([points[clusters == k].mean(axis=0) for k in range(n_clusters)])


def _inertia(points: Floats, clusters: Ints, n_clusters: int) -> float:
    return float(((points - _means(points, clusters, n_clusters)[clusters]) ** 2).sum())
