from itertools import islice
from typing import Any

import pytest
import torch
from detector_models import N_CLASSES, config, images, single, with_heads
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from benchmarks.multihead_memory import LiveTensors, batch_of, model_of, step
from settings.training import AssignerName
from training.heads.box_maps import BoxMaps
from training.losses.detection import detection_criterion
from training.losses.loss_options import LossOptions

SIDE = 96
N_POINTS = 12**2 + 6**2 + 3**2
N_SIDES = 4 * 18
"""Logits per group: bins for -2 to 15 strides."""


def box_maps(model: DetectionModel, n_images: int = 3) -> BoxMaps:
    with torch.no_grad():
        maps = model.eval()(images(n_images, SIDE))[1]["boxes"]
    assert isinstance(maps, BoxMaps)
    return maps


def table(maps: BoxMaps) -> Tensor:
    """Compute the table of all groups, like in training."""
    levels = zip(maps.branches, maps.maps, strict=True)
    sides = [torch.cat([branch(x).flatten(2) for branch in own], dim=1) for own, x in levels]
    return torch.cat(sides, dim=2)


def labels_of(n: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return {
        "batch_idx": torch.randint(0, 3, (n,), generator=generator).sort().values.float(),
        "cls": torch.randint(0, N_CLASSES, (n, 1), generator=generator).float(),
        "bboxes": torch.rand(n, 4, generator=generator) * torch.tensor([1, 1, 0.3, 0.3]),
    }


@torch.no_grad()
def test_sides_at_slots_equal_those_of_the_whole_table() -> None:
    maps = box_maps(with_heads(single("yolo11n"), config("separate")))
    whole = table(maps)
    assert maps.shape == whole.shape == (3, 2 * N_SIDES, N_POINTS)
    by_place = whole.unflatten(1, (2, N_SIDES)).flatten(0, 1).transpose(1, 2)
    generator = torch.Generator().manual_seed(0)
    for n in (0, 1, 50):
        rows = torch.randint(0, 6, (n,), generator=generator)
        points = torch.randint(0, N_POINTS, (n,), generator=generator)
        found = maps.at(rows, points)
        assert found.shape == (n, N_SIDES)
        torch.testing.assert_close(found, by_place[rows, points], rtol=1e-4, atol=1e-5)


def with_tables(raw: dict[str, Any]) -> dict[str, Any]:
    """Evaluate a head with tables of all sides, like in training."""
    tables = {"boxes": table(raw["boxes"])} if "boxes" in raw else {}
    return {k: with_tables(v) if isinstance(v, dict) else v for k, v in raw.items()} | tables


@pytest.mark.parametrize("assigner", ["tal", "simota", "static"])
@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
@torch.no_grad()
def test_the_validation_loss_equals_that_of_the_whole_table(
    name: str, assigner: AssignerName
) -> None:
    model = with_heads(single(name), config("separate"))
    criterion = detection_criterion(model, LossOptions(assigner=assigner))
    found, raw = model.eval()(images(3, SIDE))
    for n_symbols in (0, 40):
        labels = labels_of(n_symbols)
        losses, expected = (
            criterion((found, raw), labels),
            criterion((found, with_tables(raw)), labels),
        )
        torch.testing.assert_close(losses[0], expected[0], rtol=1e-5, atol=1e-7)
        assert bool(losses[0][0]) == bool(n_symbols)


@torch.no_grad()
def test_half_precision_is_restored_for_lazy_boxes() -> None:
    """Compute the boxes outside of autocast, like the loss."""
    model = with_heads(single("yolo11n"), config("separate"))
    criterion = detection_criterion(model, LossOptions())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, raw = model.eval()(images(3, SIDE))
        whole = table(raw["boxes"])
        losses, _ = criterion((found, raw), labels_of(40))
    assert whole.dtype == torch.bfloat16
    places = torch.tensor([0, 5]), torch.tensor([0, N_POINTS - 1])
    by_place = whole.unflatten(1, (2, N_SIDES)).flatten(0, 1).transpose(1, 2)
    again = raw["boxes"].at(*places)
    assert again.dtype == torch.float32
    torch.testing.assert_close(again, by_place[places].float(), rtol=0.02, atol=0.02)
    expected, _ = criterion((found, raw | {"boxes": whole}), labels_of(40))
    torch.testing.assert_close(losses, expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(("name", "n_classes"), [("yolo11n", 136), ("yolov8n-p2", 42)])
def test_validation_takes_little_more_memory_than_with_a_single_head(
    name: str, n_classes: int
) -> None:
    """Compare peak bytes of tensors, which grow proportionally with images and pixels."""
    peaks = {}
    for kind in ("single", "separate"):
        model, batch = model_of(name, n_classes, kind), batch_of(2, n_classes)
        with LiveTensors() as live:
            network_and_loss = islice(
                step(model, torch.rand(2, 3, 160, 160), batch, live.peak_mb), 2
            )
            peaks[kind] = max(network_and_loss)
    assert peaks["separate"] < 1.25 * peaks["single"]
