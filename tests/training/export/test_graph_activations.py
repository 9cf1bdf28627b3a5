from pathlib import Path

import pytest
import torch

from settings.activations import parse_activations
from settings.head_config import Group, HeadConfig
from training.export.graph_activations import NO_ACTIVATION, graph_activations
from training.export.onnx import export_onnx
from training.models.activations import activation_uses
from training.models.building import build_network
from training.models.transfer import set_head
from training.models.zoo import model_file, read_model

onnx = pytest.importorskip("onnx")
GROUPS = (Group(name="a", classes=("0", "2")), Group(name="b", classes=("1",)))


@pytest.mark.parametrize(
    ("name", "activation", "heads"),
    [
        ("omr-tiny", "backbone=relu,neck=gelu,head=mish", None),
        ("omr-tiny", "backbone=hardswish,neck=relu6,head=leaky:0.15", HeadConfig(groups=GROUPS)),
        ("yolo26n", "neck=relu", None),
    ],
)
def test_the_graph_has_the_activations_of_the_model(
    name: str, activation: str, heads: HeadConfig | None, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = build_network(read_model(model_file(name)), 3, parse_activations(activation)).eval()
    model.names = {label: str(label) for label in range(3)}
    set_head(model, [*model.names.values()], heads, signed=False)
    file = tmp_path / "model.onnx"
    export_onnx(model, file, imgsz=64)
    graph = graph_activations(file)
    expected = {
        layer: function
        for layer, function in activation_uses(model).items()
        if "one2one" not in layer  # the other branch of yolo26's head is exported
    }
    assert {k: v for k, v in graph.items() if v != NO_ACTIVATION} == expected


def test_a_file_without_convolutions(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "empty.onnx")
    assert graph_activations(tmp_path / "empty.onnx") == {}
