"""Assignments on the device compared with those on the CPU, from tables of predictions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from device_cases import (
    CPU,
    assert_near,
    assert_same_positives,
    fitting_boxes,
    moved,
    paired_boxes,
)
from torch import Tensor
from torch.nn import functional

from training.assigners.assigner import Assigner
from training.assigners.assignment import Anchors, Targets
from training.assigners.similarity import SIMILARITIES, SimilarityByClass
from training.assigners.simota import SparseSimOTA
from training.assigners.static import StaticAssigner
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.assigners.ultralytics_drop_in import SparseDropIn, SparseSimOTADropIn

IMGSZ, STRIDES, N_CLASSES = (96, 160), [8, 16, 32], 3


def scene(counts: list[int], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Draw padded ground truth, and predictions that fit it."""
    generator = torch.Generator().manual_seed(1)
    points = Anchors.of_image(IMGSZ, STRIDES).points_xy
    n_images, most = len(counts), max(counts)
    boxes = [paired_boxes(count, IMGSZ, generator) for count in counts]
    mask = (torch.arange(most) < torch.tensor(counts)[:, None])[..., None].float()
    labels = torch.randint(N_CLASSES, (n_images, most, 1), generator=generator) * mask
    padded = [functional.pad(own, (0, 0, 0, most - len(own))) for own in boxes]
    predicted = [fitting_boxes(own, points, generator) for own in boxes]
    return {
        "scores": torch.rand(n_images, len(points), N_CLASSES, generator=generator).to(dtype),
        "boxes": torch.stack(predicted).to(dtype),
        "points": points,
        "gt_labels": labels,
        "gt_boxes": torch.stack(padded),
        "mask": mask,
    }


def targets_of(tables: dict[str, Tensor]) -> Targets:
    images, places = tables["mask"].squeeze(-1).bool().nonzero(as_tuple=True)
    return Targets(
        images=images,
        labels=tables["gt_labels"][images, places, 0].long(),
        boxes_xyxy=tables["gt_boxes"][images, places],
    )


def tal(device: torch.device, **options: Any) -> Assigner:  # noqa: ANN401
    return SparseTaskAlignedAssigner(num_classes=N_CLASSES, **options)


def tal_by_class(device: torch.device, **options: Any) -> Assigner:  # noqa: ANN401
    """Assign with a separate similarity and beta for each class, as for groups of heads."""
    measures = tuple(SIMILARITIES.values())
    choice = torch.tensor([0, 1, 3], device=device)
    beta = torch.tensor([6.0, 4.0, 2.5], device=device)
    by_class = SimilarityByClass(measures=measures, choice=choice)
    return SparseTaskAlignedAssigner(
        num_classes=N_CLASSES, beta=beta, similarity=by_class, **options
    )


def simota(device: torch.device, **options: Any) -> Assigner:  # noqa: ANN401
    return SparseSimOTA(num_classes=N_CLASSES, **options)


def static(device: torch.device, **options: Any) -> Assigner:  # noqa: ANN401
    return StaticAssigner(**options)


CASES: dict[str, tuple[Callable[..., Assigner], dict[str, Any]]] = {
    **{f"tal {name}": (tal, {"similarity": measure}) for name, measure in SIMILARITIES.items()},
    **{
        f"simota {name}": (simota, {"similarity": measure})
        for name, measure in SIMILARITIES.items()
    },
    "tal, one point": (tal, {"topk": 7, "topk2": 1}),
    "tal, three points": (tal, {"topk": 7, "topk2": 3, "min_score": 0.25, "eps": 1e-16}),
    "tal by class": (tal_by_class, {}),
    "simota, one point": (simota, {"max_points": 1}),
    "static": (static, {}),
    "static, one point": (static, {"max_points": 1}),
}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("counts", [[0, 0], [1], [9, 0, 30, 1]], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_positives(case: str, counts: list[int], dtype: torch.dtype, device: torch.device) -> None:
    make, options = CASES[case]
    tables = scene(counts, dtype)
    found, expected = (
        make(where, **options)(
            own["scores"], own["boxes"], Anchors.of_image(IMGSZ, STRIDES, where), targets_of(own)
        )
        for where, own in ((device, moved(tables, device)), (CPU, tables))
    )
    assert bool(len(expected)) == any(counts)
    assert found.gts.device.type == device.type
    assert_same_positives(case, found, expected)


@pytest.mark.gpu(covers=["training.assigners.torch_ties:TorchTiesAssigner.select"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("topk2", [None, 1])
@pytest.mark.parametrize("counts", [[1], [9, 0, 30, 1]], ids=str)
def test_drop_in_for_ultralytics(
    counts: list[int], topk2: int | None, dtype: torch.dtype, device: torch.device
) -> None:
    assert_same_drop_in(SparseDropIn, counts, topk2, dtype, device)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("topk2", [None, 1])
@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        (SparseDropIn, [0, 0]),
        (SparseSimOTADropIn, [0, 0]),
        (SparseSimOTADropIn, [1]),
        (SparseSimOTADropIn, [9, 0, 30, 1]),
    ],
)
def test_drop_in_without_a_choice_of_ties(
    kind: Callable[..., Any],
    counts: list[int],
    topk2: int | None,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    assert_same_drop_in(kind, counts, topk2, dtype, device)


def assert_same_drop_in(
    kind: Callable[..., Any],
    counts: list[int],
    topk2: int | None,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    tables = scene(counts, dtype)
    found, expected = (
        kind(topk=7, num_classes=N_CLASSES, alpha=0.5, beta=6.0, stride=STRIDES, topk2=topk2)(
            *moved(tables, where).values()
        )
        for where in (device, CPU)
    )
    names = "labels", "boxes", "scores", "positives", "chosen boxes"
    for name, result, wanted in zip(names, found, expected, strict=True):
        assert result.device.type == device.type
        assert_near(name, result, wanted)
    assert bool(expected[3].any()) == any(counts)
