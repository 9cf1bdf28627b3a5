import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import pytest
import torch
from dense_below_zero import branches_of, use_bins_below_zero, use_similarity
from hypothesis import given, settings
from hypothesis import strategies as st
from remembering import Remembering
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.loss import DFLoss, E2ELoss
from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.tal import bbox2dist, dist2bbox

from class_maps import ConfigError
from settings.training import AssignerName, ClassLoss, SimilarityName
from training.assigners.assignment import Anchors, Assignment, Targets
from training.assigners.candidate_pairs import pairs_inside
from training.assigners.similarity import SIMILARITIES
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.assigners.torch_ties import TorchTiesAssigner
from training.heads.distance_bins import allow_below_zero
from training.losses.detection import DetectionLoss, detection_criterion
from training.losses.loss_options import STOCK, LossOptions
from training.models.zoo import model_file

Batch = dict[str, Tensor]
MODELS = ["yolo11n", "yolo26n", "yolov8n-p2"]


@functools.cache
def model_of(name: str, n_classes: int = 3, *, signed: bool = False) -> DetectionModel:
    torch.manual_seed(0)
    model = DetectionModel(model_file(name), nc=n_classes, verbose=False).train()
    model.args = get_cfg()
    if signed:
        allow_below_zero(model.model[-1])
    return model


@dataclass(frozen=True, kw_only=True)
class Case:
    """Random output of a model's head, and labels."""

    model: DetectionModel
    counts: list[int]
    """Boxes of each image."""
    imgsz: tuple[int, int] = (64, 96)
    seed: int = 0
    dtype: torch.dtype = torch.float32
    scale: float = 2.0
    batch: Batch = field(init=False)
    preds: dict[str, Any] = field(init=False)
    leaves: list[Tensor] = field(init=False, default_factory=list)
    """Logits of boxes and classes, for each branch of the head."""

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        head = self.model.model[-1]
        object.__setattr__(self, "batch", labels_of(self.counts, head.nc, generator))
        branches = [
            self._branch(generator) for _ in range(2 if hasattr(head, "one2one_cv2") else 1)
        ]
        names = ["one2many", "one2one"]
        preds = dict(zip(names, branches, strict=True)) if len(branches) == 2 else branches[0]
        object.__setattr__(self, "preds", preds)

    def _branch(self, generator: torch.Generator) -> dict[str, Any]:
        head, n_images = self.model.model[-1], len(self.counts)
        strides = [int(stride) for stride in head.stride]
        height, width = self.imgsz
        n_points = sum((height // stride) * (width // stride) for stride in strides)
        sizes = {"boxes": 4 * head.reg_max, "scores": head.nc}
        tables = {}
        for name, size in sizes.items():
            table = torch.randn(n_images, size, n_points, generator=generator) * self.scale
            tables[name] = table.to(self.dtype).requires_grad_()
            self.leaves.append(tables[name])
        feats = [
            torch.zeros(n_images, 1, height // s, width // s, dtype=self.dtype) for s in strides
        ]
        return tables | {"feats": feats}

    @property
    def anchors(self) -> Anchors:
        return Anchors.of_image(self.imgsz, self.model.model[-1].stride.tolist())

    def results(
        self, criterion: Callable[..., tuple[Tensor, dict[str, Tensor]]], **more: Tensor
    ) -> list[Tensor]:
        """Compute the loss, its parts sorted by name, and all gradients."""
        value, items = criterion(self.preds, self.batch | more)
        slopes = torch.autograd.grad(value.sum(), self.leaves)
        return [value.detach(), torch.stack([items[name] for name in sorted(items)]), *slopes]


def labels_of(counts: list[int], n_classes: int, generator: torch.Generator) -> Batch:
    """Draw boxes from a few pixels to the whole image, partly outside, sorted by image."""
    n = sum(counts)
    centre = torch.rand(n, 2, generator=generator) * 1.2 - 0.1
    size = 2 ** (-6 * torch.rand(n, 2, generator=generator))
    return {
        "batch_idx": torch.repeat_interleave(
            torch.arange(len(counts)), torch.tensor(counts)
        ).float(),
        "cls": torch.randint(0, n_classes, (n, 1), generator=generator).float(),
        "bboxes": torch.cat((centre, size), dim=1),
    }


def alike(found: list[Tensor], expected: list[Tensor], share: float = 1e-6) -> None:
    """Compare up to a fraction of the largest element of each tensor."""
    for got, wanted in zip(found, expected, strict=True):
        assert got.isfinite().all()
        torch.testing.assert_close(got, wanted, rtol=share, atol=share * float(wanted.abs().max()))


def with_torch_ties(model: DetectionModel, options: LossOptions = STOCK) -> Any:  # noqa: ANN401
    """Build a loss that decides ties like Ultralytics; random outputs have many metrics of 0."""
    criterion = detection_criterion(model, options)
    for loss in branches_of(criterion):
        stable = loss.assigner
        assert isinstance(stable, SparseTaskAlignedAssigner)
        loss.assigner = TorchTiesAssigner(
            **{f.name: getattr(stable, f.name) for f in fields(stable)}
        )
    return criterion


def weighted(model: DetectionModel, seed: int) -> DetectionModel:
    """Copy a model with the same parameters, and give it class weights."""
    model = copy.copy(model)
    weights = torch.rand(model.model[-1].nc, generator=torch.Generator().manual_seed(seed))
    model.class_weights = weights * 3
    return model


counts_of_images = st.lists(
    st.one_of(st.sampled_from([0, 1]), st.integers(0, 60)), min_size=1, max_size=4
)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [1], [0, 1], [50, 0], [3, 80, 0, 1]])
def test_same_as_ultralytics_for_few_and_many_boxes(name: str, counts: list[int]) -> None:
    case = Case(model=model_of(name), counts=counts)
    found, expected = (
        case.results(criterion)
        for criterion in (with_torch_ties(case.model), case.model.init_criterion())
    )
    alike(found, expected)
    assert expected[0].min() > 0 or sum(counts) < 2
    assert not expected[0][[0, 2]].any() or any(counts)


@settings(max_examples=40)
@given(
    name=st.sampled_from(MODELS),
    n_classes=st.sampled_from([1, 3, 80]),
    counts=counts_of_images,
    imgsz=st.sampled_from([(64, 96), (96, 64), (128, 128), (32, 160)]),
    class_weights=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_same_as_ultralytics(
    name: str,
    n_classes: int,
    counts: list[int],
    imgsz: tuple[int, int],
    class_weights: bool,
    seed: int,
) -> None:
    model = model_of(name, n_classes)
    if class_weights:
        model = weighted(model, seed)
    case = Case(model=model, counts=counts, imgsz=imgsz, seed=seed)
    alike(case.results(with_torch_ties(model)), case.results(model.init_criterion()))


@settings(max_examples=25)
@given(
    name=st.sampled_from(MODELS),
    signed=st.booleans(),
    counts=counts_of_images,
    imgsz=st.sampled_from([(64, 96), (128, 128)]),
    seed=st.integers(0, 2**32),
)
def test_similarity_and_bins_below_zero_equal_a_dense_loss_with_them(
    name: str,
    signed: bool,
    counts: list[int],
    imgsz: tuple[int, int],
    seed: int,
) -> None:
    model = model_of(name, signed=signed)
    dense = model.init_criterion()
    use_similarity(dense)
    use_bins_below_zero(dense, model.model[-1])
    case = Case(model=model, counts=counts, imgsz=imgsz, seed=seed)
    alike(case.results(with_torch_ties(model, LossOptions())), case.results(dense))


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_validation_output_is_parsed_and_losses_have_ultralytics_names(name: str) -> None:
    case = Case(model=model_of(name), counts=[4, 0])
    criterion, stock = detection_criterion(case.model), case.model.init_criterion()
    value, items = criterion((torch.zeros(0), case.preds), case.batch)
    assert torch.equal(value, criterion(case.preds, case.batch)[0])
    _, expected = stock(case.preds, case.batch)
    assert list(items) == list(expected)
    assert not any(part.requires_grad for part in items.values())


def test_the_order_of_the_labels_does_not_matter() -> None:
    case = Case(model=model_of("yolo11n"), counts=[30, 0, 20])
    criterion = detection_criterion(case.model, LossOptions())
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    shuffled = {name: rows[order] for name, rows in case.batch.items()}
    alike(case.results(criterion, **shuffled), case.results(criterion))


def remembering(model: DetectionModel, options: LossOptions) -> tuple[Any, list[Remembering]]:
    """Build a criterion whose assignments are kept, one list per branch."""
    criterion = detection_criterion(model, options)
    assigners = []
    for loss in branches_of(criterion):
        loss.assigner = Remembering(loss.assigner)
        assigners.append(loss.assigner)
    return criterion, assigners


def from_assignment(case: Case, found: Assignment) -> Tensor:
    """Compute the losses of an assignment from dense tables in double precision, ``(3,)``."""
    head, hyp = case.model.model[-1], case.model.args
    sides, logits = (leaf.detach().double().transpose(1, 2) for leaf in case.leaves[:2])
    where = found.images, found.points
    targets = torch.zeros_like(logits)
    labels = case.batch["cls"].long().flatten()
    targets[(*where, labels[found.gts])] = found.scores.double()
    classes = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    anchors = case.anchors
    strides = anchors.strides[found.points, None].double()
    centres = anchors.points_xy[found.points].double() / strides
    size = torch.tensor([case.imgsz[1], case.imgsz[0]] * 2).double()
    true = case.batch["bboxes"][found.gts].double() * size
    true = (
        torch.cat((true[:, :2] - true[:, 2:] / 2, true[:, :2] + true[:, 2:] / 2), dim=1) / strides
    )
    at_points, wanted = sides[where], bbox2dist(centres, true)
    if head.reg_max == 1:
        distances = at_points
        of_sides = ((at_points - wanted).abs() * strides / size).mean(dim=1)
    else:
        bins = head.dfl.conv.weight.detach().flatten().double()
        table = at_points.view(-1, 4, head.reg_max)
        distances = table.softmax(dim=2) @ bins
        of_sides = DFLoss(head.reg_max)(table.flatten(0, 1), wanted - bins[0]).mean(dim=1)
    fit = bbox_iou(dist2bbox(distances, centres, xywh=False), true, xywh=False, CIoU=True)[:, 0]
    weights = found.weights.double()
    parts = [((1 - fit) * weights).sum() * hyp.box, classes * hyp.cls]
    parts.append((of_sides * weights).sum() * hyp.dfl)
    return torch.stack(parts) / weights.sum().clamp(min=1) * len(case.counts)


@pytest.mark.parametrize("counts", [[0, 0], [1], [40, 0, 9]])
@pytest.mark.parametrize("assigner", ["tal", "simota", "static"])
def test_the_loss_follows_from_the_assignment(assigner: AssignerName, counts: list[int]) -> None:
    case = Case(model=model_of("yolo11n", signed=True), counts=counts)
    criterion, [assigned] = remembering(case.model, LossOptions(assigner=assigner))
    value, *_ = case.results(criterion)
    [found] = assigned.results
    assert bool(len(found)) == any(counts)
    alike([value.double()], [from_assignment(case, found)], 1e-5)


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("assigner", ["simota", "static"])
def test_other_assigners(assigner: AssignerName, similarity: SimilarityName, name: str) -> None:
    case = Case(model=model_of(name), counts=[40, 0, 9])
    options = LossOptions(assigner=assigner, similarity=similarity)
    criterion, assigners = remembering(case.model, options)
    for result in case.results(criterion):
        assert result.isfinite().all()
        assert result.any()
    for assigned in assigners:
        [found] = assigned.results
        assert (found.weights == 1).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert len(found) > 20


@pytest.mark.parametrize("assigner", ["tal", "simota", "static"])
@settings(max_examples=15)
@given(counts=counts_of_images, seed=st.integers(0, 2**32))
def test_without_nms_no_box_has_two_points(
    assigner: AssignerName, counts: list[int], seed: int
) -> None:
    case = Case(model=model_of("yolo26n"), counts=[*counts, 30], seed=seed)
    case.batch["bboxes"].mul_(0.3)  # many boxes compete for the same points
    # Two boxes prefer the point at (12, 4), but are further from it than one that prefers another.
    quarrel = torch.tensor([[7.9, 4, 10, 10], [15.5, 7.5, 10, 10], [15.5, 0.5, 10, 10]])
    case.batch["bboxes"][-3:] = quarrel / torch.tensor([96, 64, 96, 64])
    criterion, [_, one_to_one] = remembering(case.model, LossOptions(assigner=assigner))
    case.results(criterion)
    [found] = one_to_one.results
    assert len(found)
    assert found.gts.bincount().max() == 1


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
@pytest.mark.parametrize("assigner", ["tal", "simota", "static"])
@pytest.mark.parametrize("class_loss", ["focal", "varifocal"])
def test_other_class_losses_change_only_the_class_loss(
    class_loss: ClassLoss, assigner: AssignerName, name: str
) -> None:
    case = Case(model=model_of(name), counts=[40, 0, 9])
    plain, other = (
        case.results(
            detection_criterion(case.model, LossOptions(assigner=assigner, class_loss=kind))
        )
        for kind in ("bce", class_loss)
    )
    assert torch.equal(plain[0][[0, 2]], other[0][[0, 2]])
    assert 0 < other[0][1] < plain[0][1]
    assert torch.equal(plain[2], other[2])
    assert not torch.equal(plain[3], other[3])


def test_unknown_names() -> None:
    with pytest.raises(ConfigError) as raised:
        LossOptions(assigner="ota")  # type: ignore[arg-type]
    assert str(raised.value) == "assigner: ota: expected one of tal, simota, static"
    with pytest.raises(ConfigError) as raised:
        LossOptions(class_loss="mse")  # type: ignore[arg-type]
    assert str(raised.value) == "class_loss: mse: expected one of bce, focal, varifocal"


def test_a_head_without_nms_has_ultralytics_numbers_of_points() -> None:
    criterion = detection_criterion(model_of("yolo26n"))
    assert isinstance(criterion, E2ELoss)
    stock = model_of("yolo26n").init_criterion()
    for loss, own in zip(branches_of(criterion), branches_of(stock), strict=True):
        assert isinstance(loss, DetectionLoss)
        assert isinstance(loss.assigner, SparseTaskAlignedAssigner)
        assert loss.assigner.topk == own.assigner.topk
        assert (loss.assigner.topk2 or loss.assigner.topk) == own.assigner.topk2
    assert (criterion.o2m, criterion.o2o) == (stock.o2m, stock.o2o)


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
@settings(max_examples=10)
@given(counts=counts_of_images, seed=st.integers(0, 2**32))
def test_masked_classes_cost_nothing_and_change_nothing_else(
    name: str, counts: list[int], seed: int
) -> None:
    model = weighted(model_of(name), seed)
    case = Case(model=model, counts=counts, seed=seed)
    criterion = with_torch_ties(model, LossOptions())
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(len(counts), 3, generator=generator) < 0.5
    masked, plain = case.results(criterion, class_mask=mask), case.results(criterion)
    for of_masked, of_plain in zip(masked[3::2], plain[3::2], strict=True):
        assert not of_masked[~mask].any()
        assert torch.equal(of_masked[mask], of_plain[mask])
    for of_masked, of_plain in zip(masked[2::2], plain[2::2], strict=True):  # of the sides
        assert torch.equal(of_masked, of_plain)
    assert torch.equal(masked[0][[0, 2]], plain[0][[0, 2]])
    stock = model.init_criterion()
    use_similarity(stock)
    for loss in branches_of(stock):
        loss.class_weights = loss.class_weights * mask[:, None]  # (B, 1, C)
    alike(masked, case.results(stock))


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_a_mask_that_covers_nothing_has_no_effect(name: str) -> None:
    case = Case(model=model_of(name), counts=[20, 0, 1])
    criterion = detection_criterion(case.model)
    everything = torch.ones(3, 3, dtype=torch.bool)
    masked, plain = case.results(criterion, class_mask=everything), case.results(criterion)
    assert all(torch.equal(a, b) for a, b in zip(masked, plain, strict=True))


def test_a_masked_class_equals_a_head_without_its_logits() -> None:
    """Compare with a model without the class, if no image has a label of it."""
    fewer = Case(model=model_of("yolo11n", 2), counts=[20, 0, 9])
    sides, logits = (leaf.detach() for leaf in fewer.leaves)
    model = model_of("yolo11n", 3)
    preds = fewer.preds | {"boxes": sides, "scores": torch.cat((logits, logits[:, :1]), dim=1)}
    mask = torch.tensor([True, True, False]).expand(3, 3)
    value, _ = detection_criterion(model)(preds, fewer.batch | {"class_mask": mask})
    expected, _ = detection_criterion(fewer.model)(fewer.preds, fewer.batch)
    alike([value], [expected.detach()])
    unmasked, _ = detection_criterion(model)(preds, fewer.batch)
    assert unmasked[1] > 1.2 * value[1]


@pytest.mark.parametrize("name", ["omr-tiny", "yolo26n"])
@pytest.mark.parametrize("counts", [[0, 0], [9, 0]])
def test_a_model_under_autocast_has_finite_gradients(name: str, counts: list[int]) -> None:
    model = copy.deepcopy(model_of(name, signed=True))
    batch = labels_of(counts, 3, torch.Generator().manual_seed(0))
    criterion = with_torch_ties(model, LossOptions())
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        preds = model(torch.rand(2, 3, 64, 64))
        value, _ = criterion(preds, batch)
    assert preds.get("one2many", preds)["scores"].dtype == torch.bfloat16
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    value.sum().backward()
    for parameter in model.parameters():
        assert not parameter.requires_grad or parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_autocast_does_not_change_results(name: str) -> None:
    case = Case(model=model_of(name, signed=True), counts=[30, 0])
    criterion = detection_criterion(case.model, LossOptions())
    expected = case.results(criterion)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = case.results(criterion)
    assert all(torch.equal(got, wanted) for got, wanted in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("assigner", ["tal", "simota"])
@settings(max_examples=10)
@given(
    name=st.sampled_from(["yolo11n", "yolo26n"]),
    counts=counts_of_images,
    seed=st.integers(0, 2**32),
)
def test_half_precision_is_processed_in_single_precision(
    assigner: AssignerName, dtype: torch.dtype, name: str, counts: list[int], seed: int
) -> None:
    half = Case(model=model_of(name), counts=counts, seed=seed, dtype=dtype)
    options = LossOptions(assigner=assigner)
    criterion, assigners = remembering(half.model, options)
    value, _ = criterion(half.preds, half.batch)
    copies = {
        name: {key: part.float() for key, part in branch.items() if key != "feats"}
        | {"feats": branch["feats"]}
        for name, branch in (half.preds if name == "yolo26n" else {"": half.preds}).items()
    }
    expected, _ = criterion(copies if name == "yolo26n" else copies[""], half.batch)
    assert torch.equal(value, expected)
    for assigned in assigners:
        found, of_copy = assigned.results
        for part in ("images", "points", "gts", "scores", "weights"):
            assert torch.equal(getattr(found, part), getattr(of_copy, part))


@pytest.mark.parametrize("class_loss", ["bce", "focal", "varifocal"])
@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_the_largest_numbers_of_half_precision_are_finite(name: str, class_loss: ClassLoss) -> None:
    case = Case(model=model_of(name), counts=[20, 0], dtype=torch.float16)
    for leaf in case.leaves:
        leaf.data = torch.where(leaf > 0, 60_000.0, -60_000.0).half()
    options = LossOptions(class_loss=class_loss)
    for result in case.results(detection_criterion(case.model, options)):
        assert result.isfinite().all()


ODD = {
    "a million pixels off": [15625.0, 0.5, 0.1, 0.1],
    "no number": [float("nan"), 0.5, 0.1, 0.1],
    "a side of no number": [0.5, 0.5, 0.1, float("nan")],
    "infinite": [0.5, 0.5, float("inf"), 0.1],
    "padding": [0.0, 0, 0, 0],
    "left and above": [-0.5, -0.5, 0.1, 0.1],
}


@pytest.mark.parametrize("assigner", ["tal", "simota", "static"])
@pytest.mark.parametrize("odd", ODD)
def test_boxes_without_a_point_have_no_pairs(odd: str, assigner: AssignerName) -> None:
    case = Case(model=model_of("yolo11n"), counts=[9, 4])
    criterion = detection_criterion(case.model, LossOptions(assigner=assigner))
    rows = {"batch_idx": [0.0], "cls": [[1.0]], "bboxes": [ODD[odd]]}
    more = {name: torch.cat((torch.tensor(rows[name]), case.batch[name])) for name in rows}
    alike(case.results(criterion, **more), case.results(criterion))


@pytest.mark.parametrize("name", MODELS)
def test_boxes_without_a_size_get_points_around_their_position(name: str) -> None:
    case = Case(model=model_of(name), counts=[1, 3])
    sizes = torch.tensor([[0, 0], [0, 0], [0, 0.3], [0.3, 0]])
    boxes = torch.cat((case.batch["bboxes"][:, :2].clamp(0.2, 0.8), sizes), dim=1)
    for options in (STOCK, LossOptions(), LossOptions(assigner="simota")):
        results = case.results(detection_criterion(case.model, options), bboxes=boxes)
        assert all(result.isfinite().all() for result in results)
        assert results[0].all() or options is STOCK
    stock = case.results(case.model.init_criterion(), bboxes=boxes)
    alike(case.results(with_torch_ties(case.model), bboxes=boxes), stock)


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_all_labels_of_one_class(name: str) -> None:
    for n_classes in (1, 80):
        case = Case(model=model_of(name, n_classes), counts=[30, 9])
        zeros = torch.zeros(39, 1)
        found, expected = (
            case.results(criterion, cls=zeros)
            for criterion in (with_torch_ties(case.model), case.model.init_criterion())
        )
        alike(found, expected)


class Largest(TorchDispatchMode):
    """Records the bytes of the largest tensor that is made; views count with their own size."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.n_bytes = max(self.n_bytes, tensor.untyped_storage().nbytes())
        return made


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
@pytest.mark.parametrize("assigner", ["tal", "simota", "static"])
def test_there_is_no_table_of_all_boxes_and_all_points(assigner: AssignerName, name: str) -> None:
    case = Case(model=model_of(name), counts=[400] * 4, imgsz=(320, 320))
    case.batch["bboxes"][:, 2:] = torch.tensor([12.0, 10]) / 320  # noteheads
    boxes = torch.cat((case.batch["bboxes"][:, :2], case.batch["bboxes"][:, :2]), dim=1) * 320
    targets = Targets(
        images=case.batch["batch_idx"].long(),
        labels=case.batch["cls"].long().flatten(),
        boxes_xyxy=boxes + torch.tensor([-6.0, -5, 6, 5]),
    )
    pairs, _ = pairs_inside(case.anchors, targets)
    row = 64  # bytes: some numbers for each of four sides, of 4 or 8 bytes
    bound = max([row * len(pairs), *(leaf.nbytes for leaf in case.leaves)])
    table = sum(case.counts) * len(case.anchors)  # one byte each
    assert 2 * bound < 4 * table
    sparse, dense = Largest(), Largest()
    with sparse:
        case.results(detection_criterion(case.model, LossOptions(assigner=assigner)))
    assert sparse.n_bytes <= bound
    if assigner == "tal":
        with dense:
            case.results(case.model.init_criterion())
        assert dense.n_bytes >= 4 * table
