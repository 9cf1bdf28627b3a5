"""Contact sheets: the crops of each class and source, arranged in rows."""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from converters import images
from converters.prepare.candidates import REASONS
from eval.sheets.crops import Crop
from eval.sheets.selection import Group

WIDTH = 1200
"""Maximum width of a sheet in pixels."""
GAP = 6
"""Pixels between crops."""


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
    width: int
    height: int
    crops: tuple[PlacedCrop, ...]


def arranged_sheets(crops: Iterable[Crop], counts: Counter[Group]) -> list[Sheet]:
    """Arrange crops in a sheet per class and source.

    Args:
        crops: Crops in any order.
        counts: Number of symbols of every class and source.

    Returns:
        Sheets with crops, by class and source.
    """
    groups: dict[Group, list[Crop]] = {group: [] for group in sorted(counts)}
    for crop in crops:
        groups[crop.symbol.class_name, crop.symbol.image.source].append(crop)
    return [_sheet(crops, group, counts[group]) for group, crops in groups.items() if crops]


def _sheet(crops: Sequence[Crop], group: Group, n_symbols: int) -> Sheet:
    placed = arranged(sorted(crops, key=_order))
    return Sheet(
        class_name=group[0],
        source=group[1],
        n_symbols=n_symbols,
        width=max(crop.x + crop.width for crop in placed),
        height=max(crop.y + crop.height for crop in placed),
        crops=tuple(placed),
    )


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
