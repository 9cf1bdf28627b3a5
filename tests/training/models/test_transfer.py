"""What is taken over from weights, against plain tensors and hand-counted numbers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, InputError
from converters.formats.datasets import open_dataset
from settings.head_config import Group, HeadConfig
from training.config import TrainConfig
from training.heads.distance_bins import allow_below_zero, strides_below_zero
from training.heads.grouped import GroupedDetect, SeparateDetect, divided
from training.models.checkpoints import load_weights, save_weights
from training.models.transfer import REPORT_FILE, check_fit, transfer
from training.models.zoo import model_file
from training.trainer import ready_trainer, train

NAMES = ("notehead", "stem", "beam")


def build(name: str, names: tuple[str, ...] = NAMES) -> DetectionModel:
    model = DetectionModel(model_file(name), nc=len(names), verbose=False)
    model.names = dict(enumerate(names))
    return model.eval()


def source_of(name: str, names: tuple[str, ...] = NAMES) -> DetectionModel:
    """A model whose tensors are all different from those of a new one."""
    torch.manual_seed(7)
    model = build(name, names)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.shape != (1, 16, 1, 1):  # not the bins
                tensor += 0.05 * (torch.rand_like(tensor) - 0.5)
    return model


def raw(model: DetectionModel) -> tuple[Tensor, Tensor]:
    """Boxes and class logits of every anchor point."""
    torch.manual_seed(0)
    with torch.no_grad():
        output, found = model.eval()(torch.rand(2, 3, 64, 64))
    found = found.get("one2many", found)
    return output[:, :4], found["scores"]


def groups(*classes: tuple[str, ...], **options: Any) -> HeadConfig:  # noqa: ANN401
    return HeadConfig(
        groups=tuple(Group(name=str(i), classes=own) for i, own in enumerate(classes)), **options
    )


CONFIGS = {
    "one head": None,
    "shared": groups(("beam", "notehead"), ("stem",)),
    "separate": groups(("beam",), ("stem", "notehead"), box="separate", gate="cbam"),
    "stock boxes": groups(("beam",), ("stem", "notehead"), box_encoding="stock"),
}


@pytest.mark.parametrize("heads", CONFIGS)
@pytest.mark.parametrize(
    ("name", "order"),
    [("omr-tiny", (0, 1, 2)), ("yolo11n", (2, 0, 1)), ("yolo26n", (2, 0, 1))],
)
def test_with_the_same_classes_the_outputs_are_the_same(
    name: str, heads: str, order: tuple[int, ...]
) -> None:
    source = source_of(name)
    names = tuple(NAMES[i] for i in order)
    target = build(name, names)
    report = transfer(source, target, names, CONFIGS[heads])
    boxes, logits = raw(target)
    their_boxes, their_logits = raw(source)
    torch.testing.assert_close(logits, their_logits[:, list(order)], atol=1e-5, rtol=1e-5)
    if heads != "separate":  # whose output is another choice of boxes
        torch.testing.assert_close(boxes, their_boxes, atol=1e-4, rtol=1e-5)  # pixels
    assert (report.classes, report.new_classes, report.skipped) == (names, (), {})
    assert sum(report.cloned.values()) > 0 or heads == "one head"


@pytest.mark.parametrize("name", ["omr-tiny", "yolov8n"])
def test_boxes_beside_their_anchor_points_stay_there(name: str) -> None:
    source = source_of(name)
    allow_below_zero(source.model[-1])
    with torch.no_grad():
        source.model[-1].cv2[0][-1].bias += 40 * torch.rand(72)  # the new bins are open
    target = build(name)
    transfer(source, target, NAMES)
    assert strides_below_zero(target.model[-1]) == 2
    torch.testing.assert_close(raw(target)[0], raw(source)[0], atol=1e-4, rtol=1e-5)


def test_a_class_keeps_its_row_and_a_new_one_starts_like_ultralytics_starts_it() -> None:
    names = ("beam", "dot", "notehead")
    source, target, new = source_of("omr-tiny"), build("omr-tiny", names), build("omr-tiny", names)
    report = transfer(source, target, names)
    for level in range(3):
        own, theirs, fresh = (m.model[-1].cv3[level][-1] for m in (target, source, new))
        assert torch.equal(own.weight[[0, 2]], theirs.weight[[2, 0]])
        assert torch.equal(own.bias[[0, 2]], theirs.bias[[2, 0]])
        assert own.bias[1] == fresh.bias[1]
        assert not torch.isin(own.weight[1], theirs.weight).any()
    assert report.classes == ("beam", "notehead")
    assert report.new_classes == ("dot",)
    layer = f"model.{len(target.model) - 1}.cv3.0.2"
    width = target.model[-1].cv3[0][-1].in_channels
    assert report.copied[f"{layer}.weight"] == 2 * width
    assert report.new == {
        f"model.{len(target.model) - 1}.cv3.{level}.2.{part}": n
        for level in range(3)
        for part, n in (("weight", target.model[-1].cv3[level][-1].in_channels), ("bias", 1))
    }
    assert report.skipped == report.new  # the stem's rows
    assert report.lines()[-1] == "classes: 2 of 3 by name; new: dot"


def test_duplicate_names_are_matched_by_position_or_not_at_all() -> None:
    duplicate = ("stem", "stem", "beam")
    source, same, other = (
        source_of("omr-tiny", duplicate),
        build("omr-tiny", duplicate),
        build("omr-tiny"),
    )
    assert transfer(source, same, duplicate).classes == duplicate
    torch.testing.assert_close(raw(same)[1], raw(source)[1])
    report = transfer(source, other, NAMES)
    assert (report.classes, report.new_classes) == (("beam",), ("notehead", "stem"))


def test_every_number_of_a_report_is_counted_once() -> None:
    source, target = source_of("omr-tiny"), build("omr-tiny")
    report = transfer(source, target, NAMES, CONFIGS["separate"])
    state, theirs = target.state_dict(), source.state_dict()
    for name, tensor in state.items():
        parts = [part.get(name, 0) for part in (report.copied, report.cloned, report.new)]
        assert sum(parts) == tensor.numel(), name
    place = f"model.{len(target.model) - 1}"
    box = f"{place}.cv2.0.branches.1.2.bias"
    assert report.cloned[box] == 4 * 16
    assert report.new[box] == 4 * 2  # closed bins
    assert report.copied[f"{place}.dfl.conv.weight"] == 16
    assert report.cloned[f"{place}.cv3.0.towers.1.0.conv.weight"]
    assert report.copied[f"{place}.cv3.0.towers.1.2.bias"] == 2
    assert report.new[f"{place}.cv3.0.gates.1.share"] == 1
    assert set(report.copied) - set(theirs) == {
        f"{place}.cv3.{level}.towers.{group}.2.{part}"
        for level in range(3)
        for group in range(3 - 1)
        for part in ("weight", "bias")
    }


def test_towers_of_another_width_are_new() -> None:
    source, target = source_of("omr-tiny"), build("omr-tiny")
    heads = groups(("beam", "notehead"), ("stem",), tower_width=0.5)
    report = transfer(source, target, NAMES, heads)
    place = f"model.{len(target.model) - 1}.cv3.0.towers.0"
    assert f"{place}.0.conv.weight" in report.new
    assert f"{place}.2.weight" in report.new
    assert not report.cloned


def test_class_branches_keep_their_width_for_another_number_of_classes(tmp_path: Path) -> None:
    many = tuple(f"class{i}" for i in range(77)) + NAMES
    source = source_of("yolo11n", many)  # 80 channels; of 3 classes Ultralytics makes 64
    target = build("yolo11n")
    report = transfer(source, target, NAMES, CONFIGS["shared"])
    torch.testing.assert_close(raw(target)[1], raw(source)[1][:, 77:], atol=1e-5, rtol=1e-5)
    assert list(report.new) == [name for name in report.new if ".cv2." in name or "dfl" in name]
    norms = [part for part in target.modules() if isinstance(part, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}, "Ultralytics' own"
    save_weights(target, tmp_path / "best.pt", train_args={})
    assert torch.equal(raw(load_weights(tmp_path / "best.pt"))[1], raw(target)[1])


def test_several_heads_go_on_with_classes_in_another_order() -> None:
    source = source_of("omr-tiny")
    grouped = build("omr-tiny")
    transfer(source, grouped, NAMES, CONFIGS["separate"])
    target = build("omr-tiny", ("stem", "beam", "notehead"))
    report = transfer(grouped, target, ("stem", "beam", "notehead"))
    assert type(target.model[-1]) is SeparateDetect
    torch.testing.assert_close(raw(target)[1], raw(source)[1][:, [1, 2, 0]], atol=1e-5, rtol=1e-5)
    assert not report.new
    assert not report.skipped


def test_no_equal_name_leaves_the_last_layer_new() -> None:
    names = ("a", "b", "c")
    report = transfer(source_of("omr-tiny"), build("omr-tiny", names), names)
    assert report.lines()[-1] == "classes: 0 of 3 by name; new: a, b, c"
    assert sorted({name.split(".", 2)[2] for name in report.new}) == [
        f"cv3.{level}.2.{part}" for level in range(3) for part in ("bias", "weight")
    ]


def test_weights_of_another_model_are_refused() -> None:
    source, file = build("yolo11n"), Path("x.pt")
    for name in ("yolo11n", "yolo26n"):  # of the same backbone
        check_fit(source, build(name, ("a",)), file, name)
    for name in ("yolo11s", "yolov8n", "omr-tiny"):
        with pytest.raises(InputError) as raised:
            check_fit(source, build(name), file, name)
        message = str(raised.value)
        assert message.startswith("x.pt: weights of another model: ")
        assert message.endswith(
            f"tensors match {name}; give the --model that they were trained with"
        )


def config_of(data: Path, out: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    config = TrainConfig(
        data=data,
        out=out,
        model="omr-tiny",
        epochs=1,
        imgsz=64,
        batch=3,
        device="cpu",
        validate=False,
    )
    return replace(config, **options)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for two of the classes and one more, in another order."""
    model = source_of("omr-tiny", ("beam", "dot", "notehead"))
    file = tmp_path_factory.mktemp("weights") / "other.pt"
    save_weights(model, file, train_args={"imgsz": 64})
    return file


@pytest.mark.parametrize(("suffix", "heads"), [(".pt", ""), (".safetensors", "groups")])
def test_a_training_starts_from_weights(
    weights: Path, dataset: Path, tmp_path: Path, suffix: str, heads: str
) -> None:
    file = weights.with_suffix(suffix)
    if heads:
        heads = str(tmp_path / "heads.yaml")
        Path(heads).write_text(
            "groups:\n- {name: a, classes: [notehead]}\n- {name: b, classes: [stem, beam]}\n"
        )
    config = config_of(dataset, tmp_path / "run", weights=str(file), heads=heads, lr=1e-12)
    result = train(config)
    report = json.loads((tmp_path / "run" / REPORT_FILE).read_text())
    assert report["classes"] == ["notehead", "beam"]
    assert report["new_classes"] == ["stem"]
    assert bool(report["cloned"]) == bool(heads)
    trained, source = load_weights(result.last), load_weights(file)
    assert isinstance(trained.model[-1], GroupedDetect) == bool(heads)
    name = "model.0.conv.weight"
    # Between the epochs in half precision.
    torch.testing.assert_close(
        trained.state_dict()[name], source.state_dict()[name], atol=1e-3, rtol=1e-3
    )
    augmentation = json.loads((tmp_path / "run" / "augmentation.json").read_text())
    assert augmentation["priors"] is None, "boxes stay where the weights have them"


def test_what_cannot_be_taken_over_is_said_before_anything_is_made(
    weights: Path, dataset: Path, tmp_path: Path
) -> None:
    config = config_of(dataset, tmp_path / "run", weights=str(weights))
    with pytest.raises(ConfigError) as raised:
        replace(config, model=str(weights))
    assert str(raised.value) == (
        f"--weights {weights}: --model {weights} is a weights file already; drop one of the two "
        "options"
    )
    with pytest.raises(
        InputError, match=r"weights of another model: .* tensors match yolo11n; give the"
    ):
        train(replace(config, model="yolo11n"))
    with pytest.raises(InputError, match=r"gone\.pt: no such weights"):
        train(replace(config, weights="gone.pt"))
    file = tmp_path / "groups.pt"
    grouped = build("omr-tiny", ("a", "b", "c"))
    transfer(build("omr-tiny"), grouped, ("a", "b", "c"), groups(("a", "b"), ("c",)))
    save_weights(grouped, file, train_args={})
    with pytest.raises(
        ConfigError, match=r"has heads for other classes than .*; start from weights with a"
    ):
        train(replace(config, weights=str(file)))
    assert not config.out.exists()


def test_boxes_that_do_not_fit_start_as_in_a_new_model() -> None:
    target = build("yolo11n")
    report = transfer(source_of("yolo26n"), target, NAMES)  # the same backbone, but no bins
    assert not report.boxes
    assert report.lines()[-1] == "boxes: start as in a new model"
    assert strides_below_zero(target.model[-1]) == 2
    assert transfer(source_of("yolo11n"), build("yolo11n"), NAMES).boxes


def test_a_training_gives_new_boxes_the_sizes_of_its_data(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "old.pt"
    save_weights(source_of("yolo26n"), file, train_args={})
    config = config_of(dataset, tmp_path / "run", model="yolo11n", weights=str(file))
    trainer = ready_trainer(config)
    assert trainer.state.priors is not None
    assert trainer.state.transferred is not None
    assert trainer.state.transferred.copied


def test_heads_that_do_not_fit_have_no_class_of_the_weights() -> None:
    source = source_of("omr-tiny")
    heads = groups(NAMES[:1], NAMES[1:])
    source.model[-1] = divided(source.model[-1], heads.labels(NAMES), heads)
    report = transfer(source, build("omr-tiny-p2"), NAMES)
    assert report.classes == ()
    assert report.new_classes == NAMES


@pytest.mark.parametrize(
    ("assigner", "group", "said"),
    [
        ("simota", "beta: 3", "beta"),
        ("static", "similarity: iou, beta: 3", "similarity and beta"),
    ],
)
def test_what_the_assigner_does_not_look_at_is_refused(
    dataset: Path, tmp_path: Path, assigner: str, group: str, said: str
) -> None:
    names = ", ".join(open_dataset(dataset).names)
    file = tmp_path / "heads.yaml"
    file.write_text(f"groups: [{{name: all, classes: [{names}], {group}}}]\n")
    config = config_of(dataset, tmp_path / "run", heads=str(file), assigner=assigner)
    with pytest.raises(ConfigError) as raised:
        train(config)
    assert str(raised.value) == (
        f"--heads: all: {said}: not used by --assigner {assigner}; omit "
        f"{'them' if ' and ' in said else 'it'}"
    )
