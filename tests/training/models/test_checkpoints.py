import errno
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel, SegmentationModel, yaml_model_load

from class_maps import InputError
from converters.manifest import Preparation
from settings.head_config import Group, HeadConfig
from training.models.building import activation_kept
from training.models.checkpoints import (
    load_weights,
    open_weights,
    recorded_imgsz,
    save_weights,
)
from training.models.safe_pickle import write_pickle
from training.models.training_record import TrainingRecord, from_dict
from training.models.transfer import set_head
from training.models.zoo import model_file

NAMES = ("notehead", "stem", "beam")
ARGS = {"task": "detect", "imgsz": 96, "data": "/home/somebody/data.yaml", "lr0": 0.01}
GROUPS = (Group(name="heads", classes=("notehead",)), Group(name="lines", classes=("beam", "stem")))
TRUST = "a pickle that can execute code when it is loaded; give --trust if you trust its source"


def new_model(name: str = "omr-tiny", **options: Any) -> DetectionModel:  # noqa: ANN401
    """A model whose statistics and biases are not those of a new one."""
    torch.manual_seed(1)
    model = DetectionModel(model_file(name), nc=len(NAMES), verbose=False)
    model.names = dict(enumerate(NAMES))
    heads = HeadConfig(groups=GROUPS, **options) if options else None
    set_head(model, NAMES, heads, signed=heads is not None and heads.box_encoding == "signed")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return model.eval()


def outputs(model: DetectionModel) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        found: torch.Tensor = model.eval()(torch.rand(2, 3, 64, 64))[0]
    return found


MODELS: dict[str, Callable[[], DetectionModel]] = {
    "one head": new_model,
    "signed": lambda: new_model(box="shared"),
    "separate, cbam": lambda: new_model(box="separate", gate="cbam"),
    "other towers": lambda: new_model(tower_width=0.5, tower_depth=1, box_encoding="stock"),
    "yolov8n": lambda: new_model("yolov8n"),
    "yolo26n": lambda: new_model("yolo26n", box="separate"),
}


@pytest.mark.parametrize(
    ("kind", "suffix"), [*((kind, ".pt") for kind in MODELS), ("separate, cbam", ".safetensors")]
)
def test_what_is_read_is_what_was_written(kind: str, suffix: str, tmp_path: Path) -> None:
    model = MODELS[kind]()
    file = tmp_path / "best.pt"
    save_weights(model, file, train_args=ARGS)
    back = load_weights(file.with_suffix(suffix))
    assert torch.equal(outputs(back), outputs(model))
    assert type(back.model[-1]) is type(model.model[-1])
    assert back.names == model.names
    assert back.args == {"task": "detect", "imgsz": 96}
    assert not back.training


def test_a_file_is_plain_data(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    save_weights(MODELS["separate, cbam"](), file, train_args=ARGS)
    content = torch.load(file, weights_only=True)
    state = content.pop("state_dict")
    assert content["names"] == list(NAMES)
    assert content["heads"]["groups"][1]["classes"] == ["beam", "stem"]
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    assert "somebody" not in json.dumps(content)
    with safetensors.safe_open(file.with_suffix(".safetensors"), framework="pt") as beside:
        description = json.loads(beside.metadata()["omr-detector"])
        assert len(description.pop("sha256")) == 64
        assert description == content
        assert set(beside.keys()) == set(state)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "best.safetensors"]


def test_an_end_to_end_model_stays_one(tmp_path: Path) -> None:
    model = new_model("yolo26n")
    model.end2end, model.model[-1].max_det = True, 50
    save_weights(model, tmp_path / "best.pt", train_args={})
    back = load_weights(tmp_path / "best.pt")
    assert outputs(back).shape == (2, 50, 6)
    assert torch.equal(outputs(back), outputs(model))


def test_an_activation_stays_with_its_own_model(tmp_path: Path) -> None:
    with activation_kept():
        yaml = yaml_model_load(model_file("omr-tiny")) | {"activation": "nn.LeakyReLU(0.1)"}
        model = DetectionModel(yaml, nc=3, verbose=False)
    save_weights(model, tmp_path / "best.pt", train_args={})
    back = load_weights(tmp_path / "best.pt")
    assert torch.equal(outputs(back), outputs(model))
    kinds = {type(part) for part in back.modules()}
    assert nn.LeakyReLU in kinds
    assert nn.LeakyReLU not in {type(part) for part in new_model().modules()}


def test_reading_draws_no_random_numbers(tmp_path: Path) -> None:
    save_weights(new_model(), tmp_path / "best.pt", train_args={})
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    load_weights(tmp_path / "best.pt")
    assert torch.equal(torch.rand(3), expected)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "best.pt"
    first = new_model()
    save_weights(first, file, train_args={})
    write = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        save_weights(new_model(box="separate"), file, train_args={})
    monkeypatch.undo()
    assert torch.equal(outputs(load_weights(file)), outputs(first))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "best.safetensors"]


@pytest.mark.parametrize("name", ["yolov8n", "yolo12n", "yolo26n"])
def test_stock_checkpoints_are_read_without_their_code(name: str, tmp_path: Path) -> None:
    model = new_model(name)
    file = tmp_path / "stock.pt"
    # As `yolo train` leaves it.
    content = {"model": model.half(), "ema": None, "train_args": ARGS, "epoch": -1}
    torch.save(content | {"train_metrics": {"fitness": torch.tensor(0.5).numpy()[()]}}, file)
    stock = YOLO(file).model
    back = load_weights(file)
    assert torch.equal(outputs(back), outputs(stock))
    assert list(back.names.values()) == list(NAMES)
    assert back.args["imgsz"] == 96


def touch(file: Path) -> None:
    file.touch()


class Touch:
    """Makes a file when it is unpickled: what code of an attacker would do."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return touch, (self.file,)


class Shifted(nn.BatchNorm2d):
    """A layer of somebody's own in a stock model."""


def with_own_layer() -> DetectionModel:
    model = new_model()
    place = next(part for part in model.modules() if hasattr(part, "bn"))
    place.bn.__class__ = Shifted
    return model


def test_no_pickle_runs_its_code(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    pickle.loads(pickle.dumps(Touch(touched)))
    touched.unlink()  # it does what it says
    for content in (Touch(touched), {"model": Touch(touched)}):
        torch.save(content, tmp_path / "evil.pt")
        with pytest.raises(InputError, match=TRUST):
            load_weights(tmp_path / "evil.pt")
        assert not touched.exists()
    model = new_model()
    torch.save({"model": model, "updates": [Touch(touched)]}, tmp_path / "evil.pt")
    assert torch.equal(outputs(load_weights(tmp_path / "evil.pt")), outputs(model))
    assert not touched.exists()
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Touch(touched)))
    with pytest.raises(InputError, match=TRUST):
        load_weights(tmp_path / "evil.pt")
    assert not touched.exists()


@pytest.mark.parametrize("make", [with_own_layer, lambda: new_model().fuse(verbose=False)])
def test_what_is_not_its_description_is_trusted_or_refused(
    make: Callable[[], DetectionModel], tmp_path: Path
) -> None:
    model, file = make(), tmp_path / "own.pt"
    torch.save({"model": model, "train_args": {}}, file)
    with pytest.raises(InputError) as raised:
        load_weights(file)
    assert str(raised.value) == (
        f"{file}: a pickle that can execute code when it is loaded; give --trust if you trust "
        "its source"
    )
    assert torch.equal(outputs(load_weights(file, trust=True)), outputs(model))


@pytest.mark.parametrize("trust", [False, True])
def test_models_of_another_task_are_refused(trust: bool, tmp_path: Path) -> None:
    file = tmp_path / "other.pt"
    model = SegmentationModel("yolo11n-seg.yaml", nc=2, verbose=False)
    torch.save({"model": model, "train_args": {}}, file)
    with pytest.raises(InputError, match=r"other\.pt: contains no Ultralytics detection model"):
        load_weights(file, trust=trust)


@pytest.mark.parametrize("kind", ["own", "foreign"])
def test_a_damaged_file_is_not_to_be_trusted(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    if kind == "own":
        save_weights(new_model(), file, train_args={})
    else:
        save_weights(new_model(), tmp_path / "own.pt", train_args={})
        write_pickle(load_weights(tmp_path / "own.pt"), file)
    content = bytearray(file.read_bytes())
    place = content.index(b"data.pkl") + 200  # where names and shapes stand
    content[place : place + 40] = bytes(40)
    file.write_bytes(content)
    for trust in (False, True):
        with pytest.raises(InputError) as raised:
            load_weights(file, trust=trust)
        assert (
            str(raised.value) == f"{file}: damaged: wrong checksums; use another copy of the file"
        )


@pytest.mark.parametrize("content", ["[1]", "null", '"abc"'])
def test_a_description_that_is_none(content: str, tmp_path: Path) -> None:
    file = tmp_path / "best.safetensors"
    file.write_bytes(safetensors.torch.save({"w": torch.ones(1)}, {"omr-detector": content}))
    with pytest.raises(InputError, match="contains no Ultralytics detection model"):
        load_weights(file)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"max_det": "x"}, "max_det is x"),
        ({"max_det": 0}, "max_det is 0"),
        ({"end2end": "x"}, "end2end is x"),
        ({"args": {"imgsz": [96, 96]}}, r"imgsz is \[96, 96\]"),
    ],
)
def test_a_description_with_wrong_values(
    content: dict[str, object], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"damaged: {reason}; use another copy"):
        load_weights(changed(tmp_path, **content))


def test_bins_must_rise(tmp_path: Path) -> None:
    model = new_model()
    with torch.no_grad():
        model.model[-1].dfl.conv.weight.zero_()
    save_weights(model, tmp_path / "best.pt", train_args={})
    with pytest.raises(InputError, match="damaged: distance bins that do not increase"):
        load_weights(tmp_path / "best.pt")


NO_MODEL = "contains no Ultralytics detection model; give the weights/best.pt of a run"


def not_there(folder: Path) -> Path:
    return folder / "gone.pt"


def empty(folder: Path) -> Path:
    (folder / "empty.pt").write_bytes(b"")
    return folder / "empty.pt"


def text(folder: Path) -> Path:
    (folder / "notes.pt").write_text("not a model")
    return folder / "notes.pt"


def other_suffix(folder: Path) -> Path:
    (folder / "model.onnx").write_bytes(b"\0")
    return folder / "model.onnx"


def tensors_only(folder: Path) -> Path:
    torch.save({"weight": torch.ones(1)}, folder / "state.pt")
    return folder / "state.pt"


def foreign_safetensors(folder: Path) -> Path:
    safetensors.torch.save_file({"weight": torch.ones(1)}, folder / "other.safetensors")
    return folder / "other.safetensors"


def cut_safetensors(folder: Path) -> Path:
    save_weights(new_model(), folder / "best.pt", train_args={})
    file = folder / "best.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    return file


def changed(folder: Path, **content: object) -> Path:
    save_weights(new_model(), folder / "best.pt", train_args={})
    torch.save(torch.load(folder / "best.pt") | content, folder / "best.pt")
    return folder / "best.pt"


def newer(folder: Path) -> Path:
    return changed(folder, version=3)


def other_classes(folder: Path) -> Path:
    return changed(folder, names=["a", "b"])


def running_code(folder: Path) -> Path:
    content = torch.load(changed(folder))["model"]
    return changed(folder, model=content | {"activation": "__import__('os').system('false')"})


def calling(folder: Path) -> Path:
    content = torch.load(changed(folder))["model"]
    first = [[-1, 1, "load_checkpoint", ["evil.pt"]], *content["backbone"]]
    return changed(folder, model=content | {"backbone": first})


def fetching(folder: Path) -> Path:
    content = torch.load(changed(folder))["model"]
    first = [[-1, 1, "TorchVision", [64, "resnet18", "DEFAULT"]], *content["backbone"]]
    return changed(folder, model=content | {"backbone": first})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (not_there, "no such weights; give a run's weights/best.pt"),
        (empty, NO_MODEL),
        (text, NO_MODEL),
        (other_suffix, NO_MODEL),
        (tensors_only, NO_MODEL),
        (foreign_safetensors, NO_MODEL),
        (cut_safetensors, "damaged: "),
        (newer, "version 3 of the format is not supported, expected 2 or earlier; update omr"),
        (
            other_classes,
            "damaged: Error(s) in loading state_dict for DetectionModel: size mismatch",
        ),
        (
            running_code,
            "damaged: unknown activation: __import__('os').system('false'); use another",
        ),
        (calling, "damaged: unknown layers: load_checkpoint; use another copy of the file"),
        (fetching, "damaged: unknown layers: TorchVision; use another copy of the file"),
    ],
)
def test_files_that_are_not_read(
    make: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    file = make(tmp_path)
    with pytest.raises(InputError) as raised:
        load_weights(file)
    assert str(raised.value).startswith(f"{file}: {message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("imgsz", "expected"), [(96, 96), ([96, 64], None), (None, None)])
@pytest.mark.parametrize("trains", ["omr", "ultralytics"])
def test_recorded_imgsz(trains: str, imgsz: object, expected: int | None, tmp_path: Path) -> None:
    file, args = tmp_path / "best.pt", {} if imgsz is None else {"imgsz": imgsz}
    if trains == "ultralytics":
        torch.save({"model": new_model(), "train_args": args}, file)
        assert open_weights(file).imgsz == expected
    else:
        save_weights(new_model(), file, train_args=args if expected else {})
        assert recorded_imgsz(file.with_suffix(".safetensors")) == expected
    assert recorded_imgsz(file) == expected


def test_no_recorded_imgsz(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    contents: list[tuple[object, int | None]] = [
        (Touch(touched), None),
        ({"train_args": {"imgsz": 64}, "model": Touch(touched)}, 64),
        ([1], None),
    ]
    for content, expected in contents:
        torch.save(content, tmp_path / "evil.pt")
        assert recorded_imgsz(tmp_path / "evil.pt") == expected
        assert not touched.exists()
    for name in ("gone.pt", "gone.safetensors", "touched.pt"):
        assert recorded_imgsz(tmp_path / name) is None


def a_record() -> TrainingRecord:
    return TrainingRecord(
        images=np.array([3, 2**64 - 1], np.uint64),
        is_complete=False,
        preparations=(
            None,
            Preparation(tile=640, staff_space=12.5, class_map="harmony", class_map_sha256="ab"),
        ),
        pages=np.array([5, 2**63], np.uint64),
        knows_pages=True,
        conf=0.375,
    )


def test_a_record_without_images(tmp_path: Path) -> None:
    nothing = np.empty(0, np.uint64)
    record = replace(a_record(), images=nothing, pages=nothing)
    save_weights(new_model(), tmp_path / "best.pt", train_args={}, training=record)
    training = open_weights(tmp_path / "best.safetensors").training
    assert training is not None
    assert training.images.tolist() == training.pages.tolist() == []


@pytest.mark.parametrize("form", ["own", "safetensors", "ultralytics"])
def test_weights_keep_the_record_of_their_training(form: str, tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    save_weights(new_model(), file, train_args={}, training=a_record())
    if form == "ultralytics":
        write_pickle(load_weights(file), file, a_record())
    training = open_weights(
        file.with_suffix(".safetensors") if form == "safetensors" else file
    ).training
    assert training is not None
    assert training.images.dtype == np.uint64
    assert training.images.tolist() == [3, 2**64 - 1]
    assert training.pages.tolist() == [5, 2**63]
    assert training.knows_pages
    assert not training.is_complete
    assert training.preparations == a_record().preparations
    assert training.conf == 0.375


def test_the_record_of_an_old_version_has_no_pages_and_no_threshold() -> None:
    record = a_record().to_dict()
    del record["page_hashes"], record["training"]["knows_pages"], record["training"]["conf"]
    training = from_dict(record)
    assert training is not None
    assert training.pages.tolist() == []
    assert not training.knows_pages
    assert training.conf is None


@pytest.mark.parametrize("form", ["own", "ultralytics"])
def test_weights_without_a_record(form: str, tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    save_weights(new_model(), file, train_args={})
    if form == "ultralytics":
        write_pickle(load_weights(file), file)
    weights = open_weights(file)
    assert weights.training is None
    assert weights.imgsz is None
    assert weights.names == NAMES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"training": {}}, "image_hashes: expected integers"),
        ({"training": {}, "image_hashes": torch.zeros(2, 2)}, "image_hashes: expected integers"),
        (
            {"training": {"is_complete": 1}, "image_hashes": torch.zeros(2, dtype=torch.int64)},
            "training: Expected `bool`, got `int` - at `$.is_complete`",
        ),
        (
            {
                "training": {"is_complete": True, "preparations": [], "conf": 1.0},
                "image_hashes": torch.zeros(2, dtype=torch.int64),
            },
            "training: Expected `float` < 1.0 - at `$.conf`",
        ),
    ],
)
def test_a_malformed_record(content: dict[str, object], reason: str, tmp_path: Path) -> None:
    file = changed(tmp_path, **content)
    with pytest.raises(InputError) as error:
        open_weights(file)
    assert str(error.value) == f"{file}: damaged: {reason}; use another copy of the file"


@pytest.mark.parametrize("box", ["", "shared", "separate"])
def test_ultralytics_reads_what_is_exported(box: str, tmp_path: Path) -> None:
    model = new_model(box=box) if box else new_model()
    model.args, model.task = {"task": "detect", "imgsz": 64}, "detect"
    write_pickle(model, tmp_path / "yolo.pt")
    yolo = YOLO(tmp_path / "yolo.pt")
    assert yolo.names == dict(enumerate(NAMES))
    assert torch.equal(outputs(yolo.model), outputs(model))
    image = torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()
    assert len(yolo.predict(image, verbose=False, device="cpu", imgsz=64)) == 1
    assert torch.equal(outputs(load_weights(tmp_path / "yolo.pt")), outputs(model))
