import numpy as np
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
