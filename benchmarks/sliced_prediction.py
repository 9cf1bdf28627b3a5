"""Sliced prediction of SAHI (MIT), which is installed in a folder of its own.

pip install --target PEERS --no-deps sahi==0.12.8 shapely fire termcolor tqdm
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.page import Page
from reading.page_reader import OVERLAP, PreparedPage

POSTPROCESSING = {"SAHI GREEDYNMM": ("GREEDYNMM", "IOS"), "SAHI NMS": ("NMS", "IOU")}
"""Type and metric: SAHI's defaults, and those to which it switches at low confidences."""
MATCH_THRESHOLD = 0.5
"""SAHI's default."""


class SlicedNetwork:
    """A network that SAHI runs on slices of a page."""

    def __init__(self, weights: Path, imgsz: int, device: str, peers: Path, batch: int) -> None:
        """Load a network.

        Args:
            weights: Output of ``omr export --format ultralytics``.
            imgsz: Side of slices in pixels.
            device: ``cpu``, or a GPU index; empty for SAHI's choice.
            peers: Folder in which SAHI is installed.
            batch: Slices per forward pass.
        """
        sys.path.append(str(peers))  # last, so that nothing but the missing packages comes from it
        from sahi import (  # type: ignore[import-not-found, unused-ignore]
            AutoDetectionModel,
            predict,
        )

        logging.getLogger("sahi").setLevel(logging.ERROR)
        self._predict, self._imgsz, self._batch = predict.get_sliced_prediction, imgsz, batch
        self._model = AutoDetectionModel.from_pretrained(
            model_type="ultralytics",
            model_path=str(weights),
            device=f"cuda:{device}" if device.isdecimal() else device or None,
            image_size=imgsz,
        )

    def find(self, page: PreparedPage, postprocessing: str, conf: float) -> Sequence[Any]:
        """Find the symbols of a page, as SAHI's objects.

        Args:
            page: Scaled page.
            postprocessing: Key of :data:`POSTPROCESSING`.
            conf: Confidence above which predictions are kept.
        """
        kind, metric = POSTPROCESSING[postprocessing]
        result = self._predict(
            np.ascontiguousarray(page.pixels[..., ::-1]),
            self._model,
            slice_height=self._imgsz,
            slice_width=self._imgsz,
            overlap_height_ratio=OVERLAP,
            overlap_width_ratio=OVERLAP,
            perform_standard_pred=False,
            postprocess_type=kind,
            postprocess_match_metric=metric,
            postprocess_match_threshold=MATCH_THRESHOLD,
            force_postprocess_type=True,
            batch_size=self._batch,
            confidence_threshold=conf,
            verbose=0,
        )
        predictions: Sequence[Any] = result.object_prediction_list
        return predictions


def as_page(predictions: Sequence[Any], page: PreparedPage) -> Page:
    """Convert SAHI's objects to a page in its original size."""
    boxes = np.array([one.bbox.to_xyxy() for one in predictions], float).reshape(-1, 4)
    return Page(
        image=page.name,
        width=page.width,
        height=page.height,
        boxes_xyxy=page.in_original(boxes),
        labels=np.array([one.category.id for one in predictions], np.int64),
        scores=np.array([one.score.value for one in predictions], float),
    )
