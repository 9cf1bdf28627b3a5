"""Reads back what a conversion wrote down of itself."""

from pathlib import Path

import msgspec

from class_maps import InputError
from converters.cleaning import CleaningOptions
from converters.splits import SplitBy
from converters.staging import MANIFEST
from converters.tiles import TileOptions


class TiledPage(msgspec.Struct, frozen=True):
    """A page that was cut into tiles."""

    symbols: int
    """Symbols of the page, each counted once however many tiles show it."""
    scale_x: float
    """Pixels of the scaled page for one of the page."""
    scale_y: float
    tiles: dict[str, tuple[int, int]]
    """Left and upper edge of each tile on the scaled page, in pixels, by image name."""


class UsedClassMap(msgspec.Struct, frozen=True):
    """The class map of a conversion."""

    name: str = ""
    sha256: str = ""
    """Of its file."""
    unlabelled: tuple[str, ...] = ()
    """Classes that occur in its source, but have no labels."""


class _Split(msgspec.Struct, frozen=True):
    pages: int = 0


class _Symbols(msgspec.Struct, frozen=True):
    read: int = 0


class UsedOptions(msgspec.Struct, frozen=True):
    """The options of a conversion."""

    cleaning: CleaningOptions
    staff_space: float | None
    tiles: TileOptions | None
    val: float
    split_by: SplitBy
    seed: int


class Converted(msgspec.Struct, frozen=True):
    """What ``manifest.json`` tells; everything is empty where nobody knows of a conversion."""

    source: str = ""
    """Format of what was read, such as ``deepscoresv2``."""
    annotation_set: str | None = None
    class_map: UsedClassMap = UsedClassMap()
    written_options: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="options")
    splits: dict[str, _Split] = {}
    symbols: _Symbols = _Symbols()
    annotations: dict[str, dict[str, int]] = {}
    """Annotations that were read, by split and page; empty in older conversions."""
    tiles: dict[str, dict[str, TiledPage]] = {}
    """By split and page; empty where whole pages were converted."""

    @property
    def options(self) -> UsedOptions | None:
        """None where they are not all there, or are none of ours: nothing depends on them."""
        try:
            return msgspec.json.decode(self.written_options, type=UsedOptions)
        except msgspec.DecodeError:
            return None


def read_converted(folder: Path) -> Converted:
    """Read the ``manifest.json`` in a folder.

    Raises:
        InputError: It is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return Converted()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Converted)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"damaged: {error}", path=path) from error
