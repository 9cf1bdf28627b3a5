"""Tests of predictions of any tool: the ground truth as predictions scores 1, in every format."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from tiled_data import write_data

from class_maps import ConfigError, InputError, OmrError
from converters.formats.coco import CocoFileWriter
from converters.formats.yolo import label_lines
from converters.page import Page
from omr.scoring.evaluation_set import EvaluationSet, Unit, read_evaluation_set
from omr.scoring.foreign_predictions import EQUAL, TRUNCATED
from omr.scoring.predicted_images import ImageNames
from omr.scoring.result import ScoringResult
from omr.scoring.score import score_predictions

LOW = 0.001
FEW = "intervals from 2 pages are unreliable; score at least 10"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, formats=("yolo", "coco"))
    write_data(folder, tiles=None)
    return folder


@pytest.fixture
def data(folder: Path) -> Path:
    return folder / "data"


@pytest.fixture
def whole(folder: Path) -> Path:
    return folder / "whole"


def predicted(evaluation: EvaluationSet) -> list[Page]:
    """Return the truth as predictions, each page with a wrong one of a low score."""
    pages = []
    for truth in evaluation.truths:
        n = len(truth.labels)
        page = replace(
            truth,
            boxes_xyxy=np.concatenate([truth.boxes_xyxy, [[1.0, 2, 3, 4]]]),
            labels=np.append(truth.labels, 0),
            scores=np.append(np.linspace(0.9, 0.8, n), LOW),
        )
        pages.append(page)
    return pages


def predictions_of(data: Path, unit: Unit) -> tuple[list[Page], tuple[str, ...]]:
    evaluation = read_evaluation_set(data, "val", unit)
    return predicted(evaluation), evaluation.dataset.names


def scores_of(page: Page) -> list[float]:
    assert page.scores is not None
    scores: list[float] = page.scores.tolist()
    return scores


def write_results(path: Path, pages: list[Page], **changes: Any) -> Path:  # noqa: ANN401
    rows = [
        {
            "image_id": page.image.stem,
            "category_id": int(label) + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": score,
        }
        | changes
        for page in pages
        for (x0, y0, x1, y1), label, score in zip(
            page.boxes_xyxy.tolist(), page.labels, scores_of(page), strict=True
        )
    ]
    path.write_text(json.dumps(rows))
    return path


def write_coco(path: Path, pages: list[Page], names: tuple[str, ...]) -> Path:
    path.unlink(missing_ok=True)
    writer = CocoFileWriter(path, names)
    for page in pages:
        writer.add(page)
    writer.close()
    return path


def write_yolo(folder: Path, pages: list[Page]) -> Path:
    (folder / "labels").mkdir(parents=True)
    for page in pages:
        lines = [
            f"{line} {score}"
            for line, score in zip(label_lines(page).splitlines(), scores_of(page), strict=True)
        ]
        (folder / "labels" / f"{page.image.stem}.txt").write_text("\n".join(lines))
    return folder


def check_perfect(result: ScoringResult, unit: Unit) -> None:
    report = result.report
    assert result.unit == unit
    assert (report.macro.ap, report.instance_weighted.ap50) == (1, 1)
    if unit == "page":
        assert (report.n_images, report.n_truths, result.n_pages) == (2, 6, 2)
    assert not result.protocol.settings.is_truncated
    assert not result.overlap.training_is_known


@pytest.mark.parametrize("unit", ["page", "tile"])
@pytest.mark.parametrize("kind", ["results", "coco", "yolo", "omr"])
def test_tiles_as_pages_and_as_tiles(kind: str, unit: Unit, data: Path, tmp_path: Path) -> None:
    pages, names = predictions_of(data, "tile")
    check_perfect(score_predictions(write(kind, tmp_path, pages, names), data, unit=unit), unit)


def write(kind: str, folder: Path, pages: list[Page], names: tuple[str, ...]) -> Path:
    if kind == "results":
        return write_results(folder / "results.json", pages)
    if kind == "yolo":
        return write_yolo(folder / "out", pages)
    if kind == "coco":
        return write_coco(folder / "p.json", pages, names)
    return write_coco(folder / "predictions.json", pages, names).parent


@pytest.mark.parametrize("kind", ["results", "coco", "yolo"])
def test_pages_of_tiled_and_of_whole_data(
    kind: str, data: Path, whole: Path, tmp_path: Path
) -> None:
    pages, names = predictions_of(whole, "page")
    source = write(kind, tmp_path, pages, names)
    check_perfect(score_predictions(source, whole), "page")
    if kind == "results":
        coco = write_coco(tmp_path / "ids.json", [without_scores(p) for p in pages], names)
        ids = {page.image.stem: i + 1 for i, page in enumerate(pages)}
        rows = json.loads(source.read_text())
        source.write_text(json.dumps([row | {"image_id": ids[row["image_id"]]} for row in rows]))
        check_perfect(score_predictions(source, data, annotations=coco), "page")
    else:
        check_perfect(score_predictions(source, data), "page")


def without_scores(page: Page) -> Page:
    return replace(page, scores=None)


def test_ids_of_the_data_set_are_used(data: Path, tmp_path: Path) -> None:
    pages, _ = predictions_of(data, "tile")
    content = json.loads((data / "annotations/instances_val.json").read_text())
    id_of = {image["file_name"]: image["id"] for image in content["images"]}
    source = write_results(tmp_path / "r.json", pages)
    rows = json.loads(source.read_text())
    ids = [str(id_of[f"{row['image_id']}.png"]) for row in rows]
    source.write_text(json.dumps([r | {"image_id": i} for r, i in zip(rows, ids, strict=True)]))
    check_perfect(score_predictions(source, data), "page")


def test_names_of_files_come_before_ids(data: Path, tmp_path: Path) -> None:
    """Ultralytics writes the number in a name as id, and the name itself beside it."""
    pages, _ = predictions_of(data, "tile")
    source = write_results(tmp_path / "r.json", pages)
    rows = json.loads(source.read_text())
    named = [row | {"image_id": 1, "file_name": f"{row['image_id']}.png"} for row in rows]
    source.write_text(json.dumps(named))
    check_perfect(score_predictions(source, data), "page")


def test_names_of_files_without_ids(data: Path, tmp_path: Path) -> None:
    pages, names = predictions_of(data, "tile")
    source = write_results(tmp_path / "r.json", pages)
    rows = json.loads(source.read_text())
    named = [{"file_name": f"{row.pop('image_id')}.png"} | row for row in rows]
    source.write_text(json.dumps(named))
    check_perfect(score_predictions(source, data), "page")
    turned = [replace(page, labels=len(names) - 1 - page.labels) for page in pages]
    ids = write_coco(tmp_path / "ids.json", [without_scores(page) for page in turned], names[::-1])
    others = [row | {"category_id": len(names) + 1 - row["category_id"]} for row in named]
    source.write_text(json.dumps(others))
    check_perfect(score_predictions(source, data, annotations=ids), "page")


def test_pages_before_they_were_scaled(tmp_path: Path) -> None:
    """Predictions for the original page are scaled as its tiles were."""
    data = write_data(tmp_path)
    manifest = json.loads((data / "manifest.json").read_text())
    for pages in manifest["tiles"].values():
        for page in pages.values():
            page["scale_x"] = page["scale_y"] = 0.5
    (data / "manifest.json").write_text(json.dumps(manifest))
    pages, names = predictions_of(data, "page")
    doubled = [
        replace(p, width=2 * p.width, height=2 * p.height, boxes_xyxy=2 * p.boxes_xyxy)
        for p in pages
    ]
    source = write_coco(tmp_path / "p.json", doubled, names)
    check_perfect(score_predictions(source, data), "page")
    unsized = write_results(tmp_path / "r.json", doubled)
    with pytest.raises(
        ConfigError, match=r"contains no sizes, and lg-2\S+ was scaled; give the an"
    ):
        score_predictions(unsized, data)


def test_classes_are_matched_by_name(whole: Path, tmp_path: Path) -> None:
    pages, names = predictions_of(whole, "page")
    order = [*reversed(range(len(names)))]
    turned = [replace(page, labels=len(names) - 1 - page.labels) for page in pages]
    source = write_coco(tmp_path / "p.json", turned, (*(names[i] for i in order), "dog"))
    result = score_predictions(source, whole)
    check_perfect(result, "page")
    assert result.ignored_classes == ("dog",)
    folder = write_yolo(tmp_path / "yolo", turned)
    lines = [names[i] for i in order]
    for text in ("\n".join(lines), "\r\n".join([*lines, "", ""])):
        (folder / "classes.txt").write_bytes(text.encode())
        check_perfect(score_predictions(folder, whole), "page")
    (folder / "classes.txt").write_text("\n".join([lines[0], "", *lines[1:]]))
    with pytest.raises(InputError) as raised:
        score_predictions(folder, whole)
    assert str(raised.value) == f"{folder}/classes.txt: line 2: missing class name"


def test_a_confidence_threshold_is_reported(whole: Path, tmp_path: Path) -> None:
    pages, names = predictions_of(whole, "page")
    cut = [page.only(np.array(scores_of(page)) > LOW) for page in pages]
    result = score_predictions(write_coco(tmp_path / "p.json", cut, names), whole)
    assert result.remarks == (TRUNCATED, FEW)
    settings = result.protocol.settings
    assert (settings.is_truncated, settings.lowest_score, settings.conf) == (True, 0.8, None)
    full = score_predictions(write_coco(tmp_path / "p.json", pages, names), whole)
    assert full.remarks == (FEW,)
    assert full.protocol.hash != result.protocol.hash


@pytest.mark.parametrize("score", [1.0, 0.001])
def test_equal_scores_are_reported(score: float, whole: Path, tmp_path: Path) -> None:
    pages, _ = predictions_of(whole, "page")
    source = write_results(tmp_path / "r.json", pages, score=score)
    assert score_predictions(source, whole).remarks == (EQUAL.format(score=score), FEW)
    single = [pages[0].only(slice(1)), pages[1].only(slice(0))]
    source = write_results(tmp_path / "r.json", single, score=score)
    assert EQUAL.format(score=score) not in score_predictions(source, whole).remarks


def test_notes_are_part_of_the_report(whole: Path, tmp_path: Path) -> None:
    pages, _ = predictions_of(whole, "page")
    source = write_results(tmp_path / "r.json", pages)
    score_predictions(source, whole, out=tmp_path / "out")
    text = (tmp_path / "out/report.md").read_text("utf-8")
    assert (
        "* Intervals from 2 pages are unreliable; score at least 10.\n* Unknown whether the model was "
        "trained on these pages: predictions do not record training images."
    ) in text


def test_images_without_predictions_are_reported(whole: Path, tmp_path: Path) -> None:
    pages, names = predictions_of(whole, "page")
    result = score_predictions(write_results(tmp_path / "r.json", pages[1:]), whole)
    missing = f"no predictions for 1 of 2 pages: {pages[0].image}"
    assert result.remarks == (f"{missing}; all of their symbols count as missed", FEW)
    assert result.report.macro.recall50 == 0.5
    source = write_coco(tmp_path / "p.json", pages[1:], names)
    with pytest.raises(ConfigError) as raised:
        score_predictions(source, whole)
    assert str(raised.value) == (
        f"{source}: does not contain 1 of 2 images: {pages[0].image}; predict all of them"
    )


Rows = list[dict[str, Any]]
BAD_RESULTS: dict[str, tuple[Callable[[Rows], object], str]] = {
    "empty": (lambda _: [], "contains no predictions"),
    "no score": (lambda rows: [{k: v for k, v in rows[0].items() if k != "score"}], "[0]: missing score; expected predictions"),
    "NaN": (lambda rows: [rows[0] | {"score": float("nan")}], "score (byte 104): expected finite numbers, got NaN or Infinity"),
    "score above 1": (lambda rows: [rows[0], rows[1] | {"score": 87.5}], "[1]: expected a score from 0 to 1, got 87.5"),
    "three numbers": (lambda rows: [rows[0] | {"bbox": [1, 2, 3]}], "[0].bbox: expected 4 numbers"),
    "negative side": (lambda rows: [rows[0] | {"bbox": [9, 9, -1, 3]}], "[0]: box with a negative side"),
    "label": (lambda rows: [rows[0] | {"category_id": 0}], "category_id: expected a label + 1, from 1 to 42, got 1 category id (0); give the annotation file of its ids with --annotations"),
    "no image": (lambda rows: [rows[0], {k: v for k, v in rows[1].items() if k != "image_id"}], "[1]: missing image_id; expected an image_id or a file_name"),
    "other image": (lambda rows: [rows[0] | {"image_id": 17}], "not in the split val: 17; give the annotation file of its ids with --annotations"),
    "other split": (lambda rows: [rows[0] | {"image_id": "lg-1-aug-gonville--page-1"}], "not in the split val: lg-1-aug-gonville--page-1; these are images of train, use --split train"),
    "folder of another split": (lambda rows: [rows[0] | {"image_id": "train/lg-2-aug-gonville--page-1.png"}], "not in the split val: train/lg-2-aug-gonville--page-1.png; give the annotation file of its ids with --annotations"),
    "twice": (lambda rows: [rows[0], rows[1] | {"image_id": "a/lg-2-aug-gonville--page-1.png"}], "several sets of predictions for lg-2-aug-gonville--page-1.png: lg-2-aug-gonville--page-1 and a/lg-2-aug-gonville--page-1.png; keep one"),
    "larger image": (lambda rows: [rows[0] | {"bbox": [500, 20, 9, 9]}], "lg-2-aug-gonville--page-1: predictions beyond the image, which has 200 x 160 px; predict it in its own size"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_RESULTS)
def test_invalid_results(case: str, whole: Path, tmp_path: Path) -> None:
    change, message = BAD_RESULTS[case]
    source = write_results(tmp_path / "r.json", predictions_of(whole, "page")[0])
    source.write_text(json.dumps(change(json.loads(source.read_text()))))
    with pytest.raises(OmrError) as raised:
        score_predictions(source, whole)
    assert str(raised.value) == f"{source}: {message}"


def test_ids_that_the_annotation_file_lacks(data: Path, tmp_path: Path) -> None:
    pages, _ = predictions_of(data, "tile")
    ids = data / "annotations/instances_val.json"
    source = write_results(tmp_path / "r.json", pages, image_id=99)
    with pytest.raises(OmrError) as raised:
        score_predictions(source, data, annotations=ids)
    assert str(raised.value) == f"{source}: image_id: not in {ids}: 1 image id (99)"
    rows = json.loads(source.read_text())
    source.write_text(
        json.dumps([row | {"file_name": "b.png"} for row in rows if row.pop("image_id")])
    )
    with pytest.raises(OmrError) as raised:
        score_predictions(source, data, annotations=ids)
    assert str(raised.value) == f"{source}: file_name: not in {ids}: 1 file name (b.png)"
    source = write_results(tmp_path / "r.json", pages, image_id=1, category_id=900)
    with pytest.raises(OmrError) as raised:
        score_predictions(source, data)
    assert str(raised.value) == f"{source}: category_id: not in {ids}: 1 category id (900)"


def test_other_sizes_and_classes(whole: Path, tmp_path: Path) -> None:
    pages, names = predictions_of(whole, "page")
    wide = [replace(page, width=300) for page in pages]
    source = write_coco(tmp_path / "p.json", wide, names)
    with pytest.raises(ConfigError) as raised:
        score_predictions(source, whole)
    assert str(raised.value) == (
        f"{source}: {pages[0].image}: is 300 x 160 px in the predictions, but 200 x 160 px in the "
        "data set; predict the same images"
    )
    others = tuple(name.replace("stem", "stems") for name in names)
    with pytest.raises(ConfigError, match=r"not in the predictions: stem \(did you mean stems\?\)"):
        score_predictions(write_coco(source, pages, others), whole)


def test_pages_are_not_predictions_for_tiles(data: Path, whole: Path, tmp_path: Path) -> None:
    pages, names = predictions_of(whole, "page")
    source = write_coco(tmp_path / "p.json", pages, names)
    with pytest.raises(ConfigError, match="these are pages, use --unit page"):
        score_predictions(source, data, unit="tile")
    tiles, _ = predictions_of(data, "tile")
    write_coco(source, [*pages, *tiles], names)
    with pytest.raises(ConfigError, match="predictions for tiles and for whole pages, such as lg"):
        score_predictions(source, data)


LINES = {
    "0 .5 .5 .1 .1": "line 1: expected label, x_centre, y_centre, width, height, confidence, got: 0 .5 .5 .1 .1; predict with save_conf=True",
    "\n0 a .5 .1 .1 .9": "line 2: expected label, x_centre, y_centre, width, height, confidence, got: 0 a .5 .1 .1 .9",
    "99 .5 .5 .1 .1 .9": "line 1: label 99 is not one of 42 classes",
    "0 .5 .5 .1 .1 nan": "line 1: expected a score from 0 to 1, got nan",
    "0 50 60 9 9 .9": "line 1: expected fractions of the image",
}  # fmt: skip


@pytest.mark.parametrize("text", LINES)
def test_invalid_lines(text: str, whole: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels" / "lg-2-aug-gonville--page-1.txt"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(OmrError) as raised:
        score_predictions(tmp_path, whole)
    assert str(raised.value) == f"{file}: {LINES[text]}"


def test_folders_without_predictions(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(OmrError, match=r"contains no predictions$"):
        score_predictions(tmp_path, whole)


def test_numbers_find_images_with_leading_zeros() -> None:
    names = ImageNames(map(PurePosixPath, ("0007.png", "a/x.png", "b/x.png", "page.1.png")))
    found = {name: str(names.find(name)) for name in ("7", "/home/me/a/x.png", "page.1", "c\\0007")}
    assert found == {
        "7": "0007.png",
        "/home/me/a/x.png": "a/x.png",
        "page.1": "page.1.png",
        "c\\0007": "0007.png",
    }
    assert names.find("8") is None
    with pytest.raises(ConfigError, match=r"predictions for x: could be for a/x.png and b/x.png"):
        names.find("x")


KEYS = [
    "unit",
    "split",
    "pages",
    "macro.ap",
    "macro.ap50",
    "macro.ap75",
    "frequent_macro.ap",
    "frequent_macro.ap50",
    "frequent_macro.ap75",
    "instance_weighted.ap",
    "instance_weighted.ap50",
    "instance_weighted.ap75",
    "voc2007.map50",
    "voc2010.map50",
    "ultralytics.map50",
    "tide.delta_ap",
    "calibration.ece",
    "classes.0.name",
    "classes.0.truths",
    "classes.0.ap50",
    "classes.0.ap50_low",
    "classes.0.ap50_high",
    "classes.0.best_threshold",
    "classes.0.best_f1",
    "protocol.weights",
    "protocol.data",
    "protocol.class_map",
    "protocol.settings",
    "protocol.hash",
    "trained_on.share",
    "trained_on.known",
]


def test_the_json_of_predictions_has_every_key(whole: Path, tmp_path: Path) -> None:
    pages, names = predictions_of(whole, "page")
    report = score_predictions(write_coco(tmp_path / "p.json", pages, names), whole).to_json()
    values: dict[str, Any] = {}
    for key in KEYS:
        values[key] = report
        for part in key.split("."):
            values[key] = values[key][int(part) if part.isdecimal() else part]
    unknown = {key for key, value in values.items() if value is None}
    assert unknown - {"trained_on.share"} == {key for key in KEYS if key.startswith("frequent_")}
