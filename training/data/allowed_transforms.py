"""What augmentation may do to music, and what to photographs only.

A mirrored note is another note: the stem stands on the other side, an eighth rest becomes nothing
at all, a crescendo a decrescendo. So is a note that is turned, where a beam and a tie are told
apart by their slope. Photographs have no such order. A mosaic of four images takes all of them
from one source, because what its first image says nothing of is masked in all of it.

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
from training.data.multi_dataset import MultiDataset, Source

PHOTOGRAPHS = "coco"
"""The format in which photographs come, and the class map of their classes."""
MUSIC_DEGREES = 1.0
"""A page is turned that far by its scanner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transforms:
    """What augmentation does beside shifts, sizes and brightness; all of it is off by default.

    Raises:
        ConfigError: A probability is not from 0 to 1, or an angle not from 0 to 180.
    """

    fliplr: float = 0.0
    """Probability of a mirrored image, left for right."""
    flipud: float = 0.0
    """Probability of an image upside down, mirrored."""
    degrees: float = 0.0
    """Largest rotation."""
    mosaic: float = 0.0
    """Probability of four images of a source in one."""
    allow_music_flips: bool = False
    """Mirror and turn music as well."""

    def __post_init__(self) -> None:
        for name, most in (("fliplr", 1), ("flipud", 1), ("mosaic", 1), ("degrees", 180)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ConfigError(f"{name} ({value:g}): must be from 0 to {most}")

    def check(self, joint: MultiDataset) -> None:
        """Make sure that there is something that may be transformed like this.

        Raises:
            ConfigError: All sources are music, and the user does not say that he knows.
        """
        if self.allow_music_flips or not all(is_music(source) for source in joint.sources):
            return
        folders = ", ".join(map(str, joint.options.folders))
        too_much = {
            "fliplr": (self.fliplr > 0, "a mirrored note is another note"),
            "flipud": (self.flipud > 0, "a note upside down is another note"),
            "degrees": (
                self.degrees > MUSIC_DEGREES,
                f"more than {MUSIC_DEGREES:g} makes beams, ties and stems something else",
            ),
        }
        for name, (wrong, why) in too_much.items():
            if wrong:
                raise ConfigError(
                    f"{name}: {why}, and {folders} is music; leave it out, or --allow-music-flips"
                )


def is_music(source: Source) -> bool:
    """Tell whether a data set shows music: all do but photographs in COCO's form.

    Music may come in COCO's form, too: then a class of it is called as one of music's.
    """
    return source.source_format != PHOTOGRAPHS or not music_names().isdisjoint(source.dataset.names)


@cache
def music_names() -> frozenset[str]:
    """What the shipped class maps of music, and the data sets of music, call their classes."""
    maps = (class_maps.load(name) for name in class_maps.shipped() if name != PHOTOGRAPHS)
    words = (
        category.name for name in SOURCES for category in class_maps.catalogue(name).categories
    )
    return frozenset(words).union(*(class_map.names for class_map in maps))


class FreeImages:
    """The images that may be mirrored and turned at will.

    Args:
        joint: Where the images come from.
        allow_music_flips: Those of music as well.
    """

    def __init__(self, joint: MultiDataset, *, allow_music_flips: bool) -> None:
        self._source_of = joint.source_of
        self._free = [allow_music_flips or not is_music(source) for source in joint.sources]

    def __contains__(self, file: str) -> bool:
        return self._free[self._source_of[file]]


class SourceFlip(RandomFlip):
    """Ultralytics' flip, of the images that may be mirrored.

    Args:
        free: Which ones.
        options: Those of ``RandomFlip``.
    """

    def __init__(self, free: FreeImages, **options: object) -> None:
        super().__init__(**options)
        self.free = free

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Decide whether an image is mirrored.

        Args:
            labels: One image, with its ``im_file``.
        """
        params: dict[str, Any] = super().get_params(labels)
        params["flip"] &= labels["im_file"] in self.free
        return params


class SourcePerspective(VisiblePerspective):
    """Shift, size and rotation; an image that may not be turned at will is turned a degree at most.

    Args:
        counter: Gets the number of symbols seen and dropped.
        free: Which ones may.
        degrees: Largest rotation of those.
        options: Those of ``VisiblePerspective``.
    """

    def __init__(
        self, counter: SymbolCounter, free: FreeImages, *, degrees: float, **options: object
    ) -> None:
        super().__init__(counter, **options)
        self.free = free
        self.asked_degrees = degrees

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Choose how an image is moved.

        Args:
            labels: One image, with its ``im_file``.
        """
        own = math.inf if labels["im_file"] in self.free else MUSIC_DEGREES
        self.degrees = min(self.asked_degrees, own)
        params: dict[str, Any] = super().get_params(labels)
        return params


class SourceMosaic(Mosaic):
    """Ultralytics' mosaic of four images of one source, which keeps stems and counts what it cuts.

    Args:
        counter: Gets the symbols that lie outside the four images' canvas; those that are cut off
            later, when the middle of the canvas is taken, are counted there.
        joint: Where the images come from.
        options: Those of ``Mosaic``.
    """

    def __init__(self, counter: SymbolCounter, joint: MultiDataset, **options: object) -> None:
        super().__init__(**options)
        self.counter = counter
        files = self.dataset.im_files
        self.source_at = np.array([joint.source_of[file] for file in files], dtype=np.int64)
        self.members = [np.flatnonzero(self.source_at == i) for i in range(len(joint.sources))]
        self.source_of = joint.source_of
        self.source = 0

    def get_params(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Choose three images of the same source, and where the four meet.

        Args:
            labels: One image, with its ``im_file``.
        """
        self.source = self.source_of[labels["im_file"]]
        params: dict[str, Any] = super().get_params(labels)
        return params

    def get_indexes(self) -> list[int]:
        """Draw images of the source, each alone; an image may come twice."""
        own = self.members[self.source]
        return [int(own[random.randrange(len(own))]) for _ in range(self.n - 1)]

    def _cat_labels(self, mosaic_labels: list[dict[str, Any]]) -> dict[str, Any]:
        """Join the symbols, but for those that lie outside the canvas."""
        side = 2 * self.imgsz
        for labels in mosaic_labels:
            boxes_xyxy = labels["instances"].bboxes  # (N, 4), pixels of the canvas, not clipped
            kept = visible_share(boxes_xyxy, (side, side)) >= MIN_VISIBLE
            gone = labels["cls"][~kept, 0]
            self.counter.add(gone, np.zeros(len(gone), dtype=np.bool_))
            labels["instances"] = labels["instances"][kept]
            labels["cls"] = labels["cls"][kept]
        joined: dict[str, Any] = super()._cat_labels(mosaic_labels)
        return joined


def transforms_before(
    chosen: Transforms, dataset: BaseDataset, counter: SymbolCounter, joint: MultiDataset
) -> list[Mosaic]:
    """What comes before an image is shifted: a mosaic, if one was asked for."""
    if not chosen.mosaic:
        return []
    return [SourceMosaic(counter, joint, dataset=dataset, imgsz=dataset.imgsz, p=chosen.mosaic)]


def transforms_after(chosen: Transforms, free: FreeImages) -> list[RandomFlip]:
    """What comes after an image was shifted: flips, if any were asked for."""
    asked = {"horizontal": chosen.fliplr, "vertical": chosen.flipud}
    return [SourceFlip(free, p=p, direction=name) for name, p in asked.items() if p]
