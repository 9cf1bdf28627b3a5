"""Validation of a training: every image, however long it takes, and only what its labels tell.

Shapes: B images of a batch, C classes, A anchor points, N predictions, G true boxes, T thresholds.
"""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, distributed
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils import RANK, nms
from ultralytics.utils.metrics import ap_per_class

from training.data.dataset import ClassMasks
from training.data.multi_dataset import MultiDataset

OF_SOURCE = "metrics/mAP50/{}"
"""Figure of one of several sources, in ``results.csv``: mean of its own classes at IoU .5."""


class OmrValidator(DetectionValidator):
    """Ultralytics' validator, without the time limit after which it skips images.

    Of several sources each is scored on its own, too.

    Args:
        multi_dataset: Where the images come from.
        masks: Gives a batch its ``class_mask``.
        options: Those of ``DetectionValidator``.
    """

    def __init__(
        self, *args: object, multi_dataset: MultiDataset, masks: ClassMasks, **options: object
    ) -> None:
        super().__init__(*args, **options)
        self.multi_dataset = multi_dataset
        self.masks = masks
        self.sources: list[int] = []
        """Source of each image that was counted."""
        self.mask: Tensor | None = None
        """Of the batch, ``(B, C)``: False where an image says nothing of a class."""

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepare a batch, and say which classes its images say nothing of.

        Args:
            batch: ``img``, shape ``(B, 3, H, W)``, and the labels.
        """
        batch = self.masks.added(super().preprocess(batch))
        self.mask = batch.get("class_mask")
        return batch

    def update_metrics(self, preds: list[dict[str, Tensor]], batch: dict[str, Any]) -> None:
        """Count what was found, but for the classes that an image says nothing of.

        Args:
            preds: ``bboxes``, ``conf``, ``cls`` and ``extra`` of each image.
            batch: As :meth:`preprocess` left it.
        """
        if self.mask is not None:
            preds = [labelled(one, mask) for one, mask in zip(preds, self.mask, strict=True)]
        self.sources += [self.multi_dataset.source_of[file] for file in batch["im_file"]]
        super().update_metrics(preds, batch)

    def gather_stats(self) -> None:
        """Bring together what all devices counted."""
        if RANK >= 0:
            of_all: list[list[int]] = [[]] * distributed.get_world_size()
            distributed.gather_object(self.sources, of_all if RANK == 0 else None, dst=0)
            self.sources = [*itertools.chain(*of_all)]  # in the order of the counts
        super().gather_stats()

    def get_stats(self) -> dict[str, Any]:
        """Work out the figures, of several sources those of each as well."""
        of_sources = self._of_sources() if len(self.multi_dataset.sources) > 1 else {}
        self.sources = []
        figures: dict[str, Any] = super().get_stats()
        return figures | of_sources

    def _of_sources(self) -> dict[str, float]:
        """Mean AP50 over the classes that a source has truths of; nothing where it has none."""
        names = source_names(self.multi_dataset)
        figures = {}
        for source, name in enumerate(names):
            own = [i for i, its_source in enumerate(self.sources) if its_source == source]
            columns = (
                np.concatenate([self.metrics.stats[key][i] for i in own] or [np.zeros(0)])
                for key in ("tp", "conf", "pred_cls", "target_cls")
            )
            tp, conf, pred_cls, target_cls = columns  # (N, T), (N,), (N,), (G,)
            if len(target_cls):
                ap = ap_per_class(tp, conf, pred_cls, target_cls)[5]  # (classes with truths, T)
                figures[OF_SOURCE.format(name)] = float(ap[:, 0].mean())
        return figures

    def postprocess(self, preds: Tensor | tuple[Tensor, object]) -> list[dict[str, Tensor]]:
        """Suppress doubled boxes, however long it takes."""
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
    """Keep the predictions of the classes that an image's labels cover.

    Args:
        predictions: ``cls``, shape ``(N,)``, and other fields of N rows.
        mask: True for each covered class, shape ``(C,)``.
    """
    # Indexing each field with the mask itself would make the host wait once per field.
    kept = mask[predictions["cls"].long()].nonzero().flatten()
    return {name: values[kept] for name, values in predictions.items()}


def source_names(multi_dataset: MultiDataset) -> list[str]:
    """Name each source by its folder; by the whole path where two are called the same."""
    folders = [Path(source.dataset.root) for source in multi_dataset.sources]
    short = [folder.name for folder in folders]
    names = short if len(set(short)) == len(short) else [str(folder) for folder in folders]
    return [re.sub(r'[,"\s]', "_", name) for name in names]  # they are titles of a CSV file
