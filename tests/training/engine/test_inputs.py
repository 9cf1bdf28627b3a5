"""Every input of a training is read once before its first step."""

import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interrupted import interrupted

from converters.files.hashes import short_hashes
from converters.manifest import Preparation
from training.config import TrainConfig
from training.engine.inputs import open_inputs
from training.engine.omr_trainer import OmrTrainer
from training.models import checkpoints
from training.models.checkpoints import open_weights, save_weights
from training.trainer import TrainResult, run_options, train

HEADS = """groups:
- {name: heads, classes: [notehead]}
- {name: lines, classes: [beam, stem]}
"""


def reads_of(config: TrainConfig) -> Counter[Path]:
    """Train, and count how often weights, states and label files are read before the first step."""
    counts: Counter[Path] = Counter()
    has_begun = False
    stock_open, stock_load = io.open, torch.load
    stock_read, stock_step = checkpoints._read_pickle, OmrTrainer.optimizer_step

    def count(file: object, *, is_input: bool = True) -> None:
        if is_input and not has_begun:
            counts[Path(str(file))] += 1

    def count_labels(file: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        count(file, is_input=str(file).endswith(".txt"))
        return stock_open(file, *args, **options)

    def count_weights(file: Path, *, trust: bool) -> object:
        count(file)
        return stock_read(file, trust=trust)

    def count_states(file: Any, **options: Any) -> Any:  # noqa: ANN401
        count(file, is_input=str(file).endswith("state.pt") and not options["mmap"])
        return stock_load(file, **options)

    def step(trainer: OmrTrainer) -> None:
        nonlocal has_begun
        has_begun = True
        stock_step(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", count_labels)
        patch.setattr(torch, "load", count_states)
        patch.setattr(checkpoints, "_read_pickle", count_weights)
        patch.setattr(OmrTrainer, "optimizer_step", step)
        train(config)
    assert has_begun
    return counts


def config_of(data: Path, out: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    settings: dict[str, Any] = {"epochs": 1, "imgsz": 64, "batch": 2, "validate": False}
    return TrainConfig(data=data, out=out, device="cpu", **settings | options)


@pytest.mark.parametrize("option", ["model", "weights"])
def test_weights_and_labels_are_read_once(
    option: str, trained: TrainResult, draw: Callable[..., Path], tmp_path: Path
) -> None:
    data = draw(tmp_path / "data", n_images=2)
    heads = tmp_path / "heads.yaml"
    heads.write_text(HEADS)
    options = {option: str(trained.last), "freeze": "backbone", "heads": str(heads)}
    counts = reads_of(config_of(data, tmp_path / "run", **options))
    assert counts == Counter([*(data / "labels").rglob("*.txt"), trained.last])
    assert not list(data.rglob("*.cache")), "Ultralytics reads no labels"


def test_a_resumed_run_reads_its_inputs_once(draw: Callable[..., Path], tmp_path: Path) -> None:
    data = draw(tmp_path / "data", n_images=2)
    config = config_of(data, tmp_path / "run", model="omr-tiny", epochs=2)
    interrupted(config, epoch=0)
    counts = reads_of(TrainConfig(data=data, out=config.out, device="cpu", resume=True))
    weights = config.out / "weights"
    labels = (data / "labels").rglob("*.txt")
    assert counts == Counter([*labels, weights / "last.pt", weights / "state.pt"])


def manifest(data: Path, tile: int) -> None:
    """Write a manifest as `omr convert --tile` does."""
    options = {
        "cleaning": {}, "staff_space": 12.0, "val": 0.1, "split_by": "work", "seed": 0,
        "tiles": {"size": tile, "overlap": 8},
    }  # fmt: skip
    class_map = {"name": "harmony", "sha256": "ab"}
    (data / "manifest.json").write_text(json.dumps({"options": options, "class_map": class_map}))


def test_the_record_of_a_training(draw: Callable[..., Path], tmp_path: Path) -> None:
    data, other = draw(tmp_path / "data", n_images=2), draw(tmp_path / "other", n_images=1, side=64)
    manifest(data, 640)
    config = config_of(data, tmp_path / "run", joint=(other,), merge_classes=("all",), imgsz=32)
    inputs = open_inputs(run_options(config))
    hashes = inputs.image_hashes()
    assert len(hashes) == 6
    record = inputs.record(hashes)
    images = [*(data / "images/train").iterdir(), *(other / "images/train").iterdir()]
    assert record.images.tolist() == sorted(short_hashes(images).tolist())
    assert record.is_complete
    assert record.preparations == (
        Preparation(tile=640, staff_space=12, class_map="harmony", class_map_sha256="ab"),
        None,
    )


@pytest.mark.parametrize("kind", ["known", "partly known", "foreign"])
def test_the_record_includes_that_of_the_initial_weights(
    kind: str, trained: TrainResult, dataset: Path, draw: Callable[..., Path], tmp_path: Path
) -> None:
    data, file = draw(tmp_path / "data", n_images=2, side=64), tmp_path / "first.pt"
    weights = open_weights(trained.last)
    before = weights.training
    assert before is not None
    if kind == "partly known":
        before = replace(before, is_complete=False)
    given = None if kind == "foreign" else before
    save_weights(weights.model, file, train_args={}, training=given)
    inputs = open_inputs(run_options(config_of(data, tmp_path / "run", model=str(file))))
    record = inputs.record(inputs.image_hashes())
    assert record.is_complete == (kind == "known")
    new, old = (
        short_hashes(sorted((folder / "images/train").iterdir())) for folder in (data, dataset)
    )
    assert record.contains(new).all()
    assert record.contains(old).all() == (kind != "foreign")
    assert len(record.images) == len(new) + (0 if kind == "foreign" else len(old))
