import math

import numpy as np
import pytest
import torch
from assignment_cases import Case, cases, in_any_order, one_box_per_point, one_by_one
from hypothesis import given, settings
from hypothesis import strategies as st

from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.predictions import DensePredictions
from training.assigners.static import StaticAssigner

assigners = st.builds(
    StaticAssigner,
    radius=st.sampled_from([0.4, 1.0, 1.5, 2.5]),
    level_size=st.sampled_from([1.0, 4.0, 16.0]),
    max_points=st.sampled_from([None, 1, 3]),
)


def of_case(case: Case, assigner: StaticAssigner) -> Assignment:
    return assigner.assign(case.predictions, case.anchors, case.targets)


def plain(case: Case, assigner: StaticAssigner) -> dict[tuple[int, int], int]:
    """Assign each image and point to a box, with a loop over boxes, in single precision."""
    points, strides = case.anchors.points_xy.numpy(), case.anchors.strides.numpy()
    owners: dict[tuple[int, int], int] = {}
    for image in range(len(case.mask)):
        takers: dict[int, list[int]] = {}
        claims: dict[int, list[tuple[np.float32, int]]] = {}
        for box in (case.targets.images == image).nonzero().squeeze(1).tolist():
            low, high = case.targets.boxes_xyxy[box].numpy().reshape(2, 2)
            fitting = [
                s for s in sorted(case.strides) if (high - low).max() <= assigner.level_size * s
            ]
            stride = fitting[0] if fitting else max(case.strides)
            centre, reach = (low + high) / 2, np.float32(assigner.radius * stride)
            near = (points - (centre - reach) > 1e-9) & ((centre + reach) - points > 1e-9)
            inside = np.flatnonzero(near.all(axis=1) & (strides == stride))
            distances = ((points[inside] - centre) ** 2).sum(axis=1)
            for point, distance in zip(inside.tolist(), distances, strict=True):
                claims.setdefault(point, []).append((distance, box))
            for place in np.argsort(distances, kind="stable")[: assigner.max_points]:
                takers.setdefault(int(inside[place]), []).append(box)
        won: dict[int, list[tuple[np.float32, int]]] = {}
        for point, boxes in takers.items():
            box = boxes[0] if len(boxes) == 1 else min(claims[point])[1]
            distance = next(d for d, claimant in claims[point] if claimant == box)
            won.setdefault(box, []).append((distance, point))
        for box, places in won.items():
            owners |= {(image, point): box for _, point in sorted(places)[: assigner.max_points]}
    return owners


@settings(max_examples=80, deadline=None)
@given(case=cases(), assigner=assigners)
def test_same_as_a_plain_implementation(case: Case, assigner: StaticAssigner) -> None:
    found = of_case(case, assigner)
    where = zip(found.images.tolist(), found.points.tolist(), strict=True)
    assert dict(zip(where, found.gts.tolist(), strict=True)) == plain(case, assigner)
    assert found.gts.tolist() == sorted(found.gts.tolist())
    assert (found.scores == 1).all()
    assert (found.weights == 1).all()


@settings(max_examples=15, deadline=None)
@given(case=cases(), assigner=assigners)
def test_no_point_has_two_boxes(case: Case, assigner: StaticAssigner) -> None:
    one_box_per_point(of_case(case, assigner), case.anchors, case.targets)


@settings(max_examples=15, deadline=None)
@given(case=cases(ties=False), assigner=assigners, seed=st.integers(0, 2**32))
def test_order_of_boxes_does_not_matter(case: Case, assigner: StaticAssigner, seed: int) -> None:
    in_any_order(assigner, case, seed)


@settings(max_examples=15, deadline=None)
@given(case=cases(), assigner=assigners, seed=st.integers(0, 2**32))
def test_boxes_of_different_images_may_alternate(
    case: Case, assigner: StaticAssigner, seed: int
) -> None:
    in_any_order(assigner, case, seed, within_images=False)


@settings(max_examples=15, deadline=None)
@given(case=cases(), assigner=assigners)
def test_images_do_not_affect_each_other(case: Case, assigner: StaticAssigner) -> None:
    one_by_one(assigner, case)


def placed(
    boxes: list[list[float]],
    assigner: StaticAssigner,
    *,
    strides: tuple[int, ...] = (16,),
    n_images: int = 1,
) -> list[tuple[int, int]]:
    """Assign within 64 x 64 px, and list point and box of each positive."""
    anchors = Anchors.of_image((64, 64), strides)
    none = torch.zeros(len(boxes), dtype=torch.int64)
    targets = Targets(
        images=none, labels=none, boxes_xyxy=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    )
    predictions = DensePredictions(
        table_scores=torch.full((n_images, len(anchors), 1), math.nan),
        table_boxes_xyxy=torch.full((n_images, len(anchors), 4), math.nan),
    )
    found = assigner.assign(predictions, anchors, targets)
    assert found.scores.dtype == found.weights.dtype == torch.float32
    return list(zip(found.points.tolist(), found.gts.tolist(), strict=True))


@pytest.mark.parametrize("n_images", [0, 1, 2])
def test_no_boxes(n_images: int) -> None:
    assert placed([], StaticAssigner(), n_images=n_images) == []


CORNER = [28.0, 30, 36, 34]


@pytest.mark.parametrize(
    ("boxes", "options", "expected"),
    [
        pytest.param([CORNER], {}, [(5, 0), (6, 0), (9, 0), (10, 0)], id="centre on a corner"),
        pytest.param([CORNER], {"max_points": 1}, [(5, 0)], id="one of four that are as near"),
        pytest.param([CORNER], {"max_points": 3}, [(5, 0), (6, 0), (9, 0)], id="three of them"),
        pytest.param([CORNER], {"radius": 0.5}, [], id="points at the radius are outside"),
        pytest.param([CORNER], {"radius": 0.51}, [(5, 0), (6, 0), (9, 0), (10, 0)], id="beyond"),
        pytest.param([[24, 24, 24, 24]], {}, [(5, 0)], id="on a point, no size"),
        pytest.param([[-900, -900, 948, 948]], {}, [(5, 0)], id="on a point, huge"),
        pytest.param([[20, 22, 30, 28]], {}, [(5, 0), (6, 0), (9, 0), (10, 0)], id="beside it"),
        pytest.param([[20, 22, 30, 28]], {"max_points": 2}, [(5, 0), (6, 0)], id="the nearest two"),
        pytest.param([[-8, -8, 4, 4]], {}, [(0, 0)], id="centre a little off the image"),
        pytest.param([[-20, -20, 3, 3]], {}, [], id="centre off the image"),
        pytest.param([[60, 60, 84, 62]], {}, [], id="centre off the image to the right"),
        pytest.param([[60, 60, 76, 62]], {}, [(15, 0)], id="a little to the right"),
        pytest.param([[math.nan, 0, 8, 8], [0, 0, math.inf, 8]], {}, [], id="no numbers"),
        pytest.param([[-1e38, -1e38, 1e38, 1e38]], {}, [(0, 0)], id="beyond measure"),
        pytest.param(
            [CORNER, [30, 20, 34, 44]],
            {},
            [(5, 0), (6, 0), (9, 0), (10, 0)],
            id="the same centre: the first has all",
        ),
        pytest.param(
            [CORNER, CORNER], {"max_points": 1}, [(5, 0)], id="and the second has no other choice"
        ),
        pytest.param(
            [[16, 24, 30, 24], [16, 24, 32, 24]],
            {},
            [(4, 0), (5, 1)],
            id="a point goes to the nearest centre",
        ),
        pytest.param(
            # Centres at 22, 26 and 23.9: the third is nearest to point 5, but took 9, to which
            # nobody is as near along y.
            [[22, 24, 22, 24], [26, 24, 26, 24], [24.5, 33, 24.5, 33]],
            {"max_points": 1},
            [(5, 0), (9, 2)],
            id="of equals the first box",
        ),
    ],
)
def test_points(
    boxes: list[list[float]], options: dict[str, float], expected: list[tuple[int, int]]
) -> None:
    assigner = StaticAssigner(**options)  # type: ignore[arg-type]
    assert placed(boxes, assigner) == expected


@pytest.mark.parametrize("strides", [(8, 16, 32), (32, 8, 16)])
@pytest.mark.parametrize(
    ("sides", "stride"),
    [
        ((0, 0), 8),
        ((3, 16), 8),
        ((16, 3), 8),
        ((16.01, 3), 16),
        ((3, 32), 16),
        ((32.01, 1), 32),
        ((64, 64), 32),
        ((64.01, 64), 32),
        ((9000, 1), 32),
    ],
)
def test_the_longer_side_determines_the_level(
    sides: tuple[float, float], stride: int, strides: tuple[int, ...]
) -> None:
    width, height = sides
    box = [32 - width / 2, 32 - height / 2, 32 + width / 2, 32 + height / 2]
    found = placed([box], StaticAssigner(level_size=2.0), strides=strides)
    anchors = Anchors.of_image((64, 64), strides)
    points = [point for point, _ in found]
    assert anchors.strides[points].tolist() == [stride] * 4
    low, high = 32 - stride / 2, 32 + stride / 2
    corners = [[low, low], [high, low], [low, high], [high, high]]
    assert anchors.points_xy[points].tolist() == corners


def test_boxes_of_two_levels_do_not_compete() -> None:
    found = placed([[4, 4, 4, 4], [0, 0, 48, 48]], StaticAssigner(level_size=2.0), strides=(32, 8))
    # Four points of stride 32, then those of stride 8.
    assert found == [(4, 0), (0, 1), (1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("name", ["radius", "level_size", "max_points"])
@pytest.mark.parametrize("value", [0, -1])
def test_invalid_options(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=r"^radius, level_size and max_points: must be above 0$"):
        StaticAssigner(**{name: value})
