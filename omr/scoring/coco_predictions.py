"""Reader of predictions in COCO JSON: a list of results, or a file with images and categories.

A list of results has ``image_id`` or ``file_name``, ``category_id``, ``bbox`` and ``score``,
https://cocodataset.org/#format-results. Its ids are those of an annotation file. Without one,
``file_name`` or ``image_id`` is the name of an image, and ``category_id`` a label + 1, as
Ultralytics and omr write them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from class_maps import InputError, listed
from class_maps.text_files import read_bytes
from converters.boxes import xywh_to_xyxy
from converters.files.hashes import sha256
from converters.formats.coco_annotations import Id, key_of
from converters.json_text import check_unique_keys, decode
from converters.names import count_of
from omr.scoring.predicted_images import ImageNames, PredictedImage, PredictionSet, check_boxes
from omr.scoring.protocol import ScoredSource

ANNOTATIONS = "annotations/instances_{split}.json"
"""Annotation file of a split in a data set that was converted to COCO."""


class _Result(msgspec.Struct, gc=False):
    category_id: Id
    bbox: list[float]
    score: float | UnsetType = UNSET
    image_id: Id | UnsetType = UNSET
    file_name: str | UnsetType = UNSET


class _Image(msgspec.Struct, gc=False):
    id: Id
    file_name: str
    width: int | float
    height: int | float


class _Category(msgspec.Struct):
    id: Id
    name: str


class _Ids(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]


class _File(_Ids):
    annotations: list[_Result]


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoIds:
    """Images and classes that the ids of results refer to."""

    names: tuple[str, ...]
    """Class names; the index is the label."""
    labels: Mapping[Id, int]
    """Label of each category id."""
    images: Mapping[Id, tuple[str, tuple[int, int]]] = field(default_factory=dict)
    """Name and size of each image in pixels by its id; empty if the ids are names."""
    path: Path | None = None
    """Annotation file; None if the ids are names and labels."""


def read_coco(
    path: Path, data: Path, split: str, names: Sequence[str], annotations: Path | None
) -> PredictionSet:
    """Read predictions in COCO JSON.

    Args:
        path: File to read.
        data: Data set whose annotation file is used if the predictions are a list of results.
        split: Split that is scored.
        names: Class names of the data set.
        annotations: Annotation file that the ids of a list of results refer to; None to use that
            of the data set, if it has one.

    Raises:
        InputError: A file cannot be read, a prediction is malformed, or its ids are unknown.
    """
    content = read_bytes(path, "file of predictions")
    if content.lstrip().startswith(b"["):
        results = decode(content, list[_Result], path)
        _check_keys(content, len(results), path)
        ids = _ids_of_results(results, data / ANNOTATIONS.format(split=split), names, annotations)
        is_complete = False
    else:
        file = decode(content, _File, path)
        _check_keys(content, len(file.annotations), path)
        results, ids, is_complete = file.annotations, _ids(file, path), True
    if not results:
        raise InputError("contains no predictions", path=path)
    source = ScoredSource(kind="coco", name=path.name, sha256=sha256(path))
    hint = "" if ids.path else f"give the annotation file of its ids with {OPTION}"
    return PredictionSet(
        path=path,
        source=source,
        names=ids.names,
        images=tuple(_images(results, ids, path)),
        is_complete=is_complete,
        hint=hint,
    )


OPTION = "--annotations"
"""Option that names the annotation file."""


def _check_keys(content: bytes, n_results: int, path: Path) -> None:
    """Check that no prediction repeats a key; slow only if one of the names occurs more often.

    Raises:
        InputError: A key is a duplicate.
    """
    keys = (f'"{field.encode_name}"'.encode() for field in msgspec.structs.fields(_Result))
    if b"\\" in content or any(content.count(key) > n_results for key in keys):
        check_unique_keys(content, path)


def _ids_of_results(
    results: Sequence[_Result], of_data: Path, names: Sequence[str], annotations: Path | None
) -> CocoIds:
    """Return the images and classes that the ids of a list of results refer to.

    The annotation file of the data set is not used for results that name their images.
    """
    path = annotations or of_data
    if annotations or path.is_file():
        ids = _ids(decode(read_bytes(path, "annotation file"), _Ids, path), path)
        are_ids = any(
            key_of(r.image_id) in ids.images
            for r in results
            if r.file_name is UNSET and r.image_id is not UNSET
        )
        if annotations or are_ids:
            return ids
    return CocoIds(names=tuple(names), labels={i + 1: i for i in range(len(names))})


def _ids(file: _Ids, path: Path) -> CocoIds:
    """Index the images and categories of a file.

    Raises:
        InputError: An id or the name of an image is a duplicate.
    """
    images = {
        key_of(image.id): (image.file_name, (int(image.width), int(image.height)))
        for image in file.images
    }
    categories = {key_of(category.id): category.name for category in file.categories}
    for entries, unique, where in (
        (file.images, images, "images"),
        (file.categories, categories, "categories"),
    ):
        if len(unique) < len(entries):
            raise InputError("duplicate id", path=path, where=where)
    counts = Counter(name for name, _ in images.values())
    if duplicates := [name for name, n in counts.items() if n > 1]:
        reason = f"duplicate file_name: {listed(duplicates)}; keep one entry per image"
        raise InputError(reason, path=path, where="images")
    return CocoIds(
        names=tuple(categories.values()),
        labels={category: label for label, category in enumerate(categories)},
        images=images,
        path=path,
    )


def _images(results: Sequence[_Result], ids: CocoIds, path: Path) -> list[PredictedImage]:
    """Group results by image.

    Raises:
        InputError: A result is malformed, or its image or category is unknown.
    """
    labels = _labels(results, ids, path)
    where = [f"[{i}]" for i in range(len(results))]
    if without := [w for w, r in zip(where, results, strict=True) if r.score is UNSET]:
        raise InputError("missing score; expected predictions", path=path, where=without[0])
    if short := [w for w, r in zip(where, results, strict=True) if len(r.bbox) != 4]:
        raise InputError("expected 4 numbers", path=path, where=f"{short[0]}.bbox")
    boxes_xyxy = xywh_to_xyxy(np.array([r.bbox for r in results], np.float64).reshape(-1, 4))
    scores = np.array([r.score for r in results], np.float64)
    check_boxes(boxes_xyxy, scores, path, where)
    image_names = _image_names(results, ids, path)
    rows_of: dict[str, list[int]] = {name: [] for name, _ in ids.images.values()}
    for i, name in enumerate(image_names):
        rows_of.setdefault(name, []).append(i)
    sizes = dict(ids.images.values())
    return [
        PredictedImage(
            name=name,
            boxes_xyxy=boxes_xyxy[rows],
            labels=labels[rows],
            scores=scores[rows],
            size=sizes.get(name),
        )
        for name, rows in rows_of.items()
    ]


def _labels(results: Sequence[_Result], ids: CocoIds, path: Path) -> np.ndarray:
    categories = [key_of(result.category_id) for result in results]
    if unknown := {category for category in categories if category not in ids.labels}:
        listed = count_of(sorted(map(str, unknown)), "category id")
        if ids.path:
            reason = f"not in {ids.path}: {listed}"
        else:
            reason = (
                f"expected a label + 1, from 1 to {len(ids.names)}, got {listed}; give the "
                f"annotation file of its ids with {OPTION}"
            )
        raise InputError(reason, path=path, where="category_id")
    return np.array([ids.labels[category] for category in categories], np.int64)


def _image_names(results: Sequence[_Result], ids: CocoIds, path: Path) -> list[str]:
    """Return the name of each result's image.

    Raises:
        InputError: The image of a result is missing or unknown.
    """
    for i, result in enumerate(results):
        if result.image_id is UNSET and result.file_name is UNSET:
            reason = "missing image_id; expected an image_id or a file_name"
            raise InputError(reason, path=path, where=f"[{i}]")
    if ids.path is None:
        return [str(_reference(result, prefers_name=True)[1]) for result in results]
    references = [_reference(result, prefers_name=False) for result in results]
    names = _annotated_names(set(references), ids)
    for key in ("image_id", "file_name"):
        if unknown := sorted(str(v) for k, v in {*references} - names.keys() if k == key):
            listed = count_of(unknown, key.replace("_", " "))
            raise InputError(f"not in {ids.path}: {listed}", path=path, where=key)
    return [names[reference] for reference in references]


def _reference(result: _Result, *, prefers_name: bool) -> tuple[str, Id]:
    """Return the field that identifies the image of a result, and its value."""
    has_name = result.file_name is not UNSET
    if result.image_id is UNSET or (prefers_name and has_name):
        return "file_name", str(result.file_name)
    return "image_id", key_of(result.image_id)


def _annotated_names(
    references: Iterable[tuple[str, Id]], ids: CocoIds
) -> dict[tuple[str, Id], str]:
    """Return the name of each image in the annotation file; images that it lacks are omitted."""
    by_id = {key: name for key, (name, _) in ids.images.items()}
    by_name = ImageNames(map(PurePosixPath, by_id.values()))
    names = {
        (key, value): by_id.get(value) if key == "image_id" else by_name.find(str(value))
        for key, value in references
    }
    return {reference: str(name) for reference, name in names.items() if name}
