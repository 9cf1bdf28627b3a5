"""Result of scoring: metrics, the protocol they were computed by, and what limits their meaning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from class_maps import short_list
from eval.html.number_format import counted
from eval.reports.detection import DetectionReport
from eval.reports.evaluation import EvaluationReport
from eval.reports.evaluation_json import evaluation_json
from omr.scoring.evaluation_set import Unit
from omr.scoring.protocol import Protocol

MOST_NAMES = 8
"""Maximum number of class names in a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOverlap:
    """Pages or tiles of a split that a model was trained on, as far as its weights record them."""

    trained_on: tuple[str, ...]
    """Names of the pages or tiles that are training images, or whose page the model has seen as a
    whole, as another tile or in another size."""
    n_same_images: int
    """Number of these of which an image file is a training image itself."""
    training_is_known: bool
    """Whether the weights record all of their training images."""
    pages_are_known: bool
    """Whether the pages of all images of the split and of all training images are known."""

    def to_json(self, n_units: int) -> dict[str, Any]:
        """Return counts and what is known.

        Args:
            n_units: Number of pages or tiles of the split.
        """
        return {
            "share": len(self.trained_on) / n_units if self.training_is_known else None,
            "known": self.training_is_known and self.pages_are_known,
            "n": len(self.trained_on),
            "n_same_images": self.n_same_images,
            "first": next(iter(self.trained_on), None),
            "training_is_known": self.training_is_known,
            "pages_are_known": self.pages_are_known,
        }


UNKNOWN_OVERLAP = TrainingOverlap(
    trained_on=(), n_same_images=0, training_is_known=False, pages_are_known=False
)
"""Overlap of weights without a training record, and of the predictions of other tools."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringResult:
    """Metrics of a model, or of predictions, on one split."""

    split: str
    unit: Unit
    """Image whose predictions were compared with its ground truth."""
    n_pages: int | None
    """Number of pages; None for tiles of unknown pages."""
    protocol: Protocol
    """Inputs and settings that determine the metrics."""
    overlap: TrainingOverlap
    """Images of this split that the model was trained on."""
    skipped_files: tuple[str, ...]
    """Remarks on files of the data set that were not read, such as hidden images."""
    remarks: tuple[str, ...]
    """Notes that limit the meaning of the metrics."""
    duplicates: int
    """Duplicate rows of the label files, which were skipped."""
    differences: tuple[str, ...]
    """Settings and properties of the data that differ from those in training."""
    images_at_max_det: int
    """Pages or tiles with ``max_det`` detections, some of which may have been cut off."""
    ignored_classes: tuple[str, ...]
    """Predicted classes that the data set does not have."""
    missing_classes: tuple[str, ...]
    """Classes of the data set that are never predicted because the weights do not have them; none
    of them has ground truth."""
    ignored_predictions: int
    """Predictions of ignored classes, which do not count."""
    unlabelled_predictions: Mapping[str, int]
    """Predictions by class that do not count, because the data set of their page never labels the
    class."""
    evaluation: EvaluationReport
    """All measures."""

    @property
    def report(self) -> DetectionReport:
        """Average precision per class, and its means."""
        return self.evaluation.detection

    @property
    def imgsz(self) -> int | None:
        """Side of the network input in pixels; None for predictions of other tools."""
        return self.protocol.settings.imgsz

    @property
    def max_det(self) -> int:
        """Highest number of detections per page or tile."""
        return self.protocol.settings.max_det

    @property
    def unlabelled_remark(self) -> str:
        """Sentence on omitted predictions of unlabelled classes; empty without any."""
        if not self.unlabelled_predictions:
            return ""
        n = counted(sum(self.unlabelled_predictions.values()), "prediction", "predictions")
        names = short_list([*self.unlabelled_predictions], MOST_NAMES)
        return f"omitted {n} on pages of data sets that never label their class: {names}"

    @property
    def is_unseen(self) -> bool:
        """Whether the model was not trained on any of these images, as far as pages are known."""
        return self.overlap.training_is_known and not self.overlap.trained_on

    @property
    def training_remark(self) -> str:
        """Sentence on the images of this split that the model was trained on."""
        overlap, units = self.overlap, f"these {self.unit}s"
        if overlap.trained_on:
            return self._overlap_remark()
        if not overlap.training_is_known:
            is_model = self.protocol.weights.kind == "weights"
            reason = (
                "its weights do not record all training images"
                if is_model
                else "predictions do not record training images"
            )
            return f"unknown whether the model was trained on {units}: {reason}"
        unseen = f"the model was not trained on {units}"
        if overlap.pages_are_known:
            return f"{unseen}, nor on other parts of their pages"
        return (
            f"{unseen}; unknown whether on other parts of their pages, because not all data sets "
            "record their pages"
        )

    def _overlap_remark(self) -> str:
        overlap, n_seen = self.overlap, len(self.overlap.trained_on)
        same_images = n_seen == overlap.n_same_images
        is_exact = overlap.training_is_known and (same_images or overlap.pages_are_known)
        units = counted(self.report.n_images, self.unit, f"{self.unit}s")
        return (
            f"the model was trained on {'' if same_images else 'the pages of '}"
            f"{'' if is_exact else 'at least '}{n_seen} of {units}, the first is "
            f"{overlap.trained_on[0]}: for these, the metrics show how well it memorised them, not "
            "how well it generalises"
        )

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers, the evaluation's fields on the top level."""
        return {
            **evaluation_json(self.evaluation, split=self.split),
            "pages": self.n_pages,
            "images": self.report.n_images,
            "protocol": self.protocol.to_json(),
            "trained_on": self.overlap.to_json(self.report.n_images),
            "notes": list(self.remarks),
            "skipped_files": list(self.skipped_files),
            "duplicates": self.duplicates,
            "differences": list(self.differences),
            "imgsz": self.imgsz,
            "conf": self.protocol.settings.conf,
            "max_det": self.max_det,
            "images_at_max_det": self.images_at_max_det,
            "ignored_classes": list(self.ignored_classes),
            "missing_classes": list(self.missing_classes),
            "ignored_predictions": self.ignored_predictions,
            "unlabelled_predictions": dict(self.unlabelled_predictions),
        }
