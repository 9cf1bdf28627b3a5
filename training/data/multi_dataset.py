"""Several data sets as one: the union of their classes, and which of them says what about which.

A data set that does not label a class says nothing of it: what is predicted of the class on its
images is neither right nor wrong. One data set is a joint one of a single source.

Shapes: S sources, C classes of all sources.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, InputError, with_nearest
from converters.formats.yolo import DATA_YAML, YoloDataset, open_dataset
from converters.manifest_reader import Converted
from training.data.label_counts import LabelCounts, count_labels

EVERY_NAME = "all"
"""Instead of the names that mean the same in every data set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetOptions:
    """Which data sets are trained on together, and how.

    Raises:
        ConfigError: A data set is named twice, the weights do not fit the data sets, or something
            is said that needs several data sets, and there is one.
    """

    folders: tuple[Path, ...]
    """Each with a ``data.yaml``, or that file; the first classes are those of the first."""
    sampling_weights: tuple[float, ...] = ()
    """Weight of each data set's images; empty for their numbers."""
    true_negatives: bool = False
    """A class that a data set does not have is not drawn on its images either."""
    merge_classes: tuple[str, ...] = ()
    """Names that mean the same in every data set; ``("all",)`` for every name."""

    def __post_init__(self) -> None:
        places = [folder.resolve() for folder in self.folders]
        twice = [str(f) for i, f in enumerate(self.folders) if places[i] in places[:i]]
        if twice:
            raise ConfigError(
                f"data: given twice: {', '.join(twice)}; --sampling-weights gives it more weight"
            )
        n_folders = len(self.folders)
        for name in ("sampling_weights", "true_negatives", "merge_classes"):
            if n_folders < 2 and getattr(self, name):
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"{option} needs several data sets, and there is one; give another, "
                    f"or leave out {option}"
                )
        words = ":".join(f"{weight:g}" for weight in self.sampling_weights)
        if self.sampling_weights and len(self.sampling_weights) != n_folders:
            raise ConfigError(
                f"sampling_weights: {words}: expected a weight for each of {n_folders} data sets, "
                f"got {len(self.sampling_weights)}"
            )
        if not all(0 < weight < math.inf for weight in self.sampling_weights):
            raise ConfigError(f"sampling_weights: {words}: every weight must be above 0")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """One of the data sets."""

    dataset: YoloDataset
    labels: NDArray[np.int64]
    """Label among all classes of each of its own."""
    labelled: NDArray[np.bool_]
    """Shape ``(C,)``: whether its images and labels say where a class is, and where not."""
    source_format: str = ""
    """What it was converted from, as its manifest says; empty where it has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiDataset:
    """The data sets of a training."""

    names: tuple[str, ...]
    """Name of the class with label ``i`` at index ``i``."""
    sources: tuple[Source, ...]
    options: DatasetOptions

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which source says something of which class, shape ``(S, C)``."""
        return np.stack([source.labelled for source in self.sources])

    def silent(self) -> dict[str, tuple[str, ...]]:
        """The classes that a data set says nothing of, by its folder."""
        return {
            str(folder): tuple(
                n for n, said in zip(self.names, source.labelled, strict=True) if not said
            )
            for folder, source in zip(self.options.folders, self.sources, strict=True)
        }

    @cached_property
    def _files(self) -> dict[str, list[list[str]]]:
        """The images of ``train`` and ``val``, those of each source."""
        return {
            split: [
                [str(path.absolute()) for path in source.dataset.image_paths(split)]
                for source in self.sources
            ]
            for split in ("train", "val")
        }

    def image_files(self, split: str) -> list[str]:
        """Every image of ``train`` or ``val``, source by source.

        Raises:
            InputError: A source has no such split, or no image in it.
        """
        return [file for files in self._files[split] for file in files]

    @cached_property
    def source_of(self) -> Mapping[str, int]:
        """The source of every image of ``train`` and ``val``, by its file.

        Raises:
            ConfigError: An image belongs to two sources.
        """
        found: dict[str, int] = {}
        for of_sources in self._files.values():
            for i, files in enumerate(of_sources):
                for file in files:
                    other = found.setdefault(file, i)
                    if other != i:
                        first, second = (self.options.folders[k] for k in (other, i))
                        raise ConfigError(f"{file}: belongs to both {first} and {second}")
        return found

    def sampler(
        self, files: Sequence[str], *, seed: int, rank: int = 0, n_ranks: int = 1
    ) -> "WeightedSampler":
        """Choose the order in which the images of all sources are trained on.

        Args:
            files: The images; what is drawn is a place in this list.
            seed: Of the order.
            rank: Number of this device.
            n_ranks: Devices.
        """
        sources = np.array([self.source_of[file] for file in files])
        members = [np.flatnonzero(sources == i) for i in range(len(self.sources))]
        weights = self.options.sampling_weights or tuple(len(own) for own in members)
        return WeightedSampler(members, weights, seed=seed, rank=rank, n_ranks=n_ranks)


def join(options: DatasetOptions) -> MultiDataset:
    """Open data sets and unite their classes by name, in the order in which they come.

    Raises:
        ConfigError: A name may mean something else in another data set.
        InputError: A data set cannot be opened.
    """
    datasets = [open_dataset(folder) for folder in options.folders]
    manifests = [dataset.converted() for dataset in datasets]
    if len(datasets) > 1:
        _check_twice(datasets)
        _check_clashes(options, datasets, [found.class_map.name for found in manifests])
    names = (
        datasets[0].names
        if len(datasets) == 1
        else tuple(dict.fromkeys(name for dataset in datasets for name in dataset.names))
    )
    sources = [
        _source(dataset, found, names, options)
        for dataset, found in zip(datasets, manifests, strict=True)
    ]
    return MultiDataset(names=names, sources=tuple(sources), options=options)


def _source(
    dataset: YoloDataset, manifest: Converted, names: Sequence[str], options: DatasetOptions
) -> Source:
    unlabelled = manifest.class_map.unlabelled
    known = set(names if options.true_negatives else dataset.names) - set(unlabelled)
    alone = tuple(names) == dataset.names  # where a name may stand twice
    place = {name: label for label, name in enumerate(names)}
    own = range(len(names)) if alone else [place[name] for name in dataset.names]
    return Source(
        dataset=dataset,
        labels=np.array(own, dtype=np.int64),
        labelled=np.array([name in known for name in names]),
        source_format=manifest.source,
    )


def _check_twice(datasets: Sequence[YoloDataset]) -> None:
    for dataset in datasets:
        twice = sorted({name for name in dataset.names if dataset.names.count(name) > 1})
        if twice:
            raise InputError(
                f"twice: {', '.join(twice)}; classes of several data sets are joined by name",
                path=dataset.root / DATA_YAML,
                where="names",
            )


def _check_clashes(
    options: DatasetOptions, datasets: Sequence[YoloDataset], class_maps: Sequence[str]
) -> None:
    """Make sure that a name means the same in every data set that has it.

    It does where all were converted with the same class map, or where the user says so.
    """
    having: dict[str, list[int]] = {}
    for i, dataset in enumerate(datasets):
        for name in dataset.names:
            having.setdefault(name, []).append(i)
    shared = {name: own for name, own in having.items() if len(own) > 1}
    unknown = set(options.merge_classes) - shared.keys() - {EVERY_NAME}
    if unknown:
        raise ConfigError(
            f"merge_classes: in no two of the data sets: {with_nearest(sorted(unknown), shared)}"
        )
    if EVERY_NAME in options.merge_classes:
        return
    clashing = {
        name: own
        for name, own in shared.items()
        if name not in options.merge_classes and not _one_map([class_maps[i] for i in own])
    }
    if not clashing:
        return
    folders = [
        str(options.folders[i]) for i in sorted({i for own in clashing.values() for i in own})
    ]
    raise ConfigError(
        f"{', '.join(folders[:-1])} and {folders[-1]}: not converted with one class map, and both "
        f"have: {', '.join(clashing)}; --merge-classes all if every name means the same in both, "
        "--merge-classes a,b if some do; rename the others in a class map and convert again"
    )


def _one_map(names: Sequence[str]) -> bool:
    return len(set(names)) == 1 and names[0] != ""


def count_sources(joint: MultiDataset) -> dict[str, dict[str, LabelCounts]]:
    """Read all label files.

    Returns:
        For each folder the counts of ``train`` and ``val``.

    Raises:
        InputError: What :func:`count_labels` finds in one of them.
    """
    pairs = zip(joint.options.folders, joint.sources, strict=True)
    return {str(folder): count_labels(source.dataset) for folder, source in pairs}


def total(counts: Mapping[str, Mapping[str, LabelCounts]]) -> dict[str, LabelCounts]:
    """Add up what :func:`count_sources` found, for each split."""
    totals = {}
    for split in ("train", "val"):
        parts = [of_source[split] for of_source in counts.values()]
        totals[split] = LabelCounts(
            images=sum(part.images for part in parts),
            symbols=sum(part.symbols for part in parts),
            duplicates=sum(part.duplicates for part in parts),
            without_labels=sum(part.without_labels for part in parts),
            most=max(part.most for part in parts),
        )
    return totals


class WeightedSampler:
    """Draws images of several sources by weight, in an order that every device can work out.

    An epoch has as many images as there are. The sources take turns, so that every stretch of it
    has nearly the asked mix. An image comes again only after all others of its source have come,
    which may take several epochs, or a part of one.

    Args:
        members: The images of each source.
        weights: Of each source; only their ratios count.
        seed: Of the order.
        rank: Number of this device.
        n_ranks: Devices; none of them draws what another one draws.
    """

    def __init__(
        self,
        members: Sequence[NDArray[np.int64]],
        weights: Sequence[float],
        *,
        seed: int,
        rank: int = 0,
        n_ranks: int = 1,
    ) -> None:
        self._members = members
        self._seed = seed % 2**32
        self._rank, self._n_ranks = rank, n_ranks
        n_images = math.ceil(sum(len(own) for own in members) / n_ranks)
        self.counts = divided(n_images, weights)
        """Images of each source, an epoch and a device."""
        places = [(np.arange(n) + 0.5) / n for n in self.counts]
        in_turn = np.argsort(np.concatenate(places), kind="stable")
        self._source_at = np.repeat(np.arange(len(members)), self.counts)[in_turn]
        self._next = 0

    def __len__(self) -> int:
        return len(self._source_at)

    def __iter__(self) -> Iterator[int]:
        """Yield the images of the next epoch."""
        epoch, self._next = self._next, self._next + 1
        images = np.empty(len(self), np.int64)
        for source, n in enumerate(self.counts):
            drawn = (epoch * n + np.arange(n)) * self._n_ranks + self._rank
            images[self._source_at == source] = self._drawn(source, drawn)
        yield from images.tolist()

    def set_epoch(self, epoch: int) -> None:
        """Go on from an epoch; one that was passed already does not come again."""
        self._next = max(self._next, epoch)

    def _drawn(self, source: int, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        """The images of a source that are drawn first, second ... of it in the whole training."""
        own = self._members[source]
        images = np.empty(len(drawn), np.int64)
        rounds = drawn // len(own)
        for i in np.unique(rounds):
            order = np.random.default_rng((self._seed, source, int(i))).permutation(own)
            images[rounds == i] = order[drawn[rounds == i] % len(own)]
        return images


def divided(n: int, weights: Sequence[float]) -> list[int]:
    """Divide a number by weights, by largest remainder, but with at least one for each."""
    exact = np.array(weights, dtype=np.float64)
    exact *= n / exact.sum()
    parts = np.floor(exact).astype(np.int64)
    largest = np.argsort(parts - exact, kind="stable")
    parts[largest[: n - parts.sum()]] += 1
    counts: list[int] = np.maximum(parts, 1).tolist()
    return counts
