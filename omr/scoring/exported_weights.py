"""Files of other formats as weights of an evaluation.

Shapes: S side of the network's input in pixels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from class_maps import ConfigError, InputError
from converters.page import Page
from reading.exported_network import open_exported
from reading.network import Network
from reading.read_ahead import read_ahead
from training.models.training_record import TrainingRecord, from_json
from training.predict.image_batches import ResizedImage, read_resized, squares


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExportedWeights:
    """Network of an ONNX or TFLite file, and its training record."""

    network: Network
    training: TrainingRecord | None
    """Training record; None if the file has none, for example a file of another program."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; the index is the label."""
        return self.network.names

    @property
    def imgsz(self) -> int:
        """Side of the network's input in pixels."""
        return self.network.imgsz


def open_exported_weights(file: Path, *, imgsz: int | None, device: str) -> ExportedWeights:
    """Read an ONNX or TFLite file.

    Args:
        file: ``.onnx`` or ``.tflite`` file.
        imgsz: Side of the input that was asked for, in pixels; None for any.
        device: ``cpu``, ``0`` ...; empty for the first GPU that the library supports, or the CPU.

    Raises:
        ConfigError: The file has another input size, or the device does not exist.
        InputError: The file is missing, damaged, or not a detection network.
        MissingExtraError: The library that runs the file is not installed.
    """
    network = open_exported(file, device=device)
    if imgsz not in (None, network.imgsz):
        raise ConfigError(
            f"{file} has an input of {network.imgsz} px; drop the option, or export the weights "
            f"again with omr export --imgsz {imgsz}",
            option="--imgsz",
            value=imgsz,
        )
    try:
        training = from_json(network.record) if network.record else None
    except (ValueError, TypeError) as error:
        raise InputError(f"damaged training record: {error}", path=file) from error
    return ExportedWeights(network=network, training=training)


def predict_squares(
    network: Network,
    images: Iterable[tuple[Path, PurePosixPath]],
    *,
    batch: int,
    score_thresh: float,
    max_det: int,
) -> Iterator[Page]:
    """Find the symbols of images, each resized and padded to the square input of the network.

    Args:
        network: Network with an input of fixed size.
        images: Image files, each with the name of its page.
        batch: Number of images that are read ahead.
        score_thresh: Lower limit of scores (exclusive), 0 to 1.
        max_det: Maximum number of symbols per image; those with the highest scores are kept.

    Yields:
        A page for each image, in the same order, with ``scores``, highest first. Boxes are in
        pixels of the image file, clipped to it.

    Raises:
        InputError: An image cannot be read.
    """
    side = network.imgsz

    def read(image: tuple[Path, PurePosixPath]) -> ResizedImage:
        return read_resized(*image, side)

    for resized in read_ahead(images, read, batch):
        results = network.find(squares(resized, side), score_thresh=score_thresh)
        for image, symbols in zip(resized, results, strict=True):
            limits = np.array([image.width, image.height] * 2)
            boxes_xyxy = symbols.boxes_xyxy / np.array([*image.factors, *image.factors])
            yield Page(
                image=image.name,
                width=image.width,
                height=image.height,
                boxes_xyxy=boxes_xyxy.clip(0, limits),
                labels=symbols.labels,
                scores=symbols.scores,
            ).only(slice(max_det))
