import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import ultralytics

from class_maps import ConfigError, InputError
from converters.files.hashes import sha256, short_hashes
from converters.formats.datasets import open_dataset
from settings import head_config
from settings.run_files import RECORD_FILE
from training.config import TrainConfig, read_config
from training.data.label_files import read_labels
from training.data.multi_dataset import DatasetOptions, join
from training.engine.inputs import TrainingInputs
from training.engine.omr_trainer import OmrTrainer
from training.models.checkpoints import open_weights
from training.runs.provenance import (
    HEADS_FILE,
    IMAGES_FILE,
    Provenance,
    check_same_data,
    record_of,
)
from training.trainer import train

Draw = Callable[..., Path]
HEADS = """
groups:
- {name: heads, classes: [notehead], weight: 2}
- {name: lines, classes: [stem, beam]}
box: separate
tower: {width: 0.5, depth: 1}
"""


@pytest.fixture
def data(draw: Draw, tmp_path: Path) -> Path:
    return draw(tmp_path / "data", n_images=2, side=64, n_symbols=3)


def record(*folders: Path, is_first: bool = True) -> Provenance:
    options = DatasetOptions(folders=folders, merge_classes=("all",) if folders[1:] else ())
    joint = join(options)
    labels = [read_labels(source.dataset) for source in joint.sources]
    inputs = TrainingInputs(weights=None, data=joint, labels=tuple(labels))
    return record_of(joint, labels, inputs.image_hashes() if is_first else {})


def kept(out: Path, was: Provenance) -> Path:
    out.mkdir()
    (out / RECORD_FILE).write_text(json.dumps(asdict(was) | {"starts": []}))
    return out


def change_a_label(data: Path) -> None:
    file = data / "labels" / "train" / "1.txt"
    file.write_text(file.read_text().replace("0.", "0.0", 1))


def lose_an_image(data: Path) -> None:
    (data / "images" / "val" / "1.png").unlink()


def lose_a_label_file(data: Path) -> None:
    (data / "labels" / "val" / "1.txt").unlink()


def change_a_pixel(data: Path) -> None:
    image = data / "images" / "val" / "1.png"
    content = bytearray(image.read_bytes())
    content[-20] ^= 1
    image.write_bytes(content)


def swap_names(data: Path) -> None:
    file = data / "data.yaml"
    text = file.read_text().replace("stem", "x").replace("beam", "stem").replace("x", "beam")
    file.write_text(text)


def leave_a_class_out(data: Path) -> None:
    (data / "manifest.json").write_text('{"class_map": {"unlabelled": ["stem"]}}')


def nothing(_data: Path) -> None:
    pass


def a_manifest(data: Path) -> None:
    (data / "manifest.json").write_text('{"pages": 2}')


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (nothing, None),
        (a_manifest, None),
        (change_a_label, "images or labels of train"),
        (lose_an_image, "those of val"),
        (lose_a_label_file, "those of val"),
        (change_a_pixel, "contents of the images"),
        (swap_names, "classes"),
        (leave_a_class_out, "classes"),
    ],
)
def test_a_run_goes_on_with_the_same_data_only(
    change: Callable[[Path], None], changed: str | None, data: Path, tmp_path: Path
) -> None:
    out = kept(tmp_path / "run", record(data))
    moved = tmp_path / "moved"
    shutil.move(data, moved)
    change(moved)
    if changed is None:
        check_same_data(out, record(moved))
        return
    with pytest.raises(ConfigError) as raised:
        check_same_data(out, record(moved))
    assert str(raised.value) == (
        f"{out}: the data have changed since the run was started: {moved}: {changed}; restore "
        f"them, or start a new run with --model {out}/weights/last.pt"
    )


def test_images_are_compared_by_the_first_process_only(data: Path, tmp_path: Path) -> None:
    out = kept(tmp_path / "run", record(data))
    change_a_pixel(data)
    check_same_data(out, record(data, is_first=False))


def test_every_changed_data_set_is_named(data: Path, draw: Draw, tmp_path: Path) -> None:
    other = draw(tmp_path / "other", n_images=2, side=64)
    out = kept(tmp_path / "run", record(data, other))
    change_a_label(data)
    lose_an_image(data)
    lose_an_image(other)
    with pytest.raises(ConfigError) as raised:
        check_same_data(out, record(data, other))
    assert f"{data}: images or labels of train, those of val; {other}: those of val;" in str(
        raised.value
    )


def test_a_fingerprint_is_of_names_sizes_and_labels(data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(data)
    before = read_labels(dataset)["train"].digest
    assert read_labels(dataset)["train"].digest == before
    assert read_labels(dataset)["val"].digest != before
    image = data / "images" / "train" / "0.png"
    image.write_bytes(image.read_bytes() + b" ")
    assert read_labels(open_dataset(data))["train"].digest != before
    image.write_bytes(image.read_bytes()[:-1])
    assert read_labels(open_dataset(data))["train"].digest == before
    label = data / "labels" / "train" / "0.txt"
    label.rename(tmp_path / "0.txt")
    image.rename(image.with_name("9.png"))
    shutil.move(tmp_path / "0.txt", label.with_name("9.txt"))
    assert read_labels(open_dataset(data))["train"].digest != before


@pytest.mark.parametrize("content", [None, "", "[]", '{"data": 1, "starts": []}'])
def test_a_record_that_cannot_be_read(content: str | None, data: Path, tmp_path: Path) -> None:
    file = tmp_path / RECORD_FILE
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=r"no such file, so|damaged; start a new run"):
        check_same_data(tmp_path, record(data))


def test_a_run_keeps_what_it_was_made_from(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = tmp_path / "mine.yaml"
    heads.write_text(HEADS)
    out = tmp_path / "run"
    config = TrainConfig(
        data=data, out=out, model="omr-tiny", heads=str(heads), epochs=2, imgsz=64, batch=2,
        device="cpu", validate=False,
    )  # fmt: skip
    save = OmrTrainer.save_model

    def save_and_die(trainer: OmrTrainer) -> bool:
        save(trainer)
        raise KeyboardInterrupt

    monkeypatch.setattr(OmrTrainer, "save_model", save_and_die)
    monkeypatch.setattr("sys.argv", ["omr", "train", "my data"])
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    wanted = head_config.load(str(heads))
    assert head_config.from_yaml(out / HEADS_FILE) == wanted
    heads.unlink()
    resumed = TrainConfig(data=data, out=out, device="cpu", resume=True)
    label = data / "labels" / "train" / "1.txt"
    text = label.read_text()
    change_a_label(data)
    with pytest.raises(ConfigError, match=r"images or labels of train; restore them"):
        train(resumed)
    label.write_text(text)
    train(resumed)
    content = json.loads((out / RECORD_FILE).read_text())
    assert content["data"] == [asdict(hashes) for hashes in record(data).data]
    images = sorted((data / "images" / "train").iterdir())
    assert (out / IMAGES_FILE).read_text() == "".join(
        f"{sha256(image)[:16]}  {image}\n" for image in images
    )
    training = open_weights(out / "weights" / "last.pt").training
    assert training is not None
    assert training.is_complete
    assert training.contains(short_hashes(images)).all()
    first, second = content["starts"]
    assert first["command"] == "omr train 'my data'"
    assert (first["epochs_done"], second["epochs_done"]) == (0, 1)
    assert first["device"].startswith("cpu: ")
    assert (
        first["versions"].items()
        >= {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "ultralytics": ultralytics.__version__,
            "numpy": np.__version__,
        }.items()
    )
    assert head_config.from_yaml(out / HEADS_FILE) == wanted
    assert Path(read_config(out).heads) == out / HEADS_FILE
