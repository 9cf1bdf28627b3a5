"""Losses of the device against those of the CPU, from the same outputs of a head."""

import functools
from typing import Any, get_args

import pytest
import torch
from detector_models import N_CLASSES, config, single, with_heads
from device_cases import (
    CPU,
    assert_near,
    assert_same_positives,
    head_outputs,
    labels_of,
    leaves_of,
    model_on,
    moved,
    noted,
)
from device_trainings import slow
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from training.assigners.assignment import Assignment
from training.assigners.nearness import OVERLAPS
from training.heads.head_config import BoxBranch
from training.losses.class_terms import ClassLoss
from training.losses.detection import UNUSED, LossOptions, detection_criterion

N_IMAGES, SIDE = 3, 128
COUNTS = 30, 0, 9
DEFAULT = LossOptions()
MODELS = (
    "omr-tiny",
    pytest.param("yolo26n", marks=slow),
    pytest.param("yolo11n", marks=slow),
)
"""A head with bins, one with two branches and none, and a larger one."""
OPTIONS = [
    LossOptions(assigner=assigner, overlap=overlap)
    for assigner in UNUSED
    for overlap in OVERLAPS
    if overlap == "near" or "overlap" not in UNUSED[assigner]
] + [
    LossOptions(assigner=assigner, class_loss=class_loss)
    for assigner in UNUSED
    for class_loss in get_args(ClassLoss)
    if class_loss != "bce"
]


@functools.cache
def outputs_of(
    name: str, box: BoxBranch | None, counts: tuple[int, ...], dtype: torch.dtype
) -> dict[str, Any]:
    batch = labels_of(counts, N_CLASSES, SIDE)
    return head_outputs(built(name, box), batch, N_IMAGES, SIDE, dtype=dtype)


def name_of(options: LossOptions) -> str:
    return f"{options.assigner}-{options.overlap}-{options.class_loss}"


@functools.cache
def built(name: str, box: BoxBranch | None, device: torch.device = CPU) -> DetectionModel:
    """Build a model once for each device."""
    if device != CPU:
        return model_on(built(name, box), device)
    model = with_heads(single(name), config(box)) if box else single(name)
    model.args = get_cfg()
    return model


def results_on(
    device: torch.device,
    model: DetectionModel,
    options: LossOptions,
    outputs: dict[str, Any],
    batch: dict[str, Tensor],
) -> tuple[dict[str, Tensor], list[Assignment]]:
    """Compute losses and gradients of a head's outputs on a device, and keep the assignments.

    Args:
        device: Device of the model.
        model: Only its head is read.
        options: How to assign and weigh.
        outputs: Of the head, on any device.
        batch: Labels of the images, on any device.
    """
    criterion = detection_criterion(model, options)
    kept = noted(criterion)
    outputs = moved(outputs, device)
    losses, parts = criterion(outputs, moved(batch, device))
    losses.sum().backward()
    assert losses.device.type == device.type
    gradients = {f"gradient of {name}": leaf.grad for name, leaf in leaves_of(outputs).items()}
    results = {"losses": losses} | {f"{name}": value for name, value in parts.items()} | gradients
    return results, [assignment for branch in kept for assignment in branch.results]


def compare(
    name: str,
    box: BoxBranch | None,
    device: torch.device,
    counts: tuple[int, ...],
    options: LossOptions = DEFAULT,
    dtype: torch.dtype = torch.float32,
    **more: Tensor,
) -> None:
    outputs = outputs_of(name, box, counts, dtype)
    batch = labels_of(counts, N_CLASSES, SIDE) | more
    expected, of_cpu = results_on(CPU, built(name, box), options, outputs, batch)
    model = built(name, box, device)
    results, of_device = results_on(device, model, options, outputs, batch)
    assert len(of_cpu) == len(of_device) > 0
    for branch, (found, wanted) in enumerate(zip(of_device, of_cpu, strict=True)):
        assert bool(len(wanted)) == bool(len(batch["cls"]))
        assert_same_positives(f"branch {branch}", found, wanted)
    for part, value in expected.items():
        # A gradient is rounded to the type of the logits.
        rounding = torch.finfo(value.dtype).eps if "gradient" in part else 0
        assert_near(part, results[part], value, max(1e-4, rounding))


@pytest.mark.gpu(covers=["training.assigners.pairs:Pairs.best"])
@pytest.mark.usefixtures("exact_fp32")
@pytest.mark.parametrize("counts", [(0, 0, 0), COUNTS], ids=["no symbols", "symbols"])
@pytest.mark.parametrize("box", [None, "shared", "separate"])
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients(
    name: str, box: BoxBranch | None, counts: tuple[int, ...], device: torch.device
) -> None:
    compare(name, box, device, counts)


@pytest.mark.gpu
@pytest.mark.usefixtures("exact_fp32")
@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
@pytest.mark.parametrize("name", MODELS)
def test_all_assigners_overlaps_and_class_losses(
    name: str, options: LossOptions, device: torch.device
) -> None:
    compare(name, "separate", device, COUNTS, options)


@pytest.mark.gpu
@pytest.mark.usefixtures("exact_fp32")
@pytest.mark.parametrize("box", [None, "separate"])
@pytest.mark.parametrize("name", MODELS)
def test_class_masks(name: str, box: BoxBranch | None, device: torch.device) -> None:
    mask = torch.tensor([[True, False, True], [True, True, True], [False, False, True]])
    compare(name, box, device, COUNTS, class_mask=mask)


@pytest.mark.gpu
@pytest.mark.usefixtures("exact_fp32")
@pytest.mark.parametrize("assigner", UNUSED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_in_half_precision(
    name: str, dtype: torch.dtype, assigner: str, device: torch.device
) -> None:
    options = LossOptions(assigner=assigner)  # type: ignore[arg-type]
    compare(name, "separate", device, COUNTS, options, dtype)
