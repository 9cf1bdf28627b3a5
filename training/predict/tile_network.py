"""The network of a weights file, as page reading uses it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from converters.images import Pixels
from converters.manifest import Preparation
from reading.network import MOST_SYMBOLS, TileSymbols
from training.models.checkpoints import DEFAULT_IMGSZ, Weights, open_weights
from training.predict.detector import detect, move_for_prediction
from training.predict.image_batches import network_input
from training.runtime.devices import check_device, exact_fp32, memory_format_of


class TorchNetwork:
    """A detection network on a device, in exact fp32.

    Batch normalisation is fused into the convolutions, which saves a tenth of the time.
    """

    def __init__(
        self,
        weights: Path | Weights,
        *,
        imgsz: int | None = None,
        device: str = "",
        trust: bool = False,
    ) -> None:
        """Load a network.

        Args:
            weights: Weights file, or its content, whose model is changed.
            imgsz: Side of the network's input in pixels; None for that of the training.
            device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
            trust: Whether loading the weights may execute their code.

        Raises:
            ConfigError: The device does not exist.
            InputError: The file cannot be read.
        """
        self._device = torch.device(check_device(device))
        self._memory_format = memory_format_of(self._device, training=False)
        if isinstance(weights, Path):
            weights = open_weights(weights, trust=trust)
        self._model = weights.model
        move_for_prediction(self._model, self._device, self._memory_format)
        self._model.fuse(verbose=False)  # removes a branch of the head if it does not predict
        self.names = weights.names
        self.imgsz = imgsz or weights.imgsz or DEFAULT_IMGSZ
        self.preparations: tuple[Preparation | None, ...] = (
            weights.training.preparations if weights.training else ()
        )
        self.conf = weights.training.conf if weights.training else None
        self.class_confs = weights.training.class_confs if weights.training else ()

    @torch.inference_mode()
    def class_scores(self, tiles: Pixels, label: int) -> list[NDArray[np.float32]]:
        """Compute the probability of a class at every anchor point.

        Args:
            tiles: Tiles in BGR order, shape ``(B, S, S, 3)``.
            label: Index of the class in ``names``.

        Returns:
            Probabilities of each level, finest first, shape ``(B, h, w)`` for h times w cells.
        """
        inputs = network_input(torch.from_numpy(tiles), self._device, self._memory_format)
        with exact_fp32():
            outputs = self._model(inputs)[1]
        scores = outputs["scores"][:, label].float().sigmoid()  # (B, A)
        sizes = [(level.shape[2], level.shape[3]) for level in outputs["feats"]]
        levels = scores.split([height * width for height, width in sizes], dim=1)
        return [
            level.unflatten(1, size).cpu().numpy()
            for level, size in zip(levels, sizes, strict=True)
        ]

    def find(self, tiles: Pixels, *, score_thresh: float) -> Sequence[TileSymbols]:
        """Find the symbols of tiles, see :meth:`reading.network.Network.find`."""
        inputs = network_input(torch.from_numpy(tiles), self._device, self._memory_format)
        batch = detect(self._model, inputs, score_thresh=score_thresh, max_det=MOST_SYMBOLS)
        return [
            TileSymbols(
                boxes_xyxy=tile.boxes_xyxy.double().numpy(),
                labels=tile.labels.numpy(),
                scores=tile.scores.double().numpy(),
            )
            for tile in batch
        ]
