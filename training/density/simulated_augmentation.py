"""Simulation of the training augmentation on labels, without reading pixels.

The symbols of an image after mosaic, translation and scaling cannot be derived from its labels
alone: some are moved out of the image, others are cropped, and a mosaic combines four images. So
this module runs the data set class used for training, with the same order and random numbers. Only
operations on pixels are skipped: no image is read, and a placeholder that takes no memory provides
the shape.

Shapes: D draws of an image, N symbols of all draws, C classes.
"""

import contextlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.data.augment import (
    BaseTransform,
    Compose,
    Format,
    Mosaic,
    RandomHSV,
    RandomPerspective,
)
from ultralytics.utils import IterableSimpleNamespace

from converters.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from converters.formats.labelled_files import ImageLabels
from converters.page import Page
from training.config import TrainConfig
from training.data.augmentation import SymbolCounter
from training.data.dataset import OmrDataset
from training.data.multi_dataset import MultiDataset
from training.data.sampling import Draw, EpochSampler
from training.grouping.statistics import Symbols

Ints = NDArray[np.int64]

MOST_DRAWS = 4000
"""Maximum number of images to draw; four of them are above the 99.9th percentile."""
FEWEST_DRAWS = 1000
"""Minimum number of images to draw; a small data set is drawn repeatedly, with new augmentation."""
N_CHANNELS = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SimulatedDraws:
    """Symbols that the network receives in the first epochs, in training order."""

    symbols: Symbols
    """Symbols of all draws; ``images`` contains draw indices, without those of empty draws."""
    n_symbols: Ints
    """Symbols per draw, shape ``(D,)``."""
    images: Ints
    """Index of each drawn image (the first one of a mosaic) in the list of training images,
    ``(D,)``."""
    seen: Ints
    """Symbols per class that entered the augmentation, shape ``(C,)``."""
    dropped: Ints
    """Symbols per class that the augmentation dropped because too little remained visible,
    shape ``(C,)``."""

    def __post_init__(self) -> None:
        n, n_classes = len(self.n_symbols), len(self.seen)
        shapes = self.n_symbols.shape, self.images.shape, self.seen.shape, self.dropped.shape
        if shapes != ((n,), (n,), (n_classes,), (n_classes,)):
            raise ValueError(f"{n} draws of {n_classes} classes have shapes {shapes}")


def simulate_draws(
    config: TrainConfig,
    multi_dataset: MultiDataset,
    pages: Sequence[Page],
    n_draws: int | None = None,
) -> SimulatedDraws:
    """Draw images as in training, with the same seed, order and augmentation.

    Args:
        config: Training configuration.
        multi_dataset: Data sets to train on.
        pages: All pages of the ``train`` split, as returned by :func:`pages_of`.
        n_draws: Number of images to draw; None for :func:`enough_draws`.

    Raises:
        ValueError: ``n_draws`` is less than 1, the numbers of pages and images differ, or a label
            is not a class of its source.
    """
    dataset = LabelDataset(config, multi_dataset, pages)
    if n_draws is None:
        n_draws = enough_draws(len(dataset))
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, got {n_draws}")
    n_symbols, images = np.zeros(n_draws, np.int64), np.zeros(n_draws, np.int64)
    labels, boxes = [], []
    with _preserved_random_state():
        for i, draw in enumerate(_draws(dataset, n_draws)):
            sample = dataset[draw]
            images[i], n_symbols[i] = draw.image, len(sample["cls"])
            labels.append(sample["cls"][:, 0].numpy())
            boxes_cxcywh = sample["bboxes"].numpy().astype(np.float64)
            boxes.append(cxcywh_to_xyxy(boxes_cxcywh * config.imgsz))
    seen, dropped = dataset.counter.totals().numpy()
    return SimulatedDraws(
        symbols=Symbols(
            imgsz=config.imgsz,
            images=np.repeat(np.arange(n_draws), n_symbols),
            labels=np.concatenate(labels).astype(np.int64),
            boxes_xyxy=np.concatenate(boxes),
        ),
        n_symbols=n_symbols,
        images=images,
        seen=seen,
        dropped=dropped,
    )


def enough_draws(n_images: int) -> int:
    """Return the number of images in an epoch, limited to a range that gives stable statistics."""
    return min(max(n_images, FEWEST_DRAWS), MOST_DRAWS)


def pages_of(multi_dataset: MultiDataset) -> list[Page]:
    """Read the ``train`` labels of all sources in order, each with the labels of its source.

    Raises:
        InputError: A label file is malformed, or a source has no image.
    """
    return [page for source in multi_dataset.sources for page in source.dataset.pages("train")]


class LabelDataset(OmrDataset):
    """Training data set without pixels: its samples have no ``img``.

    Args:
        config: Training configuration.
        multi_dataset: Data sets to train on.
        pages: All pages of the ``train`` split, as returned by :func:`pages_of`.

    Raises:
        ValueError: The numbers of pages and images differ, or a label is not a class of its source.
    """

    counter: SymbolCounter

    def __init__(
        self, config: TrainConfig, multi_dataset: MultiDataset, pages: Sequence[Page]
    ) -> None:
        self.pages = pages
        files = multi_dataset.image_files("train")
        if len(files) != len(pages):
            raise ValueError(f"{len(pages)} pages for {len(files)} images")
        image_labels = {}
        for file, page in zip(files, pages, strict=True):
            page.check_labels(len(multi_dataset.sources[multi_dataset.source_of[file]].labels))
            image_labels[file] = _image_labels(page)
        super().__init__(
            counter=SymbolCounter(len(multi_dataset.names), 0),
            multi_dataset=multi_dataset,
            image_labels=image_labels,
            chosen=config.transforms(),
            seed=config.seed,
            img_path=files,
            imgsz=config.imgsz,
            batch_size=config.batch,
            augment=True,
            hyp=IterableSimpleNamespace(
                translate=config.translate, scale=config.scale, hsv_v=config.brightness
            ),
            data={
                "names": dict(enumerate(multi_dataset.names)),
                "nc": len(multi_dataset.names),
                "channels": N_CHANNELS,
            },
            task="detect",
        )

    def load_image(
        self, i: int, *_: object, **__: object
    ) -> tuple[NDArray[np.uint8], tuple[int, int], tuple[int, int]]:
        """Return a placeholder of the size to which Ultralytics would resize an image.

        Args:
            i: Index of the image.
        """
        sides = self.labels[i]["shape"]
        ratio = self.imgsz / max(sides)
        height, width = (min(math.ceil(side * ratio), self.imgsz) for side in sides)
        return _blank(height, width), sides, (height, width)

    def build_transforms(self, hyp: IterableSimpleNamespace) -> Compose:
        """Build the training transforms without their operations on pixels.

        Args:
            hyp: Hyperparameters of Ultralytics.
        """
        transforms = super().build_transforms(hyp)
        for transform in transforms.transforms:
            _skip_pixels(transform)
        return transforms


def _skip_pixels(transform: BaseTransform) -> None:
    """Replace the image operation of a known transform; other transforms keep theirs."""
    if isinstance(transform, Mosaic):
        transform.apply_image = partial(_paste, side=2 * transform.imgsz)
    elif isinstance(transform, RandomPerspective):
        transform.apply_image = _warp
    elif isinstance(transform, RandomHSV):
        transform.apply_image = _keep
    elif isinstance(transform, Format):
        transform.apply_image = _remove


def _paste(labels: dict[str, Any], _: dict[str, Any], *, side: int) -> dict[str, Any]:
    labels["img"] = _blank(side, side)
    return labels


def _warp(labels: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    width, height = params["size"]
    labels["img"], labels["resized_shape"] = _blank(height, width), (height, width)
    return labels


def _keep(labels: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    return labels


def _remove(labels: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    del labels["img"]
    return labels


def _image_labels(page: Page) -> ImageLabels:
    """Convert a page to the labels that training would read from its label file."""
    boxes = xyxy_to_cxcywh(page.boxes_xyxy) / ([page.width, page.height] * 2)
    rows = np.concatenate([page.labels[:, None], boxes], axis=1).astype(np.float32)
    return ImageLabels(height=page.height, width=page.width, rows=rows)


def _blank(height: int, width: int) -> NDArray[np.uint8]:
    """Return a read-only image that shares one byte of memory."""
    return np.broadcast_to(np.zeros(1, np.uint8), (height, width, N_CHANNELS))


def _draws(dataset: LabelDataset, n_draws: int) -> Iterator[Draw]:
    """Yield the draws of the training sampler, epoch by epoch."""
    epochs = EpochSampler(dataset.sampler())
    return islice(chain.from_iterable(epochs for _ in repeat(None)), n_draws)


@contextlib.contextmanager
def _preserved_random_state() -> Iterator[None]:
    """Restore the random number generators of this process on exit."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  Ultralytics draws
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
