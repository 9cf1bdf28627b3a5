"""Symbols for tests."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from training.grouping.statistics import Symbols

N_CLASSES = 3
NAMES = ("a", "b", "c")


def symbols_at(
    boxes_xyxy: ArrayLike, labels: ArrayLike | None = None, *, imgsz: int = 64, image: int = 0
) -> Symbols:
    """Symbols of one image, all of the first class unless ``labels`` say otherwise."""
    boxes = np.array(boxes_xyxy, np.float64).reshape(-1, 4)
    labels = np.zeros(len(boxes)) if labels is None else labels
    return Symbols(
        imgsz=imgsz,
        images=np.full(len(boxes), image, np.int64),
        labels=np.array(labels, np.int64).reshape(-1),
        boxes_xyxy=boxes,
    )


def sized(sides: ArrayLike, labels: ArrayLike | None = None, *, imgsz: int = 64) -> Symbols:
    """Symbols of these widths and heights about the middle of one image."""
    half = np.array(sides, np.float64).reshape(-1, 2) / 2
    middle = imgsz / 2
    return symbols_at(np.concatenate((middle - half, middle + half), axis=1), labels, imgsz=imgsz)


@st.composite
def symbols(draw: st.DrawFn, most: int = 8, imgsz: int = 64) -> Symbols:
    """Small boxes close together, so that they compete; some lie partly outside the image."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(0, most))
    centres, sides = rng.uniform(-5, 35, (n, 2)), 2 ** rng.uniform(-7, 5, (n, 2))
    return Symbols(
        imgsz=imgsz,
        images=np.sort(rng.choice([0, 1, 7], n)),
        labels=rng.integers(0, N_CLASSES, n),
        boxes_xyxy=np.concatenate((centres - sides / 2, centres + sides / 2), axis=1),
    )
