import copy
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel

from settings.head_config import BoxBranch, Group, HeadConfig
from training.assigners.similarity import SimilarityByClass, ciou, ciou_nwd, iou, nwd
from training.assigners.task_aligned import SparseTaskAlignedAssigner
from training.heads.grouped import ClassTowers, GroupedDetect, SeparateDetect, divided
from training.losses.detection import detection_criterion
from training.losses.loss_options import LossOptions

N_CLASSES, SIDE = 5, (96, 160)
MODELS = ("yolov8n", "yolo11n", "yolo26n")
LABELS = ((3, 1), (0, 4), (2,))


def config(box: BoxBranch = "shared", **options: Any) -> HeadConfig:  # noqa: ANN401
    groups = tuple(
        Group(name=f"g{i}", classes=tuple(f"c{k}" for k in own)) for i, own in enumerate(LABELS)
    )
    return HeadConfig(groups=groups, box=box, **options)


@functools.cache
def trained_a_little(name: str) -> DetectionModel:
    """Build a model with random weights, unlike a new one."""
    torch.manual_seed(0)
    model = DetectionModel(f"{name}.yaml", nc=N_CLASSES, verbose=False)
    model.args = get_cfg()
    with torch.no_grad():
        for parameter in model.model[-1].parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def with_heads(
    name: str, config: HeadConfig, labels: Sequence[Sequence[int]] = LABELS
) -> DetectionModel:
    model = copy.deepcopy(trained_a_little(name))
    model.model[-1] = divided(model.model[-1], labels, config)
    return model


def batch(n: int, labels: Sequence[int] = range(N_CLASSES)) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(n)
    chosen = torch.randint(0, len(labels), (n, 1), generator=generator)
    return {
        "batch_idx": torch.randint(0, 2, (n,), generator=generator).sort().values.float(),
        "cls": torch.tensor(labels)[chosen].float(),
        "bboxes": torch.rand(n, 4, generator=generator) * torch.tensor([1, 1, 0.3, 0.3]),
    }


def images() -> Tensor:
    return torch.rand(2, 3, *SIDE, generator=torch.Generator().manual_seed(1))


def loss_of(model: DetectionModel, labels: dict[str, Tensor], **options: Any) -> Tensor:  # noqa: ANN401
    model.train().zero_grad()
    losses: Tensor
    losses, _ = detection_criterion(model, LossOptions(**options))(model(images()), labels)
    losses.sum().backward()
    return losses.detach()


def trunk_gradient(model: DetectionModel) -> Tensor:
    """List the parameters outside the head."""
    return torch.cat([p.grad.flatten() for layer in model.model[:-1] for p in layer.parameters()])


def predicted(model: DetectionModel) -> Tensor:
    found: Tensor
    with torch.no_grad():
        found = model.eval()(images())[0]
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("gate", ["none", "cbam"])
def test_a_new_grouped_head_equals_the_single_head(name: str, gate: str) -> None:
    single, grouped = trained_a_little(name), with_heads(name, config(gate=gate))
    torch.testing.assert_close(predicted(grouped), predicted(single), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_loss_and_trunk_gradient_of_a_grouped_head_are_the_single_ones(name: str) -> None:
    single, grouped = copy.deepcopy(trained_a_little(name)), with_heads(name, config())
    expected, found = loss_of(single, batch(40)), loss_of(grouped, batch(40))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    ours, theirs = trunk_gradient(grouped), trunk_gradient(single)
    assert theirs.norm() > 0
    assert (ours.norm() / theirs.norm()).item() == pytest.approx(1, abs=1e-4)
    assert torch.cosine_similarity(ours.double(), theirs.double(), dim=0) > 1 - 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_separate_boxes_do_not_multiply_the_gradient(name: str) -> None:
    single, separate = copy.deepcopy(trained_a_little(name)), with_heads(name, config("separate"))
    expected, found = loss_of(single, batch(40)), loss_of(separate, batch(40))
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)
    ours, theirs = trunk_gradient(separate), trunk_gradient(single)
    assert (ours.norm() / theirs.norm()).item() == pytest.approx(1, abs=0.15)


def test_an_anchor_point_can_predict_a_symbol_of_each_group() -> None:
    labels = {
        "batch_idx": torch.zeros(3),
        "cls": torch.tensor([[3.0], [0.0], [2.0]]),  # one of each group at the same position
        "bboxes": torch.tensor([[0.5, 0.5, 0.02, 0.03]]).repeat(3, 1),
    }
    counts = {}
    for box in ("separate", "shared"):
        model = with_heads("yolo11n", config(box))
        criterion = detection_criterion(model, LossOptions(assigner="static"))
        outputs = criterion._outputs(model.train()(images()), {})
        targets = criterion._targets(outputs, labels)
        found = criterion.assigner.assign(outputs, outputs.anchors, targets)
        counts[box] = found.gts.bincount(minlength=3).tolist()
        assert len(found.points.unique()) == 4
    assert counts == {"separate": [4, 4, 4], "shared": [4, 0, 0]}


@pytest.mark.parametrize("assigner", ["tal", "simota", "static"])
@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_symbols_of_one_group_teach_its_box_branch_only(name: str, assigner: str) -> None:
    model = with_heads(name, config("separate"))
    loss_of(model, batch(30, labels=LABELS[0]), assigner=assigner)
    own, *others = model.model[-1].cv2[0].branches
    assert own[-1].weight.grad.abs().sum() > 0
    assert all(not branch[-1].weight.grad.any() for branch in others)
    assert all(
        p.grad is not None and p.grad.isfinite().all()
        for p in model.parameters()
        if p.requires_grad
    )


def gradient_of(model: DetectionModel, group: int) -> Tensor:
    """List the parameters of a group's last layers."""
    head = model.model[-1]
    layers = head.cv2[0].branches[group][-1], head.cv3[0].towers[group][-1]
    return torch.cat([layer.weight.grad.flatten() for layer in layers])


def assigner_of(heads: HeadConfig, **options: Any) -> SparseTaskAlignedAssigner:  # noqa: ANN401
    criterion = detection_criterion(with_heads("yolo11n", heads), LossOptions(**options))
    assert isinstance(criterion.assigner, SparseTaskAlignedAssigner)
    return criterion.assigner


def test_a_group_may_override_the_similarity() -> None:
    ways: list[dict[str, Any]] = [{}, {"similarity": "nwd", "beta": 2.0}, {"similarity": "iou"}]
    groups = config().groups
    own = HeadConfig(groups=tuple(replace(g, **w) for g, w in zip(groups, ways, strict=True)))
    assigner = assigner_of(own, similarity="ciou")
    assert isinstance(assigner.similarity, SimilarityByClass)
    assert isinstance(assigner.beta, Tensor)
    chosen = [assigner.similarity.measures[i] for i in assigner.similarity.choice.tolist()]
    assert chosen == [nwd, ciou, iou, ciou, nwd]  # LABELS
    assert assigner.beta.tolist() == [2, 6, 6, 6, 2]
    plain = assigner_of(config(), beta=4)
    assert (plain.similarity, plain.beta) == (ciou_nwd, 4)


def test_the_weight_of_a_group_multiplies_its_losses() -> None:
    plain = config("separate")
    (first, *others) = plain.groups
    heavy = replace(plain, groups=(replace(first, weight=3.0), *others))
    models = [with_heads("yolo11n", each) for each in (plain, heavy)]
    for model in models:
        loss_of(model, batch(30))
    for group, times in enumerate((3, 1, 1)):
        expected, found = (gradient_of(model, group) for model in models)
        assert expected.norm() > 0
        torch.testing.assert_close(found, times * expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("box", ["shared", "separate"])
@pytest.mark.parametrize("name", MODELS)
def test_no_symbols(name: str, box: BoxBranch) -> None:
    model = with_heads(name, config(box))
    losses = loss_of(model, batch(0))
    assert losses.isfinite().all()
    assert losses[0] == losses[2] == 0
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_predictions_of_a_separate_head_are_the_best_of_all_groups() -> None:
    model = with_heads("yolo11n", config("separate"))
    head = model.model[-1].eval()
    with torch.no_grad():
        found, raw = model.eval()(images())
        boxes = head._boxes_of_groups(raw)  # (B, 4, G, A)
    scores = raw["scores"].sigmoid()
    n_points = scores.shape[2]
    assert found.shape == (2, 4 + N_CLASSES, n_points)
    for image in range(2):
        rows = {}
        for group, own in enumerate(LABELS):
            of_group = torch.zeros(N_CLASSES, n_points)
            of_group[list(own)] = scores[image, list(own)]
            for row in torch.cat((boxes[image, :, group], of_group)).T.tolist():
                rows[tuple(row)] = max(row[4:])
        best = found[image].T
        assert {tuple(row) for row in best.tolist()} <= rows.keys()
        assert sorted(best[:, 4:].amax(dim=1).tolist()) == sorted(rows.values())[-n_points:]


def test_a_new_separate_head_equals_the_single_head() -> None:
    """Expect each box three times, each with a part of the scores."""
    model, single = with_heads("yolo11n", config("separate")), trained_a_little("yolo11n")
    expected, (_, raw) = predicted(single), model.eval()(images())
    boxes = model.model[-1]._boxes_of_groups(raw)
    for group in range(3):
        torch.testing.assert_close(boxes[:, :, group], expected[:, :4], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(raw["scores"].sigmoid(), expected[:, 4:], rtol=1e-5, atol=1e-5)


def test_the_order_of_groups_and_classes_does_not_matter() -> None:
    turned = [own[::-1] for own in LABELS[::-1]]
    for box in ("shared", "separate"):
        first = loss_of(with_heads("yolo11n", config(box)), batch(30))
        second = loss_of(with_heads("yolo11n", config(box), turned), batch(30))
        torch.testing.assert_close(first, second, rtol=1e-6, atol=0)


@pytest.mark.parametrize("box", ["shared", "separate"])
@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_permuted_classes_give_permuted_outputs(name: str, box: BoxBranch) -> None:
    """Permute the classes: class k becomes class ``order.index(k)``."""
    order = [2, 0, 4, 1, 3]
    single = copy.deepcopy(trained_a_little(name))
    turned = copy.deepcopy(single)
    with torch.no_grad():
        for branches in (turned.model[-1].cv3, getattr(turned.model[-1], "one2one_cv3", [])):
            for branch in branches:
                branch[-1].weight.copy_(branch[-1].weight[order])
                branch[-1].bias.copy_(branch[-1].bias[order])
    single.model[-1] = divided(single.model[-1], LABELS, config(box))
    labels = [[order.index(label) for label in own] for own in LABELS]
    turned.model[-1] = divided(turned.model[-1], labels, config(box))
    expected, found = predicted(single), predicted(turned)
    torch.testing.assert_close(found[:, :4], expected[:, :4], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(found[:, 4:], expected[:, 4:][:, order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("box", ["shared", "separate"])
def test_masked_classes_have_no_gradient(box: BoxBranch) -> None:
    """Image 0 does not label the group of 3 and 1; image 1 labels class 0 only."""
    model = with_heads("yolo11n", config(box))
    mask = torch.tensor([[True, False, True, False, True], [True, False, False, False, False]])
    labels = batch(30, labels=[0]) | {"class_mask": mask}
    assert loss_of(model, labels).isfinite().all()
    head = model.model[-1]
    for level in range(3):
        covered, said, _ = (tower[-1].weight.grad for tower in head.cv3[level].towers)
        assert not covered.any()
        assert said[0].any()
    assert all(not p.grad.any() for p in head.cv3[0].towers[0].parameters())
    if box == "separate":
        assert not head.cv2[0].branches[0][-1].weight.grad.any()
        assert not head.cv2[0].branches[2][-1].weight.grad.any()
    alone = mask.clone()
    alone[0, 4] = alone[0, 2] = False
    loss_of(model, labels | {"class_mask": alone})
    _, said, never = (tower[-1].weight.grad for tower in head.cv3[0].towers)
    assert said[0].any()
    assert not said[1].any()
    assert not never.any()


def test_an_image_alone_has_the_same_predictions_as_in_a_batch() -> None:
    model = with_heads("yolo11n", config("separate")).eval()
    with torch.no_grad():
        both, alone = model(images())[1], model(images()[1:])[1]
        boxes = [model.model[-1]._boxes_of_groups(raw) for raw in (both, alone)]
    torch.testing.assert_close(boxes[1], boxes[0][1:], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(alone["scores"], both["scores"][1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("width", "depth"), [(0.5, 2), (1.0, 1), (2.0, 3)])
@pytest.mark.parametrize("name", MODELS)
def test_towers_of_another_size(name: str, width: float, depth: int) -> None:
    model = with_heads(name, config(tower_width=width, tower_depth=depth))
    tower = model.model[-1].cv3[0].towers[0]
    single = trained_a_little(name).model[-1].cv3[0]
    assert len(tower) == depth + 1
    assert tower[-1].in_channels == pytest.approx(single[-1].in_channels * width, abs=4)
    assert torch.equal(tower[-1].bias, single[-1].bias[list(LABELS[0])])
    assert loss_of(model, batch(10)).isfinite().all()


@pytest.mark.parametrize("box", ["shared", "separate"])
def test_a_group_of_one_class_learns(box: BoxBranch) -> None:
    torch.manual_seed(0)
    model = with_heads("yolo11n", config(box))
    labels = batch(12, labels=[2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        losses.append(float(loss_of(model, labels).sum()))
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def test_the_single_head_does_not_change() -> None:
    model = copy.deepcopy(trained_a_little("yolo26n"))
    head = model.model[-1]
    before = {name: value.clone() for name, value in head.state_dict().items()}
    made = divided(head, LABELS, config("separate"))
    assert isinstance(made, SeparateDetect)
    assert isinstance(divided(head, LABELS, config()), GroupedDetect)
    assert isinstance(made.cv3[0], ClassTowers)
    assert head.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    with torch.no_grad():
        next(made.cv3.parameters()).add_(1)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
