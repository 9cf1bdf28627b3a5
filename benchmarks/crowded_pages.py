"""Random pages with many symbols, and predictions that find some of them."""

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from converters.page import Page

SIDE = 3000
"""Width and height of a page in pixels."""


def crowded_pages(
    *, n_pages: int, n_truths: int, n_predictions: int, n_classes: int = 136, seed: int = 0
) -> tuple[list[Page], list[Page], tuple[str, ...]]:
    """Draw pages, predictions and class names.

    Classes are as unequal as in music. About a third of the predictions are duplicates, some have a
    wrong class or place, and many have equal scores.
    """
    rng = np.random.default_rng(seed)
    frequencies = rng.dirichlet(np.full(n_classes, 0.3))
    truths, predictions = [], []
    for i in range(n_pages):
        low = rng.uniform(0, SIDE - 50, (n_truths, 2))
        truth = Page(
            image=PurePosixPath(f"{i:05}.png"),
            width=SIDE,
            height=SIDE,
            boxes_xyxy=np.hstack((low, low + rng.uniform(4, 40, (n_truths, 2)))),
            labels=rng.choice(n_classes, n_truths, p=frequencies),
        )
        rows = rng.integers(0, n_truths, n_predictions)
        shift = rng.normal(0, 2, (n_predictions, 4))
        boxes = truth.boxes_xyxy[rows] + shift * rng.choice(
            [0.5, 4], (n_predictions, 1), p=[0.8, 0.2]
        )
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        is_wrong = rng.random(n_predictions) < 0.1
        labels = np.where(is_wrong, rng.integers(0, n_classes, n_predictions), truth.labels[rows])
        accuracy = np.abs(shift).max(axis=1) + 3 * is_wrong
        scores = np.clip(np.exp(-accuracy / 4) + rng.normal(0, 0.1, n_predictions), 0.001, 1).round(
            2
        )
        predictions.append(replace(truth, boxes_xyxy=boxes, labels=labels, scores=scores))
        truths.append(truth)
    return truths, predictions, tuple(f"class {i}" for i in range(n_classes))
