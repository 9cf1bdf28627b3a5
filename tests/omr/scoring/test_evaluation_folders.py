"""Tests that folders are read as omr eval writes them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiled_data import write_data

from omr.scoring.evaluation_folders import read_group
from omr.scoring.evaluation_set import Unit, read_evaluation_set
from omr.scoring.protocol import ScoredSource, ScoringSettings, protocol_of, tile_settings
from omr.scoring.symbols_file import write_symbols

WEIGHTS = ScoredSource(kind="weights", name="best.pt", sha256="12")
RESULTS = ScoredSource(kind="coco", name="results.json", sha256="34")


@pytest.mark.parametrize("unit", ["page", "tile"])
@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (WEIGHTS, ScoringSettings(max_det=300, conf=0.001, imgsz=320, tiles=tile_settings(320))),
        (RESULTS, ScoringSettings(max_det=300, lowest_score=0.25)),
    ],
)
def test_protocols_of_omr_eval(
    unit: Unit, source: ScoredSource, settings: ScoringSettings, tmp_path: Path
) -> None:
    evaluation = read_evaluation_set(write_data(tmp_path), "val", unit)
    protocol = protocol_of(evaluation, source, settings)
    (tmp_path / "out").mkdir()
    report = {"unit": unit, "protocol": protocol.to_json()}
    (tmp_path / "out" / "report.json").write_text(json.dumps(report))
    predictions = [replace(page, scores=np.ones(len(page.labels))) for page in evaluation.truths]
    names = evaluation.dataset.names
    write_symbols(tmp_path / "out" / "symbols.npz", evaluation.truths, predictions, names)
    [one] = read_group(tmp_path / "out").evaluations
    assert (one.protocol.hash, one.protocol.unit) == (protocol.hash, unit)
    assert one.protocol.settings.is_truncated is (source is RESULTS)
    assert one.symbols.names == tuple(names)
    assert [page.image for page in one.symbols.truths] == sorted(
        page.image for page in evaluation.truths
    )
