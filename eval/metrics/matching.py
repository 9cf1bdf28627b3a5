"""Pairs of ground-truth and prediction pages, and validation of both."""

from collections.abc import Iterable
from itertools import chain
from pathlib import PurePosixPath

import numpy as np

from class_maps import ConfigError
from converters.page import Page


def pair_pages(
    truths: Iterable[Page], predictions: Iterable[Page], n_classes: int
) -> list[tuple[Page, Page]]:
    """Pair truths with predictions by image.

    Args:
        truths: Pages with ground truth, one per image.
        predictions: Pages with scores, one per image of ``truths``.
        n_classes: Number of classes.

    Returns:
        Pairs of truth and prediction, sorted by image name.

    Raises:
        ConfigError: Truths and predictions are not for the same images, contain an image more than
            once, or disagree about the size of an image.
        ValueError: A label is out of range, a prediction page has no scores, a coordinate or score
            is not finite, or a box has a negative side.
    """
    truth_of = _by_image(truths, "truth")
    prediction_of = _by_image(predictions, "prediction")
    _refuse(truth_of.keys() - prediction_of.keys(), "images without a prediction page")
    _refuse(prediction_of.keys() - truth_of.keys(), "predictions for images without truth")
    pairs = [(truth_of[image], prediction_of[image]) for image in sorted(truth_of)]
    _refuse(
        {t.image for t, p in pairs if (t.width, t.height) != (p.width, p.height)},
        "images with different sizes in truth and prediction",
    )
    for _, prediction in pairs:
        if prediction.scores is None:
            raise ValueError(f"prediction page without scores: {prediction.image}")
    for page in chain.from_iterable(pairs):
        _check(page, n_classes)
    return pairs


def _by_image(pages: Iterable[Page], kind: str) -> dict[PurePosixPath, Page]:
    page_of: dict[PurePosixPath, Page] = {}
    duplicates = set()
    for page in pages:
        if page.image in page_of:
            duplicates.add(page.image)
        page_of[page.image] = page
    _refuse(duplicates, f"images with more than one {kind} page")
    return page_of


def _refuse(images: set[PurePosixPath], reason: str) -> None:
    """Raise an error unless ``images`` is empty; list five and count the rest."""
    if images:
        shown = [str(image) for image in sorted(images)[:5]]
        more = f" and {len(images) - len(shown)} more" if len(images) > len(shown) else ""
        raise ConfigError(f"{reason}: {', '.join(shown)}{more}")


def _check(page: Page, n_classes: int) -> None:
    page.check_labels(n_classes)
    arrays = [page.boxes_xyxy] if page.scores is None else [page.boxes_xyxy, page.scores]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"non-finite box or score: {page.image}")
    if (page.boxes_xyxy[:, 2:] < page.boxes_xyxy[:, :2]).any():
        raise ValueError(f"box with a negative side: {page.image}")
