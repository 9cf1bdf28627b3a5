"""Decoding of a network's raw outputs with NumPy, for files that end before the decoding.

In int8, all values of a tensor share one scale. The decoding mixes pixels, distributions and
probabilities, so it is cut off before a network is quantised, and done here in float32.
``FILE.tflite.json`` describes it for any program that runs the file.

Shapes: C classes, G groups of classes with boxes of their own, R bins of a distance, H and W cells
of a level, A anchor points of all levels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import InputError, shortened
from class_maps.text_files import read_bytes

BOXES, SCORES = "output_0", "output_1"
"""Names of the outputs of a file that contains the decoding."""
MAX_JSON_BYTES = 64 << 20
"""Maximum size of a description: the hashes of 5 million training images."""
Side: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Label: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outputs of the cells of one stride."""

    stride: Side
    """Pixels per cell."""
    boxes: str
    """Name of the output with the box logits, shape ``(1, H, W, G * 4 * R)``: for each group the
    left, top, right and bottom side. A head without bins outputs ``(1, H, W, G * 4)`` distances in
    cells."""
    scores: str
    """Name of the output with the class logits, shape ``(1, H, W, C)``."""


class Decoding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Description of a file's input and outputs, and of how boxes and scores follow from them.

    The score of a class is the sigmoid of its logit. The distance of a box side from the centre of
    its cell is the mean of ``bins``, weighted with the softmax of the logits, times the stride.
    """

    format: Literal["omr-decoding"] = "omr-decoding"
    version: Literal[1] = 1
    sha256: str
    """Hash of the file that this description belongs to."""
    input: str
    """Name of the input: RGB pixels divided by 255, shape ``(1, imgsz, imgsz, 3)``."""
    imgsz: Side
    """Side of the square input in pixels."""
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Class names; the index is the label."""
    levels: tuple[Level, ...]
    """Outputs of each level, finest first; empty if the file contains the decoding. Then
    ``output_0`` contains centre, width and height in pixels, shape ``(1, 4, A)``, and ``output_1``
    the scores, 0 to 1, shape ``(1, C, A)``."""
    bins: tuple[float, ...]
    """Value of each bin in cells; empty for a head that outputs distances."""
    groups: tuple[tuple[Label, ...], ...]
    """Labels of the classes that each box belongs to."""
    channels: tuple[Label, ...]
    """Label of each class logit."""
    training: dict[str, Any] = {}
    """Training record of omr; empty if the weights contained none."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each output; without those of a file that contains the decoding."""
        n_sides = 4 * len(self.groups) * max(1, len(self.bins))
        result: dict[str, tuple[int, ...]] = {}
        for level in self.levels:
            cells = self.imgsz // level.stride
            result[level.boxes] = (1, cells, cells, n_sides)
            result[level.scores] = (1, cells, cells, len(self.classes))
        return result


def decoding_file(file: Path) -> Path:
    """Return the path of the description of a ``.tflite`` file."""
    return file.with_name(f"{file.name}.json")


def read_decoding(file: Path) -> Decoding:
    """Read the description of a ``.tflite`` file.

    Args:
        file: The ``.tflite`` file.

    Raises:
        InputError: The description is missing or malformed.
    """
    path = decoding_file(file)
    if not path.is_file():
        raise InputError(
            f"no {path.name} beside it, which describes the outputs; export the weights with omr "
            "export --format tflite",
            path=file,
        )
    try:
        content = read_bytes(path, "description of a network", max_bytes=MAX_JSON_BYTES)
        decoding = msgspec.json.decode(content, type=Decoding)
    except (ValueError, RecursionError) as error:
        reason = f"does not describe a network: {shortened(str(error))}"
        raise InputError(f"{reason}; export the weights again", path=path) from None
    labels = sorted(label for group in decoding.groups for label in group)
    every = list(range(len(decoding.classes)))
    if labels != every or sorted(decoding.channels) != every:
        reason = "groups and channels must contain every label once; export the weights again"
        raise InputError(reason, path=path)
    return decoding


def decode(outputs: Mapping[str, NDArray[np.float32]], decoding: Decoding) -> NDArray[np.float32]:
    """Compute the boxes and scores of a network's outputs.

    Args:
        outputs: Outputs by name, in the shapes of :meth:`Decoding.shapes`.
        decoding: Description of the outputs.

    Returns:
        Centre, width and height in pixels and C scores of every box, shape ``(4 + C, G * A)``. With
        several groups, a box has a score of 0 for the classes of other groups.
    """
    if not decoding.levels:
        return np.concatenate([outputs[BOXES][0], outputs[SCORES][0]])
    levels = [_decode_level(outputs, level, decoding) for level in decoding.levels]
    return np.concatenate(levels, axis=1)


def _decode_level(
    outputs: Mapping[str, NDArray[np.float32]], level: Level, decoding: Decoding
) -> NDArray[np.float32]:
    """Decode one level, shape ``(4 + C, G * H * W)``."""
    logits = outputs[level.boxes][0]
    height, width = logits.shape[:2]
    y, x = np.indices((height, width), np.float32) + 0.5
    distances = _distances(logits.reshape(height, width, len(decoding.groups), 4, -1), decoding)
    left, top, right, bottom = np.moveaxis(distances, -1, 0)  # (H, W, G) each
    x, y = x[..., None], y[..., None]
    sides = (x + (right - left) / 2, y + (bottom - top) / 2, left + right, top + bottom)
    boxes = np.stack(sides) * level.stride  # (4, H, W, G)
    scores = np.empty((len(decoding.classes), height, width), np.float32)
    scores[list(decoding.channels)] = np.moveaxis(_sigmoid(outputs[level.scores][0]), -1, 0)
    of_groups = np.zeros((len(scores), height, width, len(decoding.groups)), np.float32)
    for group, labels in enumerate(decoding.groups):
        of_groups[list(labels), ..., group] = scores[list(labels)]
    return np.concatenate([boxes, of_groups]).reshape(4 + len(scores), -1)


def _distances(logits: NDArray[np.float32], decoding: Decoding) -> NDArray[np.float32]:
    """Compute distances in cells from logits, shape ``(H, W, G, 4, R)``."""
    if not decoding.bins:
        return logits[..., 0]
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    means = weights @ np.array(decoding.bins, np.float32) / weights.sum(axis=-1)
    return np.asarray(means, np.float32)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-logits.clip(-80, 80))), np.float32)
