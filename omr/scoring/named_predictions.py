"""Predictions in formats that write the name of a class beside every symbol.

Such files may not list the classes that are never predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from class_maps.text_files import read_bytes
from converters.boxes import Boxes
from converters.files.atomic_folder import MANIFEST
from converters.json_text import decode_unique
from omr.scoring.predicted_images import PredictedImage, check_boxes


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NamedSymbols:
    """Predictions for one image, N symbols with the names of their classes."""

    name: str
    """Name of the image in the file."""
    file: Path
    boxes_xyxy: Boxes
    """Boxes in pixels, shape ``(N, 4)``."""
    classes: Sequence[str]
    """Class of each symbol, length N."""
    scores: NDArray[np.float64]
    """Confidence, shape ``(N,)``."""
    where: Sequence[str]
    """Location of each symbol in the file, length N."""
    size: tuple[int, int] | None
    """Width and height of the image in pixels; None if the file does not contain them."""


class _Manifest(msgspec.Struct):
    """Part of the ``manifest.json`` that ``omr predict`` writes."""

    classes: tuple[str, ...]


def class_names(
    path: Path, images: Sequence[NamedSymbols], data_names: Sequence[str]
) -> tuple[str, ...]:
    """List the classes that a network could have predicted.

    These are the classes in the ``manifest.json`` of ``omr predict``. Without one, they are those
    of the data set if it has all predicted classes, and otherwise the predicted ones.

    Args:
        path: Predictions: a folder, or a single file.
        images: Predictions for all images.
        data_names: Class names of the data set.
    """
    predicted = dict.fromkeys(name for image in images for name in image.classes)
    try:
        content = read_bytes(path / MANIFEST, "manifest")
        known = decode_unique(content, _Manifest, path / MANIFEST, expected="an object").classes
    except InputError:  # none, or of another program
        known = tuple(data_names) if predicted.keys() <= set(data_names) else ()
    return tuple(dict.fromkeys((*known, *predicted)))


def labelled_images(
    images: Sequence[NamedSymbols], path: Path, names: Sequence[str]
) -> tuple[PredictedImage, ...]:
    """Replace the names of classes by labels, and check boxes and scores.

    Args:
        images: Predictions for all images.
        path: Folder that contains their files, or the only file.
        names: Class names of the predictions.

    Raises:
        InputError: A box or score is invalid.
    """
    label_of = {name: label for label, name in enumerate(names)}
    for image in images:
        check_boxes(image.boxes_xyxy, image.scores, image.file, image.where)
    return tuple(
        PredictedImage(
            name=image.name,
            origin="" if image.file == path else image.file.relative_to(path).as_posix(),
            boxes_xyxy=image.boxes_xyxy,
            labels=np.array([label_of[name] for name in image.classes], np.int64),
            scores=image.scores,
            size=image.size,
        )
        for image in images
    )
