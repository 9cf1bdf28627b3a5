"""Detections in the output of a network, thresholded and without duplicates.

Shapes: B images of a batch, A anchor points, C classes, P candidates (a box with one of its
classes), N detections of an image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from class_maps import OmrError
from reading.suppression import NMS_IOU_THRESH, NON_FINITE

MAX_CANDIDATES = 30_000
"""Maximum number of candidates of an image, best first, that non-maximum suppression on a device
compares with each other, in a matrix of 112 MB of bits. As ``max_nms`` in Ultralytics."""

FEW_CANDIDATES = 2000
"""Number of candidates up to which a CPU is faster in one call than class by class. Measured with
136 classes on a busy core: 1 ms instead of 45 ms for 500 candidates, but 123 ms instead of 47 ms
for 5,000."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Detections:
    """Symbols of one image, highest score first."""

    boxes_xyxy: Tensor
    """Boxes in pixels of the network's input, shape ``(N, 4)``."""
    labels: Tensor
    """Class labels, int64, shape ``(N,)``."""
    scores: Tensor
    """Scores, float32, shape ``(N,)``."""


def detections(output: Tensor, *, score_thresh: float, max_det: int) -> list[Detections]:
    """Find the detections of a batch on the output's device, and copy them to the host in one go.

    A box is removed if a better box of its class overlaps it by more than ``NMS_IOU_THRESH``. The
    result does not depend on ``MAX_CANDIDATES``: the best candidates suffice if ``max_det``
    detections remain, because only better boxes can remove a box. Otherwise all candidates of the
    image are compared on the host, class by class.

    Args:
        output: Centre, width and height in pixels and C scores of every anchor point, shape
            ``(B, 4 + C, A)``.
        score_thresh: Lower limit of scores (exclusive), 0 to 1.
        max_det: Maximum number of detections per image.

    Returns:
        Detections of each image, on the host. Equal scores are in the order of anchor points, then
        of labels.

    Raises:
        OmrError: The output is not finite.
    """
    candidates, n_candidates = _candidates(output.float(), score_thresh)
    rows = [image_rows[_kept(image_rows, max_det)] for image_rows in candidates.split(n_candidates)]
    n_rows = [len(image_rows) for image_rows in rows]
    together = torch.cat([*rows, candidates[:0]]).cpu()
    return [
        Detections(boxes_xyxy=part[:, :4], scores=part[:, 4], labels=part[:, 5].long())
        for part in together.split(n_rows)
    ]


def _candidates(output: Tensor, score_thresh: float) -> tuple[Tensor, list[int]]:
    """List the candidates of all images.

    Returns:
        Box, score and label as float32, shape ``(P, 6)``, ordered by image, anchor point and label,
        and the number of candidates of each image.

    Raises:
        OmrError: The output is not finite.
    """
    centre, size, scores = output.transpose(1, 2).split([2, 2, output.shape[1] - 4], dim=2)
    size = size.abs()  # where distances may be below 0, the sides of a thin box can be swapped
    boxes_xyxy = torch.cat([centre - size / 2, centre + size / 2], dim=2)  # (B, A, 4)
    above = scores > score_thresh  # (B, A, C)
    is_finite = output.isfinite().all()[None]
    *n_candidates, finite = torch.cat([above.sum(dim=(1, 2)), is_finite]).tolist()
    if not finite:
        raise OmrError(NON_FINITE)
    image, anchor, label = above.nonzero(as_tuple=True)
    columns = scores[image, anchor, label], label.float()
    return torch.cat([boxes_xyxy[image, anchor], torch.stack(columns, dim=1)], 1), n_candidates


def _kept(candidates: Tensor, max_det: int) -> Tensor:
    """Return the indices of the detections among the candidates of an image, shape ``(P, 6)``."""
    if len(candidates) <= MAX_CANDIDATES:
        return _suppress(candidates)[:max_det]
    best = candidates[:, 4].sort(descending=True, stable=True).indices[:MAX_CANDIDATES]
    kept = _suppress(candidates[best])[:max_det]
    if len(kept) == max_det:
        return best[kept]
    return _suppress(candidates.cpu())[:max_det].to(candidates.device)


def _suppress(candidates: Tensor) -> Tensor:
    """Run non-maximum suppression within each class; return indices, highest score first."""
    at_once = candidates.is_cuda or len(candidates) <= FEW_CANDIDATES
    suppress = suppress_at_once if at_once else suppress_by_class
    return suppress(candidates[:, :4], candidates[:, 4], candidates[:, 5])


def suppress_by_class(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """Run non-maximum suppression of one class after the other, fast for many boxes on a CPU.

    Unlike ``batched_nms`` this keeps the order of equal scores.

    Args:
        boxes_xyxy: Boxes, shape ``(P, 4)``.
        scores: Score of each box, shape ``(P,)``.
        labels: Class of each box, shape ``(P,)``.

    Returns:
        Indices of the boxes to keep, highest score first, then lowest index.
    """
    by_label = labels.sort(stable=True).indices
    label_counts = labels.long().bincount().tolist()
    kept = [
        label_rows[nms(boxes_xyxy[label_rows], scores[label_rows], NMS_IOU_THRESH)]
        for label_rows in by_label.split(label_counts)
        if len(label_rows)
    ]
    indices = torch.cat([*kept, by_label[:0]]).sort().values
    return indices[scores[indices].sort(descending=True, stable=True).indices]


def suppress_at_once(boxes_xyxy: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """Run non-maximum suppression of all classes in one call, with one host synchronisation.

    On CUDA ``batched_nms`` either synchronises several times per class, or offsets the boxes of
    each class in fp32, which loses the last digits of small symbols. In fp64 none are lost.

    Args:
        boxes_xyxy: Boxes, shape ``(P, 4)``.
        scores: Score of each box, shape ``(P,)``.
        labels: Class of each box, shape ``(P,)``.

    Returns:
        Indices of the boxes to keep, highest score first, then lowest index.
    """
    if not len(boxes_xyxy):
        return labels.long()
    exact = boxes_xyxy.double()
    lowest, highest = exact.aminmax()
    offsets = labels.double() * (highest - lowest + 1)
    kept: Tensor = nms(exact + offsets[:, None], scores.double(), NMS_IOU_THRESH)
    return kept
