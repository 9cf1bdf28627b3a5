"""Hypothesis strategies for the data model."""

from pathlib import PurePosixPath

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from converters.page import Page


@st.composite
def pages(draw: st.DrawFn, n_classes: int = 2, max_symbols: int = 5) -> Page:
    """Draw a page whose boxes lie inside the image and have whole-pixel corners."""
    width, height = draw(st.integers(2, 4000)), draw(st.integers(2, 4000))
    n = draw(st.integers(0, max_symbols))
    x = np.sort(draw(hnp.arrays(np.float64, (n, 2), elements=st.integers(0, width))), axis=1)
    y = np.sort(draw(hnp.arrays(np.float64, (n, 2), elements=st.integers(0, height))), axis=1)
    return Page(
        image=PurePosixPath("page.png"),
        width=width,
        height=height,
        boxes_xyxy=np.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), axis=1),
        labels=draw(hnp.arrays(np.int64, n, elements=st.integers(0, n_classes - 1))),
        symbol_ids=np.arange(n, dtype=np.int64) + 1,
    )
