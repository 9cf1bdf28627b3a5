import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import loss
from ultralytics.utils.tal import TaskAlignedAssigner, make_anchors

from class_maps import ConfigError
from training.assigners.assignment import Anchors, Level, Targets
from training.assigners.simota import SparseSimOTA
from training.assigners.ultralytics_drop_in import (
    SparseDropIn,
    SparseSimOTADropIn,
    anchors_from_points,
    patch_ultralytics,
    patched_ultralytics,
    unpatch_ultralytics,
)
from training.runtime import offline

STOCK_INIT = loss.v8DetectionLoss.__init__


def scene(
    counts: list[int], *, padding: int = 0, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Draw arguments of an assigner for 96 x 160 px and strides 8, 16 and 32."""
    generator = torch.Generator().manual_seed(1)
    points = Anchors.of_image((96, 160), [8, 16, 32]).points_xy
    n_images, most = len(counts), max(counts, default=0)
    half = torch.rand(n_images, len(points), 2, generator=generator) * 24 + 3
    centre = torch.rand(n_images, most, 2, generator=generator) * torch.tensor([160, 96])
    size = torch.rand(n_images, most, 2, generator=generator) ** 3 * 90
    labels = torch.randint(0, 3, (n_images, most, 1), generator=generator).float()
    mask = (torch.arange(most) < torch.tensor(counts)[:, None])[..., None].float()
    boxes = torch.cat((centre - size / 2, centre + size / 2), dim=2) * mask
    return [
        torch.rand(n_images, len(points), 3, generator=generator).to(dtype),
        torch.cat((points - half, points + half), dim=2).to(dtype),
        points,
        *(torch.nn.functional.pad(x, (0, 0, 0, padding)) for x in (labels * mask, boxes, mask)),
    ]


def assigner(kind: type, topk2: int | None = None) -> Any:  # noqa: ANN401
    return kind(topk=7, num_classes=3, alpha=0.5, beta=6.0, stride=[8, 16, 32], topk2=topk2)


@pytest.mark.parametrize("topk2", [None, 1, 3])
@pytest.mark.parametrize("counts", [[0], [0, 0], [1], [40], [9, 0, 60, 1]])
def test_all_five_tensors_equal_ultralytics(counts: list[int], topk2: int | None) -> None:
    expected = assigner(TaskAlignedAssigner, topk2)(*scene(counts))
    found = assigner(SparseDropIn, topk2)(*scene(counts))
    weight = expected[2].sum(-1) > 0
    assert weight.any() == any(counts)
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape
        assert torch.equal(got[weight], wanted[weight])
    assert torch.equal(found[2], expected[2])
    for got, wanted in zip(found, expected, strict=True):  # including background
        assert torch.equal(got[~expected[3].bool()], wanted[~expected[3].bool()])


@pytest.mark.parametrize("topk2", [None, 1])
@pytest.mark.parametrize("counts", [[0], [1], [9, 0, 60, 1]])
def test_all_five_tensors_equal_simota(counts: list[int], topk2: int | None) -> None:
    scores, boxes, _, gt_labels, gt_boxes, _mask = given = scene(counts)
    places = [(image, place) for image, n in enumerate(counts) for place in range(n)]
    images, rows = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).T
    targets = Targets(
        images=images, labels=gt_labels[images, rows, 0].long(), boxes_xyxy=gt_boxes[images, rows]
    )
    flat = SparseSimOTA(topk=7, max_points=topk2, num_classes=3)(
        scores, boxes, Anchors.of_image((96, 160), [8, 16, 32]), targets
    )
    assert len(flat) > 0 or not any(counts)
    n_images, n_points, n_classes = scores.shape
    labels, found_boxes, found_scores, positive, chosen = assigner(SparseSimOTADropIn, topk2)(
        *given
    )
    for found, shape, dtype in (
        (labels, (n_images, n_points), torch.int64),
        (found_boxes, (n_images, n_points, 4), torch.float32),
        (found_scores, (n_images, n_points, n_classes), torch.float32),
        (positive, (n_images, n_points), torch.bool),
        (chosen, (n_images, n_points), torch.int64),
    ):
        if any(counts):  # without any boxes the parent is called
            assert (found.shape, found.dtype) == (shape, dtype)
    owners = {
        (image, point): (gt, score)
        for image, point, gt, score in zip(
            flat.images.tolist(),
            flat.points.tolist(),
            flat.gts.tolist(),
            flat.scores.tolist(),
            strict=True,
        )
    }
    assert int(positive.sum()) == len(owners)
    for (image, point), (gt, score) in owners.items():
        assert positive[image, point]
        assert chosen[image, point] == rows[gt]
        assert torch.equal(found_boxes[image, point], targets.boxes_xyxy[gt])
        assert labels[image, point] == targets.labels[gt]
        wanted = torch.zeros(n_classes)
        wanted[targets.labels[gt]] = score
        assert torch.equal(found_scores[image, point], wanted)
    if any(counts):
        assert not found_scores[~positive].any()


@pytest.mark.parametrize("kind", [SparseDropIn, SparseSimOTADropIn])
def test_padding_does_not_change_the_result(kind: type) -> None:
    plain = assigner(kind)(*scene([5, 0, 30]))
    padded = assigner(kind)(*scene([5, 0, 30], padding=7))
    for got, wanted in zip(padded, plain, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("kind", [SparseDropIn, SparseSimOTADropIn])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype, kind: type) -> None:
    half = scene([9, 40], dtype=dtype)
    found = assigner(kind)(*half)
    expected = assigner(kind)(*(x.float() for x in half))
    for got, wanted in zip(found, expected, strict=True):
        assert torch.equal(got, wanted)


@functools.cache
def model_of(name: str) -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel(f"{name}.yaml", nc=3, verbose=False).train()


def criterion_of(model: DetectionModel) -> Any:  # noqa: ANN401
    model.args = get_cfg()
    return model.init_criterion()


def leaves_of(predictions: Any) -> list[Tensor]:  # noqa: ANN401
    """Replace the outputs of a model by random logits that need a gradient."""
    leaves = []
    for name, value in predictions.items():
        if isinstance(value, dict):
            leaves += leaves_of(value)
        elif name in ("boxes", "scores"):
            predictions[name] = (torch.randn_like(value) * 2).requires_grad_()
            leaves.append(predictions[name])
    return leaves


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
@pytest.mark.parametrize("n_boxes", [0, 1, 60])
def test_stock_losses_are_unchanged(name: str, n_boxes: int) -> None:
    model = model_of(name)
    torch.manual_seed(n_boxes)
    stock = criterion_of(model)
    with patched_ultralytics():
        patched = criterion_of(model)
    with torch.no_grad():
        predictions = model(torch.rand(3, 3, 96, 160))
    leaves = leaves_of(predictions)
    batch = {
        "batch_idx": torch.randint(0, 2, (n_boxes,)).sort().values.float(),  # none in the third
        "cls": torch.randint(0, 3, (n_boxes, 1)).float(),
        "bboxes": torch.rand(n_boxes, 4) * torch.tensor([1, 1, 0.5, 0.5]),
    }
    results = []
    for criterion in (stock, patched):
        value, _ = criterion(predictions, batch)
        results.append([value.detach(), *torch.autograd.grad(value.sum(), leaves)])
    assert n_boxes < 60 or results[0][0].min() > 0
    for got, wanted in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))


def kinds_of(criterion: Any) -> set[type]:  # noqa: ANN401
    losses = (
        [criterion.one2many, criterion.one2one] if hasattr(criterion, "one2one") else [criterion]
    )
    return {type(each.assigner) for each in losses}


def test_patch_and_undo() -> None:
    models = [model_of(name) for name in ("yolo11n", "yolo26n")]
    patch_ultralytics()
    try:
        assert [kinds_of(criterion_of(model)) for model in models] == [{SparseDropIn}] * 2
        with patched_ultralytics():
            pass
        assert kinds_of(criterion_of(models[0])) == {SparseDropIn}
    finally:
        unpatch_ultralytics()
    assert [kinds_of(criterion_of(model)) for model in models] == [{TaskAlignedAssigner}] * 2
    with pytest.raises(KeyError), patched_ultralytics():
        raise KeyError
    assert loss.v8DetectionLoss.__init__ is STOCK_INIT


def test_patch_with_simota() -> None:
    models = [model_of(name) for name in ("yolo11n", "yolo26n")]
    with patched_ultralytics("simota"):
        criteria = [criterion_of(model) for model in models]
    assert [kinds_of(criterion) for criterion in criteria] == [{SparseSimOTADropIn}] * 2
    one2one = criteria[1].one2one.assigner.sparse_assigner()
    assert (one2one.topk, one2one.max_points) == (7, 1)
    assert one2one.num_classes == 3
    assert loss.v8DetectionLoss.__init__ is STOCK_INIT


def test_unknown_assigners_are_refused() -> None:
    with pytest.raises(ConfigError) as error:
        patch_ultralytics("ota")  # type: ignore[arg-type]
    assert str(error.value) == "assigner: ota: expected one of tal, simota"
    assert loss.v8DetectionLoss.__init__ is STOCK_INIT


def losses_of(dataset: Path, out: Path, model: str, expected: type = TaskAlignedAssigner) -> Tensor:
    """Run a plain ``yolo train``, and return the losses of its four steps, shape ``(4, 3)``."""
    offline.block_network()
    trainer = DetectionTrainer(
        overrides={
            "model": f"{model}.yaml",
            "data": str(dataset / "data.yaml"),
            "project": str(out.parent),
            "name": out.name,
            "epochs": 2,
            "imgsz": 64,
            "batch": 3,
            "nbs": 3,  # one optimiser step per batch
            "warmup_epochs": 0,
            "optimizer": "SGD",
            "device": "cpu",
            "workers": 0,
            "seed": 3,
            **dict.fromkeys(("amp", "plots", "val", "save", "pretrained"), False),
        }
    )
    losses: list[Tensor] = []

    def note_losses(trainer: DetectionTrainer) -> None:
        items = trainer.loss_items  # a dictionary, or a tensor in older versions
        losses.append(torch.stack([*(items.values() if isinstance(items, dict) else items)]))

    trainer.add_callback("on_train_batch_end", note_losses)
    trainer.train()
    assert kinds_of(trainer.model.criterion) == {expected}
    return torch.stack(losses)


@pytest.mark.parametrize("model", ["yolo11n", "yolo26n"])
def test_a_plain_training_is_unchanged(model: str, dataset: Path, tmp_path: Path) -> None:
    expected = losses_of(dataset, tmp_path / "stock", model)
    with patched_ultralytics():
        found = losses_of(dataset, tmp_path / "patched", model, SparseDropIn)
    assert expected.shape == (4, 3)
    assert (expected > 0).all()
    assert len(expected.unique(dim=0)) == 4
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_a_plain_training_with_simota(dataset: Path, tmp_path: Path) -> None:
    with patched_ultralytics("simota"):
        found = losses_of(dataset, tmp_path / "run", "yolo11n", SparseSimOTADropIn)
    assert found.isfinite().all()
    assert (found > 0).all()


@pytest.mark.parametrize(
    "sides", [[(1, 1), (1, 1), (1, 1)], [(9, 11), (5, 6), (3, 3)], [(12, 20), (6, 10), (3, 5)]]
)
@pytest.mark.parametrize("backwards", [False, True])
def test_anchors_from_points(sides: list[tuple[int, int]], *, backwards: bool) -> None:
    """Sides that are not multiples of a stride are rounded up, like in convolutions."""
    step = -1 if backwards else 1
    levels = [
        Level(height=height, width=width, stride=stride)
        for (height, width), stride in list(zip(sides, [8, 16, 32], strict=True))[::step]
    ]
    grid = Anchors.of_levels(levels)
    assert anchors_from_points(grid.points_xy, [level.stride for level in levels]).levels == tuple(
        levels
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("imgsz", "strides"), [((1280, 2560), [8, 16, 32]), ((640, 672), [4, 8, 16, 32])]
)
def test_points_of_half_precision(
    imgsz: tuple[int, int], strides: list[float], dtype: torch.dtype
) -> None:
    maps = [torch.zeros(1, 1, *(int(side // s) for side in imgsz), dtype=dtype) for s in strides]
    points, of_points = make_anchors(maps, torch.tensor(strides), 0.5)
    assert (
        anchors_from_points(points * of_points, strides).levels
        == Anchors.of_image(imgsz, strides).levels
    )


@pytest.mark.parametrize("name", ["yolo11n-seg", "yolo11n-pose", "yolo26n-seg", "yolo11n-obb"])
def test_other_losses_stay_as_they_are(name: str) -> None:
    model = YOLO(f"{name}.yaml").model
    before = kinds_of(criterion_of(model))
    with patched_ultralytics():
        assert kinds_of(criterion_of(model)) == before


@pytest.mark.parametrize("strides", [[8, 16], [16, 8, 32], [8, 16, 64], [7]])
def test_points_of_other_grids_are_refused(strides: list[float]) -> None:
    points = Anchors.of_image((96, 160), [8, 16, 32]).points_xy
    with pytest.raises(
        ValueError, match=r"^anchor points: 315 points, 20 in the first row, do not form grids"
    ):
        anchors_from_points(points, strides)
