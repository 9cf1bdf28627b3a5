"""Scores of whole pages in validation: the predictions for tiles are merged per page.

Shapes: N symbols of an image.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics.utils.ops import scale_boxes

from class_maps import ConfigError
from converters.formats.labelled_files import ImageLabels
from converters.page import Page
from eval.metrics.coco import evaluate
from reading.page_tiles import PageTiles, merge_tiles
from settings.run_files import PAGE_MAP, PAGE_MAP50
from settings.training import Selection
from training.data.label_files import SplitLabels
from training.data.multi_dataset import TrainingSource
from training.engine.inputs import TrainingInputs

PAGE_SOURCE_METRIC = "metrics/page_mAP50/{}"
"""Column of each source whose pages are known in ``results.csv``, if there are several sources:
mean AP of its classes at IoU 0.5, per page."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredImages:
    """Ground truth of the validation images of one source, per page if its pages are known."""

    folder: PurePosixPath
    """Image folder, as an absolute path."""
    tiled_pages: tuple[PageTiles, ...]
    """Pages whose tiles the images are; empty if every image is scored as it is."""
    truths: tuple[Page, ...]
    """Ground truth of every page or image."""

    @classmethod
    def of(
        cls, source: TrainingSource, labels: SplitLabels, pages: Sequence[PageTiles]
    ) -> "ScoredImages":
        """Return the ground truth of a source.

        Args:
            source: Data set, and the mapping of its labels.
            labels: Labels of ``val``.
            pages: Pages whose tiles the images are; empty to score every image as it is.
        """
        folder = PurePosixPath(source.dataset.splits["val"].absolute())
        images = [
            _truth(PurePosixPath(file).relative_to(folder), image, source)
            for file, image in labels.images.items()
        ]
        truths = tuple(merge_tiles(pages, images)) if pages else tuple(images)
        return cls(folder=folder, tiled_pages=tuple(pages), truths=truths)

    def pairs(self, predictions: Mapping[str, Page]) -> tuple[list[Page], list[Page]]:
        """Return ground truth and predictions, with images named by their absolute paths.

        Args:
            predictions: Predictions for every image, by its absolute path.
        """
        names = self._image_names()
        scored = [replace(predictions[str(self.folder / name)], image=name) for name in names]
        if self.tiled_pages:
            scored = [*merge_tiles(self.tiled_pages, scored)]
        return self._absolute(self.truths), self._absolute(scored)

    def _image_names(self) -> list[PurePosixPath]:
        if self.tiled_pages:
            return [tile for page in self.tiled_pages for tile in page.tiles]
        return [truth.image for truth in self.truths]

    def _absolute(self, pages: Iterable[Page]) -> list[Page]:
        return [replace(page, image=self.folder / page.image) for page in pages]


class PageScores:
    """Validation metrics per page.

    Images of sources without known pages are scored as they are.

    Args:
        inputs: Opened data sets.
        source_names: Name of each source in the columns of ``results.csv``.
    """

    def __init__(self, inputs: TrainingInputs, source_names: Iterable[str]) -> None:
        self._class_names = inputs.data.names
        sources = zip(inputs.data.sources, inputs.labels, inputs.val_pages, strict=True)
        images = [
            ScoredImages.of(source, labels["val"], [] if isinstance(pages, str) else pages)
            for source, labels, pages in sources
        ]
        self._images = dict(zip(source_names, images, strict=True))

    def metrics(self, predictions: Mapping[str, Page]) -> dict[str, float]:
        """Compute the macro means of all sources and, if there are several, of each with pages.

        Args:
            predictions: Predictions for every image, by its absolute path.

        Returns:
            Metrics by their column in ``results.csv``.
        """
        pairs = {name: images.pairs(predictions) for name, images in self._images.items()}
        truths, scored = (chain.from_iterable(pages) for pages in zip(*pairs.values(), strict=True))
        mean = evaluate(truths, scored, self._class_names).macro
        metrics = {PAGE_MAP50: mean.ap50, PAGE_MAP: mean.ap}
        if len(pairs) > 1:
            metrics |= {
                PAGE_SOURCE_METRIC.format(name): evaluate(*pair, self._class_names).macro.ap50
                for name, pair in pairs.items()
                if self._images[name].tiled_pages
            }
        return {name: value for name, value in metrics.items() if value is not None}


def image_predictions(
    predictions: Sequence[Mapping[str, Tensor]], batch: Mapping[str, Any]
) -> dict[str, Page]:
    """Convert the predictions of a batch to pixels of its images, with one copy to the host.

    Args:
        predictions: Predictions of each image in pixels of the network's input: ``bboxes``, shape
            ``(N, 4)``, ``conf`` and ``cls``, shape ``(N,)``.
        batch: Validation batch of Ultralytics.

    Returns:
        Predictions by the absolute path of each image.
    """
    rows = [
        torch.column_stack((image["bboxes"], image["conf"], image["cls"])) for image in predictions
    ]
    on_host = torch.cat(rows).double().cpu().split([len(image_rows) for image_rows in rows])
    columns = (batch[name] for name in ("im_file", "ori_shape", "ratio_pad"))
    input_size = batch["img"].shape[2:]
    pages = {}
    for part, file, (height, width), ratio_pad in zip(on_host, *columns, strict=True):
        finite = part[part.isfinite().all(dim=1)]
        boxes = scale_boxes(input_size, finite[:, :4], (height, width), ratio_pad).numpy()
        first, second = boxes[:, :2], boxes[:, 2:]  # a thin box may have its sides swapped
        pages[file] = Page(
            image=PurePosixPath(file),
            width=width,
            height=height,
            boxes_xyxy=np.hstack((np.minimum(first, second), np.maximum(first, second))),
            labels=finite[:, 5].numpy().astype(np.int64),
            scores=finite[:, 4].numpy(),
        )
    return pages


def resolved_selection(select: Selection, inputs: TrainingInputs) -> Selection:
    """Return ``page`` or ``tile`` for ``auto``, and check that pages can be scored if requested.

    Args:
        select: Requested selection.
        inputs: Opened data sets.

    Raises:
        ConfigError: Pages are requested, but no source consists of tiles of known pages.
    """
    if select == "tile":
        return select
    reasons = [reason for reason in inputs.val_pages if isinstance(reason, str)]
    if len(reasons) < len(inputs.val_pages):
        return "page"
    if select == "page":
        raise ConfigError(
            f"{'; '.join(reasons)}; use --select tile", option="--select", value=select
        )
    return "tile"


def _truth(name: PurePosixPath, image: ImageLabels, source: TrainingSource) -> Page:
    page = image.page(name)
    return replace(page, labels=source.labels[page.labels])
