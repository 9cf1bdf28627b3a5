"""Interface between page reading and a network, whichever library runs it.

Shapes: B tiles of side S pixels, N symbols of a tile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import short_list
from converters.boxes import Boxes
from converters.images import Pixels
from converters.manifest import Preparation

RECORD_KEY = "omr"
"""Key of the training record in files of other formats: checkpoints of Ultralytics, and ONNX."""
Conf: TypeAlias = Annotated[float, msgspec.Meta(ge=0, lt=1)]
"""Confidence threshold in a training record."""
MOST_SYMBOLS = 3000
"""Maximum number of symbols of a tile, best first; a tile of dense music has about 300."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TileSymbols:
    """Symbols that a network finds in one tile, each once, highest score first."""

    boxes_xyxy: Boxes
    """Boxes in pixels of the tile, float64, shape ``(N, 4)``; they may extend beyond it."""
    labels: NDArray[np.int64]
    """Index of each symbol's class, shape ``(N,)``."""
    scores: NDArray[np.float64]
    """Confidence, 0 to 1, shape ``(N,)``."""


class Network(Protocol):
    """A trained network with the facts about its training that reading depends on."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; the index is the label."""

    @property
    def imgsz(self) -> int:
        """Side S of the network's input in pixels."""

    @property
    def preparations(self) -> tuple[Preparation | None, ...]:
        """Preparation of the images of each training data set; empty if it is unknown."""

    @property
    def conf(self) -> float | None:
        """Confidence threshold chosen on the validation images of its training; None if unknown."""

    @property
    def class_confs(self) -> tuple[float, ...]:
        """Confidence threshold chosen for each class; empty for one threshold for all."""

    def find(self, tiles: Pixels, *, score_thresh: float) -> Sequence[TileSymbols]:
        """Find the symbols of tiles.

        Args:
            tiles: Tiles in BGR order, shape ``(B, S, S, 3)``.
            score_thresh: Lower limit of scores (exclusive), 0 to 1.

        Returns:
            Symbols of each tile, at most ``MOST_SYMBOLS``. A box with several classes is returned
            once per class.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingInput:
    """How the pages of a network's training reached it."""

    is_tiled: bool
    """Whether pages were cut into tiles; otherwise, whole pages were resized."""
    staff_space: float | None
    """Staff space of the network's input in pixels; None if the pages were not scaled to one."""


def training_input(preparations: Sequence[Preparation | None]) -> TrainingInput | str:
    """Combine the preparations of the data sets of a training.

    Data sets other than music, which have no staff space, do not matter if others have one.

    Returns:
        How pages reached the network; a reason if this is unknown.
    """
    known = [preparation for preparation in preparations if preparation]
    if not known:
        return "do not record how the pages of their training were prepared"
    spaces = sorted({known.staff_space for known in known if known.staff_space})
    if len(spaces) > 1:
        texts = [f"{space:g}" for space in spaces]
        return f"were trained with staff spaces of {short_list(texts, 3)} px"
    is_tiled = any(preparation.tile for preparation in known)
    return TrainingInput(is_tiled=is_tiled, staff_space=spaces[0] if spaces else None)
