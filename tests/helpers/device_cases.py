"""Identical inputs on two devices, and comparisons whose messages show the differences.

Shapes: B images, A anchor points, C classes, M positives.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, TypeVar

import numpy as np
import torch
from remembering import Remembering
from torch import Tensor, nn
from ultralytics.utils.ops import xywh2xyxy, xyxy2xywh

from converters.page import Page
from training.assigners.assignment import Anchors, Assignment
from training.heads.distance_bins import bin_values

Module = TypeVar("Module", bound=nn.Module)
SHOWN = 5
"""Number of differences that a message lists."""
CPU = torch.device("cpu")
CELL_PX = 32
"""Side of a cell with two boxes in pixels."""


def moved(value: Any, device: torch.device) -> Any:  # noqa: ANN401
    """Copy tensors in nested containers to a device; leaves that need a gradient stay leaves."""
    if isinstance(value, Tensor):
        return value.detach().clone().to(device).requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {name: moved(own, device) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(moved(own, device) for own in value)
    return value


def model_on(model: Module, device: torch.device) -> Module:
    """Copy a model to a device."""
    return deepcopy(model).to(device)


def paired_boxes(count: int, imgsz: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw boxes in pairs that compete for anchor points, each pair in a cell of its own.

    At any anchor point inside a box, a prediction of the nearest box has a high overlap. So no
    metric is 0 or close to 0, where ties could be decided differently on a GPU, and rounding would
    be magnified.

    Args:
        count: Number of boxes.
        imgsz: Height and width in pixels.
        generator: Source of the random numbers.

    Returns:
        Boxes as ``(x0, y0, x1, y1)`` in pixels, shape ``(count, 4)``.
    """
    height, width = (side // CELL_PX for side in imgsz)
    cells = torch.randperm(height * width, generator=generator)[: (count + 1) // 2]
    centre = torch.stack((cells % width, cells // width), dim=1) * CELL_PX + CELL_PX / 2
    centre = centre.repeat_interleave(2, dim=0)[:count]
    centre = centre + torch.rand(count, 2, generator=generator) * 4 - 2
    half = 7 + torch.rand(count, 2, generator=generator) * 5
    return torch.cat((centre - half, centre + half), dim=1)


def fitting_boxes(boxes_xyxy: Tensor, points_xy: Tensor, generator: torch.Generator) -> Tensor:
    """Predict at every anchor point the box whose centre is nearest, up to some noise.

    Args:
        boxes_xyxy: Pixels, shape ``(G, 4)``.
        points_xy: Pixels, shape ``(A, 2)``.
        generator: Source of the random numbers.

    Returns:
        Boxes in pixels, shape ``(A, 4)``; boxes of 16 px around the points if there is nothing to
        predict.
    """
    noise = torch.rand(len(points_xy), 4, generator=generator) * 3 - 1.5
    if not len(boxes_xyxy):
        return torch.cat((points_xy - 8, points_xy + 8), dim=1) + noise
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    return boxes_xyxy[torch.cdist(points_xy, centres).argmin(dim=1)] + noise


def labels_of(counts: Sequence[int], n_classes: int, side: int) -> dict[str, Tensor]:
    """Draw the labels of a batch, sorted by image, like the data loader of a training.

    Args:
        counts: Symbols of each image.
        n_classes: Number of classes, C.
        side: Height and width of the images in pixels.
    """
    n = sum(counts)
    generator = torch.Generator().manual_seed(n)
    boxes = [paired_boxes(count, (side, side), generator) for count in counts]
    images = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return {
        "batch_idx": images.float(),
        "cls": torch.randint(n_classes, (n, 1), generator=generator).float(),
        "bboxes": xyxy2xywh(torch.cat(boxes)) / side,
    }


def head_outputs(
    model: Any,  # noqa: ANN401
    batch: dict[str, Tensor],
    n_images: int,
    side: int,
    *,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Create outputs of a model's head that fit the labels of a batch, as in training.

    Args:
        model: Detection model on the CPU; only the structure of its head matters.
        batch: Labels from :func:`labels_of`.
        n_images: Number of images, B.
        side: Height and width of the network input in pixels.
        dtype: Type of the logits.

    Returns:
        ``boxes`` and ``scores`` as leaves that need a gradient, and ``feats``; for a head with two
        branches one such dictionary for each.
    """
    with torch.no_grad():
        outputs = deepcopy(model).train()(torch.zeros(n_images, 3, side, side))
    generator = torch.Generator().manual_seed(side)
    head = model.model[-1]
    boxes = xywh2xyxy(batch["bboxes"] * side)
    targets = [boxes[batch["batch_idx"] == image] for image in range(n_images)]

    def drawn(part: dict[str, Any]) -> dict[str, Any]:
        if "feats" not in part:
            return {name: drawn(own) for name, own in part.items()}
        n_groups = part["boxes"].shape[1] // (4 * head.reg_max)
        sides = [_sides(head, own, side, generator) for own in targets for _ in range(n_groups)]
        scores = torch.randn(part["scores"].shape, generator=generator) * 2
        tables = {"boxes": torch.stack(sides).view(part["boxes"].shape), "scores": scores}
        leaves = {name: own.to(dtype).requires_grad_() for name, own in tables.items()}
        return leaves | {"feats": part["feats"]}

    return drawn(outputs)


def _sides(head: Any, boxes_xyxy: Tensor, side: int, generator: torch.Generator) -> Tensor:  # noqa: ANN401
    """Compute logits of the distances to boxes, shape ``(4 * R, A)``; the distances if R is 1."""
    anchors = Anchors.of_image((side, side), head.stride.tolist())
    boxes = fitting_boxes(boxes_xyxy, anchors.points_xy, generator)
    low_high = torch.cat(
        (anchors.points_xy - boxes[:, :2], boxes[:, 2:] - anchors.points_xy), dim=1
    )
    distances = (low_high / anchors.strides[:, None]).T  # (4, A)
    if head.reg_max == 1:
        return distances
    noise = torch.rand(4, head.reg_max, distances.shape[1], generator=generator)
    logits = -((bin_values(head)[:, None] - distances[:, None]) ** 2) + noise
    return logits.flatten(0, 1)


def leaves_of(outputs: dict[str, Any]) -> dict[str, Tensor]:
    """List the logits of all branches by name."""
    leaves: dict[str, Tensor] = {}
    for name, own in outputs.items():
        if isinstance(own, dict):
            leaves |= {f"{name} {inner}": leaf for inner, leaf in leaves_of(own).items()}
        elif name != "feats":
            leaves[name] = own
    return leaves


def noted(criterion: Any) -> list[Remembering]:  # noqa: ANN401
    """Record the assignments of a loss, one list per branch of the head."""
    branches = [getattr(criterion, name, None) for name in ("one2many", "one2one")]
    kept = []
    for loss in [own for own in branches if own is not None] or [criterion]:
        loss.assigner = Remembering(loss.assigner)
        kept.append(loss.assigner)
    return kept


def assert_near(name: str, result: Tensor, expected: Tensor, share: float = 1e-4) -> None:
    """Compare up to a fraction of each element plus the same fraction of the largest element.

    Args:
        name: Name of the tensor in the message.
        result: Tensor from the device.
        expected: Tensor from the CPU, of the same shape and type.
        share: Largest relative difference.
    """
    assert result.shape == expected.shape, f"{name}: {result.shape}, expected {expected.shape}"
    assert result.dtype == expected.dtype, f"{name}: {result.dtype}, expected {expected.dtype}"
    ours, theirs = result.detach().cpu().double(), expected.detach().cpu().double()
    largest = float(theirs.abs().max()) if theirs.numel() else 0.0
    difference = (ours - theirs).abs()
    wrong = ~(difference <= share * (theirs.abs() + largest))  # NaN counts as wrong
    wrong &= ~((ours == theirs) | (ours.isnan() & theirs.isnan()))
    if not wrong.any():
        return
    places = wrong.nonzero()[:SHOWN].tolist()
    values = [f"{i}: {ours[tuple(i)]:.8g}, expected {theirs[tuple(i)]:.8g}" for i in places]
    raise AssertionError(
        f"{name}: {expected.dtype} {tuple(expected.shape)} on {result.device}: {int(wrong.sum())} "
        f"of {wrong.numel()} differ by more than {share:g}; max abs difference "
        f"{float(difference.max()):.3g}, relative to the largest element "
        f"{float(difference.max()) / max(largest, 1e-30):.3g}\n" + "\n".join(values)
    )


def assert_same_positives(name: str, result: Assignment, expected: Assignment) -> None:
    """Compare the assigned boxes of all anchor points, and then scores and weights."""
    rows = [dict(zip(places_of(one), one.gts.tolist(), strict=True)) for one in (result, expected)]
    if rows[0] != rows[1]:
        differing = [p for p in sorted(rows[0].keys() | rows[1].keys()) if differs(p, *rows)]
        shown = [
            f"image {p[0]}, anchor {p[1]}: box {rows[0].get(p)}, expected {rows[1].get(p)}"
            for p in differing[:SHOWN]
        ]
        raise AssertionError(
            f"{name}: {len(differing)} of {len(rows[1])} positives differ\n" + "\n".join(shown)
        )
    orders = [torch.tensor(sorted(range(len(r)), key=places_of(r).__getitem__), dtype=torch.int64)
              for r in (result, expected)]  # fmt: skip
    for field in ("scores", "weights"):
        ours, theirs = (
            getattr(one, field).cpu()[order]
            for one, order in zip((result, expected), orders, strict=True)
        )
        assert_near(f"{name}, {field}", ours, theirs)


def places_of(assignment: Assignment) -> list[tuple[int, int]]:
    """List image and anchor point of each positive."""
    return list(zip(assignment.images.tolist(), assignment.points.tolist(), strict=True))


def differs(place: tuple[int, int], *rows: dict[tuple[int, int], int]) -> bool:
    return len({row.get(place) for row in rows}) > 1


def assert_same_pages(
    result: Sequence[Page], expected: Sequence[Page], *, most_unmatched: float = 0.02
) -> None:
    """Compare the symbols of pages; NMS may select differently among nearly equal boxes.

    Args:
        result: Pages from the device.
        expected: Pages from the CPU.
        most_unmatched: Fraction of the symbols that may have no counterpart within 0.5 px and a
            score within 0.002.
    """
    assert [page.image for page in result] == [page.image for page in expected]
    n_symbols = sum(len(page.labels) for page in expected)
    counts = [sum(len(page.labels) for page in pages) for pages in (result, expected)]
    unmatched = [
        f"{theirs.image}: {line}"
        for ours, theirs in zip(result, expected, strict=True)
        for line in unmatched_symbols(ours, theirs)
    ]
    limit = most_unmatched * n_symbols
    assert len(unmatched) <= limit and abs(counts[0] - counts[1]) <= limit, (  # noqa: PT018
        f"{counts[0]} symbols, expected {counts[1]}; {len(unmatched)} have no counterpart:\n"
        + "\n".join(unmatched[:SHOWN])
    )


def unmatched_symbols(result: Page, expected: Page) -> list[str]:
    """Describe the expected symbols of a page that have no counterpart in the result."""
    assert result.scores is not None
    assert expected.scores is not None
    lines = []
    symbols = zip(expected.labels, expected.boxes_xyxy, expected.scores, strict=True)
    for label, box, score in symbols:
        same = result.labels == label
        same &= np.abs(result.scores - score) < 2e-3
        same &= (np.abs(result.boxes_xyxy - box) < 0.5).all(axis=1)
        if not same.any():
            lines.append(f"label {label}, score {score:.5f}, box {np.round(box, 2).tolist()}")
    return lines
