import json
from pathlib import Path

import numpy as np
import pytest
import torch
import ultralytics
from assignment_cases import Case
from torch import Tensor

from training.assigners.assignment import Anchors

RECORDED = "8.4.145"
"""Oldest supported version of Ultralytics."""
GOLDEN = Path(__file__).parent / f"golden_tal_{RECORDED}.json"

Row = tuple[int, int, int, list[float], str]
"""Image, anchor point, label, true box, and score as ``float.hex`` gives it."""


def drawn(
    seed: int,
    counts: tuple[int, ...],
    sides: tuple[float, float],
    *,
    whole: bool = False,
    topk2: int | None = None,
) -> Case:
    """Draw a case with numpy's PCG64, whose numbers are the same on every platform.

    Args:
        seed: Seed of the generator.
        counts: Boxes of each image.
        sides: Shortest and longest side of a true box in pixels.
        whole: Whether to use coarse coordinates and scores, and to duplicate every third box.
        topk2: Most points that a box keeps.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    anchors = Anchors.of_image((64, 96), [8, 16, 32])
    n_images, n_points, most = len(counts), len(anchors), max(counts)
    points, strides = anchors.points_xy.numpy(), anchors.strides.numpy()[:, None]
    middle = points + rng.uniform(-4, 4, (n_images, n_points, 2))
    half = strides * rng.uniform(0.3, 1.5, (n_images, n_points, 2))
    scores = rng.uniform(0, 1, (n_images, n_points, 4))
    centre = rng.uniform(0, 1, (n_images, most, 2)) * [96, 64]
    size = rng.uniform(*sides, (n_images, most, 2))
    labels = rng.integers(0, 4, (n_images, most))
    if whole:
        middle, half = np.broadcast_to(points, middle.shape), np.ceil(half / 4) * 4
        scores = np.round(scores * 2) / 2
        centre, size = np.round(centre / 4) * 4, np.ceil(size / 8) * 8
        for values in (centre, size, labels):
            values[:, 1::3] = values[:, ::3][:, : values[:, 1::3].shape[1]]

    def single(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32))

    return Case(
        strides=[8, 16, 32],
        anchors=anchors,
        pred_scores=single(scores),
        pred_boxes_xyxy=single(np.concatenate((middle - half, middle + half), axis=2)),
        gt_labels=torch.from_numpy(labels),
        gt_boxes_xyxy=single(np.concatenate((centre - size / 2, centre + size / 2), axis=2)),
        mask=torch.arange(most) < torch.tensor(counts)[:, None],
        topk2=topk2,
    )


CASES = {
    "ties and identical boxes": drawn(1, (9, 0, 5), (4, 40), whole=True),
    "tiny boxes": drawn(2, (12, 4), (0.5, 6)),
    "one point a box": drawn(3, (14, 1), (5, 60), topk2=1),
}


def record() -> None:
    """Record the assignments of the imported Ultralytics.

    PYTHONPATH=.venv/ultralytics-8.4.145:tests/helpers python tests/training/assigners/test_golden.py
    """
    if ultralytics.__version__ != RECORDED:
        raise SystemExit(f"this is Ultralytics {ultralytics.__version__}, not {RECORDED}")
    content = {}
    for name, case in CASES.items():
        labels, boxes, scores, _, _ = case.dense()
        content[name] = [
            (image, point, label, boxes[image, point].tolist(), float(score).hex())
            for image, point, label, score in zip(
                *(column.tolist() for column in scores.nonzero(as_tuple=True)),
                scores[scores != 0].tolist(),
                strict=True,
            )
            if label == labels[image, point]
        ]
        if len(content[name]) != int((scores > 0).sum()):
            raise SystemExit(f"{name}: a score of another class than the label")
    text = ",\n".join(
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        for name, rows in content.items()
    )
    GOLDEN.write_text("{\n" + text + "\n}\n")


def rows_of(case: Case) -> list[Row]:
    found, targets = case.sparse(), case.targets
    columns = (
        found.images.tolist(),
        found.points.tolist(),
        targets.labels[found.gts].tolist(),
        targets.boxes_xyxy[found.gts].tolist(),
        [score.hex() for score in found.scores.tolist()],
    )
    return sorted(zip(*columns, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_same_as_the_oldest_supported_ultralytics(name: str) -> None:
    expected = [tuple(row) for row in json.loads(GOLDEN.read_text())[name]]
    assert len(expected) > 10
    rows = rows_of(CASES[name])
    assert [row[:4] for row in rows] == [row[:4] for row in expected]
    # Vectorised powers and arc tangents differ between processors in the last digits.
    scores = [float.fromhex(row[4]) for row in rows]
    assert scores == pytest.approx([float.fromhex(row[4]) for row in expected], rel=5e-6)


def test_every_case_is_recorded() -> None:
    assert set(json.loads(GOLDEN.read_text())) == set(CASES)


if __name__ == "__main__":
    record()
