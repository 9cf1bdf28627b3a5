from importlib import metadata

import pytest
import torch
import ultralytics
from ultralytics.utils.tal import TaskAlignedAssigner

from class_maps import ConfigError
from training.memory.dense_assigner import TABLES, dense_assigner_bytes
from training.memory.timeline import Recorder


def measured(n_images: int, n_boxes: int, n_points: int, n_classes: int) -> int:
    torch.manual_seed(0)
    assigner = TaskAlignedAssigner(
        topk=10, num_classes=n_classes, alpha=0.5, beta=6.0, stride=[8, 16, 32]
    )
    corners = torch.rand(n_images, n_boxes, 2) * 300
    pred_corners = torch.rand(n_images, n_points, 2) * 300
    inputs = (
        torch.rand(n_images, n_points, n_classes),
        torch.cat((pred_corners, pred_corners + 20), dim=2),
        torch.rand(n_points, 2) * 320,
        torch.zeros(n_images, n_boxes, 1),
        torch.cat((corners, corners + 10), dim=2),
        torch.ones(n_images, n_boxes, 1),
    )
    with Recorder() as recorder:
        assigner(*inputs)
    timeline = recorder.timeline()
    return int(timeline.live(timeline.sizes(1)).max())


@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 2100, 1), (2, 300, 2100, 20), (4, 100, 525, 20), (2, 10, 2100, 208)],
)
def test_prediction_matches_the_installed_version(sizes: tuple[int, int, int, int]) -> None:
    expected = measured(*sizes)

    assert dense_assigner_bytes(None, *sizes) == pytest.approx(expected, rel=0.15)
    assert dense_assigner_bytes(ultralytics.__version__, *sizes) == pytest.approx(
        expected, rel=0.15
    )


@pytest.mark.parametrize(
    ("version", "bytes_per_pair"),
    [
        ("8.4.145", 11), ("8.4.175", 11), ("8.4.176", 14), ("8.4.190", 14), ("9.0.0", 14),
        ("8.4.145.dev1", 11),
    ],
)  # fmt: skip
def test_many_boxes_take_tables_of_boxes_and_anchor_points(
    version: str, bytes_per_pair: int
) -> None:
    assert dense_assigner_bytes(version, 32, 1250, 8400, 20) == bytes_per_pair * 32 * 1250 * 8400


def test_few_boxes_take_tables_of_anchor_points_and_classes() -> None:
    by_hand = 2 * 8400 * (9 * 1 + 5 * 208 + 48)

    assert dense_assigner_bytes("8.4.145", 2, 1, 8400, 208) == by_hand


def test_no_boxes_take_no_memory() -> None:
    assert dense_assigner_bytes(None, 2, 0, 8400, 20) == 0


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("newest", "Ultralytics newest: malformed version; expected e.g. 8.4.145"),
        ("8.4.144", "Ultralytics 8.4.144: not supported; expected 8.4.145 or newer"),
    ],
)
def test_a_malformed_or_too_old_version_is_an_error(version: str, message: str) -> None:
    with pytest.raises(ConfigError) as info:
        dense_assigner_bytes(version, 2, 1, 8400, 208)

    assert str(info.value) == message


def test_the_oldest_supported_version_is_that_of_the_requirements() -> None:
    requirements = metadata.requires("omr-toolkit") or []
    oldest = ".".join(map(str, TABLES[-1][0]))

    assert f"ultralytics>={oldest}" in requirements
