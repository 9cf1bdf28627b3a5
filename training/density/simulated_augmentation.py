"""The symbols that a training will show the network: its own augmentation, run without pixels.

What an image holds after mosaic, shifts and sizes cannot be read off the labels: some symbols are
pushed out of sight, others are cut, and a mosaic has those of four images. So the training's own
data set draws its own images with its own random numbers here. Only what touches pixels is left
out: no image is read, and a stand-in that takes no memory has the right shape.

Shapes: D draws of an image, N symbols of all of them, C classes.
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
from converters.page import Page
from training.config import TrainConfig
from training.data.augmentation import SymbolCounter
from training.data.dataset import OmrDataset
from training.data.label_files import ImageLabels, without_duplicates
from training.data.multi_dataset import MultiDataset
from training.data.sampling import Draw, EpochSampler
from training.grouping.statistics import Symbols

Ints = NDArray[np.int64]

MOST_DRAWS = 4000
"""Images that are drawn at most: the quantile P99.9 of them still has four above it."""
FEWEST_DRAWS = 1000
"""Images that are drawn at least; a small data set comes several times, differently each time."""
N_CHANNELS = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AsTrained:
    """What the network gets to see in a training's first epochs, in the order of the training."""

    symbols: Symbols
    """Of every draw; ``images`` are the draws, 0 to D - 1, and those without symbols are not in."""
    n_symbols: Ints
    """Of each draw, shape ``(D,)``."""
    images: Ints
    """Which image was drawn, its place in the training's list; of a mosaic the first, ``(D,)``."""
    seen: Ints
    """Symbols that went into the augmentation, of each class, shape ``(C,)``."""
    dropped: Ints
    """Those of them that it left out, because too little of them was to be seen, ``(C,)``."""

    def __post_init__(self) -> None:
        n, n_classes = len(self.n_symbols), len(self.seen)
        shapes = self.n_symbols.shape, self.images.shape, self.seen.shape, self.dropped.shape
        if shapes != ((n,), (n,), (n_classes,), (n_classes,)):
            raise ValueError(f"{n} draws of {n_classes} classes are of shape {shapes}")


def as_trained(
    config: TrainConfig, joint: MultiDataset, pages: Sequence[Page], n_draws: int | None = None
) -> AsTrained:
    """Draw images as a training does, with its seed, its order and its augmentation.

    Args:
        config: Of the training.
        joint: Its data sets.
        pages: Every image of ``train``, as :func:`pages_of` gives them.
        n_draws: Images to draw; None for :func:`enough_draws`.

    Raises:
        ValueError: Nothing is to be drawn, there are not as many pages as images, or a label is
            none of its source's.
    """
    dataset = LabelDataset(config, joint, pages)
    if n_draws is None:
        n_draws = enough_draws(len(dataset))
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, got {n_draws}")
    n_symbols, images = np.zeros(n_draws, np.int64), np.zeros(n_draws, np.int64)
    labels, boxes = [], []
    with _generators_kept():
        for i, draw in enumerate(_draws(config, joint, dataset, n_draws)):
            sample = dataset[draw]
            images[i], n_symbols[i] = draw.image, len(sample["cls"])
            labels.append(sample["cls"][:, 0].numpy())
            boxes_cxcywh = sample["bboxes"].numpy().astype(np.float64)
            boxes.append(cxcywh_to_xyxy(boxes_cxcywh * config.imgsz))
    seen, dropped = dataset.counter.totals().numpy()
    return AsTrained(
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
    """Say how many images to draw: an epoch, but not so few that chance decides, nor too many."""
    return min(max(n_images, FEWEST_DRAWS), MOST_DRAWS)


def pages_of(joint: MultiDataset) -> list[Page]:
    """Read the labels of ``train``, source by source; labels are those of each source.

    Raises:
        InputError: A label file says something it must not, or a source has no image.
    """
    return [page for source in joint.sources for page in source.dataset.pages("train")]


class LabelDataset(OmrDataset):
    """A training's data set that reads and moves no pixels: its samples have no ``img``.

    Args:
        config: Of the training.
        joint: Its data sets.
        pages: Every image of ``train``, as :func:`pages_of` gives them.

    Raises:
        ValueError: There are not as many pages as images, or a label is none of its source's.
    """

    counter: SymbolCounter

    def __init__(self, config: TrainConfig, joint: MultiDataset, pages: Sequence[Page]) -> None:
        self.pages = pages
        files = joint.image_files("train")
        if len(files) != len(pages):
            raise ValueError(f"{len(pages)} pages for {len(files)} images")
        image_labels = {}
        for file, page in zip(files, pages, strict=True):
            page.check_labels(len(joint.sources[joint.source_of[file]].labels))
            image_labels[file] = _image_labels(page)
        super().__init__(
            counter=SymbolCounter(len(joint.names), 0),
            multi_dataset=joint,
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
                "names": dict(enumerate(joint.names)),
                "nc": len(joint.names),
                "channels": N_CHANNELS,
            },
            task="detect",
        )

    def load_image(
        self, i: int, *_: object, **__: object
    ) -> tuple[NDArray[np.uint8], tuple[int, int], tuple[int, int]]:
        """Give a stand-in for an image, of the size to which Ultralytics would resize it.

        Args:
            i: Place in the list of images.
        """
        sides = self.labels[i]["shape"]
        ratio = self.imgsz / max(sides)
        height, width = (min(math.ceil(side * ratio), self.imgsz) for side in sides)
        return _blank(height, width), sides, (height, width)

    def build_transforms(self, hyp: IterableSimpleNamespace) -> Compose:
        """Build the training's transforms, and take from them what they do to pixels.

        Args:
            hyp: Ultralytics' arguments.
        """
        transforms = super().build_transforms(hyp)
        for transform in transforms.transforms:
            _leave_out_pixels(transform)
        return transforms


def _leave_out_pixels(transform: BaseTransform) -> None:
    """Replace what a transform does to an image; one that is not known here keeps its own way."""
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
    """Convert a page to the labels that a training would read from its label file."""
    boxes = xyxy_to_cxcywh(page.boxes_xyxy) / ([page.width, page.height] * 2)
    rows = np.concatenate([page.labels[:, None], boxes], axis=1).astype(np.float32)
    return ImageLabels(height=page.height, width=page.width, rows=without_duplicates(rows))


def _blank(height: int, width: int) -> NDArray[np.uint8]:
    """An image without memory of its own; it cannot be written to."""
    return np.broadcast_to(np.zeros(1, np.uint8), (height, width, N_CHANNELS))


def _draws(
    config: TrainConfig, joint: MultiDataset, dataset: LabelDataset, n_draws: int
) -> Iterator[Draw]:
    """Yield what the training's sampler draws, epoch by epoch."""
    epochs = EpochSampler(joint.sampler(dataset.im_files, seed=config.seed))
    return islice(chain.from_iterable(epochs for _ in repeat(None)), n_draws)


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """Leave the random numbers of this process as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  Ultralytics draws
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
