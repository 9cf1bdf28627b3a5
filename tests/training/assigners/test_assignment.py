import pytest
import torch
from ultralytics.utils.tal import make_anchors

from training.assigners.assignment import Anchors, Level, SmallBoxes, Targets, min_sides
from training.assigners.simota import SparseSimOTA
from training.assigners.task_aligned import SparseTaskAlignedAssigner


@pytest.mark.parametrize(
    ("small_boxes", "strides", "expected"),
    [
        ("none", [], ()),
        ("ultralytics", [], ()),
        ("ultralytics", [16], (16,)),
        ("ultralytics", [4, 8, 16], (8, 8, 8)),
        ("none", [8, 16], (0, 0)),
        ([5, 6.5], [8, 16], (5, 6.5)),
    ],
)
def test_min_sides(
    small_boxes: SmallBoxes, strides: list[float], expected: tuple[float, ...]
) -> None:
    assert min_sides(small_boxes, strides) == expected


@pytest.mark.parametrize("small_boxes", ["some", "", [8.0, -1.0], -1])
def test_other_policies_are_refused(small_boxes: SmallBoxes) -> None:
    with pytest.raises(ValueError, match=r"^small_boxes: .*: expected .* per level$"):
        min_sides(small_boxes, [8, 16])
    with pytest.raises(ValueError, match=r"^small_boxes: .*: expected "):
        SparseTaskAlignedAssigner(num_classes=1, small_boxes=small_boxes)
    with pytest.raises(ValueError, match=r"^small_boxes: .*: expected "):
        SparseSimOTA(num_classes=1, small_boxes=small_boxes)


def test_a_missing_length_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^small_boxes: 1 lengths; expected one per level \(2\)$"):
        min_sides([8.0], [8, 16])


@pytest.mark.parametrize(
    ("imgsz", "strides", "size"),
    [
        ((96, 160), [8, 16, 32], (160, 96)),
        ((96, 160), [32, 8], (160, 96)),
        ((32, 32), [32], (32, 32)),
    ],
)
def test_size(imgsz: tuple[int, int], strides: list[float], size: tuple[int, int]) -> None:
    assert Anchors.of_image(imgsz, strides).size == size


def test_points_equal_ultralytics() -> None:
    strides = [8, 16, 32]
    features = [torch.empty(1, 1, 96 // stride, 160 // stride) for stride in strides]
    points, each = make_anchors(features, strides)
    anchors = Anchors.of_image((96, 160), strides)
    assert torch.equal(anchors.points_xy, points * each)
    assert torch.equal(anchors.strides, each.squeeze(1))
    assert len(anchors) == 20 * 12 + 10 * 6 + 5 * 3
    assert anchors.levels[2] == Level(height=3, width=5, stride=32)


def test_no_levels() -> None:
    assert len(Anchors.of_image((64, 64), [])) == 0


def test_sides_must_be_multiples_of_the_strides() -> None:
    with pytest.raises(ValueError, match=r"^imgsz: \(64, 72\) is not a multiple .* \[8, 16\]$"):
        Anchors.of_image((64, 72), [8, 16])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"the levels have 6 cells, but points_xy has shape \(5, 2\)"
    ):
        Anchors(
            points_xy=torch.zeros(5, 2),
            strides=torch.zeros(5),
            levels=(Level(height=2, width=3, stride=8),),
        )
    with pytest.raises(ValueError, match=r"^targets: .* have shapes \(2,\), \(1,\), \(2, 4\)$"):
        Targets(
            images=torch.zeros(2, dtype=torch.int64),
            labels=torch.zeros(1, dtype=torch.int64),
            boxes_xyxy=torch.zeros(2, 4),
        )
