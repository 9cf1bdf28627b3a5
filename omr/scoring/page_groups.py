"""Properties of pages by which their scores are broken down, read from the names of images."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from converters.names import page_of

_NAMES = {
    "font": re.compile(r"lg-\d+-aug-(?P<value>[^-]+)-(?:.*-)?-page-\d+$"),
    "writer": re.compile(r"CVC-MUSCIMA_W-(?P<value>\d+)_"),
}
"""Names of pages of DeepScoresV2 and of engraved pages, which name the music font; and of
MUSCIMA++, which name the writer."""


def page_groups(images: Iterable[PurePosixPath]) -> dict[str, dict[str, str]]:
    """Return the font or writer of each page whose name contains it.

    Args:
        images: Names of pages or tiles.

    Returns:
        Value of each dimension by name, for each image with one.
    """
    groups = {}
    for image in images:
        page = PurePosixPath(page_of(image)).stem
        matches = {name: pattern.match(page) for name, pattern in _NAMES.items()}
        found = {name: match["value"] for name, match in matches.items() if match}
        if found:
            groups[str(image)] = found
    return groups
