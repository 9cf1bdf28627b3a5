from collections.abc import Callable

import pytest
import torch
from host_syncs import HostSyncs
from torch import Tensor
from torchvision.ops import nms

from class_maps import OmrError
from reading.suppression import NMS_IOU_THRESH, NON_FINITE, symbols_of
from training.predict import detections as module
from training.predict.detections import (
    Detections,
    detections,
    suppress_at_once,
    suppress_by_class,
)


def anchors(*rows: tuple[float, float, float, float, float, float]) -> Tensor:
    """``cx, cy, w, h`` and the scores of two classes, shape (1, 6, A)."""
    return torch.tensor(rows, dtype=torch.float32).reshape(1, -1, 6).transpose(1, 2)


def random_output(n_images: int, n_anchors: int, n_classes: int, seed: int = 0) -> Tensor:
    """Crowded boxes; scores with ties."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(n_images, 2, n_anchors, generator=generator) * 60
    size = torch.rand(n_images, 2, n_anchors, generator=generator) * 20 + 4
    shape = n_images, n_classes, n_anchors
    scores = torch.randint(0, 50, shape, generator=generator) / 50
    return torch.cat([centre, size, scores], dim=1)


def one_by_one(output: Tensor, score_thresh: float, max_det: int) -> tuple[Tensor, Tensor, Tensor]:
    """The detections of one image, shape (4 + C, A), by the definition: every class on its own."""
    centre, size, scores = output[:2].T, output[2:4].T, output[4:].T
    boxes_xyxy = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    anchor, labels = (scores > score_thresh).nonzero(as_tuple=True)
    boxes_xyxy, scores = boxes_xyxy[anchor], scores[anchor, labels]
    kept = torch.zeros(len(scores), dtype=torch.bool)
    for label in labels.unique():
        of_class = (labels == label).nonzero()[:, 0]
        kept[of_class[nms(boxes_xyxy[of_class], scores[of_class], NMS_IOU_THRESH)]] = True
    order = kept.nonzero()[:, 0]
    order = order[scores[order].sort(descending=True, stable=True).indices][:max_det]
    return boxes_xyxy[order], labels[order], scores[order]


def assert_same(detected: Detections, expected: tuple[Tensor, Tensor, Tensor]) -> None:
    for part, own in zip(
        expected, (detected.boxes_xyxy, detected.labels, detected.scores), strict=True
    ):
        assert torch.equal(own, part)


@pytest.mark.parametrize(
    ("output", "labels"),
    [
        pytest.param(anchors(), [], id="no anchors"),
        pytest.param(anchors((5, 5, 4, 4, 0.1, 0.0)), [], id="too low"),
        pytest.param(
            anchors((5, 5, 4, 4, 0.6, 0.0), (5, 5, 4, 4, 0.9, 0.0)), [0], id="the better stays"
        ),
        pytest.param(anchors((5, 5, 4, 4, 0.6, 0.8)), [1, 0], id="classes keep apart"),
        pytest.param(
            anchors((5, 5, 4, 4, 0.6, 0.0), (7, 5, 4, 4, 0.9, 0.0)), [0, 0], id="side by side"
        ),
    ],
)
def test_duplicates_are_removed(output: Tensor, labels: list[int]) -> None:
    [detected] = detections(output, score_thresh=0.25, max_det=300)
    assert detected.labels.tolist() == labels
    assert detected.boxes_xyxy.shape == (len(labels), 4)
    assert detected.scores.tolist() == sorted(detected.scores.tolist(), reverse=True)
    [best] = detections(output, score_thresh=0.25, max_det=1)
    assert best.labels.tolist() == labels[:1]


def test_swapped_sides_are_put_right() -> None:
    [detected] = detections(anchors((50, 20, -3, 30, 0.9, 0.0)), score_thresh=0.25, max_det=300)
    assert detected.boxes_xyxy.tolist() == [[48.5, 5, 51.5, 35]]


def test_no_images() -> None:
    assert detections(torch.zeros(0, 6, 10), score_thresh=0.25, max_det=300) == []


@pytest.mark.parametrize("max_det", [20, 10_000])
def test_a_batch_is_the_same_as_image_by_image(max_det: int) -> None:
    output = random_output(3, 700, 4)
    output[1, 4:] = 0  # an image without detections between two with
    for detected, image in zip(
        detections(output, score_thresh=0.1, max_det=max_det), output, strict=True
    ):
        assert_same(detected, one_by_one(image, 0.1, max_det))


@pytest.mark.parametrize("max_det", [5, 100, 10_000])
def test_a_limit_of_candidates_does_not_change_the_result(
    max_det: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = random_output(2, 400, 3)
    monkeypatch.setattr(module, "MAX_CANDIDATES", 60)
    for detected, image in zip(
        detections(output, score_thresh=0.1, max_det=max_det), output, strict=True
    ):
        assert_same(detected, one_by_one(image, 0.1, max_det))


def test_a_full_page_compares_the_best_candidates_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(candidates: Tensor) -> Tensor:
        sizes.append(len(candidates))
        return suppress_by_class(candidates[:, :4], candidates[:, 4], candidates[:, 5])

    monkeypatch.setattr(module, "_suppress", counted)
    monkeypatch.setattr(module, "MAX_CANDIDATES", 60)
    detections(random_output(1, 400, 3), score_thresh=0.1, max_det=5)
    assert sizes == [60]


@pytest.mark.parametrize("suppress", [suppress_at_once, suppress_by_class])
@pytest.mark.parametrize("n", [0, 1, 50, 3000])
def test_suppression_is_the_same_as_one_by_one(
    n: int, suppress: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> None:
    output = random_output(1, n, 3, seed=1)[0]
    boxes_xyxy, labels, scores = one_by_one(output, 0.5, 10**6)
    centre, size, by_class = output[:2].T, output[2:4].T, output[4:].T
    every = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    anchor, label = (by_class > 0.5).nonzero(as_tuple=True)
    kept = suppress(every[anchor], by_class[anchor, label], label.float())
    assert torch.equal(every[anchor][kept], boxes_xyxy)
    assert torch.equal(label[kept], labels)
    assert torch.equal(by_class[anchor, label][kept], scores)


def test_small_boxes_of_many_classes_keep_their_digits() -> None:
    # Moved by 0.527 px their overlap is 0.701; with the last digits of 135,000 px it is 0.699.
    boxes_xyxy = torch.tensor(
        [[1000, 1000, 1003, 1003], [1000.527, 1000, 1003.527, 1003], [0, 0, 1, 1]]
    )
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.full((3,), 135.0)
    assert suppress_at_once(boxes_xyxy, scores, labels).tolist() == [0, 2]


def test_the_host_waits_a_known_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    output = random_output(4, 300, 3)
    monkeypatch.setattr(module, "_suppress", lambda c: suppress_at_once(c[:, :4], c[:, 4], c[:, 5]))
    with HostSyncs() as syncs:
        detections(output, score_thresh=0.1, max_det=50)
    assert sorted(syncs.names()) == ["cpu", *["nms"] * 4, "nonzero", "tolist"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("row", [0, 2, 4])
def test_an_output_that_is_not_finite_is_an_error(row: int, value: float) -> None:
    """A comparison with NaN is false, so that there would be no detections."""
    output = random_output(2, 5, 3)
    output[1, row, 4] = value
    with pytest.raises(OmrError, match=NON_FINITE):
        detections(output, score_thresh=0.1, max_det=50)
    with pytest.raises(OmrError, match=NON_FINITE):
        symbols_of(output[1].numpy(), score_thresh=0.1)
