"""Images of all splits of a YOLO folder, with the facts by which they are divided."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError
from converters.files.hashes import short_hashes
from converters.formats.yolo_dataset import YoloDataset
from converters.manifest import read_manifest
from converters.names import count_of, page_of, work_of
from converters.page_groups import GroupBy, font_of, piece_of, work_key, writer_of
from converters.page_hashes import page_hashes
from converters.prepare.preparation import PageProperties


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SplitImage:
    """An image, a page or a tile."""

    split: str
    path: Path
    name: PurePosixPath
    """Name, relative to the image folder of its split."""
    page: PurePosixPath
    """Name of the page that it shows."""
    page_hash: int
    """Short hash of that page; of the image itself if the page is unknown."""
    properties: PageProperties
    """Properties of the page according to the manifest."""
    labels: NDArray[np.int64]
    """Label of each symbol, shape ``(N,)``."""

    @property
    def work(self) -> str | None:
        """Work that the manifest or the name contains; None without one."""
        return self.properties.work or work_of(self.page)

    def group(self, by: GroupBy) -> str | None:
        """Return the work, piece, writer, font or source of the page; None if it is unknown."""
        match by:
            case "work":
                return self.properties.work or work_key(self.name)
            case "piece":
                return self.work or piece_of(self.page)
            case "writer":
                return writer_of(self.page)
            case "font":
                return font_of(self.page)
            case "source":
                return self.properties.source or self.name.parent.name or None


def read_split_images(dataset: YoloDataset) -> list[SplitImage]:
    """Read the labels and hashes of all images.

    Raises:
        InputError: A label file or ``manifest.json`` is malformed, or an image is damaged.
    """
    manifest = read_manifest(dataset.root)
    result: list[SplitImage] = []
    for split in dataset.own_splits():
        folder = dataset.folder_name(split)
        properties = manifest.properties.get(folder, {})
        pages = {
            tile: page
            for page, tiled in manifest.tiles.get(folder, {}).items()
            for tile in tiled.tiles
        }
        images = list(dataset.labelled_images(split))
        names = [image.page.image.as_posix() for image in images]
        hashes = page_hashes(
            dataset, split, names, short_hashes([image.path for image in images])
        ).hashes.tolist()
        for image, name, page_hash in zip(images, names, hashes, strict=True):
            page = pages.get(name, name)
            result.append(
                SplitImage(
                    split=split,
                    path=image.path,
                    name=image.page.image,
                    page=PurePosixPath(page if name in pages else page_of(image.page.image)),
                    page_hash=page_hash,
                    properties=properties.get(page, PageProperties()),
                    labels=image.page.labels,
                )
            )
    return result


def group_names(images: Sequence[SplitImage], by: GroupBy) -> list[str]:
    """Return the group of each image.

    Raises:
        ConfigError: The group of an image is unknown.
    """
    names = [image.group(by) for image in images]
    unknown = [str(image.name) for image, name in zip(images, names, strict=True) if not name]
    if unknown:
        known = [other for other in get_args(GroupBy) if all(i.group(other) for i in images)]
        remedy = f"; known for all: {', '.join(known)}" if known else ""
        raise ConfigError(
            f"unknown {by} of {count_of(unknown, 'image')}: neither the names nor manifest.json "
            f"contain it{remedy}",
            option="--by",
            value=by,
        )
    return [name or "" for name in names]
