"""Contact sheets: images with their boxes, side by side, for visual inspection.

Shapes: an image is ``(H, W)`` or ``(H, W, 3)``, its colours in OpenCV's order, BGR.
"""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import cv2
import numpy as np

from converters.images import Pixels
from converters.page import Page
from eval.pictures.drawing import (
    BAR_PX,
    GAP_PX,
    GREY,
    count_labels,
    draw_frames,
    draw_legend,
    paled,
    rectangles_of,
    scaled_size,
    write_text,
)


def contact_sheet(
    images: Sequence[Pixels],
    pages: Sequence[Page],
    names: Sequence[str],
    *,
    columns: int = 2,
    min_score: float = 0.25,
    panel_px: int = 640,
) -> Pixels:
    """Draw pages with their boxes as panels of one sheet, with a common legend.

    Args:
        images: Images, one per page.
        pages: Ground truth or predictions, in the order of the panels, row by row.
        names: Class names, indexed by label.
        columns: Panels per row.
        min_score: Minimum score of predictions; showing all of them would cover the page.
        panel_px: Side of the square that each image is scaled to fit.

    Returns:
        Sheet in BGR, shape ``(H, W, 3)``.

    Raises:
        ValueError: ``images`` and ``pages`` differ in number, or ``columns`` is below 1.
    """
    if len(images) != len(pages) or columns < 1:
        raise ValueError(
            f"need one image per page and at least one column, got {len(images)} images, "
            f"{len(pages)} pages, {columns} columns"
        )
    shown = [_without_low_scores(page, min_score) for page in pages]
    panels = [
        _panel(image, page, min_score, panel_px) for image, page in zip(images, shown, strict=True)
    ]
    width = columns * (panel_px + GAP_PX) + GAP_PX
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    strips = [_strip(row, width) for row in rows]
    return np.concatenate([*strips, _common_legend(shown, names, width)])


def compare(
    read: Callable[[PurePosixPath], Pixels],
    truths: Sequence[Page],
    predictions: Sequence[Page],
    names: Sequence[str],
    *,
    n_images: int = 4,
    min_score: float = 0.25,
) -> Pixels:
    """Draw ground truth (left) next to predictions (right) for a sample of images with symbols.

    Args:
        read: Function that reads the image named by ``Page.image``.
        truths: Pages with ground truth.
        predictions: Pages with scores, matched by ``image``.
        names: Class names, indexed by label.
        n_images: Maximum number of images, evenly spread over the sorted file names.
        min_score: Minimum score of predictions.

    Raises:
        InputError: An image cannot be read.
    """
    truth_of = {page.image: i for i, page in enumerate(truths) if len(page.labels)}
    prediction_of = {page.image: i for i, page in enumerate(predictions)}
    common = sorted(truth_of.keys() & prediction_of.keys())
    indices = np.linspace(0, len(common) - 1, min(n_images, len(common))).round().astype(int)
    images: list[Pixels] = []
    pages: list[Page] = []
    for image in (common[i] for i in indices):
        images += [read(image)] * 2
        pages += [truths[truth_of[image]], predictions[prediction_of[image]]]
    return contact_sheet(images, pages, names, columns=2, min_score=min_score)


def _without_low_scores(page: Page, min_score: float) -> Page:
    if page.scores is None:
        return page
    return page.only(page.scores >= min_score)


def _panel(image: Pixels, page: Page, min_score: float, panel_px: int) -> Pixels:
    """Draw an image with its boxes below a caption, ``(panel_px + BAR_PX, panel_px, 3)``."""
    scale = panel_px / max(page.width, page.height)
    width, height = scaled_size(page, scale)
    panel = np.full((panel_px + BAR_PX, panel_px, 3), 255, dtype=np.uint8)
    ink = panel[BAR_PX : BAR_PX + height, :width]
    ink[:] = paled(image, width, height)
    rectangles = rectangles_of(page, scale)
    for distance in (1, 2):
        draw_frames(ink, rectangles, page.labels, [distance] * len(rectangles))
    cv2.rectangle(panel, (0, BAR_PX), (width - 1, BAR_PX + height - 1), GREY, 1)
    n = len(page.labels)
    kind = f"truth: {n}" if page.scores is None else f"predicted: {n} (score >= {min_score:g})"
    write_text(panel, f"{kind}  {page.image}", 2)
    return panel


def _strip(panels: Sequence[Pixels], width: int) -> Pixels:
    """Join panels into a row, shape ``(H, width, 3)``."""
    strip = np.full((panels[0].shape[0] + GAP_PX, width, 3), 255, dtype=np.uint8)
    for i, panel in enumerate(panels):
        left = GAP_PX + i * (panel.shape[1] + GAP_PX)
        strip[: panel.shape[0], left : left + panel.shape[1]] = panel
    return strip


def _common_legend(pages: Sequence[Page], names: Sequence[str], width: int) -> Pixels:
    """Draw the classes with their numbers of symbols and predictions, ``(H, width, 3)``."""
    truth, predicted = (
        count_labels([page for page in pages if (page.scores is None) == is_truth], len(names))
        for is_truth in (True, False)
    )
    labels = np.flatnonzero(truth + predicted).tolist()
    entries = [(label, f"{names[label]}: {truth[label]} / {predicted[label]}") for label in labels]
    return draw_legend("class: truth / predicted", entries, width)
