import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from remembering import Remembering
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from training.heads.distance_bins import allow_below_zero
from training.heads.size_prior import (
    WEIGHT_SCALE,
    ClassSize,
    class_sizes,
    level_priors,
    reach_of,
    set_size_prior,
    start_logits,
)
from training.losses.detection import detection_criterion
from training.losses.loss_options import STOCK, LossOptions

SIDE = 320
# Music at half size: width, height and count of each class on a tile.
SYMBOLS = {
    "notehead": (15, 12, 12),
    "stem": (2, 38, 12),
    "dot": (5, 5, 3),
    "beam": (40, 7, 3),
    "clef": (29, 84, 1),
    "staff": (320, 47, 2),
}


def drawn(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw labels (N,) and boxes (N, 4) of a tile, ``cx, cy, w, h`` in pixels."""
    rng = np.random.default_rng(seed)
    labels, boxes = [], []
    for label, (width, height, count) in enumerate(SYMBOLS.values()):
        for _ in range(count):
            low = np.array([width, height]) / 2
            centre = rng.uniform(low, np.maximum(SIDE - low, low + 1e-3))
            labels.append(label)
            boxes.append([*centre, width, height])
    return torch.tensor(labels), torch.tensor(boxes, dtype=torch.float32)


def sizes() -> tuple[ClassSize, ...]:
    labels, boxes = drawn()
    return class_sizes(labels.numpy(), boxes[:, 2:].double().numpy())


def new_model(name: str) -> DetectionModel:
    torch.manual_seed(0)
    model = DetectionModel(f"{name}.yaml", nc=len(SYMBOLS), verbose=False)
    model.args = get_cfg()
    return model


def weights_of_classes(model: DetectionModel, options: LossOptions) -> Tensor:
    """Sum the target scores of each class in the first step, shape ``(C,)``."""
    criterion = detection_criterion(model, options)
    criterion = getattr(criterion, "one2many", criterion)
    labels, boxes = drawn()
    criterion.assigner = assigner = Remembering(criterion.assigner)
    preds = model.train()(torch.rand(2, 3, SIDE, SIDE))
    batch = {
        "batch_idx": torch.zeros(len(labels)),
        "cls": labels[:, None],
        "bboxes": boxes / SIDE,
    }
    criterion.loss(preds.get("one2many", preds), batch)
    [found] = assigner.results
    return torch.zeros(len(SYMBOLS)).index_add_(0, labels[found.gts], found.scores)


def test_no_classes() -> None:
    assert class_sizes(np.empty(0, np.int64), np.empty((0, 2))) == ()
    with pytest.raises(ValueError, match="sizes: empty; expected one or more classes"):
        level_priors((), [8, 16, 32], 14.9)


def test_class_sizes_are_medians() -> None:
    labels = np.array([4, 1, 4, 4])
    found = class_sizes(labels, np.array([[1, 9], [5, 6], [3, 7], [200, 8.0]]))
    assert [(size.label, size.count, size.width, size.height) for size in found] == [
        (1, 1, 5, 6),
        (4, 3, 3, 8),
    ]


def test_each_level_gets_a_size_of_the_data() -> None:
    priors = level_priors(sizes(), [8, 16, 32], 14.9).tolist()
    shapes = {(width, height) for width, height, _ in SYMBOLS.values()}
    assert {tuple(prior) for prior in priors} <= shapes
    assert priors[0] == [15, 12], "the finest level starts at the notehead"
    assert priors[2] == [320, 47], "the coarsest at the staff"


def test_a_prior_is_no_larger_than_the_bins_reach() -> None:
    huge = (ClassSize(label=0, count=1, width=5000.0, height=20.0),)
    priors = level_priors(huge, [8], 14.9)
    assert priors.tolist() == [[pytest.approx(2 * 14.9 * 8), 20]]
    assert level_priors(huge, [8], math.inf).tolist() == [[5000, 20]]


@given(st.lists(st.floats(0.02, 14.98), min_size=1, max_size=8))
def test_start_logits_have_the_given_mean(distances: list[float]) -> None:
    wanted = torch.tensor(distances)
    mean = (start_logits(wanted, 16).softmax(dim=-1) * torch.arange(16)).sum(dim=-1)
    assert torch.allclose(mean, wanted, atol=0.01)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo12n", "yolo26n"])
def test_a_new_head_predicts_its_levels_sizes(name: str, signed: bool) -> None:
    model = new_model(name)
    head = model.model[-1]
    if signed:
        allow_below_zero(head)
    stock = copy.deepcopy(head.state_dict())
    priors = torch.tensor([[15.0, 12.0], [12.0, 34.0], [320.0, 47.0]])
    set_size_prior(head, priors)
    assert all(
        torch.equal(value, stock[key])
        for key, value in head.state_dict().items()
        if not ("cv2" in key and ".2." in key)
    ), "nothing else is touched"
    assert torch.equal(head.cv2[0][-1].weight, stock["cv2.0.2.weight"] * WEIGHT_SCALE)
    model.eval()
    model.end2end = False
    with torch.no_grad():
        boxes = model(torch.rand(1, 3, SIDE, SIDE))[0][0, 2:4].T  # (A, 2)
    counts = [(SIDE // stride) ** 2 for stride in (8, 16, 32)]
    for level, prior in zip(boxes.split(counts), priors, strict=True):
        assert torch.allclose(level.median(dim=0).values, prior, rtol=0.25)
    if hasattr(head, "one2one_cv2"):
        assert torch.equal(head.one2one_cv2[0][-1].bias, head.cv2[0][-1].bias)


def test_bins_below_zero_reduce_the_reach() -> None:
    head = new_model("yolo11n").model[-1]
    assert reach_of(head) == pytest.approx(14.9)
    allow_below_zero(head)
    assert reach_of(head) == pytest.approx(14.9)
    assert reach_of(new_model("yolo26n").model[-1]) == math.inf


def test_there_must_be_one_prior_per_level() -> None:
    with pytest.raises(ValueError, match=r"priors: expected shape \(1, 3, 2\), got \(1, 2, 2\)"):
        set_size_prior(new_model("yolo11n").model[-1], torch.ones(2, 2))


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_every_class_has_weight_from_the_first_step(name: str) -> None:
    stock = weights_of_classes(new_model(name), STOCK)
    model = new_model(name)
    head = model.model[-1]
    set_size_prior(head, level_priors(sizes(), [8, 16, 32], reach_of(head)))
    ours = weights_of_classes(model, LossOptions())
    counts = torch.tensor([count for _, _, count in SYMBOLS.values()])
    small = [list(SYMBOLS).index(symbol) for symbol in ("notehead", "stem", "dot")]
    assert stock[small].min() < 1e-3, "a stock start gives some small symbols no weight"
    assert (ours / counts > 0.05).all(), ours.tolist()
