"""A network that needs no training: it finds each connected patch of ink."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.manifest import Preparation
from reading.network import TileSymbols


@dataclass
class InkNetwork:
    """Finds black patches as class 0 and grey ones as class 1, with a score of .9."""

    imgsz: int = 64
    names: tuple[str, ...] = ("black", "grey")
    preparations: tuple[Preparation | None, ...] = ()
    conf: float | None = None
    class_confs: tuple[float, ...] = ()
    levels: tuple[int, ...] = (0, 50)
    """Grey level of the patches of each class."""
    n_tiles: list[int] = field(default_factory=list)
    """Number of tiles of each call."""

    def find(self, tiles: NDArray[np.uint8], *, score_thresh: float) -> Sequence[TileSymbols]:
        assert tiles.shape[1:] == (self.imgsz, self.imgsz, 3)
        self.n_tiles.append(len(tiles))
        return [self._symbols(tile[..., 0]) for tile in tiles]

    def _symbols(self, tile: NDArray[np.uint8]) -> TileSymbols:
        boxes, labels = [], []
        for label, level in enumerate(self.levels):
            mask = (np.abs(tile.astype(int) - level) < 25).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            for x, y, width, height, _ in stats[1:].tolist():
                boxes.append([x, y, x + width, y + height])
                labels.append(label)
        return TileSymbols(
            boxes_xyxy=np.array(boxes, float).reshape(-1, 4),
            labels=np.array(labels, np.int64),
            scores=np.full(len(labels), 0.9),
        )
