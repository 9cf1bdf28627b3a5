"""Predictions of classes that the data set of a page never labels are not false alarms."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters import images
from converters.tracking import untracked
from omr.scoring.class_matching import match_classes
from omr.scoring.evaluation_set import read_evaluation_set
from omr.scoring.result import ScoringResult
from omr.scoring.score import score_predictions
from omr.scoring.unlabelled import hash_of_unlabelled

NOTE, FERMATA = "0 .2 .2 .1 .1", "1 .5 .5 .2 .2"
PAGES = {"a/x": f"{NOTE}\n{FERMATA}\n", "b/y": f"{NOTE}\n"}
UNLABELLED: list[dict[str, object]] = [
    {"name": "a", "unlabelled": []},
    {"name": "b", "unlabelled": ["fermata"]},
]
ALL_LABELLED: list[dict[str, object]] = [{"name": "a"}, {"name": "b"}]


def data_sets(rows: Sequence[Mapping[str, object]]) -> str:
    fields: dict[str, object] = {"format": "coco", "annotation_set": None, "files": []}
    return json.dumps({"data_sets": [{**fields, **row} for row in rows]})


def written(folder: Path, manifest: str, pages: dict[str, str] = PAGES) -> Path:
    """Write a data set with a page of each of two sources, whose fermatas only one labels."""
    for name, labels in pages.items():
        image = folder / "images" / "val" / f"{name}.png"
        label_file = folder / "labels" / "val" / f"{name}.txt"
        for file in (image, label_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        images.write(np.full((100, 100), 255, np.uint8), image)
        label_file.write_text(labels)
    (folder / "data.yaml").write_text("train: images/val\nval: images/val\nnames: [note, fermata]")
    (folder / "manifest.json").write_text(manifest)
    return folder


def scored(folder: Path, data: Path) -> ScoringResult:
    """Score predictions of a note and a fermata on every page."""
    for name in PAGES:
        file = folder / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{NOTE} .9\n{FERMATA} .8\n1 .8 .8 .1 .1 .005\n")
    return score_predictions(folder, data)


def counts(result: ScoringResult) -> dict[str, int]:
    return {row.name: row.n_predictions for row in result.report.classes}


def test_predictions_on_pages_of_another_source_count(tmp_path: Path) -> None:
    data = written(tmp_path / "data", data_sets(UNLABELLED))
    result = scored(tmp_path / "predicted", data)
    assert counts(result) == {"note": 2, "fermata": 2}
    assert result.to_json()["unlabelled_predictions"] == {"fermata": 2}
    assert result.unlabelled_remark == "omitted 2 predictions on pages of data sets that never label their class: fermata"  # fmt: skip


@pytest.mark.parametrize(
    ("manifest", "pages"),
    [
        ("{}", PAGES),
        (data_sets(ALL_LABELLED), PAGES),
        (data_sets(UNLABELLED), PAGES | {"b/z": FERMATA}),
        ('{"class_map": {"unlabelled": ["fermata"]}}', PAGES),
        ('{"class_map": {"unlabelled": ["clef"]}}', PAGES),
    ],
    ids=["no manifest", "all labelled", "labelled since", "labels of one page", "another class"],
)
def test_predictions_of_labelled_classes_count(
    manifest: str, pages: dict[str, str], tmp_path: Path
) -> None:
    result = scored(tmp_path / "predicted", written(tmp_path / "data", manifest, pages))
    assert counts(result) == {"note": 2, "fermata": 4}
    assert (result.unlabelled_predictions, result.unlabelled_remark) == ({}, "")
    assert result.protocol.data.unlabelled == ""


def test_a_class_that_no_source_labels_has_no_predictions(tmp_path: Path) -> None:
    pages = dict.fromkeys(PAGES, NOTE)
    manifest = '{"class_map": {"unlabelled": ["fermata"]}}'
    result = scored(tmp_path / "predicted", written(tmp_path / "data", manifest, pages))
    assert counts(result) == {"note": 2, "fermata": 0}
    assert result.unlabelled_predictions == {"fermata": 4}


def test_scores_with_other_unlabelled_classes_cannot_be_compared(tmp_path: Path) -> None:
    evaluations = [
        scored(tmp_path / f"predicted{i}", written(tmp_path / f"data{i}", data_sets(rows)))
        for i, rows in enumerate((UNLABELLED, ALL_LABELLED))
    ]
    first, second = (one.protocol for one in evaluations)
    assert first.data.truths == second.data.truths
    assert first.hash != second.hash


def test_omitted_predictions_do_not_use_up_the_limit(tmp_path: Path) -> None:
    data = written(tmp_path / "data", data_sets(UNLABELLED))
    evaluation = read_evaluation_set(data, "val", None)
    assert [len(labels) for labels in evaluation.unlabelled.values()] == [0, 1]
    assert hash_of_unlabelled(evaluation.unlabelled) != ""
    page, other = evaluation.truths

    flipped = replace(
        page.only(slice(None, None, -1)),
        image=other.image,
        scores=np.array([0.9, 0.8]),
    )
    matched = match_classes(
        [flipped],
        1,
        ("note", "fermata"),
        ("note", "fermata"),
        max_det=1,
        track=untracked,
        unlabelled=evaluation.unlabelled,
    )
    assert matched.pages[0].labels.tolist() == [0]
    assert matched.unlabelled == {"fermata": 1}
