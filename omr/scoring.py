"""Scoring: runs a model on a split of a data set and computes its detection metrics.

Main path: :func:`score_model` predicts with :mod:`training.predict.detector`, computes the metrics
with :mod:`eval.metrics.coco`, and writes a report and a contact sheet.

Shapes: C classes of the data set, K classes of the weights.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from class_maps import ConfigError, InputError, with_nearest
from converters import images
from converters.files.atomic_files import output_files
from converters.files.hashes import short_hashes
from converters.files.overwriting import check_files
from converters.formats.yolo_dataset import YoloDataset, open_dataset
from converters.manifest import Preparation, preparation, read_manifest
from converters.page import Page
from converters.page_hashes import page_hashes
from eval.metrics.coco import MAX_CONF, evaluate
from eval.pictures.contact_sheet import compare
from eval.reports.detection import DetectionReport
from omr.tracking import TrackPages, untracked
from training.data.image_files import skipped_files
from training.models.checkpoints import DEFAULT_IMGSZ, Weights, open_weights
from training.models.training_record import TrainingRecord
from training.predict.detector import predict
from training.predict.max_det import suggested_max_det

REPORT_FILE = "report.json"
CONTACT_SHEET_FILE = "contact_sheet.png"
UNLIMITED = 10**6
"""Limit on detections per image that no image reaches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOverlap:
    """Images of a split that a model was trained on, as far as its weights record them."""

    trained_on: tuple[str, ...]
    """Names of the images of the split that are training images, or whose page the model has seen
    as a whole, as another tile or in another size."""
    n_same_images: int
    """Number of these images that are training images themselves."""
    training_is_known: bool
    """Whether the weights record all of their training images."""
    pages_are_known: bool
    """Whether the pages of all images of the split and of all training images are known."""

    def to_json(self) -> dict[str, Any]:
        """Return the number of images and the name of the first one, and what is known."""
        return {
            "n_trained_on": len(self.trained_on),
            "n_same_images": self.n_same_images,
            "first_trained_on": next(iter(self.trained_on), None),
            "training_is_known": self.training_is_known,
            "pages_are_known": self.pages_are_known,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringResult:
    """Metrics of a model on one split, with the settings that they were computed with."""

    split: str
    overlap: TrainingOverlap
    """Images of this split that the model was trained on."""
    skipped_files: tuple[str, ...]
    """Remarks on files of the data set that were not read, such as hidden images."""
    duplicates: int
    """Duplicate rows of the label files, which were skipped."""
    differences: tuple[str, ...]
    """Settings and properties of the data that differ from those in training."""
    imgsz: int
    """Longer side of the network input in pixels."""
    conf: float
    """Confidence above which predictions were kept."""
    max_det: int
    """Highest number of detections per image."""
    images_at_max_det: int
    """Images with ``max_det`` detections, some of which may have been cut off."""
    ignored_classes: tuple[str, ...]
    """Classes of the weights that the data set does not have."""
    missing_classes: tuple[str, ...]
    """Classes of the data set that the weights do not have; none of them has ground truth."""
    ignored_predictions: int
    """Predictions of these classes, which do not count."""
    report: DetectionReport
    """Average precision per class, and its means."""

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers, the report's fields on the top level."""
        return {
            "split": self.split,
            **self.overlap.to_json(),
            "skipped_files": list(self.skipped_files),
            "duplicates": self.duplicates,
            "differences": list(self.differences),
            "imgsz": self.imgsz,
            "conf": self.conf,
            "max_det": self.max_det,
            "images_at_max_det": self.images_at_max_det,
            "ignored_classes": list(self.ignored_classes),
            "missing_classes": list(self.missing_classes),
            "ignored_predictions": self.ignored_predictions,
            **self.report.to_json(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Options:
    """Settings of :func:`score_model` that determine the metrics."""

    imgsz: int | None
    batch: int
    device: str
    split: str
    conf: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Predictions:
    """Predictions for the pages of a split, with the labels of the data set."""

    pages: list[Page]
    """One page per image, with at most ``max_det`` symbols."""
    max_det: int
    ignored_classes: tuple[str, ...]
    n_ignored: int

    @property
    def n_at_max_det(self) -> int:
        """Number of images with ``max_det`` symbols."""
        return sum(len(page.labels) >= self.max_det for page in self.pages)


def score_model(
    weights: Path,
    data: Path,
    *,
    imgsz: int | None = None,
    batch: int = 16,
    device: str = "",
    split: str = "val",
    conf: float = MAX_CONF,
    out: Path | None = None,
    trust: bool = False,
    force: bool = False,
    track: TrackPages = untracked,
) -> ScoringResult:
    """Score a model on a split of a data set with the COCO detection metrics.

    Classes are matched by name. Classes that exist only in the weights do not count. The means are
    those of the classes with ground truth, which must exist in the weights.

    Args:
        weights: Checkpoint of a detection model, such as a run's ``weights/best.pt``.
        data: YOLO folder as :func:`converters.conversion.convert` writes it.
        imgsz: Longer side to which images are resized, in pixels; None for the training size, or
            ``DEFAULT_IMGSZ`` if it is unknown.
        batch: Images per batch.
        device: ``cpu``, ``0`` ...; empty for the first CUDA device, or the CPU.
        split: Split to score.
        conf: Confidence above which predictions are kept, from 0 to ``MAX_CONF``.
        out: Folder for ``report.json`` and ``contact_sheet.png``; None to write neither.
        trust: Load pickled weights even though doing so can run code they contain.
        force: Overwrite a report in ``out``.
        track: Wrapper around the predicted pages that shows progress.

    Raises:
        ConfigError: ``conf`` is out of range, ``out`` contains a report and ``force`` is not set,
            the weights lack a class that has ground truth, a class name is duplicated, or the
            device is missing.
        InputError: The data set has no such split, or weights, labels or an image cannot be read.
    """
    _check_conf(conf)
    options = _Options(imgsz=imgsz, batch=batch, device=device, split=split, conf=conf)
    if out is None:
        return _score(weights, data, options, trust=trust, track=track)[0]
    files = out / REPORT_FILE, out / CONTACT_SHEET_FILE
    check_files(*files, force=force)
    with output_files(*files, force=force) as (report, sheet):
        result, contact_sheet = _score(weights, data, options, trust=trust, track=track)
        report.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
        images.write(contact_sheet(), sheet)
    return result


def _with_unchanged_sizes(
    pages: Iterable[Page], truths: Sequence[Page], folder: Path
) -> Iterator[Page]:
    """Yield predictions, checking that no image was replaced since its labels were read."""
    for page, truth in zip(pages, truths, strict=True):
        size, expected = (page.width, page.height), (truth.width, truth.height)
        images.check_unchanged(folder / truth.image, size, expected)
        yield page


def relabel(page: Page, weight_names: Sequence[str], data_names: Sequence[str]) -> Page:
    """Return a prediction with the labels of a data set, without classes that the set lacks.

    Args:
        page: Predicted symbols, with labels of the weights.
        weight_names: Names of the weights' classes by label, length K.
        data_names: Names of the data set's classes by label, length C.
    """
    if tuple(weight_names) == tuple(data_names):
        return page
    label_of = {name: label for label, name in enumerate(data_names)}
    new_labels = np.array([label_of.get(name, -1) for name in weight_names], dtype=np.int64)  # (K,)
    labels = new_labels[page.labels]
    return replace(page, labels=labels).only(labels >= 0)


def _score(
    weights: Path, data: Path, options: _Options, *, trust: bool, track: TrackPages
) -> tuple[ScoringResult, Callable[[], images.Pixels]]:
    """Score a model, and return the result with a function that draws the contact sheet."""
    dataset, split = open_dataset(data), options.split
    trained = open_weights(weights, trust=trust)
    truths, n_duplicates = _truths(dataset, split)
    _check_names(trained.names, dataset.names, truths)
    side = options.imgsz or trained.imgsz or DEFAULT_IMGSZ
    folder = dataset.splits[split]

    def predict_pages(*, max_det: int) -> Iterator[Page]:
        pages = predict(
            trained.model,
            [(folder / truth.image, truth.image) for truth in truths],
            imgsz=side,
            batch=options.batch,
            device=options.device,
            score_thresh=options.conf,
            max_det=max_det,
        )
        return _with_unchanged_sizes(pages, truths, folder)

    predictions = _predictions(predict_pages, truths, trained.names, dataset.names, track)
    result = ScoringResult(
        split=split,
        overlap=_overlap(trained.training, dataset, split, truths),
        skipped_files=tuple(skipped_files(dataset, split)),
        duplicates=n_duplicates,
        differences=_differences(trained, side, _preparation(dataset)),
        imgsz=side,
        conf=options.conf,
        max_det=predictions.max_det,
        images_at_max_det=predictions.n_at_max_det,
        ignored_classes=predictions.ignored_classes,
        missing_classes=tuple(name for name in dataset.names if name not in trained.names),
        ignored_predictions=predictions.n_ignored,
        report=evaluate(truths, predictions.pages, dataset.names),
    )
    return result, partial(compare, folder, truths, predictions.pages, dataset.names)


def _truths(dataset: YoloDataset, split: str) -> tuple[list[Page], int]:
    """Read the ground truth of a split, and count the duplicate rows of its label files."""
    pages, n_duplicates = [], 0
    for image in dataset.labelled_images(split):
        pages.append(image.without_duplicates())
        n_duplicates += len(image.rows) - len(pages[-1].labels)
    return pages, n_duplicates


def _predictions(
    predict_pages: Callable[..., Iterable[Page]],
    truths: Sequence[Page],
    weight_names: Sequence[str],
    data_names: Sequence[str],
    track: TrackPages,
) -> _Predictions:
    """Predict all pages, limit their detections, and give them the data set's labels.

    Args:
        predict_pages: Function that predicts the pages in the order of ``truths``, highest
            confidence first, with at most ``max_det`` symbols each.
        truths: Ground truth of the split.
        weight_names: Names of the weights' classes, length K.
        data_names: Names of the data set's classes, length C.
        track: Wrapper around the predicted pages that shows progress.
    """
    ignored_classes = tuple(name for name in weight_names if name not in data_names)
    max_det = suggested_max_det(max(len(page.labels) for page in truths))
    pages, n_ignored = [], 0
    # Classes that the data does not have must not use up the limit.
    predicted = predict_pages(max_det=UNLIMITED if ignored_classes else max_det)
    for page in track(predicted, len(truths)):
        kept = relabel(page, weight_names, data_names)
        n_ignored += len(page.labels) - len(kept.labels)
        pages.append(kept.only(slice(max_det)))
    return _Predictions(
        pages=pages, max_det=max_det, ignored_classes=ignored_classes, n_ignored=n_ignored
    )


def _check_conf(conf: float) -> None:
    if not conf >= 0:
        reason = f"expected a number from 0 to {MAX_CONF:g}"
        raise ConfigError(reason, option="--conf", value=f"{conf:g}")
    if conf > MAX_CONF:
        reason = "too high, average precision also needs low-confidence predictions"
        raise ConfigError(f"{reason}; use {MAX_CONF:g} or less", option="--conf", value=f"{conf:g}")


def _check_names(
    weight_names: Sequence[str], data_names: Sequence[str], truths: Iterable[Page]
) -> None:
    """Check that the weights have each class with ground truth, and that names are unique.

    Raises:
        ConfigError: A class is missing, or a name is duplicated.
    """
    if tuple(weight_names) == tuple(data_names):
        return
    problems = [
        f"duplicate names in the {origin}: {', '.join(duplicates)}"
        for origin, names in (("weights", weight_names), ("data", data_names))
        if (duplicates := sorted(name for name, n in Counter(names).items() if n > 1))
    ]
    present = {data_names[label] for truth in truths for label in np.unique(truth.labels)}
    if missing := present - set(weight_names):
        problems.append(
            f"not in the weights: {with_nearest(missing, weight_names)}; convert the data set "
            "again with the class map of the weights, or score other weights"
        )
    if problems:
        raise ConfigError(f"classes of weights and data differ: {'; '.join(problems)}")


def _overlap(
    training: TrainingRecord | None, dataset: YoloDataset, split: str, truths: Sequence[Page]
) -> TrainingOverlap:
    """Compare the images of a split and their pages with those that a model was trained on."""
    if training is None:
        return TrainingOverlap(
            trained_on=(), n_same_images=0, training_is_known=False, pages_are_known=False
        )
    names = [str(truth.image) for truth in truths]
    hashes = short_hashes([dataset.splits[split] / name for name in names])
    pages = page_hashes(dataset, split, names, hashes)
    is_seen = training.contains_pages(hashes, pages).tolist()
    return TrainingOverlap(
        trained_on=tuple(name for name, seen in zip(names, is_seen, strict=True) if seen),
        n_same_images=int(training.contains(hashes).sum()),
        training_is_known=training.is_complete,
        pages_are_known=training.knows_pages and pages.are_known,
    )


def _preparation(dataset: YoloDataset) -> Preparation | None:
    """Return the preparation of a data set; None if it is unknown."""
    try:
        return preparation(read_manifest(dataset.root))
    except InputError:  # a file of another program
        return None


def _differences(weights: Weights, imgsz: int, own: Preparation | None) -> tuple[str, ...]:
    """List the settings and data preparation that differ from those in training."""
    size = [f"imgsz {imgsz} px ({weights.imgsz} px in training)"]
    return (
        *(size if weights.imgsz not in (None, imgsz) else ()),
        *(weights.training.differences(own) if weights.training and own else ()),
    )
