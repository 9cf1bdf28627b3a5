"""Tasks that are timed, by name: assigners, and whole losses forward and backward."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.ops import xyxy2xywh
from ultralytics.utils.tal import TaskAlignedAssigner

from benchmarks.assigner_scenes import STRIDES, Case, Scene, head_outputs, padded
from benchmarks.plain_simota import plain_simota
from settings.training import AssignerName, SimilarityName
from training.assigners.assignment import Assignment
from training.assigners.candidate_pairs import candidate_counts
from training.assigners.predictions import DensePredictions
from training.assigners.simota import SparseSimOTA
from training.assigners.static import StaticAssigner
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.assigners.ultralytics_drop_in import SparseDropIn
from training.losses.assigner_factory import PairCounter
from training.losses.detection import DetectionLoss
from training.losses.loss_options import STOCK, LossOptions

Call = Callable[[], object]

CELL_BYTES = 17
"""Peak bytes of Ultralytics' assigner per box of the fullest image and anchor point of each image;
measured with torch 2.15 on a CPU and Ultralytics 8.4.190."""


def _dense(scene: Scene, kind: Callable[..., TaskAlignedAssigner]) -> Call:
    n_classes = scene.case.n_classes
    assigner = kind(topk=10, num_classes=n_classes, alpha=0.5, beta=6.0, stride=list(STRIDES))
    truth = padded(scene.targets, scene.case.counts)
    predictions = scene.pred_scores, scene.pred_boxes_xyxy, scene.anchors.points_xy
    return lambda: assigner(*predictions, *truth)


def _sparse(
    scene: Scene, assigner: SparseTaskAlignedAssigner | SparseSimOTA | StaticAssigner
) -> Call:
    targets, on_gpu = scene.targets, scene.pred_scores.is_cuda
    if on_gpu:  # as in training, where the data loader counts the pairs
        reach = assigner.reach(STRIDES)
        counts = candidate_counts(scene.anchors.levels, targets.boxes_xyxy, *reach)
        targets = replace(targets, n_pairs=int(counts.sum()))
    dense = DensePredictions(
        table_scores=scene.pred_scores, table_boxes_xyxy=scene.pred_boxes_xyxy, waits=not on_gpu
    )
    return lambda: assigner.assign(dense, scene.anchors, targets)


def _plain_simota(scene: Scene) -> Call:
    predictions = scene.pred_scores, scene.pred_boxes_xyxy
    return lambda: plain_simota(*predictions, scene.anchors, scene.targets)


def _loss(
    scene: Scene, make: Callable[[DetectionModel], Any], counted: LossOptions | None = None
) -> Call:
    """Run a loss forward and backward to the head's outputs, with counted pairs on a GPU."""
    targets, device = scene.targets, scene.pred_scores.device
    model = DetectionModel("yolo11n.yaml", nc=scene.case.n_classes, verbose=False).to(device)
    model.args = get_cfg()
    loss, outputs = make(model), head_outputs(scene)
    batch: dict[str, Any] = {
        "batch_idx": targets.images.float(),
        "cls": targets.labels[:, None].float(),
        "bboxes": xyxy2xywh(targets.boxes_xyxy) / scene.case.side,
    }
    if counted and device.type == "cuda":
        counter = PairCounter.of_loss(counted, STRIDES)
        batch["n_pairs"] = counter.count(batch["bboxes"].cpu(), (scene.case.side,) * 2)

    def call() -> Tensor:
        for name in ("scores", "boxes"):
            outputs[name].grad = None  # type: ignore[union-attr]
        parts: Tensor = loss(outputs, batch)[0]
        torch.autograd.backward(parts.sum())
        return parts

    return call


def _omr_loss(assigner: AssignerName) -> Callable[[Scene], Call]:
    similarity: SimilarityName = "iou" if assigner == "simota" else "ciou"
    options = replace(STOCK, assigner=assigner, similarity=similarity)
    return lambda scene: _loss(scene, lambda model: DetectionLoss(model, options=options), options)


TASKS: dict[str, Callable[[Scene], Call]] = {
    "ultralytics": lambda scene: _dense(scene, TaskAlignedAssigner),
    "sparse_drop_in": lambda scene: _dense(scene, SparseDropIn),
    "sparse_tal": lambda scene: _sparse(
        scene, SparseTaskAlignedAssigner(num_classes=scene.case.n_classes)
    ),
    "sparse_simota": lambda scene: _sparse(scene, SparseSimOTA(num_classes=scene.case.n_classes)),
    "static": lambda scene: _sparse(scene, StaticAssigner()),
    "plain_simota": _plain_simota,
    "ultralytics_loss": lambda scene: _loss(scene, v8DetectionLoss),
    "loss_tal": _omr_loss("tal"),
    "loss_simota": _omr_loss("simota"),
    "loss_static": _omr_loss("static"),
}
"""Functions that prepare a call for a scene, by task name."""


def peers(task: str) -> tuple[str, str]:
    """Return the tasks that a task is compared with: Ultralytics' and the sparse version."""
    return ("ultralytics_loss", "loss_tal") if "loss" in task else ("ultralytics", "sparse_tal")


def estimated_gb(task: str, case: Case) -> float:
    """Estimate the memory of a task with dense tables; 0 for all others."""
    if not task.startswith("ultralytics"):
        return 0.0
    cells = case.n_images * int(case.counts.max()) * case.n_points
    return cells * CELL_BYTES / 2**30


def n_positives(result: object) -> int | None:
    """Count the positives of an assigner's result; None for a loss."""
    if isinstance(result, Assignment):
        return int((result.weights > 0).sum())
    return int(result[3].sum()) if isinstance(result, tuple) else None
