"""Protocol of a score: inputs, settings and versions, and a hash that comparable scores share."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from class_maps import InputError
from converters.files.atomic_folder import MANIFEST
from converters.files.hashes import sha256
from converters.manifest import read_manifest
from converters.versions import TOOLKIT, installed_versions
from omr.scoring.evaluation_set import EvaluationSet, Unit
from omr.scoring.truths_hash import hash_of_pages
from omr.scoring.unlabelled import hash_of_unlabelled
from reading import merging, pieces, windows
from reading.exported_network import is_exported, library_of
from reading.page_reader import OVERLAP, PIECE_SCORE

SourceKind: TypeAlias = Literal["weights", "coco", "yolo", "mung", "labelme", "parquet"]
METRICS = "COCO AP, 101 recalls, IoU .5:.05:.95, every area, predictions limited per image"
"""Definition of the metrics; changes whenever a new version would compute other numbers."""
LOWEST_SCORE = 0.01
"""Predictions without any score up to this were cut off by a confidence threshold."""
HASH_DIGITS = 16
EVALUATION_PACKAGES = (TOOLKIT, "numpy", "pycocotools", "hotcoco")
NETWORK_PACKAGES = ("torch", "ultralytics")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredSource:
    """Weights or predictions that were scored."""

    kind: SourceKind
    """``weights``, or the format of the predictions."""
    name: str
    sha256: str
    """Hash of the file; of predictions in several files, of their names and contents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredData:
    """Data set that was scored."""

    name: str
    labels: str
    """Hash of the names and sizes of the images and the contents of their label files."""
    truths: str
    """Hash of the boxes and classes of all pages or tiles, as they were scored."""
    manifest: str | None
    """Hash of ``manifest.json``; None for a data set without a manifest."""
    unlabelled: str = ""
    """Hash of the classes that do not count on each page or tile; empty if all of them count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredClasses:
    """Classes of the data set that was scored."""

    name: str
    """Name of the class map; empty if it is unknown."""
    sha256: str
    """Hash of the class map's file; empty if it is unknown."""
    classes: str
    """Hash of the class names in the order of their labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TileSettings:
    """Tiles in which pages were read."""

    size: int
    """Side of a tile in pixels."""
    overlap: int
    """Overlap of adjacent tiles in pixels."""
    piece_score: float
    """Score from which parts of symbols are merged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringSettings:
    """Settings that determine which predictions are scored."""

    max_det: int
    """Highest number of detections per page or tile."""
    conf: float | None = None
    """Confidence above which predictions were kept; None for predictions of other tools."""
    lowest_score: float | None = None
    """Lowest score of the predictions of another tool; None for weights."""
    imgsz: int | None = None
    """Side of the network input in pixels; None for predictions of other tools."""
    staff_space: float | None = None
    """Staff space to which pages were scaled for the network, in pixels; None if they were not."""
    tiles: TileSettings | None = None
    """Tiles in which the network read pages; None if images were read whole."""

    @property
    def is_truncated(self) -> bool:
        """Whether a confidence threshold has cut off predictions, which makes an AP incomparable.

        Precision and recall at higher thresholds are not affected.
        """
        return self.lowest_score is not None and self.lowest_score > LOWEST_SCORE


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """Inputs, settings and versions by which a score was computed."""

    weights: ScoredSource
    """Weights, or predictions of any tool."""
    data: ScoredData
    class_map: ScoredClasses
    split: str
    unit: Unit
    settings: ScoringSettings
    merging: dict[str, float] | None
    """Constants by which the symbols of tiles were merged; None if nothing was merged."""
    versions: dict[str, str]
    """Versions of the packages involved, by name."""

    @property
    def hash(self) -> str:
        """Hash of everything that must agree for two scores to be comparable.

        That is the ground truth with its split, unit and classes, the limit on detections, whether
        predictions were cut off, and the definition of the metrics. It does not cover what scores
        are compared for: the weights, their input size, and how they read pages.
        """
        shared = {
            "labels": self.data.labels,
            "classes": self.class_map.classes,
            "unit": self.unit,
            "max_det": self.settings.max_det,
            "is_truncated": self.settings.is_truncated,
            "truths": self.data.truths,
            "metrics": METRICS,
        }
        if self.data.unlabelled:
            shared["unlabelled"] = self.data.unlabelled
        digest = hashlib.sha256(json.dumps(shared, sort_keys=True).encode())
        return digest.hexdigest()[:HASH_DIGITS]

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts with the hash."""
        settings = asdict(self.settings) | {"is_truncated": self.settings.is_truncated}
        return asdict(self) | {"settings": settings, "metrics": METRICS, "hash": self.hash}


def protocol_of(
    evaluation: EvaluationSet, weights: ScoredSource, settings: ScoringSettings
) -> Protocol:
    """Describe how a score is computed.

    Args:
        evaluation: Ground truth.
        weights: Weights or predictions.
        settings: Settings that determine which predictions are scored.
    """
    return Protocol(
        weights=weights,
        data=_scored_data(evaluation),
        class_map=_scored_classes(evaluation),
        split=evaluation.split,
        unit=evaluation.unit,
        settings=settings,
        merging=merging_constants() if evaluation.is_assembled or settings.tiles else None,
        versions=installed_versions(*EVALUATION_PACKAGES, *_network_packages(weights)),
    )


def _network_packages(weights: ScoredSource) -> tuple[str, ...]:
    """Return the packages that ran the network; none for predictions."""
    if weights.kind != "weights":
        return ()
    file = Path(weights.name)
    return (library_of(file),) if is_exported(file) else NETWORK_PACKAGES


def _scored_data(evaluation: EvaluationSet) -> ScoredData:
    dataset = evaluation.dataset
    manifest = dataset.root / MANIFEST
    return ScoredData(
        name=dataset.root.resolve().name,
        labels=dataset.fingerprint(evaluation.split),
        truths=hash_of_pages(evaluation.truths),
        manifest=sha256(manifest) if manifest.is_file() else None,
        unlabelled=hash_of_unlabelled(evaluation.unlabelled),
    )


def _scored_classes(evaluation: EvaluationSet) -> ScoredClasses:
    names = evaluation.dataset.names
    try:
        class_map = read_manifest(evaluation.dataset.root).class_map
        name, digest = class_map.name, class_map.sha256
    except InputError:  # a file of another program
        name, digest = "", ""
    classes = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    return ScoredClasses(name=name, sha256=digest, classes=classes)


def tile_settings(size: int) -> TileSettings:
    """Return how the page reader divides pages into tiles.

    Args:
        size: Side of a tile in pixels.
    """
    return TileSettings(size=size, overlap=round(OVERLAP * size), piece_score=PIECE_SCORE)


def merging_constants() -> dict[str, float]:
    """Return the constants by which the symbols of tiles are merged, by name."""
    return {
        f"{module.__name__.rpartition('.')[2]}.{name.lower()}": value
        for module in (merging, pieces, windows)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, float)
    }


def hash_of_files(files: Sequence[Path], folder: Path) -> str:
    """Hash the names and contents of files.

    Args:
        files: Files in ``folder``.
        folder: Folder that names are relative to.
    """
    digest = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
