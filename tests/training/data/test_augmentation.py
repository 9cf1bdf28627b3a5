from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset
from ultralytics.data.augment import RandomPerspective
from ultralytics.utils.instance import Instances

from training.data.augmentation import MIN_VISIBLE, SymbolCounter, VisiblePerspective, visible_share

SIDE = 200
STEMS = [[x, 40.0, x + 1, 160.0] for x in range(20, 180, 10)]


def image(boxes: list[list[float]]) -> dict[str, Any]:
    return {
        "img": np.zeros((SIDE, SIDE, 3), np.uint8),
        "cls": np.zeros((len(boxes), 1), np.float32),
        "instances": Instances(
            np.array(boxes, np.float32).reshape(-1, 4), bbox_format="xyxy", normalized=False
        ),
    }


def transform(n_workers: int = 0, **options: float) -> VisiblePerspective:
    return VisiblePerspective(SymbolCounter(1, n_workers), size=(SIDE, SIDE), **options)


@pytest.mark.parametrize(
    ("box", "share"),
    [
        pytest.param([0, 0, 10, 10], 1, id="inside"),
        pytest.param([-5, 0, 5, 10], 0.5, id="half out on the left"),
        pytest.param([-5, -8, 5, 2], 0.2, id="corner: the smaller side counts"),
        pytest.param([195, 0, 215, 10], 0.25, id="three quarters out on the right"),
        pytest.param([-20, 0, -5, 10], 0, id="out"),
        pytest.param([200, 0, 210, 10], 0, id="just out"),
        pytest.param([7, 0, 8, 150], 1, id="stem of a pixel"),
        pytest.param([7, 0, 7, 150], 1, id="no width"),
        pytest.param([200, 0, 200, 150], 0, id="no width, on the border"),
        pytest.param([-100, 0, 300, 10], 0.5, id="wider than the image"),
    ],
)
def test_visible_share(box: list[float], share: float) -> None:
    assert visible_share(np.array([box]), (SIDE, SIDE)).tolist() == [share]


def test_no_symbols() -> None:
    assert visible_share(np.empty((0, 4)), (SIDE, SIDE)).shape == (0,)
    operation = transform(translate=0.5)
    labels = operation(image([]))
    assert len(labels["instances"]) == len(labels["cls"]) == 0
    assert operation.counter.totals().tolist() == [[0], [0]]


def test_the_stock_transform_would_have_dropped_every_stem() -> None:
    stock = RandomPerspective(translate=0.0, scale=0.0, size=(SIDE, SIDE))
    assert len(stock(image(STEMS))["cls"]) == 0
    assert len(transform(translate=0.0, scale=0.0)(image(STEMS))["cls"]) == len(STEMS)


sides = st.one_of(st.just(1.0), st.floats(1, 150))


@given(
    boxes=st.lists(st.tuples(st.floats(0, 190), st.floats(0, 190), sides, sides), max_size=20),
    translate=st.floats(0, 0.6),
    scale=st.floats(0, 0.5),
)
def test_what_is_visible_stays_and_the_rest_is_counted(
    boxes: list[tuple[float, float, float, float]], translate: float, scale: float
) -> None:
    inside = [[x, y, min(x + w, SIDE), min(y + h, SIDE)] for x, y, w, h in boxes]
    operation = transform(translate=translate, scale=scale)
    labels = image(inside)
    params = operation.get_params(labels)
    factor, _, x_shift, _, _, y_shift = params["M"][:2].ravel()
    moved = np.array(inside).reshape(-1, 4) * factor + [x_shift, y_shift] * 2
    share = visible_share(moved, (SIDE, SIDE))
    labels = operation.apply_instances(labels, params)
    n_kept = len(labels["instances"])
    # Ultralytics works in single precision: leave the limit itself undecided.
    assert (share >= MIN_VISIBLE + 1e-3).sum() <= n_kept <= (share >= MIN_VISIBLE - 1e-3).sum()
    assert operation.counter.totals().tolist() == [[len(boxes)], [len(boxes) - n_kept]]
    assert len(labels["cls"]) == n_kept
    boxes_xyxy = labels["instances"].bboxes
    assert ((boxes_xyxy >= 0) & (boxes_xyxy <= SIDE)).all()
    assert (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all()


class _Stems(Dataset[int]):
    def __init__(self, operation: VisiblePerspective) -> None:
        self.operation = operation

    def __len__(self) -> int:
        return 40

    def __getitem__(self, _index: int) -> int:
        return len(self.operation(image([*STEMS, [-40.0, 0.0, 1.0, 10.0]]))["cls"])


@pytest.mark.parametrize("n_workers", [0, 2])
def test_all_workers_counts_are_added(n_workers: int) -> None:
    operation = transform(n_workers, translate=0.0, scale=0.0)
    kept = torch.cat(list(DataLoader(_Stems(operation), batch_size=4, num_workers=n_workers)))
    assert operation.counter.totals().tolist() == [[40 * 17], [40]]
    assert int(kept.sum()) == 40 * 16
    rows = operation.counter._table[0, 0].sum(dim=1)  # of the first epoch's seen symbols
    assert (rows > 0).tolist() == [n_workers == 0] + [True] * n_workers, "each its own row"
    operation.counter.epoch = 1
    operation(image([*STEMS]))
    assert operation.counter.take(0).tolist() == [[40 * 17], [40]], "not of the second epoch"
    assert operation.counter.totals().tolist() == [[16], [0]]
