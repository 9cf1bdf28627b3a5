import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from converters import boxes

CORNERS = hnp.arrays(np.float64, st.tuples(st.integers(0, 4), st.just(4)), elements=st.floats(0, 9))


def test_a_box_computed_by_hand() -> None:
    box = np.array([[1.0, 2, 5, 4]])
    assert boxes.xyxy_to_xywh(box).tolist() == [[1, 2, 4, 2]]
    assert boxes.xyxy_to_cxcywh(box).tolist() == [[3, 3, 4, 2]]


@given(box=CORNERS)
def test_each_conversion_has_its_inverse(box: boxes.Boxes) -> None:
    np.testing.assert_allclose(boxes.xywh_to_xyxy(boxes.xyxy_to_xywh(box)), box, atol=1e-12)
    np.testing.assert_allclose(boxes.cxcywh_to_xyxy(boxes.xyxy_to_cxcywh(box)), box, atol=1e-12)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4]),
        ([1.05, 2.89, 3.05, 4.11], [1, 2, 3, 5]),
        ([1.95, 2.0, 2.99, 4.0], [2, 2, 3, 4]),
    ],
)
def test_rounding_cuts_off_at_most_a_tenth_of_a_pixel(
    box: list[float], expected: list[int]
) -> None:
    assert boxes.whole_pixels(np.array([box])).tolist() == [expected]
