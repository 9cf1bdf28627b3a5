"""Properties of pages by which their scores are broken down.

They come from the names of images, and from the manifest of the data set.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from class_maps import InputError
from converters.manifest import Manifest
from converters.names import page_of
from converters.prepare.preparation import PageProperties

_NAMES = {
    "font": re.compile(r"lg-\d+-aug-(?P<value>[^-]+)-(?:.*-)?-page-\d+$"),
    "writer": re.compile(r"CVC-MUSCIMA_W-(?P<value>\d+)_"),
}
"""Names of pages of DeepScoresV2 and of engraved pages, which name the music font; and of
MUSCIMA++, which name the writer."""


MOST_SOURCES = 20
"""Largest number of folders that are taken for sources; more are those of works."""


def page_properties(
    manifest: Manifest, folder_name: str, images: Sequence[PurePosixPath]
) -> list[PageProperties]:
    """Look up the properties of the page that each image shows; without values if unknown.

    Args:
        manifest: Manifest of the data set.
        folder_name: Name of the image folder of the split.
        images: Names of pages or tiles.
    """
    try:
        by_page = manifest.properties.get(folder_name, {})
    except InputError:  # a file of another program
        by_page = {}
    known = {PurePosixPath(page).with_suffix(""): one for page, one in by_page.items()}
    unknown = PageProperties()
    return [
        known.get(image.with_suffix(""))
        or known.get(PurePosixPath(page_of(image)).with_suffix(""), unknown)
        for image in images
    ]


def page_groups(
    images: Sequence[PurePosixPath], properties: Sequence[PageProperties]
) -> dict[str, dict[str, str]]:
    """Return the font, writer, source and degradation of each page, as far as they are known.

    The source is recorded by the manifest; otherwise it is the first folder in the names of images,
    if they are in several. Sources and degradations that are the same on all pages are omitted, as
    are folders that are too many to be sources.

    Args:
        images: Names of pages or tiles.
        properties: Properties of their pages.

    Returns:
        Value of each dimension by name, for each image with one.
    """
    groups = {}
    for image, one in zip(images, properties, strict=True):
        folder = image.parts[0] if len(image.parts) > 1 else ""
        values = {"source": one.source or folder, "degrade": one.capture} | _from_name(image)
        groups[str(image)] = {name: value for name, value in values.items() if value}
    for dimension in ("source", "degrade"):
        if not 1 < len({group.get(dimension) for group in groups.values()}) <= MOST_SOURCES:
            groups = {image: _without(group, dimension) for image, group in groups.items()}
    return {image: group for image, group in groups.items() if group}


def _from_name(image: PurePosixPath) -> dict[str, str]:
    """Return the font or writer that the name of an image contains."""
    page = PurePosixPath(page_of(image)).stem
    matches = {name: pattern.match(page) for name, pattern in _NAMES.items()}
    return {name: match["value"] for name, match in matches.items() if match}


def _without(group: Mapping[str, str], dimension: str) -> dict[str, str]:
    return {name: value for name, value in group.items() if name != dimension}
