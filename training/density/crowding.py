"""Crowding of a training's images and batches.

Shapes: D draws of an image, N symbols of all images, L levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eval.reports.density_figures import BatchMax, BatchSum, EpochMax
from training.config import TrainConfig
from training.data.multi_dataset import MultiDataset
from training.density.anchors import points_by_level
from training.density.batches import batch_max, batch_sum, epoch_max
from training.density.simulated_augmentation import pages_of, simulate_draws
from training.grouping.statistics import Symbols, symbols_of

SPLIT = "train"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Crowding:
    """Symbol counts of the images that a training draws, and the load on the assigner."""

    trained: NDArray[np.int64]
    """Symbols per draw, after augmentation, shape ``(D,)``."""
    drawn: NDArray[np.int64]
    """Index of the image of each draw, shape ``(D,)``."""
    stored: NDArray[np.int64]
    """Symbols per stored image."""
    pairs_per_box: float
    """Mean number of candidate pairs per symbol."""

    def fullest_image(self, batch: int) -> BatchMax | None:
        """Predict the symbols in the fullest image of a batch, after augmentation."""
        return batch_max(self.trained, batch, self.drawn)

    def whole_batch(self, batch: int) -> BatchSum | None:
        """Predict the total number of symbols in a batch, after augmentation."""
        return batch_sum(self.trained, batch, self.drawn)

    def epoch_max(self, batch: int) -> EpochMax | None:
        """Predict the fullest image and the fullest batch of an epoch, after augmentation."""
        return epoch_max(self.trained, batch, self.drawn)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labels:
    """Labels of the images of a training run."""

    symbols: Symbols
    """Symbols in pixels of the network input, without augmentation."""
    stored: Symbols
    """Same symbols in pixels of the stored images."""
    points: NDArray[np.int64]
    """Candidate anchor points per symbol and level, shape ``(N, L)``."""
    crowding: Crowding


def read_labels(config: TrainConfig, multi_dataset: MultiDataset, strides: Sequence[int]) -> Labels:
    """Read the labels of the ``train`` split and measure how crowded its batches are.

    Args:
        config: Configuration of the training.
        multi_dataset: Data sets of the training.
        strides: Pixels per cell of each level of the model, finest first.

    Raises:
        InputError: A data set cannot be read, or contains an unknown label.
    """
    source_pages = pages_of(multi_dataset)
    draws = simulate_draws(config, multi_dataset, source_pages)
    pages = [
        replace(
            page, labels=multi_dataset.sources[multi_dataset.source_of[file]].labels[page.labels]
        )
        for page, file in zip(source_pages, multi_dataset.image_files(SPLIT), strict=True)
    ]
    symbols = symbols_of(pages, len(multi_dataset.names), config.imgsz)
    points = points_by_level(symbols, strides)
    boxes_xyxy = [page.boxes_xyxy for page in pages]
    crowding = Crowding(
        trained=draws.n_symbols,
        drawn=draws.images,
        stored=np.array([len(page.labels) for page in pages]),
        pairs_per_box=float(points.sum() / max(len(symbols), 1)),
    )
    return Labels(
        symbols=symbols,
        stored=replace(symbols, boxes_xyxy=np.concatenate(boxes_xyxy)),
        points=points,
        crowding=crowding,
    )
