"""Record of a model's training, which its weights contain: training images and their preparation.

It tells an evaluation whether the model has seen an image, and whether the image was prepared as
those of the training. The input size is not part of it: Ultralytics reads that from ``args``.

Shapes: N images.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.manifest import Manifest

TRAINING, IMAGES = "training", "image_hashes"
"""Keys of a record in a weights file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """Preparation of a data set's images, according to its manifest."""

    tile: int | None
    """Side of the tiles in pixels; None for whole pages."""
    staff_space: float | None
    """Staff space in pixels to which pages were scaled; None if they were not scaled."""
    class_map: str
    """Name of the class map."""
    class_map_sha256: str
    """Hash of the class map's file."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingRecord:
    """Images that a model was trained on, and how they were prepared."""

    images: NDArray[np.uint64]
    """Short hashes of the training images, sorted, shape ``(N,)``; includes those of the runs whose
    weights the training started from."""
    is_complete: bool
    """Whether ``images`` covers all of the training; False if it started from weights that do not
    record theirs."""
    preparations: tuple[Preparation | None, ...]
    """Preparation of each data set of the last run; None for a data set without a manifest."""

    def contains(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether each of N images is one of the training images, shape ``(N,)``."""
        return np.isin(hashes, self.images)

    def differences(self, own: Preparation) -> list[str]:
        """List how images were prepared in another way than those of the training.

        Args:
            own: Preparation of the images.

        Returns:
            Entries such as ``tile 640 px (320 px in training)``; none if the preparation of a data
            set of the training is unknown.
        """
        before = [known for known in self.preparations if known]
        if not before or len(before) < len(self.preparations):
            return []
        pairs: tuple[tuple[str, object, list[object]], ...] = (
            ("tile", own.tile, [known.tile for known in before]),
            ("staff space", own.staff_space, [known.staff_space for known in before]),
            ("class map", own.class_map, [known.class_map for known in before]),
        )
        differences = [
            f"{title} {_text(value)} ({' or '.join(dict.fromkeys(map(_text, values)))} in training)"
            for title, value, values in pairs
            if value not in values
        ]
        versions = [k.class_map_sha256 for k in before if k.class_map == own.class_map]
        if versions and own.class_map_sha256 not in versions:
            differences.append(f"class map {own.class_map} in another version")
        return differences

    def to_dict(self) -> dict[str, Any]:
        """Convert the record to plain data and one tensor, as weights files contain it."""
        fields = {"is_complete": self.is_complete, "preparations": [*self.preparations]}
        return {
            TRAINING: msgspec.to_builtins(fields),
            IMAGES: torch.from_numpy(self.images.view(np.int64)),
        }

    def to_json(self) -> str:
        """Convert the record to JSON, with the hashes as Base64 of big-endian integers."""
        images = base64.b64encode(self.images.astype(">u8").tobytes()).decode()
        return json.dumps(self.to_dict() | {IMAGES: images})


def from_dict(content: Mapping[str, Any]) -> TrainingRecord | None:
    """Convert the result of :meth:`TrainingRecord.to_dict` back; None if there is no record.

    Raises:
        ValueError: The record is malformed.
    """
    if TRAINING not in content:
        return None
    images = content.get(IMAGES)
    if not isinstance(images, Tensor) or images.dtype != torch.int64 or images.dim() != 1:
        raise ValueError(f"{IMAGES}: expected integers")
    try:
        fields = msgspec.convert(content[TRAINING], _Fields)
    except msgspec.ValidationError as error:
        raise ValueError(f"{TRAINING}: {error}") from error
    return TrainingRecord(
        images=images.numpy().view(np.uint64),
        is_complete=fields.is_complete,
        preparations=fields.preparations,
    )


class _Fields(msgspec.Struct, kw_only=True):
    """Fields of a record that are stored as plain data."""

    is_complete: bool
    preparations: tuple[Preparation | None, ...]


def _text(value: object) -> str:
    return f"{value:g} px" if isinstance(value, int | float) else str(value or "none")


def preparation(manifest: Manifest) -> Preparation | None:
    """Return how the images of a data set were prepared; None without a record of it.

    Raises:
        InputError: The class map in the manifest is malformed.
    """
    options = manifest.options
    if options is None:
        return None
    return Preparation(
        tile=options.tiles.size if options.tiles else None,
        staff_space=options.staff_space,
        class_map=manifest.class_map.name,
        class_map_sha256=manifest.class_map.sha256,
    )
