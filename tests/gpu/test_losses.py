"""Losses on the device compared with those on the CPU, from the same head outputs."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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

from settings.head_config import BoxBranch
from settings.training import ClassLoss
from training.assigners.assignment import Assignment
from training.assigners.similarity import SIMILARITIES
from training.losses.assigner_factory import ASSIGNERS, PairCounter
from training.losses.detection import detection_criterion
from training.losses.loss_options import UNUSED, LossOptions

Results = tuple[dict[str, Tensor], list[Assignment]]
"""Losses, their parts and gradients by name, and the assignment of each branch."""

N_IMAGES, SIDE = 3, 128
COUNTS = 30, 0, 9
DEFAULT = LossOptions()
MODELS = (
    "omr-tiny",
    pytest.param("yolo26n", marks=slow),
    pytest.param("yolo11n", marks=slow),
)
"""Heads with bins, with two branches but no bins, and with more levels."""
OPTIONS = [
    LossOptions(assigner=assigner, similarity=similarity)
    for assigner in ASSIGNERS
    for similarity in SIMILARITIES
    if similarity == "ciou+nwd" or "similarity" not in UNUSED.get(assigner, ())
] + [
    LossOptions(assigner=assigner, class_loss=class_loss)
    for assigner in ASSIGNERS
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
    return f"{options.assigner}-{options.similarity}-{options.class_loss}"


@functools.cache
def built(name: str, box: BoxBranch | None, device: torch.device = CPU) -> DetectionModel:
    """Build a model, cached per device."""
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
    batch: dict[str, Any],
) -> Results:
    """Compute losses and gradients of a head's outputs on a device, and keep the assignments.

    Args:
        device: Device of the model.
        model: Only its head is read.
        options: Options of the loss.
        outputs: Outputs of the head, on any device.
        batch: Labels of the images, on any device.
    """
    criterion = detection_criterion(model, options)
    kept = noted(criterion)
    outputs, batch = moved(outputs, device), moved(batch, device)
    with never_waiting() if "n_pairs" in batch and device.type == "cuda" else nullcontext():
        losses, parts = criterion(outputs, batch)
        losses.sum().backward()
    assert losses.device.type == device.type
    gradients = {f"gradient of {name}": leaf.grad for name, leaf in leaves_of(outputs).items()}
    results = {"losses": losses} | {f"{name}": value for name, value in parts.items()} | gradients
    found = [assignment for branch in kept for assignment in branch.results]
    return results, [assignment.without_padding() for assignment in found]


@contextmanager
def never_waiting() -> Iterator[None]:
    """Make torch raise an error if the host would wait for the CUDA device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def compare(
    name: str,
    box: BoxBranch | None,
    device: torch.device,
    counts: tuple[int, ...],
    options: LossOptions = DEFAULT,
    dtype: torch.dtype = torch.float32,
    **more: Tensor,
) -> None:
    """Compare losses, gradients and positives; with a known number of pairs nothing may wait."""
    outputs = outputs_of(name, box, counts, dtype)
    batch = labels_of(counts, N_CLASSES, SIDE) | more
    expected = results_on(CPU, built(name, box), options, outputs, batch)
    model = built(name, box, device)
    counter = PairCounter.of_loss(options, model.model[-1].stride.tolist())
    known = {"n_pairs": counter.count(batch["bboxes"], (SIDE, SIDE))}
    for given in ({}, known):
        found = results_on(device, model, options, outputs, batch | given)
        assert_same_results(found, expected, has_labels=bool(len(batch["cls"])))


def assert_same_results(found: Results, reference: Results, *, has_labels: bool) -> None:
    """Compare the results of both devices."""
    (results, of_device), (expected, of_cpu) = found, reference
    assert len(of_cpu) == len(of_device) > 0
    for branch, (own, wanted) in enumerate(zip(of_device, of_cpu, strict=True)):
        assert bool(len(wanted)) == has_labels
        assert_same_positives(f"branch {branch}", own, wanted)
    for part, value in expected.items():
        # A gradient is rounded to the type of the logits.
        rounding = torch.finfo(value.dtype).eps if "gradient" in part else 0
        assert_near(part, results[part], value, max(1e-4, rounding))


@pytest.mark.gpu(
    covers=[
        "training.assigners.assignment:on_device",
    ]
)
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
def test_all_assigners_similarities_and_class_losses(
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
@pytest.mark.parametrize("assigner", ASSIGNERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_in_half_precision(
    name: str, dtype: torch.dtype, assigner: str, device: torch.device
) -> None:
    options = LossOptions(assigner=assigner)  # type: ignore[arg-type]
    compare(name, "separate", device, COUNTS, options, dtype)
