"""Contact sheets as pictures, and an HTML index that filters their crops."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters import images
from converters.prepare.candidates import REASONS
from eval.html import page
from eval.sheets.crops import Crop
from eval.sheets.selection import Group

INDEX = "index.html"
FOLDER = "sheets"
WIDTH = 1200
"""Maximum width of a sheet in pixels."""
GAP = 6
"""Pixels between crops."""
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PlacedCrop:
    """A crop and its place on a sheet."""

    crop: Crop
    x: int
    """Left edge in pixels."""
    y: int
    """Top edge in pixels."""

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.crop.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.crop.pixels.shape[0])

    @property
    def caption(self) -> str:
        """Image and box, for finding the symbol in the data set."""
        symbol = self.crop.symbol
        box = " ".join(f"{side:.0f}" for side in symbol.box_xyxy)
        return f"{symbol.image.split}/{symbol.image.name} [{box}]"

    @property
    def url(self) -> str:
        """The picture of the crop as a data URL."""
        return f"data:image/png;base64,{b64encode(images.png(self.crop.pixels)).decode()}"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sheet:
    """Crops of one class and source."""

    class_name: str
    source: str
    n_symbols: int
    """Number of symbols of this class and source in the data set."""
    file: str
    """Picture, relative to the index; empty if the crops are embedded."""
    width: int
    height: int
    crops: tuple[PlacedCrop, ...]


def write_sheets(
    crops: Iterable[Crop], counts: Counter[Group], folder: Path, *, title: str
) -> list[Sheet]:
    """Write a picture per class and source, and the index.

    Args:
        crops: Crops in any order.
        counts: Number of symbols of every class and source.
        folder: Folder to fill.
        title: Name of the data set.

    Returns:
        Sheets by class and source.

    Raises:
        OSError: A file cannot be written.
    """
    (folder / FOLDER).mkdir(parents=True)
    sheets = []
    for number, (group, of_group) in enumerate(_grouped(crops, counts).items()):
        if of_group:
            name = _NOT_IN_NAMES.sub("_", "-".join(filter(None, group)))[:80]
            sheet = _sheet(of_group, group, counts[group], f"{FOLDER}/{number:03}-{name}.png")
            _write_picture(sheet, folder / sheet.file)
            sheets.append(sheet)
    _write_page(sheets, folder / INDEX, title)
    return sheets


def write_page(
    crops: Iterable[Crop], counts: Counter[Group], file: Path, *, title: str, n_images: int
) -> list[Sheet]:
    """Write a page that contains the crops, so that no picture can be taken for data.

    Args:
        crops: Crops in any order.
        counts: Number of symbols of every class and source.
        file: HTML file to write.
        title: Name of the data set.
        n_images: Number of images of the data set.

    Returns:
        Sheets by class and source.

    Raises:
        OSError: The file cannot be written.
    """
    groups = _grouped(crops, counts)
    sheets = [_sheet(crops, group, counts[group]) for group, crops in groups.items() if crops]
    hidden = {group: counts[group] for group, crops in groups.items() if not crops}
    shown = {crop.symbol.image.path for crops in groups.values() for crop in crops}
    _write_page(sheets, file, title, hidden=hidden, n_shown=len(shown), n_images=n_images)
    return sheets


def _grouped(crops: Iterable[Crop], counts: Counter[Group]) -> dict[Group, list[Crop]]:
    groups: dict[Group, list[Crop]] = {group: [] for group in sorted(counts)}
    for crop in crops:
        groups[crop.symbol.class_name, crop.symbol.image.source].append(crop)
    return groups


def _sheet(crops: Sequence[Crop], group: Group, n_symbols: int, file: str = "") -> Sheet:
    placed = arranged(sorted(crops, key=_order))
    return Sheet(
        class_name=group[0],
        source=group[1],
        n_symbols=n_symbols,
        file=file,
        width=max(crop.x + crop.width for crop in placed),
        height=max(crop.y + crop.height for crop in placed),
        crops=tuple(placed),
    )


def _write_picture(sheet: Sheet, file: Path) -> None:
    canvas = np.full((sheet.height, sheet.width, 3), 255, np.uint8)
    for crop in sheet.crops:
        rows, columns = slice(crop.y, crop.y + crop.height), slice(crop.x, crop.x + crop.width)
        canvas[rows, columns] = crop.crop.pixels
    images.write(canvas, file)


def _order(crop: Crop) -> tuple[int, str, str]:
    """Sort findings first, then extreme sizes and shapes, then random symbols."""
    reason = crop.symbol.reason
    rank = REASONS.index(reason) if reason in REASONS else -1
    return rank, reason, str(crop.symbol.image.name)


def arranged(crops: Sequence[Crop]) -> list[PlacedCrop]:
    """Arrange crops in rows of at most ``WIDTH`` pixels, in their order."""
    placed: list[PlacedCrop] = []
    x = y = row_height = 0
    for crop in crops:
        height, width = crop.pixels.shape[:2]
        if x and x + width > WIDTH:
            x, y, row_height = 0, y + row_height + GAP, 0
        placed.append(PlacedCrop(crop=crop, x=x, y=y))
        x, row_height = x + width + GAP, max(row_height, height)
    return placed


def _write_page(
    sheets: Sequence[Sheet],
    path: Path,
    title: str,
    *,
    hidden: Mapping[Group, int] | None = None,
    n_shown: int = 0,
    n_images: int = 0,
) -> None:
    reasons = Counter(crop.crop.symbol.reason for sheet in sheets for crop in sheet.crops)
    text = page.render(
        "sheets.html.j2",
        title=title,
        sheets=sheets,
        class_names=sorted({sheet.class_name for sheet in sheets}),
        sources=sorted({sheet.source for sheet in sheets}),
        reasons=sorted(reasons),
        n_crops=sum(reasons.values()),
        script=page.inline(["sheets.js"]),
        hidden=hidden or {},
        n_shown=n_shown,
        n_images=n_images,
    )
    path.write_text(text, encoding="utf-8")
