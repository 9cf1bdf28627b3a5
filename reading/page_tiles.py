"""Pages that a data set contains in tiles: their symbols and pixels, put together again.

Shapes: T tiles of a page.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from converters import image_headers, images
from converters.images import Pixels
from converters.manifest import Manifest, TiledPage
from converters.names import count_of
from converters.page import Page
from reading.merging import merge, merge_by_score
from reading.page_reader import DIGITS, PIECE_SCORE
from reading.pieces import Pieces
from reading.tiling import TileGrid

WHITE = 255
"""Grey level of the parts of a page that no tile shows."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PageTiles:
    """Tiles of one page and their positions."""

    page: PurePosixPath
    """Image file that the tiles were cut from."""
    tiles: tuple[PurePosixPath, ...]
    """Images of the tiles, length T."""
    corners_xy: NDArray[np.int64]
    """Top-left corner of each tile on the page in pixels, shape ``(T, 2)``."""
    sizes: NDArray[np.int64]
    """Width and height of each tile in pixels, shape ``(T, 2)``."""
    tile_px: int
    """Side of a tile in pixels; tiles of a smaller page are smaller."""
    scale_xy: tuple[float, float]
    """Width and height of the page as cut, divided by those of its image file."""
    n_symbols: int
    """Symbols of the page, as counted before it was cut."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the page as cut, in pixels."""
        width, height = (self.corners_xy + self.sizes).max(axis=0).tolist()
        return width, height

    @property
    def n_blank(self) -> int:
        """Number of tiles without symbols that the data set does not contain."""
        columns, rows = (len(np.unique(side)) for side in self.corners_xy.T)
        return columns * rows - len(self.tiles)

    @property
    def grid(self) -> TileGrid:
        """Tiles of the page in the form that merging needs."""
        width, height = self.size
        return TileGrid(
            width=width,
            height=height,
            size=self.tile_px,
            corners_xy=self.corners_xy,
            has_ink=np.ones(len(self.tiles), np.bool_),
        )

    def merged(self, tiles: Sequence[Page]) -> Page:
        """Merge the symbols of the tiles into those of the page.

        Args:
            tiles: Tiles in the order of ``self.tiles``, all with scores or all without.

        Returns:
            The page, its symbols with the highest score first.
        """
        n_symbols = [len(tile.labels) for tile in tiles]
        index = np.repeat(np.arange(len(tiles)), n_symbols)
        boxes_xyxy = np.concatenate([tile.boxes_xyxy for tile in tiles])
        boxes_xyxy = boxes_xyxy.clip(0, np.tile(self.sizes, 2)[index])
        has_scores = all(tile.scores is not None for tile in tiles)
        scores = [np.ones(len(t.labels)) if t.scores is None else t.scores for t in tiles]
        pieces = Pieces(
            boxes_xyxy=boxes_xyxy + np.tile(self.corners_xy, 2)[index],
            labels=np.concatenate([tile.labels for tile in tiles]),
            scores=np.concatenate(scores),
            tiles=index,
        )
        if has_scores:
            sides = pieces.boxes_xyxy[:, 2:] - pieces.boxes_xyxy[:, :2]
            pieces = pieces.only(np.flatnonzero((sides > 0).all(axis=1)))
            boxes, labels, merged_scores = merge_by_score(pieces, self.grid, PIECE_SCORE)
        else:
            boxes, labels, merged_scores = merge(pieces, self.grid, are_exact=True)
        width, height = self.size
        return Page(
            image=self.page,
            width=width,
            height=height,
            boxes_xyxy=boxes.round(DIGITS),
            labels=labels,
            scores=merged_scores if has_scores else None,
        )

    def pixels(self, folder: Path) -> Pixels:
        """Compose the image of the page; parts that no tile shows are white.

        Args:
            folder: Image folder of the tiles.

        Raises:
            InputError: A tile is damaged, or was replaced since its labels were read.
        """
        tiles = [images.read(folder / name) for name in self.tiles]
        for name, tile, size in zip(self.tiles, tiles, self.sizes.tolist(), strict=True):
            image_headers.check_unchanged(folder / name, tile.shape[1::-1], tuple(size))
        width, height = self.size
        is_colour = any(tile.ndim == 3 for tile in tiles)
        page = np.full((height, width, 3) if is_colour else (height, width), WHITE, np.uint8)
        for (x, y), tile in zip(self.corners_xy.tolist(), tiles, strict=True):
            part = tile[..., None] if is_colour and tile.ndim == 2 else tile
            page[y : y + tile.shape[0], x : x + tile.shape[1]] = part
        return page


def merge_tiles(pages: Iterable[PageTiles], tiles: Sequence[Page]) -> Iterator[Page]:
    """Merge the symbols of all tiles of a split into those of its pages.

    Args:
        pages: Pages and their tiles.
        tiles: Tiles in any order, all with scores or all without.

    Yields:
        Pages in the order of ``pages``.
    """
    position = {image: i for i, image in enumerate(tile.image for tile in tiles)}
    for page in pages:
        yield page.merged([tiles[position[name]] for name in page.tiles])


def page_tiles(
    manifest: Manifest, folder_name: str, sizes: Mapping[PurePosixPath, tuple[int, int]]
) -> list[PageTiles] | str | None:
    """List the pages of a split that was cut into tiles.

    Args:
        manifest: Manifest of the data set.
        folder_name: Name of the image folder of the split.
        sizes: Width and height of each image of the split.

    Returns:
        Pages in the order of the manifest; a reason if they cannot be put together; None if the
        images are not tiles.

    Raises:
        InputError: The manifest is malformed.
    """
    options = manifest.options
    if options and not options.tiles:
        return None
    listed = manifest.tiles.get(folder_name, {})
    if not options and all(len(page.tiles) < 2 for page in listed.values()):
        return None
    if not listed:
        return f"{manifest.path.name} does not list the positions of the tiles"
    names = {PurePosixPath(tile) for page in listed.values() for tile in page.tiles}
    if missing := sorted(map(str, names - sizes.keys())):
        return f"tiles that {manifest.path.name} lists are missing: {count_of(missing, 'image')}"
    if others := sorted(map(str, sizes.keys() - names)):
        return f"{manifest.path.name} does not list {count_of(others, 'image')}"
    side = (
        options.tiles.size
        if options and options.tiles
        else max(max(size) for size in sizes.values())
    )
    return [_page_tiles(PurePosixPath(name), page, side, sizes) for name, page in listed.items()]


def _page_tiles(
    name: PurePosixPath,
    page: TiledPage,
    side: int,
    sizes: Mapping[PurePosixPath, tuple[int, int]],
) -> PageTiles:
    tiles = tuple(map(PurePosixPath, page.tiles))
    return PageTiles(
        page=name,
        tiles=tiles,
        corners_xy=np.array([*page.tiles.values()], np.int64),
        sizes=np.array([sizes[tile] for tile in tiles], np.int64),
        tile_px=side,
        scale_xy=(page.scale_x, page.scale_y),
        n_symbols=page.symbols,
    )
