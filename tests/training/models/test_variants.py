"""Structure variants of models: other blocks, everything else unchanged."""

import pytest
import torch
from ultralytics.nn.modules.conv import DWConv

from class_maps import ConfigError
from training.models.building import build_network
from training.models.meta_tensors import MetaTensors
from training.models.zoo import model_file, read_model, variants


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("yolo11n", {"C3k2": 8, "C2PSA": 1}),
        ("yolo11n-c2f", {"C2f": 8, "C2PSA": 1}),
        ("yolo11n-noattn", {"C3k2": 8, "C2f": 1}),
        ("yolo11n-c2f-noattn", {"C2f": 9}),
        ("yolo12s-c2f", {"C2f": 6, "A2C2f": 2}),
        ("yolo12s-noattn", {"C3k2": 3, "A2C2f": 3, "C2f": 2}),
        ("yolo26m-c2f", {"C2f": 7, "C3k2": 1, "C2PSA": 1}),
        ("yolo26n-p2-c2f-noattn", {"C2f": 11}),
    ],
)
def test_blocks_are_replaced_and_the_head_is_not(name: str, blocks: dict[str, int]) -> None:
    with MetaTensors({torch.tensor}):
        model, base = (
            build_network(read_model(model_file(n)), 3) for n in (name, name.partition("-c2f")[0])
        )
    known = ("C3k2", "C2PSA", "A2C2f", "C2f")
    kinds = [type(layer).__name__ for layer in model.model]
    assert {kind: kinds.count(kind) for kind in known if kind in kinds} == blocks
    assert isinstance(model.model[-1].cv3[0][0][0], DWConv)
    if "-c2f" in name:
        shapes = [
            {key: value.shape for key, value in net.model[-1].state_dict().items()}
            for net in (model, base)
        ]
        assert shapes[0] == shapes[1]
        assert model.stride.tolist() == base.stride.tolist()


def test_a_variant_can_be_built_and_used() -> None:
    model = build_network(read_model(model_file("yolo26n-c2f-noattn")), 3)
    head = model.model[-1]
    for own, copied in zip(head.cv3, head.one2one_cv3, strict=True):
        assert all(
            torch.equal(a, b)
            for a, b in zip(own[:2].parameters(), copied[:2].parameters(), strict=True)
        )
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 3, 64, 64))[0].shape == (1, 4 + 3, 84)


def test_variants_of_names() -> None:
    names = variants()
    assert {"yolo11n-c2f", "yolo12x-noattn", "yolo26s-p2-c2f-noattn"} <= {*names}
    assert not [name for name in names if name.startswith(("yolov8", "omr", "yolov7"))]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("yolov8n-c2f", "yolov8n has no C3k2 or A2C2f blocks that C2f could replace; use yolov8n"),
        (
            "omr-tiny-noattn",
            "omr-tiny has no attention blocks that C2f could replace; use omr-tiny",
        ),
        ("yolo11n-noattn-c2f", "unknown: yolo11n-noattn-c2f (did you mean yolo11n-noattn?)"),
        ("yolo11n-c2d", "unknown: yolo11n-c2d (did you mean yolo11n-c2f?)"),
    ],
)
def test_variants_that_do_not_exist(model: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        model_file(model)
    assert message in str(error.value)
