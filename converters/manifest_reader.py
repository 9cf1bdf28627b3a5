"""Reads back what a conversion wrote down of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from class_maps import InputError
from converters.files.atomic_folder import MANIFEST
from converters.prepare.cleaning import CleaningOptions
from converters.prepare.splits import SplitBy
from converters.prepare.tiles import TileOptions

T = TypeVar("T")


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
    staff_space: Annotated[float, msgspec.Meta(gt=0)] | None
    tiles: TileOptions | None
    val: float
    split_by: SplitBy
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """What ``manifest.json`` tells; everything is empty where nobody knows of a conversion.

    Other programs write files of this name. So each part is read when it is asked for, and then an
    InputError says that it is damaged.
    """

    path: Path
    """Of the file."""
    parts: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    """As they are written, by name."""

    @property
    def source(self) -> str:
        """Format of what was read, such as ``deepscoresv2``."""
        return self._part("source", str, "")

    @property
    def class_map(self) -> UsedClassMap:
        """The class map that it was read by."""
        return self._part("class_map", UsedClassMap, UsedClassMap())

    @property
    def pages(self) -> dict[str, int]:
        """Pages of each split."""
        splits: dict[str, _Split] = self._part("splits", dict[str, _Split], {})
        return {name: split.pages for name, split in splits.items()}

    @property
    def n_read(self) -> int:
        """Annotations that were read, of all splits."""
        return self._part("symbols", _Symbols, _Symbols()).read

    @property
    def annotations(self) -> dict[str, dict[str, int]]:
        """Annotations that were read, by split and page; empty in older conversions."""
        return self._part("annotations", dict[str, dict[str, int]], {})

    @property
    def tiles(self) -> dict[str, dict[str, TiledPage]]:
        """By split and page; of a page that was scaled and not cut it is one, as large as that.

        Empty where pages were neither scaled nor cut.
        """
        return self._part("tiles", dict[str, dict[str, TiledPage]], {})

    @property
    def annotation_set(self) -> str | None:
        """The set of the source's annotations that was read; None if it has but one."""
        return self._part("annotation_set", str | None, None)

    @property
    def options(self) -> UsedOptions | None:
        """None where they are not all there, or not ours: advice alone depends on them."""
        try:
            return self._part("options", UsedOptions | None, None)
        except InputError:
            return None

    def _part(self, name: str, kind: Any, usual: T) -> T:  # noqa: ANN401
        if name not in self.parts:
            return usual
        try:
            found: T = msgspec.json.decode(self.parts[name], type=kind)
        except msgspec.DecodeError as error:
            raise InputError(f"damaged: {error}", path=self.path, where=name) from error
        return found


def read_converted(folder: Path) -> Converted:
    """Read the ``manifest.json`` in a folder.

    Raises:
        InputError: It is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return Converted(path=path)
    try:
        parts = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"damaged: {error}", path=path) from error
    return Converted(path=path, parts=parts)
