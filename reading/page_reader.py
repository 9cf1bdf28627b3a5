"""Reading of one page: scaling, tiling, the network, and merging.

Shapes: T tiles of a page.
"""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError
from converters import images
from converters.boxes import Boxes
from converters.images import Pixels
from converters.page import Page
from converters.prepare.scaling import MAX_SIDE_PX
from converters.prepare.staff_lines import ON_SIDE, doubts, lies_on_side, measure_staff_space
from converters.prepare.tiles import TileOptions
from reading.dewarping import Dewarping
from reading.line_slopes import is_too_steep, measure_slopes, turned_too_far
from reading.merging import merge_by_score
from reading.network import Network, TrainingInput
from reading.pieces import Pieces
from reading.tiling import TileGrid, ink_of, tiles_of

OVERLAP = 0.3
"""Overlap of adjacent tiles as a fraction of their side."""
DIGITS = 3
"""Decimal places of boxes: more are noise, which differs between machines."""
PIECE_SCORE = 0.1
"""Score above which parts of symbols are merged; a symbol counts if one of its parts reaches the
threshold of the page. Weaker parts are merged among themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingOptions:
    """Everything that determines the symbols of a page, besides the network."""

    training: TrainingInput
    """How pages reached the network in training; the page is prepared in the same way."""
    score_thresh: float
    """Lower limit of scores (exclusive), 0 to 1."""
    class_thresholds: tuple[float, ...] = ()
    """Lower limit of the scores of each class; empty for one limit for all."""
    staff_space: float | None = None
    """Staff space of the page in pixels; None to measure it."""
    is_scaled: bool = True
    """Whether the page is scaled to the staff space of the training."""

    @property
    def lowest_score(self) -> float:
        """Score above which the network's output is needed."""
        return min(PIECE_SCORE, self.score_thresh, *self.class_thresholds)

    def are_symbols(
        self, labels: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return whether the scores of N predictions are above their limits, shape ``(N,)``."""
        limits = np.array(self.class_thresholds)[labels] if self.class_thresholds else None
        return scores > (self.score_thresh if limits is None else limits)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PreparedPage:
    """A page in the size in which it is cut into tiles."""

    name: PurePosixPath
    width: int
    """Width of the page in pixels before scaling."""
    height: int
    """Height of the page in pixels before scaling."""
    factors: tuple[float, float]
    """Factors by which the page was scaled along x and y."""
    dewarping: Dewarping | None
    """How the scaled page was made upright; None if it was not."""
    pixels: Pixels
    """The scaled and upright page in BGR order, shape ``(H, W, 3)``."""
    grid: TileGrid
    staff_space: float | None
    """Staff space before scaling in pixels; None if it is unknown or does not matter."""
    remarks: tuple[str, ...]
    """Notes for the user about this page."""

    @property
    def angle_degrees(self) -> float:
        """Angle of the staff lines by which the page was turned back, clockwise; 0 if upright."""
        return self.dewarping.slopes.degrees if self.dewarping else 0.0

    def in_original(self, boxes_xyxy: Boxes) -> Boxes:
        """Map boxes from the prepared page to the page in its original size, shape ``(N, 4)``."""
        if self.dewarping is not None:
            boxes_xyxy = self.dewarping.back(boxes_xyxy)
        original: Boxes = boxes_xyxy / np.tile(self.factors, 2)
        return original


def prepare(
    name: PurePosixPath, image: Pixels, imgsz: int, options: ReadingOptions
) -> PreparedPage:
    """Scale a page and divide it into tiles.

    Args:
        name: Name of the page.
        image: The page, shape ``(H, W)`` or ``(H, W, 3)``.
        imgsz: Side of the network's input in pixels.
        options: Everything that determines the symbols.

    Raises:
        InputError: The scaled page would be too large.
    """
    height, width = image.shape[:2]
    staff_space, factor, remarks = _factor(image, imgsz, options)
    if on_side := lies_on_side(image):
        remarks = (f"{ON_SIDE}, and symbols on their side are not found; turn it upright",)
    scaled_width, scaled_height = (max(1, round(side * factor)) for side in (width, height))
    if max(scaled_width, scaled_height) > MAX_SIDE_PX:
        raise InputError(
            f"scaling its staff space from {staff_space:.3g} to {options.training.staff_space:g} "
            f"px would make an image of {scaled_width} x {scaled_height} px; give the staff space "
            "of the page with --staff-space",
            path=Path(name),
        )
    scaled = images.scaled(image, scaled_width, scaled_height)
    ink, dewarping = ink_of(scaled), None
    if staff_space is not None and options.is_scaled:
        scaled_space = staff_space * factor
        slopes = measure_slopes(ink, scaled_space)
        if slopes and is_too_steep(slopes, scaled_width, scaled_height):
            remarks += () if on_side else tuple(turned_too_far(slopes))
        elif slopes:
            dewarping = Dewarping.of(scaled_width, scaled_height, slopes)
            scaled = dewarping.dewarp(scaled)
            ink = ink_of(scaled)
    grid = TileGrid.of(ink, TileOptions(size=imgsz, overlap=round(OVERLAP * imgsz)))
    if scaled.ndim == 2:
        scaled = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_GRAY2BGR))
    return PreparedPage(
        name=name,
        width=width,
        height=height,
        factors=(scaled_width / width, scaled_height / height),
        dewarping=dewarping,
        pixels=scaled,
        grid=grid,
        staff_space=staff_space,
        remarks=remarks,
    )


def _factor(
    image: Pixels, imgsz: int, options: ReadingOptions
) -> tuple[float | None, float, tuple[str, ...]]:
    """Return the staff space of a page, the factor by which it is scaled, and remarks."""
    training = options.training
    if not training.is_tiled and training.staff_space is None:
        return None, imgsz / max(image.shape[:2]), ()
    if not options.is_scaled or training.staff_space is None:
        return options.staff_space, 1.0, ()
    if options.staff_space is not None:
        return options.staff_space, training.staff_space / options.staff_space, ()
    spaces = measure_staff_space(image)
    if spaces is None and image.min() == image.max():
        return None, 1.0, ("blank: all its pixels have the same colour",)
    if spaces is None:
        return None, 1.0, ("no staves found, read in its own size",)
    remarks = tuple(doubts(spaces, image.shape[1]))
    return spaces.most, training.staff_space / spaces.most, remarks


def read_page(
    page: PreparedPage, network: Network, options: ReadingOptions, *, batch: int = 16
) -> Page:
    """Find the symbols of a page.

    Args:
        page: Page prepared with the same options.
        network: Network whose input has the side of the tiles.
        options: Everything that determines the symbols.
        batch: Maximum number of tiles in a call of the network; with torch, affects last digits.

    Returns:
        The page in its original size with ``scores``, highest first.
    """
    pieces = _pieces(page, network, options.lowest_score, batch)
    boxes_xyxy, labels, scores = merge_by_score(pieces, page.grid, PIECE_SCORE)
    limits = [page.width, page.height, page.width, page.height]
    symbols = Page(
        image=page.name,
        width=page.width,
        height=page.height,
        boxes_xyxy=page.in_original(boxes_xyxy).round(DIGITS).clip(0, limits),
        labels=labels,
        scores=scores,
        staff_space=page.staff_space,
    )
    is_symbol = options.are_symbols(labels, scores)
    has_area = (symbols.boxes_xyxy[:, 2:] > symbols.boxes_xyxy[:, :2]).all(axis=1)
    return symbols.only(is_symbol & has_area)


def _pieces(page: PreparedPage, network: Network, score_thresh: float, batch: int) -> Pieces:
    """Run the network on all tiles that show ink."""
    boxes, labels, scores, tiles = [np.empty((0, 4))], [np.empty(0, np.int64)], [np.empty(0)], []
    for indices, pixels in tiles_of(page.pixels, page.grid, batch):
        for index, symbols in zip(
            indices, network.find(pixels, score_thresh=score_thresh), strict=True
        ):
            corner = np.tile(page.grid.corners_xy[index], 2)
            boxes.append(symbols.boxes_xyxy.clip(0, page.grid.size) + corner)
            labels.append(symbols.labels)
            scores.append(symbols.scores)
            tiles += [index] * len(symbols.labels)
    everything = Pieces(
        boxes_xyxy=np.concatenate(boxes),
        labels=np.concatenate(labels),
        scores=np.concatenate(scores),
        tiles=np.array(tiles, np.int64),
    )
    # In the padding beside a page that is smaller than a tile, there is nothing.
    limits = [page.grid.width, page.grid.height]
    clipped = everything.boxes_xyxy.clip(0, np.tile(limits, 2))
    has_area = np.asarray((clipped[:, 2:] > clipped[:, :2]).all(axis=1))
    return replace(everything, boxes_xyxy=clipped).only(has_area)
