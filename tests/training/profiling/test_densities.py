import numpy as np
import pytest

from training.profiling.densities import images_by_density


@pytest.mark.parametrize(
    ("counts", "batch", "expected"),
    [
        ([0], 1, {"medium": [0]}),
        ([5, 1, 3], 3, {"medium": [1, 2, 0]}),
        ([5, 1], 1, {"medium": [1], "dense": [0]}),
        ([9, 0, 5], 1, {"sparse": [1], "medium": [2], "dense": [0]}),
        (range(20, -1, -1), 2, {"sparse": [18, 17], "medium": [10, 9], "dense": [1, 0]}),
        ([7] * 11, 1, {"sparse": [1], "medium": [5], "dense": [10]}),
    ],
    ids=["one image", "one batch", "two images", "three images", "many images", "equal counts"],
)
def test_images_of_three_densities(
    counts: list[int], batch: int, expected: dict[str, list[int]]
) -> None:
    chosen = images_by_density(np.array(counts), batch)
    assert {name: images.tolist() for name, images in chosen.items()} == expected
    assert list(chosen) == list(expected)
