"""Tests of the protocol: equal hashes for scores that can be compared, other hashes otherwise."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiled_data import write_data

from omr.scoring.evaluation_set import read_evaluation_set
from omr.scoring.protocol import (
    Protocol,
    ScoredSource,
    ScoringSettings,
    protocol_of,
    tile_settings,
)

WEIGHTS = ScoredSource(kind="weights", name="best.pt", sha256="12")
SETTINGS = ScoringSettings(max_det=300, conf=0.001, imgsz=320, tiles=tile_settings(320))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path)


def protocol(data: Path, **changes: str) -> Protocol:
    evaluation = read_evaluation_set(data, changes.get("split", "val"), None)
    return protocol_of(evaluation, WEIGHTS, SETTINGS)


def test_inputs_settings_and_versions_are_recorded(data: Path) -> None:
    content = json.loads(json.dumps(protocol(data).to_json()))
    assert content["weights"] == {"kind": "weights", "name": "best.pt", "sha256": "12"}
    digest = hashlib.sha256((data / "manifest.json").read_bytes()).hexdigest()
    assert (content["data"]["name"], content["data"]["manifest"]) == ("data", digest)
    assert (content["split"], content["unit"]) == ("val", "page")
    assert content["class_map"]["name"] == "harmony"
    assert len(content["class_map"]["sha256"]) == len(content["class_map"]["classes"]) == 64
    settings = content["settings"]
    assert (settings["imgsz"], settings["conf"], settings["max_det"]) == (320, 0.001, 300)
    assert settings["tiles"] == {"size": 320, "overlap": 96, "piece_score": 0.1}
    assert content["merging"]["merging.min_agreement"] == 0.5
    assert {"omr-toolkit", "numpy", "pycocotools", "torch", "ultralytics"} <= set(
        content["versions"]
    )
    assert len(content["hash"]) == 16


def test_what_is_compared_does_not_change_the_hash(data: Path) -> None:
    one = protocol(data)
    other = ScoredSource(kind="coco", name="results.json", sha256="34")
    tool = ScoringSettings(max_det=300, lowest_score=0.01)
    assert replace(one, weights=other, settings=tool, versions={}, merging=None).hash == one.hash


def test_what_must_agree_changes_the_hash(data: Path) -> None:
    one = protocol(data)
    cut = ScoringSettings(max_det=300, lowest_score=0.25)
    others = [
        replace(one, unit="tile"),
        replace(one, settings=replace(SETTINGS, max_det=400)),
        replace(one, settings=cut),
        replace(one, class_map=replace(one.class_map, classes="ab")),
        replace(one, data=replace(one.data, truths="ab")),
        protocol(data, split="train"),
    ]
    assert len({one.hash, *(other.hash for other in others)}) == 1 + len(others)
    labels = min((data / "labels/val").iterdir())
    labels.write_text(f"{labels.read_text()}0 .5 .5 .1 .1\n")
    assert protocol(data).hash != one.hash
