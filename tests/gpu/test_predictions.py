"""Networks, pages and files of the device against those of the CPU."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from detector_models import config, images, single, with_heads
from device_cases import CPU, assert_near, assert_same_pages, model_on
from device_trainings import slow
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from settings.head_config import BoxBranch
from training.export.onnx import export_onnx
from training.models.checkpoints import load_weights, save_weights
from training.predict.detector import predict
from training.trainer import TrainResult

SIDE = 96
MODELS = (
    "omr-tiny",
    pytest.param("yolo26n", marks=slow),
    pytest.param("yolo11n", marks=slow),
    pytest.param("yolo12n", marks=slow),
)


def built(name: str, box: BoxBranch | None) -> DetectionModel:
    model = with_heads(single(name), config(box)) if box else single(name)
    model.names = {0: "c0", 1: "c1", 2: "c2"}
    return model.eval()


def in_order_of(rows: Tensor, expected: Tensor) -> Tensor:
    """Put predictions, shape ``(4 + C, A)``, in another order: rounding may change that of a head
    which sorts its predictions.
    """
    order = torch.cdist(expected.T.double(), rows.T.double()).argmin(dim=1)
    return rows[:, order]


@pytest.mark.gpu
@pytest.mark.usefixtures("exact_fp32")
@pytest.mark.parametrize("box", [None, "shared", "separate"])
@pytest.mark.parametrize("name", MODELS)
def test_network_outputs(name: str, box: BoxBranch | None, device: torch.device) -> None:
    model = built(name, box)
    pixels = images(2, SIDE)
    with torch.no_grad():
        expected = model(pixels)[0]
        outputs = model_on(model, device)(pixels.to(device))[0].cpu()
    for image in range(2):
        found = in_order_of(outputs[image], expected[image])
        assert_near(f"image {image}, boxes", found[:4], expected[image, :4])
        assert_near(f"image {image}, scores", found[4:], expected[image, 4:])


@pytest.mark.gpu
@pytest.mark.usefixtures("exact_fp32")
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_the_network(name: str, device: torch.device) -> None:
    """The same gradient of the head's outputs, sent back through both networks."""

    def gradients(where: torch.device) -> dict[str, Tensor]:
        model = model_on(built(name, None), where).train()
        outputs = model(images(2, SIDE).to(where))
        part = outputs.get("one2many", outputs)
        for table in ("boxes", "scores"):
            generator = torch.Generator().manual_seed(3)
            sent_back = torch.randn(part[table].shape, generator=generator)
            part[table].backward(sent_back.to(where), retain_graph=True)
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    expected, found = gradients(CPU), gradients(device)
    assert expected.keys() == found.keys()
    assert len(expected) > 20
    for parameter, gradient in expected.items():
        if gradient.abs().max() > 1e-3:  # those before a batch normalisation are rounding alone
            assert_near(parameter, found[parameter], gradient, 2e-3)


@pytest.mark.gpu(
    covers=[
        "training.runtime.devices:devices_of",
        "training.runtime.devices:memory_format_of",
        "training.predict.detections:_suppress",
        "training.predict.image_batches:collate",
        "training.predict.image_batches:network_input",
        "training.predict.detector:predict",
    ]
)
@pytest.mark.usefixtures("exact_fp32")
@pytest.mark.parametrize("box", [None, "separate"])
@pytest.mark.parametrize("name", MODELS)
def test_pages(
    name: str, box: BoxBranch | None, device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    save_weights(built(name, box), tmp_path / "best.pt", train_args={"imgsz": SIDE})
    files = sorted((dataset / "images" / "val").iterdir())
    found, expected = (
        list(
            predict(
                tmp_path / "best.pt",
                [(file, PurePosixPath(file.name)) for file in files],
                imgsz=SIDE,
                batch=4,
                device=where,
                score_thresh=0.05,
            )
        )
        for where in ("" if device.type == "cuda" else "cpu", "cpu")
    )
    assert sum(len(page.labels) for page in expected) > 50
    assert_same_pages(found, expected)


@pytest.mark.gpu(covers=["training.models.description:_check_tensors"])
def test_weights_trained_on_the_device_load_on_the_cpu(trained: TrainResult, dataset: Path) -> None:
    content = torch.load(trained.last, weights_only=True)
    assert {value.device.type for value in content["state_dict"].values()} == {"cpu"}
    model = load_weights(trained.last)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    file = dataset / "images" / "val" / "0.png"
    (page,) = predict(
        trained.best, [(file, PurePosixPath(file.name))], imgsz=64, device="cpu", score_thresh=0
    )
    assert page.scores is not None
    assert len(page.scores) > 0
    assert np.isfinite(page.boxes_xyxy).all()


@pytest.mark.gpu
def test_onnx_of_weights_trained_on_the_device(trained: TrainResult, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = load_weights(trained.last).eval()
    export_onnx(model, tmp_path / "model.onnx", imgsz=64)
    session = runtime.InferenceSession(
        str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, {"images": images(1, 64).numpy()})
    with torch.no_grad():
        expected = model(images(1, 64))[0]
    assert_near("boxes and scores", torch.from_numpy(result), expected)
