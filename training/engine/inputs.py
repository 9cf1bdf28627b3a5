"""Training inputs, opened once and passed to every check and to the trainer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from ultralytics.nn.tasks import DetectionModel

from class_maps import InputError
from converters.boxes import cxcywh_to_xyxy
from converters.files.hashes import short_hashes
from converters.formats.labelled_files import ImageLabels
from converters.manifest import read_manifest
from converters.overlaps import same_box_classes
from converters.page_hashes import PageHashes, page_hashes
from reading.page_tiles import PageTiles, page_tiles
from training.data.class_balance import ClassDraws, class_draws
from training.data.label_files import LabelCounts, SplitLabels, read_labels, total
from training.data.multi_dataset import MultiDataset, TrainingSource, join
from training.engine.run_options import RunOptions
from training.models.checkpoints import Weights, open_weights
from training.models.training_record import TrainingRecord

SPLITS = "train", "val"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingInputs:
    """Everything that is read before the first training step, apart from pixels."""

    weights: Weights | None
    """Content of the weights file; None to train from scratch."""
    data: MultiDataset
    labels: tuple[dict[str, SplitLabels], ...]
    """Labels of ``train`` and ``val`` of each data set, in the order of ``data.sources``."""

    @property
    def model(self) -> DetectionModel | None:
        """Model of the weights file; None to train from scratch."""
        return self.weights.model if self.weights else None

    @property
    def counts(self) -> dict[str, LabelCounts]:
        """Counts of ``train`` and ``val`` over all data sets."""
        return {split: total(labels[split].counts for labels in self.labels) for split in SPLITS}

    @property
    def counts_by_folder(self) -> dict[str, dict[str, LabelCounts]]:
        """Counts of ``train`` and ``val`` of each data set, by its folder."""
        return {
            str(folder): {split: labels[split].counts for split in SPLITS}
            for folder, labels in zip(self.data.options.folders, self.labels, strict=True)
        }

    @cached_property
    def val_pages(self) -> tuple[list[PageTiles] | str, ...]:
        """Pages whose tiles the images of ``val`` of each data set are; a reason if unknown."""
        pairs = zip(self.data.sources, self.labels, strict=True)
        return tuple(_tiled_pages(source, labels["val"]) for source, labels in pairs)

    def image_labels(self, split: str) -> dict[str, ImageLabels]:
        """Return the labels of every image of ``train`` or ``val``, by its absolute path."""
        return {
            file: image for labels in self.labels for file, image in labels[split].images.items()
        }

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Count the symbols of each class in ``train`` or ``val``, shape ``(C,)``."""
        return np.bincount(
            np.concatenate(self.symbol_labels(split)), minlength=len(self.data.names)
        )

    def symbol_labels(self, split: str) -> list[NDArray[np.int64]]:
        """Return the labels of each image of :meth:`image_labels`, as indices into all classes."""
        return [
            source.labels[image.rows[:, 0].astype(np.int64)]
            for source, labels in zip(self.data.sources, self.labels, strict=True)
            for image in labels[split].images.values()
        ]

    def rarest_classes(self, n: int) -> dict[str, ClassDraws]:
        """Return how often the images of the rarest classes in ``train`` are drawn.

        Args:
            n: Maximum number of classes.

        Returns:
            Draws by class name, rarest class first.
        """
        labels = self.symbol_labels("train")
        sampler = self.data.sampler([*self.image_labels("train")], labels, seed=0)
        draws = class_draws(labels, sampler.draws_per_epoch())
        return {self.data.names[label]: draws[label] for label in [*draws][:n]}

    def same_box_classes(self) -> Counter[tuple[str, str]]:
        """Count the pairs of symbols in ``train`` with the same box, by their two classes."""
        counts = Counter[tuple[str, str]]()
        for source, labels in zip(self.data.sources, self.labels, strict=True):
            files = [image.rows for image in labels["train"].images.values()]
            rows = np.concatenate(files).astype(np.float64)  # (N, 5), of all images
            image = np.repeat(np.arange(len(files)), [len(part) for part in files])
            classes = source.labels[rows[:, 0].astype(np.int64)]
            boxes_xyxy = cxcywh_to_xyxy(rows[:, 1:])
            counts.update(same_box_classes(boxes_xyxy, classes, self.data.names, image))
        return counts

    def image_hashes(self) -> dict[str, int]:
        """Hash the contents of all images of ``train`` and ``val``, by absolute path.

        Raises:
            InputError: An image cannot be read.
        """
        files = [*(self.image_labels("train") | self.image_labels("val"))]
        return dict(zip(files, short_hashes([*map(Path, files)]).tolist(), strict=True))

    def page_hashes(self, split: str, hashes: Mapping[str, int]) -> PageHashes:
        """Return the page that each image of ``train`` or ``val`` shows.

        Args:
            split: ``train`` or ``val``.
            hashes: Result of :meth:`image_hashes`.

        Returns:
            Pages in the order of :meth:`image_labels`.
        """
        pages = []
        for source, labels in zip(self.data.sources, self.labels, strict=True):
            files, folder = [*labels[split].images], source.dataset.splits[split].absolute()
            names = [Path(file).relative_to(folder).as_posix() for file in files]
            image_hashes = np.array([hashes[file] for file in files], np.uint64)
            pages.append(page_hashes(source.dataset, split, names, image_hashes))
        return PageHashes(
            hashes=np.concatenate([part.hashes for part in pages]),
            are_known=all(part.are_known for part in pages),
        )

    def record(self, hashes: Mapping[str, int]) -> TrainingRecord:
        """Return the training record for these inputs.

        Args:
            hashes: Result of :meth:`image_hashes`.
        """
        images = np.array([hashes[file] for file in self.image_labels("train")], np.uint64)
        pages = self.page_hashes("train", hashes)
        page_set, knows_pages = pages.hashes, pages.are_known
        earlier = self.weights.training if self.weights else None
        if earlier:
            images = np.union1d(images, earlier.images)
            page_set = np.union1d(page_set, earlier.pages)
            knows_pages &= earlier.knows_pages
        return TrainingRecord(
            images=np.unique(images),
            is_complete=earlier.is_complete if earlier else self.weights is None,
            preparations=tuple(source.preparation for source in self.data.sources),
            pages=np.setdiff1d(page_set, images),
            knows_pages=knows_pages,
        )


def _tiled_pages(source: TrainingSource, labels: SplitLabels) -> list[PageTiles] | str:
    """List the pages whose tiles the validation images of a source are.

    Args:
        source: Data set.
        labels: Labels of ``val``.

    Returns:
        Pages in the order of the manifest; a reason if they are unknown.
    """
    dataset = source.dataset
    folder = dataset.splits["val"].absolute()
    sizes = {
        PurePosixPath(Path(file).relative_to(folder)): (image.width, image.height)
        for file, image in labels.images.items()
    }
    try:
        pages = page_tiles(read_manifest(dataset.root), dataset.folder_name("val"), sizes)
    except InputError as error:
        return str(error)
    return f"the val images of {dataset.root} are not tiles" if pages is None else pages


def open_inputs(options: RunOptions) -> TrainingInputs:
    """Open the data sets, and read the weights and each label file once.

    Raises:
        ConfigError: A class name may have different meanings in two data sets.
        InputError: The weights or a data set cannot be read, or have invalid content.
    """
    data = join(options.datasets)
    file = options.weights_file
    return TrainingInputs(
        weights=open_weights(file, trust=options.trust) if file else None,
        data=data,
        labels=tuple(read_labels(source.dataset) for source in data.sources),
    )
