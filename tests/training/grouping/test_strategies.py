from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import class_maps
from class_maps import ConfigError
from settings import head_config
from training.grouping.clustering import balanced, kmeans, kmeans_1d, spectral_embedding
from training.grouping.partition import inner_weight, partition
from training.grouping.statistics import ClassStatistics, Floats, Ints
from training.grouping.strategies import similarity
from training.grouping.suggestion import GroupingOptions, Strategy, check, divide

COCO = class_maps.load("coco").names
COCO_SYMBOLS = [
    262465,
    7113,
    43867,
    8725,
    5135,
    6069,
    4571,
    9973,
    10759,
    12884,
    1865,
    1983,
    1285,
    9838,
    10806,
    4768,
    5508,
    6587,
    9509,
    8147,
    5513,
    1294,
    5303,
    5131,
    8720,
    11431,
    12354,
    6496,
    6192,
    2682,
    6646,
    2685,
    6347,
    9076,
    3276,
    3747,
    5543,
    6126,
    4812,
    24342,
    7913,
    20650,
    5479,
    7770,
    6165,
    14358,
    9458,
    5851,
    4373,
    6399,
    7308,
    7852,
    2918,
    5821,
    7179,
    6353,
    38491,
    5779,
    8652,
    4192,
    15714,
    4157,
    5805,
    4970,
    2262,
    5703,
    2855,
    6434,
    1673,
    3334,
    225,
    5610,
    2637,
    24715,
    6334,
    6613,
    1481,
    4793,
    198,
    1954,
]
"""Boxes per class in COCO 2017's training images, 860,001 in total."""
COCO_CONFUSED = [
    ("sheep", "cow"),
    ("cup", "wine glass"),
    ("motorcycle", "bicycle"),
    ("knife", "spoon"),
    ("truck", "bus"),
    ("chair", "couch"),
    ("cell phone", "remote"),
    ("fork", "spoon"),
    ("fork", "knife"),
]


def statistics(
    n_symbols: list[int] | Ints,
    *,
    shapes: list[float] | Floats | None = None,
    n_images: Ints | None = None,
    collisions: Ints | None = None,
    names: tuple[str, ...] | None = None,
) -> ClassStatistics:
    n = len(n_symbols)
    return ClassStatistics(
        names=names or tuple(f"c{i:03}" for i in range(n)),
        n_symbols=np.array(n_symbols, np.int64),
        shapes=np.zeros(n) if shapes is None else np.array(shapes, np.float64),
        n_images=np.ones((n, n), np.int64) if n_images is None else n_images,
        collisions=np.zeros((n, n), np.int64) if collisions is None else collisions,
    )


def groups(heads: Ints) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(np.flatnonzero(heads == head).tolist()) for head in range(int(heads.max()) + 1)
    )


def of_coco(name: str) -> tuple[tuple[int, ...], ...]:
    labels = head_config.load(name).labels(COCO)
    return tuple(tuple(sorted(own)) for own in labels)


def spread(group_of: tuple[tuple[int, ...], ...], middles: list[float], width: float) -> Floats:
    """Return a number per class, close to the centre of its group."""
    values = np.zeros(len(COCO))
    for own, middle in zip(group_of, middles, strict=True):
        values[list(own)] = np.linspace(middle - width, middle + width, len(own))
    return values


def images_of(group_of: tuple[tuple[int, ...], ...]) -> Ints:
    """Put every class into ten images, with all classes of a group in the same ones."""
    n_images = np.zeros((len(COCO), len(COCO)), np.int64)
    for own in group_of:
        n_images[np.ix_(own, own)] = 10
    return n_images


def hostile(
    n: int, pairs: list[tuple[int, int]]
) -> "np.ndarray[tuple[int, int], np.dtype[np.bool_]]":
    conflicts = np.zeros((n, n), np.bool_)
    for i, j in pairs:
        conflicts[i, j] = conflicts[j, i] = True
    return conflicts


def test_geometry_gives_the_known_heads_of_coco() -> None:
    expected = of_coco("coco-geometry")
    shapes = spread(expected, [-0.9, -0.1, 0.4, 1.1], 0.15)
    result = divide(
        statistics(COCO_SYMBOLS, shapes=shapes, names=COCO), GroupingOptions(strategy="geometry")
    )
    assert groups(result) == expected


def test_anti_confusion_gives_the_known_heads_of_coco() -> None:
    """Nine conflicts and COCO's counts suffice."""
    assert sum(COCO_SYMBOLS) == 860_001
    conflicts = hostile(80, [(COCO.index(a), COCO.index(b)) for a, b in COCO_CONFUSED])
    options = GroupingOptions(strategy="anti-confusion")
    of = statistics(COCO_SYMBOLS, names=COCO)
    assert groups(divide(of, options, conflicts)) == of_coco("coco-anticonfusion")
    for i, j in np.argwhere(np.triu(conflicts)):
        fewer = conflicts.copy()
        fewer[i, j] = fewer[j, i] = False
        assert groups(divide(of, options, fewer)) != of_coco("coco-anticonfusion")


@pytest.mark.parametrize("by", ["images", "shapes", "both"])
def test_hybrid_follows_images_and_shapes(by: str) -> None:
    """Images, shapes or both lead to the documented standard heads."""
    expected = of_coco("coco-standard")
    middles = [-1.0, -0.9, -0.8, -0.7] if by == "images" else [-3.0, -1.0, 1.0, 3.0]
    result = divide(
        statistics(
            COCO_SYMBOLS,
            shapes=spread(expected, middles, 0.02),
            n_images=None if by == "shapes" else images_of(expected),
            names=COCO,
        ),
        GroupingOptions(strategy="hybrid"),
    )
    assert groups(result) == expected


def test_similarity_is_half_of_shapes_and_half_of_images() -> None:
    n_images = np.array([[4, 1], [1, 2]])
    of = statistics([1, 1], shapes=[0, 0.5], n_images=n_images)
    across = 0.5 * np.exp(-0.5) + 0.5 * 1 / 5
    np.testing.assert_allclose(similarity(of), [[1, across], [across, 1]])


def test_anti_confusion_by_hand() -> None:
    # 9 | 8, then 7 beside 8, then 6 would go beside 9, with which it conflicts; 5 with both.
    conflicts = hostile(5, [(0, 3), (4, 0), (4, 1)])
    result = divide(
        statistics([9, 8, 7, 6, 5]),
        GroupingOptions(strategy="anti-confusion", n_heads=2),
        conflicts,
    )
    assert result.tolist() == [0, 1, 1, 1, 0]


weight_lists = st.integers(1, 7).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.integers(0, 9), min_size=n * n, max_size=n * n))
)


@given(weight_lists, st.integers(1, 4))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_partition_is_as_good_as_the_best(drawn: tuple[int, list[int]], n_parts: int) -> None:
    n, entries = drawn
    half = np.array(entries).reshape(n, n)
    weights = half + half.T
    n_parts = min(n_parts, n)
    result = partition(weights, np.ones(n, np.int64), n_parts)
    assert len(set(result.tolist())) == n_parts
    everyone = (np.array(parts) for parts in product(range(n_parts), repeat=n))
    assert inner_weight(weights, result) == min(inner_weight(weights, parts) for parts in everyone)


@pytest.mark.parametrize("seed", [259, 264, 268, 288])
def test_random_orders_improve_on_the_order_by_weight(seed: int) -> None:
    weights = np.random.default_rng(seed).integers(0, 10, (8, 8))
    weights = weights + weights.T
    result = partition(weights, np.ones(8, np.int64), 3)
    every = (np.array(parts) for parts in product(range(3), repeat=8))
    assert inner_weight(weights, result) == min(inner_weight(weights, parts) for parts in every)


@pytest.mark.parametrize("seed", range(10))
def test_no_move_and_no_swap_makes_a_large_partition_better(seed: int) -> None:
    weights = np.random.default_rng(seed).integers(0, 10, (16, 16))
    weights = weights + weights.T
    result = partition(weights, np.ones(16, np.int64), 4)
    changed = [np.where(np.arange(16) == i, part, result) for i in range(16) for part in range(4)]
    for i, j in combinations(range(16), 2):
        swapped = result.copy()
        swapped[[i, j]] = result[[j, i]]
        changed.append(swapped)
    assert inner_weight(weights, result) == min(inner_weight(weights, parts) for parts in changed)


def test_the_embedding_separates_components() -> None:
    similar = np.array(
        [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0] * 3 + [1, 1], [0] * 3 + [1, 1]]
    )
    points = spectral_embedding(similar.astype(np.float64), 2)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    np.testing.assert_allclose(points @ points.T, similar, atol=1e-9)


def test_without_collisions_heads_have_similar_sizes() -> None:
    result = partition(np.zeros((6, 6), np.int64), np.array([9, 1, 5, 4, 3, 2]), 3)
    assert sorted(np.bincount(result, [9, 1, 5, 4, 3, 2]).tolist()) == [7, 8, 9]


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=7), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_kmeans_1d_is_the_best(numbers: list[int], n_clusters: int) -> None:
    values = np.array(numbers, np.float64)
    n_clusters = min(n_clusters, len(values))

    def inertia(clusters: Ints) -> float:
        own = [values[clusters == k] for k in range(n_clusters)]
        return sum(float(((v - v.mean()) ** 2).sum()) for v in own if len(v))

    result = kmeans_1d(values, n_clusters)
    assert set(result.tolist()) == set(range(n_clusters))
    assert (np.diff(result[np.argsort(values, kind="stable")]) >= 0).all()
    every = (np.array(c) for c in product(range(n_clusters), repeat=len(values)))
    assert inertia(result) == pytest.approx(min(map(inertia, every)), abs=1e-9)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_no_cluster_is_empty_and_balance_is_kept(numbers: list[int], k: int, more: int) -> None:
    points = np.array(numbers, np.float64)[:, None]
    k = min(k, len(points))
    clusters = kmeans(points, k)
    assert set(clusters.tolist()) == set(range(k))
    least, most = max(1, len(points) // k - more), -(-len(points) // k) + more
    sizes = np.bincount(balanced(points, clusters, k, least, most), minlength=k)
    assert least <= sizes.min() <= sizes.max() <= most


def test_balance_moves_the_points_between_clusters() -> None:
    points = np.array([[0.0], [0.1], [0.2], [0.3], [4.0], [9.0]])
    clusters = np.array([0, 0, 0, 0, 0, 1])
    assert balanced(points, clusters, 2, 2, 4).tolist() == [0, 0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="6 points in 2 clusters of 1 to 2"):
        balanced(points, clusters, 2, 1, 2)


@st.composite
def drawn_statistics(draw: st.DrawFn) -> ClassStatistics:
    """Return statistics with many ties, and classes without symbols."""
    n = draw(st.integers(4, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    holds = rng.integers(0, 2, (6, n))
    weights = rng.integers(0, 3, (n, n))
    n_symbols = rng.integers(0, 4, n)
    shapes = np.where(n_symbols > 0, rng.integers(-2, 3, n) / 2, np.nan)
    return statistics(
        n_symbols, shapes=shapes, n_images=holds.T @ holds, collisions=weights + weights.T
    )


@pytest.mark.parametrize("strategy", ["geometry", "hybrid", "anti-confusion", "collision"])
@given(of=drawn_statistics(), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_classes_does_not_matter(
    strategy: Strategy, of: ClassStatistics, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(of.names))
    half = rng.integers(0, 2, (len(order), len(order))) > 0
    conflicts = half | half.T if strategy == "anti-confusion" else None
    options = GroupingOptions(
        strategy=strategy, n_heads=3, balance=1 if strategy == "hybrid" else None
    )
    heads = divide(of, options, conflicts)
    assert set(heads.tolist()) == {0, 1, 2}
    assert (divide(of, options, conflicts) == heads).all()
    moved = None if conflicts is None else conflicts[np.ix_(order, order)]
    assert (divide(of.of(order), options, moved) == heads[order]).all()


def test_absent_classes_go_to_the_smallest_heads() -> None:
    of = statistics([5, 0, 5, 5, 0, 0], shapes=[-1, np.nan, 0, 0, np.nan, np.nan])
    heads = divide(of, GroupingOptions(strategy="geometry", n_heads=2))
    assert heads.tolist() == [0, 0, 1, 1, 0, 1]
    nothing = replace(of, n_symbols=np.zeros(6, np.int64), shapes=np.full(6, np.nan))
    heads = divide(nothing, GroupingOptions(strategy="collision", n_heads=2))
    assert heads.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("options", "imgsz", "message"),
    [
        ({"strategy": "geometry", "n_heads": 3}, 640, "--heads 3: the data set has only 2 classes; use fewer heads"),
        ({"strategy": "geometry", "n_heads": 0}, 640, "--heads 0: must be at least 1"),
        ({"strategy": "shape"}, 640, "--strategy shape: unknown; expected one of geometry, hybrid, anti-confusion, collision"),
        ({"strategy": "collision", "strides": ()}, 640, "--strides : expected numbers above 0"),
        ({"strategy": "collision", "seed": -1}, 640, "--seed -1: must be at least 0"),
        ({"strategy": "collision", "balance": 1}, 640, "--balance 1: only for --strategy hybrid, not for collision; omit it"),
        ({"strategy": "hybrid", "balance": -1}, 640, "--balance -1: must be at least 0"),
        ({"strategy": "hybrid", "n_heads": 2}, 100, "--imgsz 100: must be a multiple of every stride: 8, 16, 32"),
        ({"strategy": "anti-confusion", "n_heads": 2}, 640, "--strategy anti-confusion: needs confused classes; add --pairs or --confusion"),
    ],
)  # fmt: skip
def test_invalid_options(options: dict[str, object], imgsz: int, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(["a", "b"], imgsz, GroupingOptions(**options), None)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_conflicts_count_for_anti_confusion_alone() -> None:
    with pytest.raises(
        ConfigError,
        match="--strategy geometry: does not use confused classes; omit --pairs and --confusion",
    ):
        check(["a"], 640, GroupingOptions(strategy="geometry", n_heads=1), hostile(1, []))
