"""Pages that the images of a data set show, identified by the hash of their image files.

The files of tiles and scaled pages differ from that of the original page, so the hash of an image
does not reveal which page it shows. The manifest of a conversion does.

Shapes: N images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters.files.hashes import SHORT_BYTES
from converters.formats.yolo_dataset import YoloDataset
from converters.manifest import read_manifest


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PageHashes:
    """Page that each image shows."""

    hashes: NDArray[np.uint64]
    """Short hash of each image's page, shape ``(N,)``; that of the image itself if its page is
    unknown."""
    are_known: bool
    """Whether the pages of all images are known."""


def page_hashes(
    dataset: YoloDataset, split: str, images: Sequence[str], hashes: NDArray[np.uint64]
) -> PageHashes:
    """Look up the page that each image shows in the manifest of the data set.

    Args:
        dataset: Data set of the images.
        split: Split of the images.
        images: Names of N images, relative to the image folder of the split.
        hashes: Short hash of each image, shape ``(N,)``.
    """
    try:
        manifest = read_manifest(dataset.root)
        options, tiled = manifest.options, manifest.tiles.get(dataset.folder_name(split), {})
    except InputError:  # a file of another program
        return PageHashes(hashes=hashes, are_known=False)
    page_of = {
        tile: int(page.sha256[: 2 * SHORT_BYTES], 16)
        for page in tiled.values()
        if page.sha256
        for tile in page.tiles
    }
    is_whole = options is not None and not options.tiles and not options.staff_space
    image_hashes = zip(images, hashes.tolist(), strict=True)
    return PageHashes(
        hashes=np.array([page_of.get(name, image) for name, image in image_hashes], np.uint64),
        are_known=is_whole or all(name in page_of for name in images),
    )
