"""Combination of several data sets: their classes, images, and the classes that each labels.

A data set that does not label a class gives no evidence about it: predictions of the class on its
images count neither as true nor as false. A single data set is treated as one source.

A data set that ``omr convert`` merged from several has an origin for each of them, and one for
images of none of them; any other data set has one origin.

Shapes: S sources, O origins, C classes of all sources.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, InputError, with_nearest
from converters.formats.data_yaml import DATA_YAML
from converters.formats.datasets import open_dataset
from converters.formats.yolo_dataset import YoloDataset
from converters.image_tars import chunk_numbers
from converters.manifest import Manifest, Preparation, preparation, read_manifest
from converters.names import IMAGE_FOLDER
from settings.training import SHUFFLE_BUFFER
from training.data.class_balance import repeat_factors
from training.data.weighted_sampler import Shuffle, WeightedSampler

EVERY_NAME = "all"
"""Value of ``merge_classes`` that merges every class name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetOptions:
    """Data sets to train on, and how they are combined.

    Raises:
        ConfigError: A data set is a duplicate, the numbers of weights and data sets differ, or an
            option for several data sets is used with one.
    """

    folders: tuple[Path, ...]
    """Folder or ``data.yaml`` of each data set; the classes of the first one come first."""
    sampling_weights: tuple[float, ...] = ()
    """Sampling weight of each data set, in order; empty to weight each by its number of images."""
    true_negatives: bool = False
    """Whether a class that a data set lacks counts as absent from its images."""
    merge_classes: tuple[str, ...] = ()
    """Class names with the same meaning in every data set; ``("all",)`` for every name."""
    balance_threshold: float = 0.0
    """Frequency below which a class is rare, and its images are drawn more often; 0 for never."""
    shuffle_buffer: int = SHUFFLE_BUFFER
    """Number of images in tar files that are shuffled together, see :class:`Shuffle`."""

    def __post_init__(self) -> None:
        resolved = [folder.resolve() for folder in self.folders]
        repeated = [str(f) for i, f in enumerate(self.folders) if resolved[i] in resolved[:i]]
        if repeated:
            raise ConfigError(
                f"data: duplicate: {', '.join(repeated)}; use --sampling-weights to weight a data "
                "set"
            )
        n_folders = len(self.folders)
        for name in ("sampling_weights", "true_negatives", "merge_classes"):
            if n_folders < 2 and getattr(self, name):
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"{option}: needs several data sets, got one; add a data set or omit {option}"
                )
        weights = ":".join(f"{weight:g}" for weight in self.sampling_weights)
        if self.sampling_weights and len(self.sampling_weights) != n_folders:
            raise ConfigError(
                f"--sampling-weights {weights}: expected a weight for each of {n_folders} data "
                f"sets, got {len(self.sampling_weights)}"
            )
        if not all(0 < weight < math.inf for weight in self.sampling_weights):
            raise ConfigError(f"--sampling-weights {weights}: expected weights above 0")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingSource:
    """One of the data sets to train on."""

    dataset: YoloDataset
    labels: NDArray[np.int64]
    """Label among all classes for each label of the data set."""
    labelled: NDArray[np.bool_]
    """Whether each class is labelled in the data set, shape ``(C,)``."""
    labelled_by_origin: Mapping[str, NDArray[np.bool_]]
    """Whether each class is labelled in the images of each origin, by the folder of these images,
    shape ``(C,)``; the folder of all other images is empty."""
    source_format: str = ""
    """Format that it was converted from, according to its manifest; empty without a manifest."""
    preparation: Preparation | None = None
    """Preparation of its images; None without a manifest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiDataset:
    """Combined data sets to train on."""

    names: tuple[str, ...]
    """Class names; the index is the label."""
    sources: tuple[TrainingSource, ...]
    options: DatasetOptions

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether each class is labelled in each origin, shape ``(O, C)``."""
        return np.stack([mask for s in self.sources for mask in s.labelled_by_origin.values()])

    @cached_property
    def origin_of(self) -> Mapping[str, int]:
        """Index of the origin of each image in ``train`` and ``val``, by image file."""
        origins = [(i, name) for i, s in enumerate(self.sources) for name in s.labelled_by_origin]
        index_of = {origin: index for index, origin in enumerate(origins)}
        names = [source.labelled_by_origin.keys() for source in self.sources]
        return {
            file: index_of[i, next((part for part in _folders(file) if part in names[i]), "")]
            for file, i in self.source_of.items()
        }

    def unlabelled(self) -> dict[str, tuple[str, ...]]:
        """Return the classes that each data set does not label, by its folder."""
        return {
            str(folder): tuple(
                name
                for name, is_labelled in zip(self.names, source.labelled, strict=True)
                if not is_labelled
            )
            for folder, source in zip(self.options.folders, self.sources, strict=True)
        }

    @cached_property
    def _files(self) -> dict[str, list[list[str]]]:
        """Image files of each source in ``train`` and ``val``."""
        return {
            split: [
                [str(path.absolute()) for path in source.dataset.image_paths(split)]
                for source in self.sources
            ]
            for split in ("train", "val")
        }

    def image_files(self, split: str) -> list[str]:
        """List the images of ``train`` or ``val``, source by source.

        Raises:
            InputError: A source has no such split, or no image in it.
        """
        return [file for files in self._files[split] for file in files]

    @cached_property
    def source_of(self) -> Mapping[str, int]:
        """Index of the source of each image in ``train`` and ``val``, by image file.

        Raises:
            ConfigError: An image belongs to two sources.
        """
        indices: dict[str, int] = {}
        for files_of_split in self._files.values():
            for i, files in enumerate(files_of_split):
                for file in files:
                    other = indices.setdefault(file, i)
                    if other != i:
                        first, second = (self.options.folders[k] for k in (other, i))
                        raise ConfigError(f"{file}: belongs to both {first} and {second}")
        return indices

    def sampler(
        self,
        files: Sequence[str],
        image_labels: Sequence[NDArray[np.int64]],
        *,
        seed: int,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> WeightedSampler:
        """Build the sampler of the training images of all sources.

        Args:
            files: Image files; the sampler yields indices into this list.
            image_labels: Labels of the symbols of each image.
            seed: Seed of the random order.
            rank: Rank of this process.
            n_ranks: Number of devices.
        """
        sources = np.array([self.source_of[file] for file in files])
        members = [np.flatnonzero(sources == i) for i in range(len(self.sources))]
        weights = np.array(self.options.sampling_weights or [len(images) for images in members])
        shares = weights[sources] / np.bincount(sources)[sources] / weights.sum()
        repeats = np.ones(len(files))
        if threshold := self.options.balance_threshold:
            repeats = repeat_factors(image_labels, shares, threshold)
            if not self.options.sampling_weights:
                weights = np.bincount(sources, repeats)
        return WeightedSampler(
            members,
            weights,
            repeats=repeats,
            seed=seed,
            rank=rank,
            n_ranks=n_ranks,
            shuffles=[
                self._shuffle(i, [files[image] for image in images.tolist()])
                for i, images in enumerate(members)
            ],
        )

    def _shuffle(self, source: int, files: Sequence[str]) -> Shuffle:
        """Return the random order of the training images of a source."""
        buffer = self.options.shuffle_buffer
        if len(files) <= buffer:
            return Shuffle()
        folder = self.sources[source].dataset.splits["train"].absolute()
        return Shuffle(chunks=chunk_numbers(files, folder), buffer=buffer)


def _folders(file: str) -> Iterator[str]:
    """Yield the folders of an image below the last folder ``images``."""
    parts = Path(file).parent.parts
    start = len(parts) - parts[::-1].index(IMAGE_FOLDER) if IMAGE_FOLDER in parts else len(parts)
    yield from parts[start:]


def join(options: DatasetOptions) -> MultiDataset:
    """Open data sets and merge their classes by name, in order of first appearance.

    Raises:
        ConfigError: A class name may have different meanings in two data sets.
        InputError: A data set cannot be opened.
    """
    datasets = [open_dataset(folder) for folder in options.folders]
    manifests = [read_manifest(dataset.root) for dataset in datasets]
    if len(datasets) > 1:
        _check_unique_names(datasets)
        _check_clashes(options, datasets, [manifest.class_map.name for manifest in manifests])
    names = (
        datasets[0].names
        if len(datasets) == 1
        else tuple(dict.fromkeys(name for dataset in datasets for name in dataset.names))
    )
    sources = [
        _source(dataset, manifest, names, options)
        for dataset, manifest in zip(datasets, manifests, strict=True)
    ]
    return MultiDataset(names=names, sources=tuple(sources), options=options)


def _source(
    dataset: YoloDataset, manifest: Manifest, names: Sequence[str], options: DatasetOptions
) -> TrainingSource:
    candidates = set(names if options.true_negatives else dataset.names)
    unlabelled = {data_set.name: set(data_set.unlabelled) for data_set in manifest.data_sets}
    unlabelled[""] = set(manifest.class_map.unlabelled).union(*unlabelled.values())
    masks = {
        origin: np.array([name in candidates - missing for name in names])
        for origin, missing in unlabelled.items()
    }
    label_of = {name: label for label, name in enumerate(names)}
    # A single data set may have duplicate names.
    is_alone = tuple(names) == dataset.names
    labels = range(len(names)) if is_alone else [label_of[name] for name in dataset.names]
    return TrainingSource(
        dataset=dataset,
        labels=np.array(labels, dtype=np.int64),
        labelled=np.logical_or.reduce([*masks.values()]),
        labelled_by_origin=masks,
        source_format=manifest.source,
        preparation=preparation(manifest),
    )


def _check_unique_names(datasets: Sequence[YoloDataset]) -> None:
    for dataset in datasets:
        repeated = sorted({name for name in dataset.names if dataset.names.count(name) > 1})
        if repeated:
            raise InputError(
                f"duplicate: {', '.join(repeated)}; classes of several data sets are merged by "
                "name",
                path=dataset.root / DATA_YAML,
                where="names",
            )


def _check_clashes(
    options: DatasetOptions, datasets: Sequence[YoloDataset], class_maps: Sequence[str]
) -> None:
    """Check that a name has the same meaning in all data sets that contain it.

    This holds if all data sets were converted with the same class map, or if ``merge_classes``
    contains the name.
    """
    owners: dict[str, list[int]] = {}
    for i, dataset in enumerate(datasets):
        for name in dataset.names:
            owners.setdefault(name, []).append(i)
    shared = {name: indices for name, indices in owners.items() if len(indices) > 1}
    unknown = set(options.merge_classes) - shared.keys() - {EVERY_NAME}
    if unknown:
        raise ConfigError(
            "--merge-classes: not a class of two data sets: "
            f"{with_nearest(sorted(unknown), shared)}"
        )
    if EVERY_NAME in options.merge_classes:
        return
    clashing = {
        name: indices
        for name, indices in shared.items()
        if name not in options.merge_classes and not _is_one_map([class_maps[i] for i in indices])
    }
    if not clashing:
        return
    indices = sorted({i for owning in clashing.values() for i in owning})
    folders = [str(options.folders[i]) for i in indices]
    raise ConfigError(
        f"{', '.join(folders[:-1])} and {folders[-1]}: converted with different class maps, but "
        f"share the names {', '.join(clashing)}; use --merge-classes all or a list of names if "
        "they mean the same, otherwise rename them in a class map and convert again"
    )


def _is_one_map(names: Sequence[str]) -> bool:
    return len(set(names)) == 1 and names[0] != ""
