"""Validation during training, on all images, without a time limit, for labelled classes only.

Shapes: B images of a batch, C classes, A anchor points, N predictions, G ground-truth boxes, T
thresholds.
"""

import itertools
import math
import re
from collections import ChainMap
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, distributed
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils import nms
from ultralytics.utils.metrics import ap_per_class

from converters.page import Page
from eval.metrics.f1 import Matches
from settings.run_files import PAGE_MAP
from settings.training import Selection
from training.data.dataset import ClassMasks
from training.data.multi_dataset import MultiDataset
from training.engine.inputs import TrainingInputs
from training.engine.page_scores import PageScores, image_predictions
from training.runtime.distributed import are_joined, is_first

SOURCE_METRIC = "metrics/mAP50/{}"
"""Column of each source in ``results.csv``, if there are several: mean AP of its classes at IoU
0.5."""

CONF_DECIMALS = 4
"""Decimals of the confidence threshold that is kept with the weights."""


class OmrValidator(DetectionValidator):
    """Ultralytics' validator without the time limit after which it skips images.

    Several sources are also evaluated separately.

    Args:
        args: Arguments of ``DetectionValidator``.
        masks: Masks of the labelled classes, which add ``class_mask`` to a batch.
        inputs: Opened data sets.
        select: ``page`` to score pages as well, and select the best epoch by them.
        options: Arguments of ``DetectionValidator``, by name.
    """

    def __init__(
        self,
        *args: object,
        masks: ClassMasks,
        inputs: TrainingInputs,
        select: Selection,
        **options: object,
    ) -> None:
        super().__init__(*args, **options)
        self.multi_dataset = inputs.data
        self.masks = masks
        names = source_names(inputs.data)
        self.page_scores = PageScores(inputs, names) if select == "page" else None
        """Ground truth per page; None if only images are scored."""
        self.predictions: dict[str, Page] = {}
        """Predictions for each image validated so far, by its absolute path; empty unless pages are
        scored."""
        self.sources: list[int] = []
        """Source of each image validated so far."""
        self.best_conf: float | None = None
        """Confidence threshold with the highest F1 at IoU 0.5 in the last validation; None if no
        prediction matched, and in processes other than the first."""
        self.mask: Tensor | None = None
        """Whether each class is labelled in each image, shape ``(B, C)``; None if all classes
        are."""

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch, and record which classes its images label.

        Args:
            batch: Batch with ``img``, shape ``(B, 3, H, W)``, and the labels.
        """
        batch = self.masks.added(super().preprocess(batch))
        self.mask = batch.get("class_mask")
        return batch

    def update_metrics(self, preds: list[dict[str, Tensor]], batch: dict[str, Any]) -> None:
        """Count matches, without predictions of classes that an image does not label.

        Args:
            preds: Predictions of each image: ``bboxes``, ``conf``, ``cls`` and ``extra``.
            batch: Batch returned by :meth:`preprocess`.
        """
        if self.mask is not None:
            preds = [labelled(image, mask) for image, mask in zip(preds, self.mask, strict=True)]
        self.sources += [self.multi_dataset.source_of[file] for file in batch["im_file"]]
        if self.page_scores:
            self.predictions |= image_predictions(preds, batch)
        super().update_metrics(preds, batch)

    def gather_stats(self) -> None:
        """Gather the counts and predictions of all devices in the first process."""
        if are_joined():
            gathered: list[Any] = [([], {})] * distributed.get_world_size()
            part = self.sources, self.predictions
            distributed.gather_object(part, gathered if is_first() else None, dst=0)
            self.sources = [*itertools.chain(*(sources for sources, _ in gathered))]  # as counts
            self.predictions = dict(ChainMap(*(predictions for _, predictions in gathered)))
        super().gather_stats()

    def get_stats(self) -> dict[str, Any]:
        """Compute the metrics, also per source and per page, and the best confidence."""
        self.best_conf = self._best_conf()
        source_metrics = self._source_metrics() if len(self.multi_dataset.sources) > 1 else {}
        page_metrics = self.page_scores.metrics(self.predictions) if self.page_scores else {}
        self.sources, self.predictions = [], {}
        metrics: dict[str, Any] = super().get_stats()
        fitness = {"fitness": page_metrics[PAGE_MAP]} if page_metrics else {}
        return metrics | source_metrics | page_metrics | fitness

    def _best_conf(self) -> float | None:
        tp, scores, labels, targets = (
            np.concatenate(self.metrics.stats[key])
            for key in ("tp", "conf", "pred_cls", "target_cls")
        )  # (N, T), (N,), (N,), (G,)
        if not tp[:, 0].any():
            return None
        order = np.argsort(-scores, kind="stable")
        matches = Matches(
            scores=scores[order].astype(np.float64),
            labels=labels[order].astype(np.int64),
            is_found=tp[order, 0],
            n_truths=np.bincount(targets.astype(np.int64), minlength=self.nc),
        )
        return round(matches.best_threshold(), CONF_DECIMALS)

    def _source_metrics(self) -> dict[str, float]:
        """Compute mean AP50 of each source over its classes with ground truth, if it has any."""
        names = source_names(self.multi_dataset)
        metrics = {}
        for source, name in enumerate(names):
            images = [i for i, image_source in enumerate(self.sources) if image_source == source]
            columns = (
                np.concatenate([self.metrics.stats[key][i] for i in images] or [np.zeros(0)])
                for key in ("tp", "conf", "pred_cls", "target_cls")
            )
            tp, conf, pred_cls, target_cls = columns  # (N, T), (N,), (N,), (G,)
            if len(target_cls):
                ap = ap_per_class(tp, conf, pred_cls, target_cls)[5]  # (labelled classes, T)
                metrics[SOURCE_METRIC.format(name)] = float(ap[:, 0].mean())
        return metrics

    def postprocess(self, preds: Tensor | tuple[Tensor, object]) -> list[dict[str, Tensor]]:
        """Suppress duplicate boxes without a time limit."""
        if self.mask is not None and not self.end2end:  # before they fill the limit
            scores = preds[0] if isinstance(preds, tuple) else preds  # (B, 4 + C, A)
            scores[:, 4:] *= self.mask[:, :, None]
        outputs = nms.non_max_suppression(
            preds,
            self.args.conf,
            self.args.iou,
            multi_label=True,
            agnostic=self.args.agnostic_nms,
            max_det=self.args.max_det,
            max_time_img=math.inf,
            end2end=self.end2end,
        )
        return [
            {"bboxes": x[:, :4], "conf": x[:, 4], "cls": x[:, 5], "extra": x[:, 6:]}
            for x in outputs
        ]


def labelled(predictions: dict[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
    """Keep the predictions of classes that are labelled in an image.

    Args:
        predictions: Predictions of an image: ``cls``, shape ``(N,)``, and other fields of N rows.
        mask: Whether each class is labelled in the image, shape ``(C,)``.
    """
    # Indexing each field with the mask itself would make the host wait once per field.
    kept = mask[predictions["cls"].long()].nonzero().flatten()
    return {name: values[kept] for name, values in predictions.items()}


def source_names(multi_dataset: MultiDataset) -> list[str]:
    """Name each source by its folder, or by full paths if two folders have the same name."""
    folders = [Path(source.dataset.root) for source in multi_dataset.sources]
    short = [folder.name for folder in folders]
    names = short if len(set(short)) == len(short) else [str(folder) for folder in folders]
    return [re.sub(r'[,"\s]', "_", name) for name in names]  # column names of a CSV file
