"""Looks at a training's data as the network will see it: how full, how small, what cannot be.

Everything here follows from the labels and the form of the model's head. What a training step needs
of a GPU is :mod:`training.memory`'s, and both come together in :mod:`training.density.report`.

Shapes: I images, D draws of an image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from converters.page import Page
from training.density.anchors import ClassAnchors, Contest, anchor_rows, contest, points_by_level
from training.density.as_trained import as_trained, pages_of
from training.density.batches import (
    BatchMax,
    BatchSum,
    EpochMost,
    batch_max,
    batch_sum,
    epoch_most,
)
from training.density.cold_start import ColdStart, cold_start
from training.density.representation import Ceilings, ceilings, settings
from training.density.sizes import ClassSizes, LeastScale, least_scale, size_rows
from training.density.stages import Spread, Stage, spread, stages
from training.heads.grouping.statistics import symbols_of
from training.heads.head_config import HeadConfig
from training.joint_data import JointData
from training.train_config import TrainConfig

SPLIT = "train"


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadForm:
    """What of a model's head its boxes depend on."""

    strides: tuple[int, ...]
    """Pixels per cell of each level, finest first."""
    reg_max: int
    """Bins of a distance in Ultralytics' head; 1 for a head without distributions."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Survey:
    """What the labels of a training say; None where there is no image or symbol to tell it."""

    names: tuple[str, ...]
    most_symbols: int
    """Of the fullest image, as it is stored."""
    symbols: Spread | None
    """Of the images as they are stored: tiles, where the data set is tiled."""
    stages: tuple[Stage, ...]
    sizes: tuple[ClassSizes, ...]
    """Of each class, in the order of the names, as are all that follow."""
    scale: LeastScale
    side_px: float
    """Longer side of the stored images, the median, in pixels."""
    anchors: tuple[ClassAnchors, ...]
    contest: Contest
    ceilings: Ceilings
    start: ColdStart
    pairs_a_box: float
    """Candidate pairs that a symbol has on average."""
    trained: NDArray[np.int64]
    """Symbols of each draw, shape ``(D,)``."""
    drawn: NDArray[np.int64]
    """The image of each draw, shape ``(D,)``."""

    @property
    def n_images(self) -> int:
        """Images of the split, as they are stored."""
        return len(np.unique(self.drawn))

    @property
    def n_symbols(self) -> int:
        """Symbols of all images, as they are stored."""
        return sum(row.count for row in self.sizes)

    def fullest_image(self, batch: int) -> BatchMax | None:
        """Predict the fullest image of a batch, as trained."""
        return batch_max(self.trained, batch, self.drawn)

    def whole_batch(self, batch: int) -> BatchSum | None:
        """Predict the symbols of a whole batch, as trained."""
        return batch_sum(self.trained, batch, self.drawn)

    def of_epoch(self, batch: int) -> EpochMost | None:
        """Predict the fullest of an epoch, as trained."""
        return epoch_most(self.trained, batch, self.drawn)


def survey(
    config: TrainConfig, joint: JointData, form: HeadForm, heads: HeadConfig | None = None
) -> Survey:
    """Look at the images of ``train``.

    Args:
        config: Of the training that is planned.
        joint: Its data sets.
        form: Of its model's head.
        heads: Groups of classes; a single head if None.

    Raises:
        ConfigError: The groups are not of these classes.
        InputError: A data set cannot be read, or a label is none of its classes.
    """
    found = pages_of(joint)
    drawn = as_trained(config, joint, found)
    pages = _of_all_classes(joint, found)
    symbols = symbols_of(pages, len(joint.names), config.imgsz)
    rows = size_rows(symbols, joint.names)
    stored = [len(page.labels) for page in pages]
    n_points = points_by_level(symbols, form.strides)
    alone = joint.sources[0].dataset if len(joint.sources) == 1 else None
    return Survey(
        names=tuple(joint.names),
        most_symbols=max(stored, default=0),
        symbols=spread(stored),
        stages=stages(stored, drawn.n_symbols, alone.converted_pages(SPLIT) if alone else None),
        sizes=rows,
        scale=least_scale(symbols, joint.names),
        side_px=float(np.median([max(page.width, page.height) for page in pages])),
        anchors=anchor_rows(symbols, joint.names, form.strides),
        contest=contest(symbols, joint.names, form.strides, heads),
        ceilings=ceilings(symbols, joint.names, settings(form.strides, form.reg_max)),
        start=cold_start(
            rows,
            form.strides,
            heads=heads,
            options=config.loss_options(),
            reg_max=form.reg_max,
            size_prior=config.size_prior,
        ),
        pairs_a_box=float(n_points.sum() / max(len(symbols), 1)),
        trained=drawn.n_symbols,
        drawn=drawn.images,
    )


def _of_all_classes(joint: JointData, pages: Sequence[Page]) -> list[Page]:
    """Turn the labels of each source into those of all classes."""
    files = joint.image_files(SPLIT)
    return [
        replace(page, labels=joint.sources[joint.source_of[file]].labels[page.labels])
        for file, page in zip(files, pages, strict=True)
    ]
