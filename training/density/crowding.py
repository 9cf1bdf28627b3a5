"""How full a training's batches will be.

Shapes: D draws of an image, N symbols of all images, L levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.config import TrainConfig
from training.data.multi_dataset import MultiDataset
from training.density.anchors import points_by_level
from training.density.batches import (
    BatchMax,
    BatchSum,
    EpochMost,
    batch_max,
    batch_sum,
    epoch_most,
)
from training.density.simulated_augmentation import as_trained, pages_of
from training.grouping.statistics import Symbols, symbols_of

SPLIT = "train"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fullness:
    """Symbols of what a training draws, and what they ask of an assigner."""

    trained: NDArray[np.int64]
    """Symbols of each draw, shape ``(D,)``."""
    drawn: NDArray[np.int64]
    """The image of each draw, shape ``(D,)``."""
    stored: NDArray[np.int64]
    """Symbols of each image as it is stored."""
    pairs_a_box: float
    """Candidate pairs that a symbol has on average."""

    def fullest_image(self, batch: int) -> BatchMax | None:
        """Predict the fullest image of a batch, as trained."""
        return batch_max(self.trained, batch, self.drawn)

    def whole_batch(self, batch: int) -> BatchSum | None:
        """Predict the symbols of a whole batch, as trained."""
        return batch_sum(self.trained, batch, self.drawn)

    def of_epoch(self, batch: int) -> EpochMost | None:
        """Predict the fullest of an epoch, as trained."""
        return epoch_most(self.trained, batch, self.drawn)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labels:
    """The labels of a training's images."""

    symbols: Symbols
    """As the network sees them, without augmentation."""
    stored: Symbols
    """The same in pixels of the images as they are stored."""
    points: NDArray[np.int64]
    """Candidate anchor points of each symbol at each level, shape ``(N, L)``."""
    fullness: Fullness


def read_labels(config: TrainConfig, joint: MultiDataset, strides: Sequence[int]) -> Labels:
    """Read the labels of ``train``, and see how full its batches will be.

    Args:
        config: Of the training.
        joint: Its data sets.
        strides: Pixels per cell of each level of its model, finest first.

    Raises:
        InputError: A data set cannot be read, or a label is none of its classes.
    """
    found = pages_of(joint)
    drawn = as_trained(config, joint, found)
    pages = [
        replace(page, labels=joint.sources[joint.source_of[file]].labels[page.labels])
        for page, file in zip(found, joint.image_files(SPLIT), strict=True)
    ]
    symbols = symbols_of(pages, len(joint.names), config.imgsz)
    points = points_by_level(symbols, strides)
    corners = [page.boxes_xyxy for page in pages]
    fullness = Fullness(
        trained=drawn.n_symbols,
        drawn=drawn.images,
        stored=np.array([len(page.labels) for page in pages]),
        pairs_a_box=float(points.sum() / max(len(symbols), 1)),
    )
    return Labels(
        symbols=symbols,
        stored=replace(symbols, boxes_xyxy=np.concatenate(corners)),
        points=points,
        fullness=fullness,
    )
