import numpy as np
import pytest

from eval.pictures.heat_map import LOWEST, SCALE_PX, colours, draw_scale, heated


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (60, 40)])
def test_improbable_places_keep_the_page(shape: tuple[int, int]) -> None:
    page = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert (heated(page, np.zeros((1, 1), np.float32)) == page).all()
    assert (heated(page, np.full((2, 2), LOWEST / 2, np.float32)) == page).all()
    assert (heated(page, np.ones((2, 2), np.float32)) != page).any()


def test_probabilities_are_drawn_where_they_are() -> None:
    page = np.full((8, 8, 3), 255, np.uint8)
    left = heated(page, np.array([[1.0, 0.0]], np.float32))
    assert (left[:, 4:] == 255).all()
    blue, green, red = left[0, 0].tolist()
    assert red > green
    assert red > blue


@pytest.mark.parametrize("width", [50, SCALE_PX, 1000])
def test_the_scale_has_the_colours_of_the_map(width: int) -> None:
    scale = draw_scale(width)
    assert scale.shape[1:] == (width, 3)
    first = colours(np.zeros((1, 1), np.float32))[0, 0]
    assert (scale[10] == first).all(axis=1).any()
