"""Page viewer: one HTML file with the pages of a piece and their symbols, to zoom and filter.

The file contains its images and loads nothing when opened. Its template, style and script are in
``eval/html/viewer``.

Shapes: N symbols of a page; an image is ``(H, W)`` or ``(H, W, 3)`` in BGR.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from converters import images as image_files
from converters.images import Pixels
from converters.page import Page
from eval.html.inline import inline
from eval.html.page import stream
from eval.pictures.drawing import class_colour

MAX_IMAGE_SIDE_PX = 3000
"""Longer side above which an image is reduced, so that 20 pages stay below 30 MB."""
_LOSSLESS_BYTES = 400_000
"""Size up to which an image is embedded as PNG; larger ones become WebP if that is smaller."""
_WEBP_QUALITY = 80
_BOX_UNITS, _SCORE_UNITS = 10, 10_000
"""Units per pixel and per score of 1; ``viewer/pages.js`` divides by them."""
_MAX_POSITION_PX = 100_000_000
_STYLES = ("colours.css", "viewer/style.css")
_SCRIPTS = [
    f"viewer/{name}.js" for name in ("pages", "view", "gestures", "overlay", "panel", "main")
]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ViewerPage:
    """Page to show, with its image."""

    page: Page
    """Symbols, with or without scores; boxes in pixels of the page."""
    image: Pixels
    """Image of the page, shown in grey so that only boxes have a colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _EmbeddedPage:
    """Page as the template writes it."""

    symbols: dict[str, str | int | None]
    """Description of the page and its arrays, little-endian, in base64."""
    image: str
    """Image file in base64."""


def write_page_viewer(
    path: Path,
    pages: Iterable[ViewerPage],
    names: Sequence[str],
    *,
    title: str,
    min_score: float = 0.0,
) -> None:
    """Write pages with their symbols as an HTML file, holding one page in memory at a time.

    Args:
        path: HTML file to write.
        pages: Pages in reading order.
        names: Class names, indexed by label.
        title: Heading, for example the name of the piece.
        min_score: Minimum score of the symbols shown at first.

    Raises:
        ValueError: A label, box or score is out of range.
    """
    settings = {
        "names": list(names),
        "colours": [_hex_colour(label) for label in range(len(names))],
        "min_score": min_score,
    }
    pieces = stream(
        "viewer/page.html.j2",
        title=title,
        style=inline(_STYLES),
        script=inline(_SCRIPTS),
        settings=settings,
        pages=_embedded(pages, len(names)),
    )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(pieces)


def _hex_colour(label: int) -> str:
    blue, green, red = class_colour(label)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _embedded(pages: Iterable[ViewerPage], n_classes: int) -> Iterator[_EmbeddedPage]:
    for shown in pages:
        shown.page.check_labels(n_classes)
        image = _fitting(shown.image)
        kind, data = _encoded(image)
        symbols = _arrays(shown.page) | {
            "name": str(shown.page.image),
            "width": shown.page.width,
            "height": shown.page.height,
            "image_type": kind,
            "image_width": image.shape[1],
        }
        yield _EmbeddedPage(symbols=symbols, image=b64encode(data).decode())


def _arrays(page: Page) -> dict[str, str | int | None]:
    """Encode the symbols, grouped by class, because the viewer draws one colour at a time."""
    page = page.only(np.argsort(page.labels, kind="stable"))
    scores = page.scores
    if scores is not None and not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"scores must be between 0 and 1: {page.image}")
    if not (np.abs(page.boxes_xyxy) <= _MAX_POSITION_PX).all():
        raise ValueError(f"boxes must be finite and at most {_MAX_POSITION_PX:,} px: {page.image}")
    return {
        "boxes": _base64(page.boxes_xyxy * _BOX_UNITS, "<i4"),
        "labels": _base64(page.labels, "<u2"),
        "scores": None if scores is None else _base64(scores * _SCORE_UNITS, "<u2"),
    }


def _base64(values: NDArray[np.float64] | NDArray[np.int64], dtype: str) -> str:
    """Round values to integers and encode their bytes."""
    return b64encode(np.rint(values).astype(dtype).tobytes()).decode()


def _fitting(image: Pixels) -> Pixels:
    """Return the image in grey, reduced to the maximum size."""
    grey = image
    if image.ndim == 3:
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    factor = MAX_IMAGE_SIDE_PX / max(grey.shape)
    if factor >= 1:
        return grey
    height, width = (max(1, round(side * factor)) for side in grey.shape)
    return image_files.scaled(grey, width, height)


def _encoded(image: Pixels) -> tuple[str, bytes]:
    """Encode an image for a browser; return its media type and the file."""
    png = _encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if len(png) <= _LOSSLESS_BYTES:
        return "image/png", png
    webp = _encode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY])
    return ("image/webp", webp) if len(webp) < len(png) else ("image/png", png)


def _encode(suffix: str, image: Pixels, options: Sequence[int]) -> bytes:
    is_encoded, data = cv2.imencode(suffix, image, options)
    if not is_encoded:
        raise ValueError(f"cannot encode an image of shape {image.shape} as {suffix}")
    return data.tobytes()
