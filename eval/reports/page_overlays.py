"""Overlays of an evaluation report: pages with found symbols, missed symbols and false alarms.

Shapes: T ground-truth symbols and N predictions of a page.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from class_maps import short_list
from converters import images as image_files
from converters.boxes import Boxes
from converters.images import Pixels
from converters.page import Page
from eval.html.number_format import amount
from eval.reports.evaluation import PageErrors

N_WORST = 20
"""Number of pages that a report shows."""
_MAX_SIDE_PX = 1700
"""Longer side above which an image is reduced, so that 20 pages take a few megabytes."""
_JPEG_QUALITY = 45
_MARGIN = 0.0008
"""Distance between a box and its frame, as a fraction of the longer side of the page."""
_NAMED = 6
"""Maximum number of classes listed below a page."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MarkedPage:
    """Ground truth and predictions of a page, each marked as right or wrong.

    Raises:
        ValueError: A mask has the wrong length.
    """

    truth: Page
    is_found: NDArray[np.bool_]
    """Mask of the symbols that a prediction finds, shape ``(T,)``."""
    prediction: Page
    """Predictions above the threshold of their class."""
    is_right: NDArray[np.bool_]
    """Mask of the predictions that find a symbol, shape ``(N,)``."""
    pixels: Pixels | None
    """Image of the page, shape ``(H, W)`` or ``(H, W, 3)``; None if it is not available."""

    def __post_init__(self) -> None:
        """Check the lengths of the masks."""
        for page, mask, name in (
            (self.truth, self.is_found, "is_found"),
            (self.prediction, self.is_right, "is_right"),
        ):
            if mask.shape != page.labels.shape:
                raise ValueError(f"{name} must have shape {page.labels.shape}, got {mask.shape}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Frame around a missed symbol or a false alarm, in pixels of the page."""

    x: str
    y: str
    width: str
    height: str
    text: str
    """Name of the class, and the confidence of a prediction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PageOverlay:
    """Page as the template draws it."""

    errors: PageErrors
    width: int
    """Width in pixels; 0 if the boxes of the page are not available."""
    height: int
    image: str
    """Image as a data URI; empty if it is not available."""
    problem: str
    """Reason for a missing image or missing boxes; empty without one."""
    found: str
    """Frames around the symbols that were found, as one SVG path."""
    missed: Sequence[Mark]
    false: Sequence[Mark]
    lists: Sequence[tuple[str, str]]
    """Missed symbols and false alarms by class, the most frequent first."""


def page_overlays(
    pages: Sequence[PageErrors], marked: Iterable[MarkedPage], names: Sequence[str]
) -> list[PageOverlay]:
    """Describe the overlays of the pages with the most errors.

    Args:
        pages: Every page, the one with the most errors first.
        marked: Boxes of at least the first ``N_WORST`` pages with errors, in any order; other pages
            are ignored, and a missing one is shown without boxes.
        names: Class names, indexed by label.
    """
    worst = [page for page in pages if page.n_missed or page.n_false][:N_WORST]
    marked_of = {str(page.truth.image): page for page in marked}
    return [_overlay(errors, marked_of, names) for errors in worst]


def _overlay(
    errors: PageErrors, marked_of: Mapping[str, MarkedPage], names: Sequence[str]
) -> PageOverlay:
    page = marked_of.get(errors.image)
    if page is None:
        return PageOverlay(
            errors=errors, width=0, height=0, image="", problem="The boxes are not available.",
            found="", missed=(), false=(), lists=(),
        )  # fmt: skip
    image = "" if page.pixels is None else _embedded(page.pixels)
    missed, false = page.truth.only(~page.is_found), page.prediction.only(~page.is_right)
    margin = max(1.0, _MARGIN * max(page.truth.width, page.truth.height))
    return PageOverlay(
        errors=errors,
        width=page.truth.width,
        height=page.truth.height,
        image=image,
        problem="" if image else "The image is not available.",
        found=_path(_framed(page.truth.boxes_xyxy[page.is_found], margin)),
        missed=_marks(missed, names, margin),
        false=_marks(false, names, 2 * margin),  # outside a missed symbol in the same position
        lists=[
            (title, _by_class(part, names))
            for title, part in (("Missed", missed), ("False alarms", false))
            if len(part.labels)
        ],
    )


def _embedded(image: Pixels) -> str:
    """Return an image as a data URI, in grey, so that only boxes have a colour."""
    if image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    factor = _MAX_SIDE_PX / max(image.shape)
    if factor < 1:
        height, width = (max(1, round(side * factor)) for side in image.shape)
        image = image_files.scaled(image, width, height)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return f"data:image/jpeg;base64,{b64encode(data.tobytes()).decode()}"


def _framed(boxes: Boxes, margin: float) -> Boxes:
    """Extend boxes on all sides, so that their frames do not hide a stem."""
    framed: Boxes = boxes + np.array([-margin, -margin, margin, margin])
    return framed


def _path(boxes: Boxes) -> str:
    return "".join(
        f"M{x0:.0f} {y0:.0f}H{x1:.0f}V{y1:.0f}H{x0:.0f}z" for x0, y0, x1, y1 in boxes.tolist()
    )


def _marks(page: Page, names: Sequence[str], margin: float) -> list[Mark]:
    scores = [""] * len(page.labels)
    if page.scores is not None:
        scores = [f", confidence {score:.2f}" for score in page.scores]
    rows = zip(_framed(page.boxes_xyxy, margin).tolist(), page.labels.tolist(), scores, strict=True)
    return [
        Mark(
            x=f"{x0:.0f}",
            y=f"{y0:.0f}",
            width=f"{x1 - x0:.0f}",
            height=f"{y1 - y0:.0f}",
            text=f"{names[label]}{score}",
        )
        for (x0, y0, x1, y1), label, score in rows
    ]


def _by_class(page: Page, names: Sequence[str]) -> str:
    counts = Counter(names[label] for label in page.labels.tolist())
    return short_list([f"{name} ({amount(n)})" for name, n in counts.most_common()], _NAMED)
