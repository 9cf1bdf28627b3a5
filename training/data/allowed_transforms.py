"""Augmentation that is allowed for music, and augmentation for photographs only.

A mirrored symbol has another meaning or none: stems change sides, an eighth rest becomes
unreadable, a crescendo becomes a decrescendo. Rotation changes symbols too, because slope is part
of the shape of beams and ties. Photographs have no such constraints. A mosaic takes its four images
from one origin, because classes that its first image does not label are masked in the whole mosaic.

Shapes: N symbols of an image, S sources.
"""

import math
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ultralytics.data.augment import Mosaic, RandomFlip
from ultralytics.data.base import BaseDataset

import class_maps
from class_maps import ConfigError
from class_maps.catalogues import SOURCES
from training.data.augmentation import MIN_VISIBLE, SymbolCounter, VisiblePerspective, visible_share
from training.data.multi_dataset import MultiDataset, TrainingSource

PHOTOGRAPHS = "coco"
"""Format of data sets with photographs, and name of their class map."""
MUSIC_DEGREES = 1.0
"""Maximum rotation of music in degrees, such as a scanner may cause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transforms:
    """Augmentation other than translation, scaling and brightness; off by default."""

    fliplr: float = 0.0
    """Probability of mirroring an image left to right."""
    flipud: float = 0.0
    """Probability of mirroring an image top to bottom."""
    degrees: float = 0.0
    """Largest rotation in degrees."""
    mosaic: float = 0.0
    """Probability of combining four images of a source into one."""
    allow_music_flips: bool = False
    """Whether to mirror and rotate music as well."""

    def check(self, multi_dataset: MultiDataset) -> None:
        """Check that at least one source may be transformed in this way.

        Raises:
            ConfigError: All sources are music, and ``allow_music_flips`` is not set.
        """
        if self.allow_music_flips or not all(is_music(source) for source in multi_dataset.sources):
            return
        folders = ", ".join(map(str, multi_dataset.options.folders))
        refused = {
            "fliplr": (self.fliplr > 0, "a mirrored note is another note"),
            "flipud": (self.flipud > 0, "a note upside down is another note"),
            "degrees": (
                self.degrees > MUSIC_DEGREES,
                f"more than {MUSIC_DEGREES:g} degree changes the meaning of beams, ties and stems",
            ),
        }
        for name, (is_wrong, reason) in refused.items():
            if is_wrong:
                raise ConfigError(
                    f"--{name}: {reason}, and {folders} is music; omit it, or give "
                    "--allow-music-flips"
                )


def is_music(source: TrainingSource) -> bool:
    """Return whether a data set contains music: all do, except photographs in COCO format.

    Music in COCO format is recognised by a class with a musical name.
    """
    return source.source_format != PHOTOGRAPHS or not music_names().isdisjoint(source.dataset.names)


@cache
def music_names() -> frozenset[str]:
    """Return the class names of the shipped class maps and data sets of music."""
    maps = (class_maps.load(name) for name in class_maps.shipped() if name != PHOTOGRAPHS)
    categories = (name for source in SOURCES for name in class_maps.catalogue(source).all_names)
    return frozenset(categories).union(*(class_map.names for class_map in maps))


class FreeImages:
    """Set of the images that may be mirrored and rotated freely.

    Args:
        multi_dataset: Data sets of the images.
        allow_music_flips: Whether the set contains images of music as well.
    """

    def __init__(self, multi_dataset: MultiDataset, *, allow_music_flips: bool) -> None:
        self._source_of = multi_dataset.source_of
        self._free = [allow_music_flips or not is_music(source) for source in multi_dataset.sources]

    def __contains__(self, file: str) -> bool:
        return self._free[self._source_of[file]]


class SourceFlip(RandomFlip):
    """Ultralytics' flip, restricted to images that may be mirrored.

    Args:
        free: Images that may be mirrored.
        options: Arguments of ``RandomFlip``.
    """

    def __init__(self, free: FreeImages, **options: object) -> None:
        super().__init__(**options)
        self.free = free

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Draw whether to mirror an image.

        Args:
            labels: Labels of one image, including ``im_file``.
        """
        params: dict[str, Any] = super().get_params(labels)
        params["flip"] &= labels["im_file"] in self.free
        return params


class SourcePerspective(VisiblePerspective):
    """Translation, scaling and rotation; images of music are rotated by one degree at most.

    Args:
        counter: Counter of the symbols seen and dropped.
        free: Images that may be rotated freely.
        degrees: Largest rotation of these images.
        options: Arguments of ``VisiblePerspective``.
    """

    def __init__(
        self, counter: SymbolCounter, free: FreeImages, *, degrees: float, **options: object
    ) -> None:
        super().__init__(counter, **options)
        self.free = free
        self.max_degrees = degrees

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Draw the shift, size and rotation of an image.

        Args:
            labels: Labels of one image, including ``im_file``.
        """
        limit = math.inf if labels["im_file"] in self.free else MUSIC_DEGREES
        self.degrees = min(self.max_degrees, limit)
        params: dict[str, Any] = super().get_params(labels)
        return params


class SourceMosaic(Mosaic):
    """Ultralytics' mosaic of four images of one origin, but without loss of thin symbols.

    Args:
        counter: Counter of the symbols outside the canvas of four images; the perspective transform
            counts the symbols that are cut off later, when the canvas is cropped to its middle.
        multi_dataset: Data sets of the images.
        options: Arguments of ``Mosaic``.
    """

    def __init__(
        self, counter: SymbolCounter, multi_dataset: MultiDataset, **options: object
    ) -> None:
        super().__init__(**options)
        self.counter = counter
        files = self.dataset.im_files
        self.origin_of = multi_dataset.origin_of
        origins = np.array([self.origin_of[file] for file in files], dtype=np.int64)
        self.members = [np.flatnonzero(origins == i) for i in range(len(multi_dataset.labelled))]
        self.origin = 0

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Draw three images of the same origin, and the point where all four images meet.

        Args:
            labels: Labels of one image, including ``im_file``.
        """
        self.origin = self.origin_of[labels["im_file"]]
        params: dict[str, Any] = super().get_params(labels)
        return params

    def get_indexes(self) -> list[int]:
        """Draw images of the origin independently; an image may recur."""
        members = self.members[self.origin]
        return [int(members[random.randrange(len(members))]) for _ in range(self.n - 1)]

    def _cat_labels(self, mosaic_labels: list[dict[str, Any]]) -> dict[str, Any]:
        """Combine the symbols of all four images, without those outside the canvas."""
        side = 2 * self.imgsz
        for labels in mosaic_labels:
            boxes_xyxy = labels["instances"].bboxes  # (N, 4), pixels of the canvas, not clipped
            kept = visible_share(boxes_xyxy, (side, side)) >= MIN_VISIBLE
            dropped = labels["cls"][~kept, 0]
            self.counter.add(dropped, np.zeros(len(dropped), dtype=np.bool_))
            labels["instances"] = labels["instances"][kept]
            labels["cls"] = labels["cls"][kept]
        combined: dict[str, Any] = super()._cat_labels(mosaic_labels)
        return combined


def transforms_before(
    chosen: Transforms, dataset: BaseDataset, counter: SymbolCounter, multi_dataset: MultiDataset
) -> list[Mosaic]:
    """Return the transforms that precede translation: a mosaic, if configured."""
    if not chosen.mosaic:
        return []
    return [
        SourceMosaic(counter, multi_dataset, dataset=dataset, imgsz=dataset.imgsz, p=chosen.mosaic)
    ]


def transforms_after(chosen: Transforms, free: FreeImages) -> list[RandomFlip]:
    """Return the transforms that follow translation: flips, if configured."""
    probabilities = {"horizontal": chosen.fliplr, "vertical": chosen.flipud}
    return [SourceFlip(free, p=p, direction=name) for name, p in probabilities.items() if p]
