"""Share of the ink in staves that the boxes of each class contain, learnt from engraved pages.

``ink_shares.json`` is written by ``python -m recipes.symbol_sizes``.

Shapes: H rows and W columns of an image, N boxes, C classes.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from eval.lint.pages import LintPage

FILE = Path(__file__).with_name("ink_shares.json")


@cache
def ink_shares() -> Mapping[str, float]:
    """Return the share of every class in the table, 0 to 1."""
    return msgspec.json.decode(FILE.read_bytes(), type=dict[str, float])


def ink_of_classes(page: LintPage, n_classes: int) -> NDArray[np.int64]:
    """Count the pixels of ink in staves by class, shape ``(C + 1,)``; the last are in no box.

    A pixel in several boxes belongs to the smallest.
    """
    if (unlabelled := page.unlabelled) is None:
        return np.zeros(n_classes + 1, np.int64)
    image = unlabelled.all
    class_of = np.full(image.shape, n_classes, np.uint16)
    boxes = np.rint(page.page.boxes_xyxy).astype(np.int64).clip(0)
    order = np.argsort(-page.sides.prod(axis=1), kind="stable")
    for row in order[unlabelled.explains[order]].tolist():
        x_min, y_min, x_max, y_max = boxes[row].tolist()
        class_of[y_min:y_max, x_min:x_max] = page.page.labels[row]
    height, width = (unlabelled.cell * side for side in unlabelled.staves.shape)
    staves = cv2.resize(unlabelled.staves, (width, height), interpolation=cv2.INTER_NEAREST)
    is_counted = (image[:height, :width] > 0) & (staves[: image.shape[0], : image.shape[1]] > 0)
    return np.bincount(class_of[:height, :width][is_counted], minlength=n_classes + 1)
