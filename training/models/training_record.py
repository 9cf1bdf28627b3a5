"""Record of a model's training, which its weights contain.

It names the training images and how they were prepared, and the confidence threshold chosen in
validation. It lets an evaluation check whether the model has seen an image or another part of its
page, and whether the image was prepared in the same way as the training images. The input size is
not part of the record: Ultralytics reads it from ``args``.

Shapes: N images.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from converters.manifest import Preparation
from converters.page_hashes import PageHashes
from reading.network import Conf

TRAINING, IMAGES, PAGES = "training", "image_hashes", "page_hashes"
"""Keys of a record in a weights file."""
TENSORS = IMAGES, PAGES
"""Keys whose values are tensors."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingRecord:
    """Images that a model was trained on, and how they were prepared."""

    images: NDArray[np.uint64]
    """Short hashes of the training images, sorted, shape ``(N,)``; includes the images of earlier
    runs whose weights this run started from."""
    is_complete: bool
    """Whether ``images`` is complete; False if the run started from weights that do not record
    their training images."""
    preparations: tuple[Preparation | None, ...]
    """Preparation of each data set of the last run; None for a data set without a manifest."""
    pages: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    """Short hashes of the pages that training images were cut or scaled from, sorted; includes
    those of earlier runs."""
    knows_pages: bool = False
    """Whether the page of each training image is known."""
    conf: float | None = None
    """Confidence threshold with the highest F1 on the validation images; None without
    validation."""
    class_confs: tuple[float, ...] = ()
    """Confidence threshold of each class with the highest F1; empty for one threshold for all."""
    recipe: str = ""
    """Name and hash of the recipe of weights that come with omr; otherwise empty."""

    def contains(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether each of N images is one of the training images, shape ``(N,)``."""
        return np.isin(hashes, self.images)

    def contains_pages(self, images: NDArray[np.uint64], pages: PageHashes) -> NDArray[np.bool_]:
        """Return whether a training image shows the same page as each of N images.

        Tiles of different pages may have equal pixels, such as white ones. An image therefore only
        counts because it equals a training image if the page of one of them is unknown.

        Args:
            images: Short hash of each image, shape ``(N,)``.
            pages: Pages of the images.

        Returns:
            True for training images as well, shape ``(N,)``.
        """
        trained_on = np.union1d(self.images, self.pages)
        shows_page = np.isin(pages.hashes, trained_on)
        has_other_page = (pages.hashes != images) & self.knows_pages
        are_seen: NDArray[np.bool_] = shows_page | (np.isin(images, trained_on) & ~has_other_page)
        return are_seen

    def differences(self, own: Preparation) -> list[str]:
        """List differences between the preparation of images and that of the training images.

        Args:
            own: Preparation of the images to compare.

        Returns:
            Entries such as ``tile 640 px (320 px in training)``; none if the preparation of a
            training data set is unknown.
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
        fields = _Fields(
            is_complete=self.is_complete,
            preparations=self.preparations,
            knows_pages=self.knows_pages,
            conf=self.conf,
            class_confs=self.class_confs,
            recipe=self.recipe,
        )
        return {
            TRAINING: msgspec.to_builtins(fields),
            IMAGES: torch.from_numpy(self.images.view(np.int64)),
            PAGES: torch.from_numpy(self.pages.view(np.int64)),
        }

    def to_json(self) -> str:
        """Convert the record to JSON, with the hashes as Base64 of big-endian integers."""
        texts = {
            key: base64.b64encode(hashes.astype(">u8").tobytes()).decode()
            for key, hashes in ((IMAGES, self.images), (PAGES, self.pages))
        }
        return json.dumps(self.to_dict() | texts)


def from_dict(content: Mapping[str, Any]) -> TrainingRecord | None:
    """Convert the result of :meth:`TrainingRecord.to_dict` back; None if there is no record.

    Raises:
        ValueError: The record is malformed.
    """
    if TRAINING not in content:
        return None
    images = _hashes(content, IMAGES)
    # Weights of old versions do not record pages.
    pages = _hashes(content, PAGES) if PAGES in content else np.empty(0, np.uint64)
    try:
        fields = msgspec.convert(content[TRAINING], _Fields)
    except msgspec.ValidationError as error:
        raise ValueError(f"{TRAINING}: {error}") from error
    return TrainingRecord(
        images=images,
        is_complete=fields.is_complete,
        preparations=fields.preparations,
        pages=pages,
        knows_pages=fields.knows_pages,
        conf=fields.conf,
        class_confs=fields.class_confs,
        recipe=fields.recipe,
    )


def from_json(text: str) -> TrainingRecord | None:
    """Convert the result of :meth:`TrainingRecord.to_json` back.

    Raises:
        ValueError: The record is malformed.
    """
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("expected an object")
    for key in TENSORS:
        if key in content:
            hashes = np.frombuffer(base64.b64decode(content[key], validate=True), ">u8").astype(
                np.uint64
            )
            content[key] = torch.from_numpy(hashes.view(np.int64))
    return from_dict(content)


class _Fields(msgspec.Struct, kw_only=True):
    """Fields of a record that are stored as plain data."""

    is_complete: bool
    preparations: tuple[Preparation | None, ...]
    knows_pages: bool = False
    conf: Conf | None = None
    class_confs: tuple[Conf, ...] = ()
    recipe: str = ""


def _hashes(content: Mapping[str, Any], key: str) -> NDArray[np.uint64]:
    stored = content.get(key)
    if not isinstance(stored, Tensor) or stored.dtype != torch.int64 or stored.dim() != 1:
        raise ValueError(f"{key}: expected integers")
    return stored.numpy().view(np.uint64)


def _text(value: object) -> str:
    return f"{value:g} px" if isinstance(value, int | float) else str(value or "none")
