"""The weights that come with omr."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import safetensors

from class_maps import load
from converters.files.hashes import sha256
from settings.published import DEFAULT_WEIGHTS, FOLDER, PUBLISHED, published_file, weights_path
from training.models.checkpoints import open_weights, weights_file
from training.models.zoo import known_models, model_file

ROOT = Path(__file__).parents[3]
MAX_BYTES = 6e6


def test_every_file_has_a_name() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(
        f"{name}.safetensors" for name in PUBLISHED
    )


def test_names_and_paths() -> None:
    assert weights_path(DEFAULT_WEIGHTS) == published_file(DEFAULT_WEIGHTS)
    assert weights_path("./harmony-tiny") == Path("harmony-tiny")
    assert weights_path("run/weights/best.pt") == Path("run/weights/best.pt")
    assert published_file("yolo11n") is None
    assert weights_file("yolo11n") is None
    assert weights_file(DEFAULT_WEIGHTS) == published_file(DEFAULT_WEIGHTS)
    assert model_file(DEFAULT_WEIGHTS) == str(published_file(DEFAULT_WEIGHTS))
    assert not {*PUBLISHED} & {*known_models()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_record_their_training(name: str) -> None:
    file = weights_path(name)
    assert file.stat().st_size <= MAX_BYTES
    weights = open_weights(file)
    recipe_file = ROOT / "recipes" / f"{name}.yaml"
    recipe = msgspec.yaml.decode(recipe_file.read_bytes())
    class_map = load(recipe["classes"])
    assert weights.names == tuple(class_map.names)
    record = weights.training
    assert record is not None
    assert record.recipe == f"{name} {sha256(recipe_file)}"
    assert record.is_complete
    assert record.knows_pages
    assert record.conf is not None
    assert len(record.class_confs) == len(weights.names)
    assert len(record.preparations) == len(recipe["train"])
    for preparation in record.preparations:
        assert preparation is not None
        assert preparation.class_map == recipe["classes"]
        assert preparation.staff_space == 12


def test_published_weights_are_stored_in_half_precision() -> None:
    with safetensors.safe_open(weights_path(DEFAULT_WEIGHTS), framework="np") as stored:
        content: dict[str, Any] = json.loads(stored.metadata()["omr-detector"])
        types = {str(stored.get_tensor(name).dtype) for name in stored.keys()}  # noqa: SIM118
    assert content["format"] == "omr-detector"
    assert types == {"float16", "int64"}
