"""Predictions of any tool, as read from files, and the images of a split that they belong to.

Shapes: N predictions for an image.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, InputError
from converters.boxes import Boxes
from converters.image_headers import IMAGE_SUFFIXES
from omr.scoring.protocol import ScoredSource


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PredictedImage:
    """Predictions for one image."""

    name: str
    """Name of the image in the file: a path, a name without suffix, or a number."""
    boxes_xyxy: Boxes
    """Boxes in pixels, shape ``(N, 4)``; fractions of the image if ``size`` is ``(1, 1)``."""
    labels: NDArray[np.int64]
    """Indices in the class names of the predictions, shape ``(N,)``."""
    scores: NDArray[np.float64]
    """Confidence, 0 to 1, shape ``(N,)``."""
    size: tuple[int, int] | None
    """Width and height that the boxes refer to, in pixels; None if the file does not contain
    them."""
    origin: str = ""
    """File of these predictions, for messages; empty if they do not have one of their own."""

    @property
    def label(self) -> str:
        """Name of the image for messages, after its file."""
        return f"{self.origin}: {self.name}" if self.origin else self.name


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PredictionSet:
    """Predictions that were read from files."""

    path: Path
    source: ScoredSource
    names: tuple[str, ...]
    """Class names of the predictions; the index is the label."""
    images: tuple[PredictedImage, ...]
    is_complete: bool
    """Whether images without predictions are listed too."""
    hint: str = ""
    """Remedy for names that are not found, such as another file with ids."""
    remarks: tuple[str, ...] = ()
    """Limits of the format."""


class ImageNames:
    """Finds the image that a name in a file of predictions refers to.

    A name may have a path before it, of this or another machine, and lack the suffix. A number is
    also found with leading zeros, which some tools drop.

    Args:
        images: Names of the images to find.
    """

    def __init__(self, images: Iterable[PurePosixPath]) -> None:
        self._images: defaultdict[str, set[PurePosixPath]] = defaultdict(set)
        for image in images:
            for tail in _tails(image.as_posix()):
                for key in {tail, _without_suffix(tail)}:
                    self._images[key].add(image)
                    if key.isascii() and key.isdecimal():
                        self._images[str(int(key))].add(image)

    def find(self, name: str) -> PurePosixPath | None:
        """Return the image of a name; None if the name is unknown.

        Raises:
            ConfigError: Several images could have the name.
        """
        for tail in _tails(name.replace("\\", "/")):
            for key in (tail, _without_suffix(tail)):
                if images := self._images.get(key):
                    return self._only(images, name, key)
        return None

    def _only(self, images: set[PurePosixPath], name: str, key: str) -> PurePosixPath:
        exact = [image for image in images if key in {str(image), _without_suffix(str(image))}]
        candidates = exact if len(exact) == 1 else sorted(images)
        if len(candidates) > 1:
            both = f"{candidates[0]} and {candidates[1]}"
            raise ConfigError(f"predictions for {name}: could be for {both}; give their paths")
        return candidates[0]


def _tails(name: str) -> Iterator[str]:
    """Yield a path and its ends, the longest one first: ``a/b/c``, ``b/c``, ``c``."""
    parts = [part for part in name.split("/") if part]
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def _without_suffix(name: str) -> str:
    """Remove the suffix of an image file; other suffixes are a part of the name."""
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else name


def check_boxes(
    boxes_xyxy: Boxes, scores: NDArray[np.float64], path: Path, where: Sequence[str]
) -> None:
    """Check that boxes are finite and have no negative sides, and that scores are confidences.

    Args:
        boxes_xyxy: Boxes, shape ``(N, 4)``.
        scores: Scores, shape ``(N,)``.
        path: File of the predictions, for error messages.
        where: Location of each prediction in the file, length N.

    Raises:
        InputError: A prediction is invalid.
    """
    is_confidence = (scores >= 0) & (scores <= 1)  # False for NaN
    problems = (
        (~is_confidence, "expected a score from 0 to 1, got {score:g}"),
        (~np.isfinite(boxes_xyxy).all(axis=1), "expected a box of finite numbers"),
        ((boxes_xyxy[:, 2:] < boxes_xyxy[:, :2]).any(axis=1), "box with a negative side"),
    )
    for is_invalid, problem in problems:
        if is_invalid.any():
            i = int(is_invalid.argmax())
            raise InputError(problem.format(score=scores[i]), path=path, where=where[i])
