"""Losses with a known number of pairs, which never synchronise with the device."""

import functools
from dataclasses import replace
from typing import Any, cast, get_args

import pytest
import torch
from host_syncs import HostSyncs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from settings.head_config import Group, HeadConfig
from settings.training import AssignerName, ClassLoss, SimilarityName
from training.assigners.similarity import SimilarityByClass
from training.heads.grouped import divided
from training.losses.assigner_factory import PairCounter
from training.losses.detection import DetectionLoss, detection_criterion
from training.losses.loss_options import LossOptions
from training.models.zoo import model_file

IMGSZ = (64, 96)
N_CLASSES = 4
NAMES = ["yolo11n", "yolo26n", "yolov8n-p2", "separate"]
ASSIGNERS = get_args(AssignerName)
COUNTS = [[0], [0, 0], [1], [0, 1], [3, 0, 40], [90, 60]]


@functools.cache
def model_of(name: str) -> DetectionModel:
    """Build a model; ``separate`` is one with a box branch for each of two groups of classes."""
    torch.manual_seed(0)
    file = model_file("yolo11n" if name == "separate" else name)
    model = DetectionModel(file, nc=N_CLASSES, verbose=False).train()
    model.args = get_cfg()
    if name == "separate":
        groups = (
            Group(name="one", classes=("a", "b"), similarity="ciou"),
            Group(name="other", classes=("c", "d"), weight=2.0),
        )
        config = HeadConfig(box="separate", groups=groups)
        model.model[-1] = divided(model.model[-1], [[0, 1], [2, 3]], config)
    return model


def batch_of(counts: list[int], seed: int, *, masked: bool = False) -> dict[str, Tensor]:
    """Draw labels, some outside the image; every tenth is an empty box at the origin."""
    generator = torch.Generator().manual_seed(seed)
    n = sum(counts)
    centre = torch.rand(n, 2, generator=generator) * 1.2 - 0.1
    boxes = torch.cat((centre, 2 ** (-6 * torch.rand(n, 2, generator=generator))), dim=1)
    boxes[9::10] = 0
    images = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)).float()
    labels = torch.randint(0, N_CLASSES, (n, 1), generator=generator).float()
    batch = {"batch_idx": images, "cls": labels, "bboxes": boxes}
    mask = torch.rand(len(counts), N_CLASSES, generator=generator) < 0.7
    return batch | ({"class_mask": mask} if masked else {})


def preds_of(model: DetectionModel, n_images: int, seed: int) -> tuple[Any, list[Tensor]]:
    """Draw outputs of a head, and list the tensors that need a gradient."""
    generator = torch.Generator().manual_seed(seed)
    head = model.model[-1]
    n_groups = 2 if hasattr(head, "group_of") else 1
    strides = [int(stride) for stride in head.stride]
    cells = [(IMGSZ[0] // stride, IMGSZ[1] // stride) for stride in strides]
    n_points = sum(height * width for height, width in cells)
    leaves: list[Tensor] = []

    def branch() -> dict[str, Any]:
        sizes = {"boxes": n_groups * 4 * head.reg_max, "scores": head.nc}
        tables = {
            name: (torch.randn(n_images, size, n_points, generator=generator) * 2).requires_grad_()
            for name, size in sizes.items()
        }
        leaves.extend(tables.values())
        return tables | {"feats": [torch.zeros(n_images, 1, *size) for size in cells]}

    if hasattr(head, "one2one_cv2"):
        return {"one2many": branch(), "one2one": branch()}, leaves
    return branch(), leaves


def pairs_of(model: DetectionModel, options: LossOptions, batch: dict[str, Tensor]) -> int:
    counter = PairCounter.of_loss(options, model.model[-1].stride.tolist())
    return counter.count(batch["bboxes"], IMGSZ)


def results(
    model: DetectionModel, options: LossOptions, counts: list[int], batch: dict[str, Any], seed: int
) -> list[Tensor]:
    """Compute losses, their items and all gradients."""
    preds, leaves = preds_of(model, len(counts), seed)
    value, items = detection_criterion(model, options)(preds, batch)
    slopes = torch.autograd.grad(value.sum(), leaves)
    return [value.detach(), torch.stack([*items.values()]), *slopes]


def options_of(assigner: AssignerName, similarity: SimilarityName, loss: ClassLoss) -> LossOptions:
    own = {} if assigner == "static" else {"similarity": similarity}
    return LossOptions(assigner=assigner, class_loss=loss, **own)  # type: ignore[arg-type]


CASES = [(name, assigner) for name in NAMES for assigner in ASSIGNERS]


@pytest.mark.parametrize(("name", "assigner"), CASES)
@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_same_loss_as_with_waiting(name: str, assigner: AssignerName, counts: list[int]) -> None:
    model, options = model_of(name), LossOptions(assigner=assigner)
    batch = batch_of(counts, seed=1)
    n_pairs = pairs_of(model, options, batch)
    waiting = results(model, options, counts, batch, seed=2)
    found = results(model, options, counts, batch | {"n_pairs": n_pairs}, seed=2)
    for got, expected in zip(found, waiting, strict=True):
        torch.testing.assert_close(
            got, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item()
        )
    assert (n_pairs > 0) == any(counts)


@settings(max_examples=60)
@given(
    name=st.sampled_from(NAMES),
    assigner=st.sampled_from(ASSIGNERS),
    similarity=st.sampled_from(get_args(SimilarityName)),
    class_loss=st.sampled_from(get_args(ClassLoss)),
    counts=st.lists(st.integers(0, 70), min_size=1, max_size=4),
    masked=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_same_loss_for_every_option(
    name: str,
    assigner: AssignerName,
    similarity: SimilarityName,
    class_loss: ClassLoss,
    counts: list[int],
    masked: bool,
    seed: int,
) -> None:
    model, options = model_of(name), options_of(assigner, similarity, class_loss)
    batch = batch_of(counts, seed, masked=masked)
    n_pairs = pairs_of(model, options, batch)
    waiting = results(model, options, counts, batch, seed)
    found = results(model, options, counts, batch | {"n_pairs": n_pairs}, seed)
    for got, expected in zip(found, waiting, strict=True):
        torch.testing.assert_close(
            got, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item()
        )


@pytest.mark.parametrize(("name", "assigner"), CASES)
@pytest.mark.parametrize("counts", [[0], [30, 0, 25]], ids=str)
def test_host_never_waits(name: str, assigner: AssignerName, counts: list[int]) -> None:
    never_waits(name, LossOptions(assigner=assigner), counts)


@pytest.mark.parametrize("assigner", ["tal", "simota"])
@pytest.mark.parametrize("similarity", get_args(SimilarityName))
@pytest.mark.parametrize("class_loss", get_args(ClassLoss))
def test_host_never_waits_for_any_option(
    assigner: AssignerName, similarity: SimilarityName, class_loss: ClassLoss
) -> None:
    never_waits("separate", options_of(assigner, similarity, class_loss), [30, 0, 25])


def never_waits(name: str, options: LossOptions, counts: list[int]) -> None:
    model = model_of(name)
    batch = batch_of(counts, seed=3, masked=True)
    batch |= {"n_pairs": pairs_of(model, options, batch)}  # type: ignore[dict-item]
    preds, leaves = preds_of(model, len(counts), seed=4)
    criterion = detection_criterion(model, options)
    with HostSyncs() as syncs:
        value, _ = criterion(preds, batch)
        value.sum().backward()
    assert syncs.records == []
    assert all(leaf.grad is not None for leaf in leaves)


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_host_waits_without_the_number_of_pairs(assigner: AssignerName) -> None:
    model, options = model_of("yolo11n"), LossOptions(assigner=assigner)
    preds, _ = preds_of(model, 1, seed=4)
    with HostSyncs() as syncs:
        detection_criterion(model, options)(preds, batch_of([30], seed=3))
    assert "nonzero" in syncs.names()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("assigner", ASSIGNERS)
@pytest.mark.parametrize("counts", [[0], [30, 0, 25]], ids=str)
def test_every_tensor_is_on_the_gpu(name: str, assigner: AssignerName, counts: list[int]) -> None:
    """Use fake CUDA tensors, which reject CPU tensors like a GPU does."""
    model, options = model_of(name), LossOptions(assigner=assigner)
    batch = batch_of(counts, seed=3, masked=True)
    n_pairs = pairs_of(model, options, batch)
    preds, _ = preds_of(model, len(counts), seed=4)
    criterion = detection_criterion(model, options)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():

        def moved(value: object) -> object:
            return mode.from_tensor(value).to("cuda") if isinstance(value, Tensor) else value

        losses = [getattr(criterion, branch, None) for branch in ("one2many", "one2one")]
        for loss in (*filter(None, losses), criterion):
            _move_loss(loss, moved)
        value, items = criterion(
            tree_map(moved, preds), tree_map(moved, batch) | {"n_pairs": n_pairs}
        )
    assert value.device.type == "cuda"
    assert all(item.device.type == "cuda" for item in items.values())


def _move_loss(loss: object, moved: Any) -> None:  # noqa: ANN401
    """Move the tensors of a loss and its assigner to the device of a model."""
    if not isinstance(loss, DetectionLoss):
        return
    loss.device = torch.device("cuda")
    for name, value in vars(loss).items():
        setattr(loss, name, moved(value))
    fields: dict[str, Any] = {}
    similarity = getattr(loss.assigner, "similarity", None)
    if isinstance(similarity, SimilarityByClass):
        fields["similarity"] = replace(similarity, choice=moved(similarity.choice))
    if isinstance(beta := getattr(loss.assigner, "beta", None), Tensor):
        fields["beta"] = moved(beta)
    loss.assigner = replace(cast(Any, loss.assigner), **fields)


@pytest.mark.parametrize("assigner", ASSIGNERS)
@pytest.mark.parametrize("off_by", [-5, -1, 1, 7])
def test_a_slightly_wrong_number_of_pairs_does_no_harm(assigner: AssignerName, off_by: int) -> None:
    model, options = model_of("yolo11n"), LossOptions(assigner=assigner)
    batch = batch_of([30, 12], seed=5)
    n_pairs = pairs_of(model, options, batch)
    exact = results(model, options, [30, 12], batch, seed=6)
    found = results(model, options, [30, 12], batch | {"n_pairs": n_pairs + off_by}, seed=6)
    assert all(part.isfinite().all() for part in found)
    torch.testing.assert_close(found[0], exact[0], rtol=0.2, atol=0)
