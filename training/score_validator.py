"""Validation of a training: every image, however long it takes, and only what its labels tell.

Shapes: B images of a batch, C classes, A anchor points.
"""

import math
from typing import Any

from torch import Tensor
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils import nms

from training.score_data import ClassMasks


class ScoreValidator(DetectionValidator):
    """Ultralytics' validator, without the time limit after which it skips images.

    Args:
        masks: Gives a batch its ``class_mask``.
        options: Those of ``DetectionValidator``.
    """

    def __init__(self, *args: object, masks: ClassMasks, **options: object) -> None:
        super().__init__(*args, **options)
        self.masks = masks
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
            said = [mask[found["cls"].long()] for mask, found in zip(self.mask, preds, strict=True)]
            preds = [
                {name: of_all[kept] for name, of_all in found.items()}
                for found, kept in zip(preds, said, strict=True)
            ]
        super().update_metrics(preds, batch)

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
