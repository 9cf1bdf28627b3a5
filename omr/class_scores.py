"""Probability of a class over a page, for ``omr show --scores``."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, with_nearest
from converters import images
from converters.find_page import FoundPage
from omr.prediction import PredictOptions, reading_options
from reading.network import training_input
from reading.options import AUTO, NONE
from reading.page_reader import prepare
from reading.score_map import score_map


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClassScores:
    """Probability of a class over a page."""

    name: str
    """Name of the class."""
    values: NDArray[np.float32]
    """Probabilities from 0 to 1, of a lower resolution than the page, shape ``(H, W)``."""
    n_tiles: int
    """Number of tiles in which the page was read."""
    remarks: tuple[str, ...]
    """Notes for the user."""

    @property
    def highest(self) -> float:
        """Highest probability on the page."""
        return float(self.values.max())

    def to_json(self) -> dict[str, Any]:
        """Return the class, its highest probability and the number of tiles."""
        return {"class": self.name, "highest": round(self.highest, 4), "tiles": self.n_tiles}


def class_scores(
    weights: Path, name: str, chosen: FoundPage, *, device: str = "", trust: bool = False
) -> ClassScores:
    """Compute the probability of a class over a page, which is read as by ``omr predict``.

    Weights that do not record how their training pages were prepared read the page in its own size.

    Args:
        weights: Weights of a training.
        name: Name of the class.
        chosen: Page of a data set.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
        trust: Whether loading the weights may execute their code.

    Raises:
        ConfigError: The weights do not have the class, or are an ONNX file.
        InputError: The weights or the image cannot be read.
    """
    if weights.suffix == ".onnx":
        raise ConfigError(
            "an ONNX file does not return the scores of every anchor point; use the weights that "
            "it was exported from",
            option="--weights",
            value=weights,
        )
    from training.predict.tile_network import TorchNetwork

    network = TorchNetwork(weights, device=device, trust=trust)
    if name not in network.names:
        raise ConfigError(
            f"unknown class: {with_nearest({name}, network.names)}", option="--scores"
        )
    is_known = not isinstance(training_input(network.preparations), str)
    staff_space = str(chosen.page.staff_space or AUTO) if is_known else NONE
    options = reading_options(network, PredictOptions(weights=weights, staff_space=staff_space))
    pixels = images.read(chosen.path)
    page = prepare(PurePosixPath(chosen.path.name), pixels, network.imgsz, options)
    label = network.names.index(name)
    return ClassScores(
        name=name,
        values=score_map(page, lambda tiles: network.class_scores(tiles, label)),
        n_tiles=int(page.grid.has_ink.sum()),
        remarks=tuple(f"{chosen.path.name}: {remark}" for remark in page.remarks),
    )
