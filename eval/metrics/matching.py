"""Pairs of ground-truth and prediction pages, and validation of both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import overload

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError
from converters.page import Page
from converters.stored_pages import StoredPages


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PagePairs(Sequence[tuple[Page, Page]]):
    """Ground truth and predictions of each page, sorted by image name.

    Pages are taken from their sequences when they are needed, so that these may read them from a
    file.
    """

    truths: Sequence[Page]
    predictions: Sequence[Page]
    order: Sequence[tuple[int, int]]
    """Positions of the ground truth and of the predictions of each page in their sequences."""
    images: tuple[PurePosixPath, ...]
    """Image of each page, length P."""
    n_symbols: NDArray[np.int64]
    """Number of truths and of predictions of each page, shape ``(P, 2)``."""

    def __len__(self) -> int:
        """Return the number of pages, P."""
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> tuple[Page, Page]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Page, Page]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Page, Page] | list[tuple[Page, Page]]:
        """Return a page, or a list of several."""
        if isinstance(index, slice):
            return [(self.truths[i], self.predictions[j]) for i, j in self.order[index]]
        i, j = self.order[index]
        return self.truths[i], self.predictions[j]


def pair_pages(truths: Iterable[Page], predictions: Iterable[Page], n_classes: int) -> PagePairs:
    """Pair ground truth with predictions by image.

    Args:
        truths: Pages with ground truth, one per image.
        predictions: Pages with scores, one per image of ``truths``.
        n_classes: Number of classes.

    Raises:
        ConfigError: Ground truth and predictions are not for the same images, contain an image more
            than once, or disagree about the size of an image.
        ValueError: A label is out of range, a prediction page has no scores, a coordinate or score
            is not finite, or a box has a negative side.
    """
    truths, predictions = _sequence(truths), _sequence(predictions)
    truth_of, prediction_of = _positions(truths, "truth"), _positions(predictions, "prediction")
    _refuse(truth_of.keys() - prediction_of.keys(), "images without a prediction page")
    _refuse(prediction_of.keys() - truth_of.keys(), "predictions for images without truth")
    images = tuple(sorted(truth_of))
    order = [(truth_of[image], prediction_of[image]) for image in images]
    other_sizes, n_symbols = set(), []
    for i, j in order:
        truth, prediction = truths[i], predictions[j]
        if (truth.width, truth.height) != (prediction.width, prediction.height):
            other_sizes.add(truth.image)
        if prediction.scores is None:
            raise ValueError(f"prediction page without scores: {prediction.image}")
        _check(truth, n_classes)
        _check(prediction, n_classes)
        n_symbols.append((len(truth.labels), len(prediction.labels)))
    _refuse(other_sizes, "images with different sizes in truth and prediction")
    return PagePairs(
        truths=truths,
        predictions=predictions,
        order=order,
        images=images,
        n_symbols=np.reshape(n_symbols, (-1, 2)).astype(np.int64),
    )


def _sequence(pages: Iterable[Page]) -> Sequence[Page]:
    return pages if isinstance(pages, Sequence) else list(pages)


def _positions(pages: Sequence[Page], kind: str) -> dict[PurePosixPath, int]:
    """Return the position of each image."""
    position_of: dict[PurePosixPath, int] = {}
    duplicates = set()
    images = pages.images if isinstance(pages, StoredPages) else [page.image for page in pages]
    for i, image in enumerate(images):
        if image in position_of:
            duplicates.add(image)
        position_of[image] = i
    _refuse(duplicates, f"images with more than one {kind} page")
    return position_of


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
