"""Images that determine the ranges of activations in int8."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, InputError, with_nearest
from converters.formats.datasets import open_dataset
from converters.manifest import preparation, read_manifest
from training.models.checkpoints import Weights
from training.predict.image_batches import read_resized, squares

SPLIT = "train"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Calibration:
    """Images of a data set, as a network reads them."""

    samples: NDArray[np.uint8]
    """RGB images, shape ``(N, S, S, 3)``, for a network input of S pixels."""
    differences: tuple[str, ...]
    """Differences between the preparation of the images and that of the training images."""


def calibration_images(weights: Weights, data: Path, n_images: int, imgsz: int) -> Calibration:
    """Read random training images of a data set; always the same ones.

    Args:
        weights: Weights that are quantised.
        data: YOLO folder.
        n_images: Number of images; all images of a smaller data set.
        imgsz: Side of the network's input in pixels.

    Raises:
        ConfigError: The data set has other classes than the weights.
        InputError: The data set or an image cannot be read.
    """
    dataset = open_dataset(data)
    _check_classes(dataset.names, weights.names, data)
    paths = dataset.image_paths(SPLIT)
    chosen = np.random.default_rng(0).permutation(len(paths))[:n_images]
    images = [read_resized(paths[i], PurePosixPath(paths[i].name), imgsz) for i in sorted(chosen)]
    pixels = squares(images, imgsz)[..., ::-1]
    return Calibration(
        samples=np.ascontiguousarray(pixels), differences=_differences(weights, data)
    )


def _check_classes(names: Sequence[str], expected: Sequence[str], data: Path) -> None:
    """Check that all classes of a data set are classes of the weights."""
    unknown = [name for name in names if name not in expected]
    if unknown:
        raise ConfigError(
            f"classes that the weights do not find: {with_nearest(unknown, expected)}; use data "
            "converted with the class map of the training",
            option="--data",
            value=data,
        )


def _differences(weights: Weights, data: Path) -> tuple[str, ...]:
    if weights.training is None:
        return ()
    try:
        prepared = preparation(read_manifest(data))
    except InputError:  # a data set of another program
        return ()
    return tuple(weights.training.differences(prepared)) if prepared else ()
