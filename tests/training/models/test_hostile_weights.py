"""Weights that are damaged, useless or made to exhaust memory: one line, at once."""

import json
import os
import re
import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from class_maps import InputError
from settings.head_config import Group, HeadConfig
from training.models import checkpoints
from training.models.checkpoints import load_weights, save_weights
from training.models.safe_pickle import write_pickle
from training.models.transfer import set_head
from training.models.zoo import model_file

NAMES = ("notehead", "stem")
SECONDS = 2.0
MEGABYTES = 200
Description = dict[str, Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model in all formats that are read."""
    folder = tmp_path_factory.mktemp("weights")
    model = DetectionModel(model_file("omr-tiny"), nc=len(NAMES), verbose=False)
    model.names = dict(enumerate(NAMES))
    groups = tuple(Group(name=name, classes=(name,)) for name in NAMES)
    set_head(model, NAMES, HeadConfig(groups=groups), signed=True)
    save_weights(model, folder / "own.pt", train_args={"imgsz": 64})
    write_pickle(load_weights(folder / "own.pt"), folder / "foreign.pt")
    return {
        "own": folder / "own.pt",
        "safetensors": folder / "own.safetensors",
        "foreign": folder / "foreign.pt",
    }


def state_of(file: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = load_weights(file).state_dict()
    return state


def refusal(file: Path, *, trust: bool = False) -> str:
    """The error message of a file, which must come fast and take little memory."""
    begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as error:
        load_weights(file, trust=trust)
    assert time.process_time() - begin < SECONDS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (peak - before) / 1024 < MEGABYTES
    message = str(error.value)
    assert len(message) < 400
    assert "\n" not in message
    return message.removeprefix(f"{file}: ")


def flipped(file: Path, position: int, folder: Path) -> Path:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << position % 8
    damaged = folder / file.name
    damaged.write_bytes(content)
    return damaged


def longest_tensor(file: Path) -> range:
    """Positions of the values of the first convolution's weights."""
    values = state_of(file)["model.0.conv.weight"]
    for stored in (values.half(), values):
        content = stored.numpy().tobytes()
        start = file.read_bytes().find(content)
        if start >= 0:
            return range(start, start + len(content))
    raise AssertionError(file)


@pytest.mark.parametrize("kind", ["own", "safetensors", "foreign"])
def test_a_flipped_bit_of_a_weight_is_found(
    kind: str, files: dict[str, Path], tmp_path: Path
) -> None:
    values = longest_tensor(files[kind])
    for position in (values[0], values[len(values) // 2], values[-1]):
        damaged = flipped(files[kind], position, tmp_path)
        assert refusal(damaged).startswith("damaged: wrong checksum")


@pytest.mark.parametrize("kind", ["own", "safetensors", "foreign"])
def test_a_flipped_bit_anywhere_never_changes_the_weights(
    kind: str, files: dict[str, Path], tmp_path: Path
) -> None:
    expected = state_of(files[kind])
    size = files[kind].stat().st_size
    rng = np.random.default_rng(0)
    # The first and the last bytes describe the file, those between them are weights.
    positions = [*rng.integers(0, 5000, 8), *rng.integers(0, size, 4), *rng.integers(-5000, 0, 8)]
    for position in positions:
        damaged = flipped(files[kind], int(position), tmp_path)
        try:
            state = state_of(damaged)
        except InputError:
            continue
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], values) for name, values in expected.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["own", "safetensors", "foreign", "trusted"])
def test_weights_must_be_finite(
    kind: str, value: float, files: dict[str, Path], tmp_path: Path
) -> None:
    model = load_weights(files["own"])
    with torch.no_grad():
        model.model[0].conv.weight[0, 0] = value
        model.model[0].bn.running_var[0] = value
    file = tmp_path / "best.pt"
    if kind in {"own", "safetensors"}:
        save_weights(model, file, train_args={})
        file = file if kind == "own" else file.with_suffix(".safetensors")
    else:
        write_pickle(model.fuse(verbose=False) if kind == "trusted" else model, file)
    message = refusal(file, trust=kind == "trusted")
    assert re.fullmatch(
        r"NaN or Inf in model\.0\.conv\.weight( and 1 more)?; use the weights of another epoch",
        message,
    )


def repeated(model: Description) -> Description:
    return model | {"backbone": [[-1, 10**7, "Conv", [16, 3, 1]], *model["backbone"][1:]]}


def repeated_without_tensors(model: Description) -> Description:
    return model | {"backbone": [*model["backbone"], [-1, 10**7, "nn.Identity", []]]}


def deep(model: Description) -> Description:
    return model | {"depth_multiple": 1e7, "scales": None, "scale": ""}


def many_blocks(model: Description) -> Description:
    return model | {
        "backbone": [[-1, 1, "RepNCSPELAN4", [16, 16, 8, 10**7]], *model["backbone"][1:]]
    }


def wide(model: Description) -> Description:
    return model | {"backbone": [[-1, 1, "nn.Conv2d", [3, 10**7, 99]], *model["backbone"][1:]]}


def large_maps(model: Description) -> Description:
    layer = [-1, 1, "nn.Upsample", [None, 10**4, "nearest"]]
    return model | {"backbone": [*model["backbone"], layer]}


def many_bins(model: Description) -> Description:
    return model | {"reg_max": 10**7}


@pytest.mark.parametrize(
    "change", [repeated, repeated_without_tensors, deep, many_blocks, wide, large_maps, many_bins]
)
def test_a_model_larger_than_its_tensors(
    change: Callable[[Description], Description], files: dict[str, Path], tmp_path: Path
) -> None:
    content = torch.load(files["own"])
    torch.save(content | {"model": change(content["model"])}, tmp_path / "best.pt")
    message = refusal(tmp_path / "best.pt")
    assert message.startswith("damaged: describes ")


def huge_towers(heads: Description) -> Description:
    return heads | {"tower": {"width": 1e5, "depth": 2}}


def deep_towers(heads: Description) -> Description:
    return heads | {"tower": {"width": 1.0, "depth": 10**7}}


@pytest.mark.parametrize("change", [huge_towers, deep_towers])
def test_heads_larger_than_their_tensors(
    change: Callable[[Description], Description], files: dict[str, Path], tmp_path: Path
) -> None:
    content = torch.load(files["own"])
    torch.save(content | {"heads": change(content["heads"])}, tmp_path / "best.pt")
    assert refusal(tmp_path / "best.pt") == (
        "damaged: describes a larger model than that of the tensors; use another copy of the file"
    )


def test_tensors_without_values(files: dict[str, Path], tmp_path: Path) -> None:
    content = torch.load(files["own"])
    name = "model.0.conv.weight"
    content["state_dict"][name] = torch.zeros(1).expand(10**6, 10**6)
    torch.save(content, tmp_path / "best.pt")
    assert f"{name} has fewer values than its shape" in refusal(tmp_path / "best.pt")


def test_a_description_of_ten_million_layers(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    with zipfile.ZipFile(file, "w") as archive:  # a list of as many empty lists
        archive.writestr("best/data.pkl", b"\x80\x02](" + b"]" * 10**7 + b"e.")
        archive.writestr("best/version", "3\n")
    assert refusal(file).startswith("damaged: a description of 10,000,006 bytes; use another")


def test_a_header_of_ten_million_layers(tmp_path: Path) -> None:
    file = tmp_path / "best.safetensors"
    description = json.dumps({"__metadata__": {"omr-detector": "[" + "[]," * 10**7 + "0]"}})
    file.write_bytes(len(description).to_bytes(8, "little") + description.encode())
    assert refusal(file).startswith("damaged: a header of 30,000,0")


def test_a_deeply_nested_header(tmp_path: Path) -> None:
    file = tmp_path / "best.safetensors"
    description = json.dumps({"__metadata__": {"omr-detector": "[" * 10**6}})
    file.write_bytes(len(description).to_bytes(8, "little") + description.encode())
    assert refusal(file).startswith("damaged: ")


@pytest.mark.parametrize("trust", [False, True])
def test_a_zip_bomb(trust: bool, tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("best/data.pkl", b"\x80\x02}.")
        archive.writestr("best/data/0", bytes(10**8))
    assert refusal(file, trust=trust).startswith("damaged: unpacks to 100,000,004 bytes; use")


def test_a_bare_pickle_is_not_read_without_trust(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "legacy.pt"
    content = {"model": load_weights(files["foreign"]), "train_args": {}}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    assert refusal(file) == (
        "a pickle that can execute code when it is loaded; give --trust if you trust its source"
    )
    trusted = load_weights(file, trust=True).state_dict()
    assert all(torch.equal(trusted[n], v) for n, v in state_of(files["own"]).items())
    monkeypatch.setattr(checkpoints, "run_pickle", lambda _: pytest.fail("executed"))
    refusal(file)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_pipe_is_not_waited_for(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"best{suffix}"
    os.mkfifo(file)
    assert checkpoints.recorded_imgsz(file) is None
    assert refusal(file).startswith("no such weights")
