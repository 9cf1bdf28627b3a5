"""Page viewer: one HTML file with the pages of a piece and their symbols, to zoom and filter.

The file contains its images, and neither opens nor loads any other. Its script is in
``eval/html/viewer``.

Shapes: N symbols of a page; an image is ``(H, W)`` or ``(H, W, 3)`` in BGR.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from converters import images as image_files
from converters.images import Pixels
from converters.page import Page
from eval.html.page import stream
from eval.pictures.drawing import class_colour

MAX_IMAGE_SIDE_PX = 3000
"""Longer side above which an image is reduced, so that 20 pages stay below 30 MB."""
_LOSSLESS_BYTES = 400_000
"""Size up to which an image is embedded as PNG; larger ones become WebP if that is smaller."""
_WEBP_QUALITY = 80
_BOX_UNITS, _SCORE_UNITS = 10, 10_000
"""Units per pixel and per score of 1; ``viewer/pages.js`` divides by them."""
_HTML = Path(__file__).parent.parent / "html"
_STYLES = ("colours.css", "page_viewer.css")
_SCRIPTS = ("pages.js", "view.js", "gestures.js", "overlay.js", "panel.js", "main.js")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ViewerPage:
    """Page to show, with its image."""

    page: Page
    """Symbols, with or without scores; boxes in pixels of the page."""
    image: Pixels
    """Image of the page, shown in grey so that only boxes have a colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inline:
    """Content of a ``style`` or ``script`` element, and the hash that permits it."""

    text: Markup
    hash: str


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
        "page_viewer.html.j2",
        title=title,
        style=_inline(_HTML / name for name in _STYLES),
        script=_inline(_HTML / "viewer" / name for name in _SCRIPTS),
        settings=settings,
        pages=_embedded(pages, len(names)),
    )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(pieces)


def _inline(files: Iterable[Path]) -> _Inline:
    text = "\n".join(file.read_text("utf-8") for file in files)
    digest = b64encode(sha256(text.encode()).digest()).decode()
    return _Inline(text=Markup(text), hash=f"sha256-{digest}")  # noqa: S704


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
    scores = None if page.scores is None else _integers(page.scores, _SCORE_UNITS, "<u2", "score")
    return {
        "boxes": _integers(page.boxes_xyxy, _BOX_UNITS, "<i4", "box"),
        "labels": _integers(page.labels, 1, "<u2", "label"),
        "scores": scores,
    }


def _integers(values: NDArray[np.generic], units: int, dtype: str, name: str) -> str:
    """Round values to whole units and encode their bytes."""
    scaled = np.rint(np.asarray(values, np.float64) * units)
    limits = np.iinfo(dtype)
    if not ((scaled >= limits.min) & (scaled <= limits.max)).all():
        raise ValueError(f"{name} out of range: expected {limits.min / units} to {limits.max / units}")
    return b64encode(scaled.astype(dtype).tobytes()).decode()


def _fitting(image: Pixels) -> Pixels:
    """Return the image in grey, reduced to the maximum size."""
    grey = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
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
