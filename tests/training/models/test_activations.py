"""Activation functions of models: counts, descriptions, weights files and verification."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from class_maps import ConfigError, InputError
from settings.activations import NAMES as ACTIVATIONS
from settings.activations import parse_activations
from settings.head_config import Group, HeadConfig
from training.models.activations import (
    KINDS,
    activation_counts,
    activation_uses,
    activations_of,
    check_activations,
    set_activations,
)
from training.models.building import build_network, network_like
from training.models.checkpoints import load_weights, open_weights, save_weights, write_half
from training.models.meta_tensors import MetaTensors
from training.models.safe_pickle import write_pickle
from training.models.transfer import set_head, transfer
from training.models.zoo import model_file, network_key, read_model

NAMES = ("notehead", "stem", "beam")
MIXED = {"backbone": "relu", "neck": "leaky:0.2", "head": "hardswish"}
GROUPS = (Group(name="heads", classes=("notehead",)), Group(name="lines", classes=("stem", "beam")))


def network(name: str = "omr-tiny", activation: str = "", n_classes: int = 3) -> DetectionModel:
    torch.manual_seed(1)
    model = build_network(
        read_model(model_file(name)), n_classes, parse_activations(activation)
    ).eval()
    model.names = dict(enumerate(NAMES[:n_classes]))
    return model


def outputs(model: DetectionModel) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        found: torch.Tensor = model.eval()(torch.rand(1, 3, 64, 64))[0]
    return found


@contextmanager
def counted_calls(*names: str) -> Iterator[Counter[str]]:
    """Count the calls of functions in torch.nn.functional."""
    calls = Counter[str]()

    def counting(name: str) -> Any:  # noqa: ANN401
        function = getattr(nn.functional, name)

        def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            calls[name] += 1
            return function(*args, **options)

        return mock.patch.object(nn.functional, name, call)

    patches = [counting(name) for name in names]
    for patch in patches:
        patch.start()
    try:
        yield calls
    finally:
        for patch in patches:
            patch.stop()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("yolo11n", (36, 23, 18)),
        ("yolo26n", (35, 34, 36)),
        ("omr-tiny", (19, 8, 12)),
    ],
)
def test_each_use_of_a_shared_module_counts(name: str, counts: tuple[int, ...]) -> None:
    model = network(name)
    assert sum(isinstance(part, nn.SiLU) for part in model.modules()) <= 3  # one, and its copies
    expected = [{"silu": n} for n in counts]
    assert [*activation_counts(model).values()] == expected
    set_activations(model, MIXED)
    expected = [{name: n} for name, n in zip(MIXED.values(), counts, strict=True)]
    assert [*activation_counts(model).values()] == expected
    with counted_calls("relu", "leaky_relu", "hardswish", "silu") as calls, torch.no_grad():
        model.train()(torch.rand(2, 3, 64, 64))  # runs both branches of yolo26's head
    assert calls == dict(zip(("relu", "leaky_relu", "hardswish"), counts, strict=True))


def test_every_name_has_a_module() -> None:
    assert tuple(KINDS) == ACTIVATIONS


def test_no_values_are_drawn_for_another_activation() -> None:
    of_silu, of_relu = network().state_dict(), network(activation="relu").state_dict()
    assert of_silu.keys() == of_relu.keys()
    assert all(torch.equal(of_silu[name], of_relu[name]) for name in of_silu)


@pytest.mark.parametrize("name", ["yolov9t", "yolov10n"])
def test_layers_with_a_default_of_their_own_are_set(name: str) -> None:
    """Ultralytics' `activation` in a model file leaves those of RepConv and RepVGGDW."""
    content = yaml_model_load(f"{name}.yaml") | {"activation": "nn.ReLU()"}
    with MetaTensors({torch.tensor}):
        model = build_network(content, 3)
        assert "silu" in activation_uses(model).values()
        model = build_network(content, 3, parse_activations("relu"))
    assert {*activation_uses(model).values()} == {"relu"}


def test_attention_gates_are_not_activations() -> None:
    model = network()
    set_head(model, NAMES, HeadConfig(groups=GROUPS, gate="cbam"), signed=False)
    assert any(isinstance(part, nn.Sigmoid) for part in model.modules())
    assert activation_counts(model)["head"] == {"silu": 6 + 2 * 6}


@pytest.mark.parametrize("activation", ["nn.NoSuchThing()", "nn.ReLU"])
def test_an_error_leaves_no_trace_in_ultralytics(activation: str) -> None:
    before = Conv.default_act
    content = read_model(model_file("omr-tiny")) | {"activation": activation}
    with pytest.raises((AttributeError, TypeError)):
        build_network(content, 3)
    assert Conv.default_act is before
    assert {*activation_uses(network()).values()} == {"silu"}


def test_a_difference_names_its_layers() -> None:
    model = network(activation="backbone=relu")
    check_activations(model, {"backbone": "relu", "neck": "silu"}, "run")
    with pytest.raises(ConfigError) as error:
        check_activations(model, {"backbone": "relu", "neck": "relu", "head": "silu"}, "run")
    assert str(error.value).startswith(
        "run: 8 of 39 activations differ: model.11.cv1.act is silu, expected relu, "
    )


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", "half.safetensors", "yolo.pt"])
@pytest.mark.parametrize("heads", [None, HeadConfig(groups=GROUPS)])
def test_weights_keep_their_activations(
    suffix: str, heads: HeadConfig | None, tmp_path: Path
) -> None:
    model, before = network(), Conv.default_act
    set_activations(model, MIXED)
    set_head(model, NAMES, heads, signed=False)
    set_activations(model, {f"model.{len(model.model) - 1}.cv2.0.0.act": "mish"})
    save_weights(model, tmp_path / "best.pt", train_args={})
    file = tmp_path / "best.pt"
    if suffix == "half.safetensors":
        file = tmp_path / suffix
        write_half(open_weights(tmp_path / "best.pt"), tmp_path / "best.pt", file)
    elif suffix == "yolo.pt":
        file = tmp_path / suffix
        write_pickle(load_weights(tmp_path / "best.pt"), file)
    else:
        file = file.with_suffix(suffix)
    back = load_weights(file)
    assert activation_uses(back) == activation_uses(model)
    assert activation_counts(back)["head"]["mish"] == 1
    if suffix != "half.safetensors":
        assert torch.equal(outputs(back), outputs(model))
    assert Conv.default_act is before


def test_other_programs_read_one_activation_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    for activation, version, code in (("relu", 1, "nn.ReLU()"), ("neck=relu", 2, None)):
        save_weights(network(activation=activation), file, train_args={})
        content = torch.load(file)
        assert (content["version"], content["model"].get("activation")) == (version, code)
    save_weights(network(activation="leaky:0.3"), file, train_args={})
    write_pickle(load_weights(file), tmp_path / "yolo.pt")
    yolo = YOLO(tmp_path / "yolo.pt").model
    assert yolo.yaml["activation"] == "nn.LeakyReLU(0.3)"
    assert torch.equal(outputs(yolo), outputs(load_weights(file)))


def test_files_of_earlier_versions_have_the_activation_of_their_model_file(tmp_path: Path) -> None:
    file, model = tmp_path / "best.pt", network("yolov7-tiny")
    save_weights(model, file, train_args={})
    content = torch.load(file)
    del content["activations"]
    torch.save(content, file)
    assert activations_of(load_weights(file)) == dict.fromkeys(
        ("backbone", "neck", "head"), "leaky:0.1"
    )


@pytest.mark.parametrize(
    ("activations", "message"),
    [
        ({"backbone": "boom"}, "unknown activation: boom"),
        ({"backbone": 3}, "activations that are not names"),
        ({"model.99.act": "relu"}, "activations of unknown layers: model.99.act"),
        ([1], ""),
    ],
)
def test_damaged_descriptions(activations: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    save_weights(network(), file, train_args={})
    torch.save(torch.load(file) | {"activations": activations}, file)
    with pytest.raises(InputError, match=f"damaged: .*{message}"):
        load_weights(file)


def test_class_branches_that_ultralytics_copies_keep_their_function(tmp_path: Path) -> None:
    """For other classes, Ultralytics clones a source's class branch with its activation."""
    source, target = network("yolo11n", n_classes=2), network("yolo11n", "relu")
    target.model[-1].cv3 = source.model[-1].cv3
    for branch in target.model[-1].cv3:
        branch[-1] = nn.Conv2d(64, 3, 1)
    assert activation_counts(target)["head"] == {"relu": 6, "silu": 12}
    target.args = {"imgsz": 64}
    write_pickle(target, tmp_path / "mixed.pt")
    back = load_weights(tmp_path / "mixed.pt")
    assert activation_counts(back)["head"] == {"relu": 6, "silu": 12}
    assert torch.equal(outputs(back), outputs(target))
    continued = network_like(back, 5, {"head": "relu"})
    assert activation_counts(continued)["head"] == {"relu": 18}
    assert activation_counts(network_like(back, 5, {}))["head"] == {"relu": 6, "silu": 12}


@pytest.mark.parametrize("heads", [None, HeadConfig(groups=GROUPS, box="separate")])
def test_a_transfer_reports_other_activations_and_keeps_those_of_the_model(
    heads: HeadConfig | None,
) -> None:
    source, target = network(activation="neck=mish"), network(activation="leaky:0.1")
    set_head(source, NAMES, heads, signed=False)
    report = transfer(source, target, NAMES)
    assert report.activations == {
        "backbone": "silu -> leaky:0.1",
        "neck": "mish -> leaky:0.1",
        "head": "silu -> leaky:0.1",
    }
    assert report.lines()[-1] == (
        "activations: backbone silu -> leaky:0.1, neck mish -> leaky:0.1, head silu -> leaky:0.1, "
        "so the copied weights compute another function"
    )
    assert {*activation_uses(target).values()} == {"leaky:0.1"}
    assert transfer(target, network_like(target, 3, {}), NAMES).activations == {}


def test_choices_that_build_the_same_network(tmp_path: Path) -> None:
    save_weights(network(activation="neck=relu"), tmp_path / "best.pt", train_args={})
    weights = str(tmp_path / "best.pt")
    keys = [
        {network_key("omr-tiny", text) for text in ("", "silu", "head=silu,neck=silu")},
        {network_key("omr-tiny", "neck=relu"), network_key(weights, "backbone=silu")},
        {network_key("omr-tiny", "relu"), network_key(weights, "relu")},
        {network_key("omr-tiny", "leaky:0.1"), network_key("omr-tiny", "leaky:1e-1")},
        {network_key("omr-tiny-p2")},
        {network_key("yolov7-tiny"), network_key("yolov7-tiny", "leaky:0.1")},
        {network_key("yolo11n")},
        {network_key("yolo11n-c2f")},
        {network_key("yolo11n-c2f-noattn")},
        {network_key("yolo11s")},
    ]
    assert [len(same) for same in keys] == [1] * len(keys)
    assert len(set.union(*keys)) == len(keys)
