"""Tests of the formats of ``omr predict``: all give the same result, and damage is one line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiled_data import write_data

from class_maps import MissingExtraError, OmrError
from converters.boxes import whole_pixels
from converters.page import Page
from omr.prediction_files import PredictionWriter
from omr.scoring import parquet_predictions
from omr.scoring.evaluation_set import read_evaluation_set
from omr.scoring.prediction_formats import are_predictions
from omr.scoring.result import ScoringResult
from omr.scoring.score import score_predictions
from reading.page_images import PageFile
from reading.page_stream import PageReading

IMAGE = "lg-2-aug-gonville--page-1"
FORMATS = "coco", "yolo", "mung", "labelme", "parquet"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), tiles=None)


def inexact_pages(data: Path) -> list[Page]:
    """Return predictions that are off by fractions of a pixel, and some that are wrong."""
    rng = np.random.default_rng(0)
    pages = []
    for truth in read_evaluation_set(data, "val", "page").truths:
        boxes_xyxy = np.concatenate([truth.boxes_xyxy, truth.boxes_xyxy])
        boxes_xyxy = (boxes_xyxy + rng.uniform(-1, 1, boxes_xyxy.shape)).clip(0, 100).round(3)
        labels = np.concatenate([truth.labels, rng.integers(0, 2, len(truth.labels))])
        scores = rng.uniform(0, 1, len(labels)).round(5)
        scores[-1] = 0.001
        page = replace(truth, boxes_xyxy=boxes_xyxy, labels=labels, scores=scores, corners=None)
        pages.append(replace(page, symbol_ids=None).only(np.argsort(-scores)))
    return pages


def write(folder: Path, data: Path, kind: str, pages: list[Page], **changes: Any) -> Path:  # noqa: ANN401
    names = read_evaluation_set(data, "val", "page").dataset.names
    folder.mkdir(parents=True)
    files = [PageFile(name=page.image, path=data / "images/val" / page.image) for page in pages]
    writer = PredictionWriter(folder, names, [kind], "none", None, files)
    blank = np.zeros((1, 1), np.uint8)
    readings = [
        PageReading(file=file, page=page, image=blank, n_tiles=1, seconds=0.0)
        for file, page in zip(files, pages, strict=True)
    ]
    assert [*writer.written(readings)] == readings
    writer.close()
    manifest = json.dumps({"classes": names} | changes)
    (folder / "manifest.json").write_text(manifest)
    return folder


def metrics_of(result: ScoringResult) -> dict[str, Any]:
    report = result.to_json()
    return {name: report[name] for name in ("macro", "frequent_macro", "instance_weighted")} | {
        f"{row['name']}.{key}": row[key]
        for row in report["classes"]
        for key in ("truths", "predictions", "ap", "ap50", "ap75", "best_threshold", "best_f1")
    }


def nearly(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(value, abs=1e-6, nan_ok=True) for name, value in metrics.items()}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_result(kind: str, data: Path, tmp_path: Path) -> None:
    pages = inexact_pages(data)
    result = score_predictions(write(tmp_path / "out", data, kind, pages), data)
    assert result.protocol.weights.kind == kind
    if kind == "mung":  # whole pixels are part of the format
        pages = [
            replace(p, boxes_xyxy=whole_pixels(p.boxes_xyxy).astype(np.float64)) for p in pages
        ]
    expected = metrics_of(score_predictions(write(tmp_path / "coco", data, "coco", pages), data))
    assert expected["macro"]["ap"] not in (None, 0, 1)
    assert metrics_of(result) == nearly(expected)
    assert ("MuNG" in "".join(result.remarks)) == (kind == "mung")


@pytest.mark.parametrize("kind", FORMATS)
def test_pages_without_symbols_are_listed(kind: str, data: Path, tmp_path: Path) -> None:
    first, *others = inexact_pages(data)
    pages = [first.only(slice(0)), *others]
    result = score_predictions(write(tmp_path / "out", data, kind, pages), data)
    assert result.report.n_predictions == len(others[0].labels)
    missing = (
        f"no predictions for 1 of 2 pages: {first.image}; all of their symbols count as missed"
    )
    assert (missing in result.remarks) == (kind == "yolo")


@pytest.mark.parametrize("kind", ["mung", "labelme", "parquet"])
def test_pages_that_were_not_predicted(kind: str, data: Path, tmp_path: Path) -> None:
    pages = inexact_pages(data)
    source = write(tmp_path / "out", data, kind, pages[1:])
    with pytest.raises(OmrError) as raised:
        score_predictions(source, data)
    assert str(raised.value) == (
        f"{source}: does not contain 1 of 2 images: {pages[0].image}; predict all of them"
    )


@pytest.mark.parametrize("kind", ["mung", "labelme"])
def test_classes_without_a_manifest(kind: str, data: Path, tmp_path: Path) -> None:
    """Classes that are not predicted are those of the data set, unless others are predicted."""
    pages = [page.only(page.labels == 0) for page in inexact_pages(data)]
    source = write(tmp_path / "out", data, kind, pages)
    (source / "manifest.json").unlink()
    assert score_predictions(source, data).report.macro.ap50
    for file in source.rglob("*.*"):
        file.write_text(file.read_text().replace("noteheadBlack", "noteheadBlak"))
    with pytest.raises(OmrError) as raised:
        score_predictions(source, data)
    assert "not in the predictions: noteheadBlack (did you mean noteheadBlak?)" in str(raised.value)


def node(**texts: str) -> str:
    texts = {
        "Id": "7",
        "ClassName": "stem",
        "Top": "1",
        "Left": "2",
        "Width": "3",
        "Height": "9",
    } | texts
    data = '<Data><DataItem key="score" type="float">{}</DataItem></Data>'
    parts = [f"<{name}>{text}</{name}>" for name, text in texts.items() if name != "score" and text]
    score = texts.get("score", "0.5")
    return f"<Node>{''.join(parts)}{data.format(score) if score else ''}</Node>"


BAD_NODES = {
    "<Nodes": "line 1: is not well-formed XML: unclosed token; export it again",
    "": "line 1: is empty or incomplete; export it again",
    "<annotation/>": "the root is annotation; expected Nodes of MuNG 2.0",
    f"<Nodes>{node(score='')}</Nodes>": "node 7: missing score; expected predictions",
    f"<Nodes>{node(score='nan')}</Nodes>": "node 7: expected a score from 0 to 1, got nan",
    f"<Nodes>{node(score='7')}</Nodes>": "node 7: expected a score from 0 to 1, got 7",
    f"<Nodes>{node(Top='')}</Nodes>": "node 7: missing Top",
    f"<Nodes>{node(Top='inf')}</Nodes>": "node 7: expected a box of finite numbers",
    f"<Nodes>{node(Width='-1')}</Nodes>": "node 7: box with a negative side",
    f"<Nodes>{node(Left='x')}</Nodes>": "node 7: expected numbers, got Left x, Top 1, Width 3, Height 9, score 0.5",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_NODES)
def test_invalid_mung(text: str, data: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{IMAGE}.xml"
    file.write_text(text)
    for source in (file, tmp_path):
        with pytest.raises(OmrError) as raised:
            score_predictions(source, data)
        assert str(raised.value) == f"{file}: {BAD_NODES[text]}"


def test_entities_do_not_fill_the_memory(data: Path, tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    file = tmp_path / f"{IMAGE}.xml"
    file.write_text(f'<!DOCTYPE d [<!ENTITY e0 "{"e" * 100}">{entities}]><Nodes>&e9;</Nodes>')
    with pytest.raises(OmrError, match="has a document type declaration"):
        score_predictions(file, data)


Shape = dict[str, Any]
BAD_SHAPES: dict[str, tuple[Callable[[Shape], object], str]] = {
    "no score": (lambda shape: shape.update(description="by hand"), "shapes[0].description: missing score; expected predictions"),
    "no description": (lambda shape: shape.pop("description"), "shapes[0].description: missing score; expected predictions"),
    "NaN": (lambda shape: shape.update(description='{"score": NaN}'), "shapes[0]: expected a score from 0 to 1, got nan"),
    "percent": (lambda shape: shape.update(description='{"score": 87}'), "shapes[0]: expected a score from 0 to 1, got 87"),
    "no points": (lambda shape: shape.update(points=[]), "shapes[0].points: expected points"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_invalid_labelme(case: str, data: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "out", data, "labelme", inexact_pages(data))
    file = source / "labelme/pages" / f"{IMAGE}.json"
    content = json.loads(file.read_text())
    change, message = BAD_SHAPES[case]
    change(content["shapes"][0])
    file.write_text(json.dumps(content))
    with pytest.raises(OmrError) as raised:
        score_predictions(source, data)
    assert str(raised.value) == f"{file}: {message}"


def test_a_damaged_labelme_file_is_not_skipped(data: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "out", data, "labelme", inexact_pages(data))
    (source / "labelme/pages" / f"{IMAGE}.json").write_text('{"shapes": [')
    with pytest.raises(OmrError, match=rf"{IMAGE}.json: not valid JSON, truncated or damaged"):
        score_predictions(source, data)


Frame = pl.DataFrame
BAD_TABLES: dict[str, tuple[Callable[[Frame], Frame], str]] = {
    "no score": (lambda table: table.drop("score"), "no column score; expected predictions"),
    "no boxes": (lambda table: table.drop("x_min", "y_max"), "no column x_min, y_max"),
    "text": (lambda table: table.with_columns(score=pl.lit("high")), "score: expected numbers, got String"),
    "null": (lambda table: table.with_columns(score=pl.lit(None, pl.Float64)), "score: contains missing values"),
    "NaN": (lambda table: table.with_columns(score=pl.lit(float("nan"))), "row 1: expected a score from 0 to 1, got nan"),
    "numbers": (lambda table: table.with_columns(name=pl.lit(3)), "name: expected text, got Int32"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_invalid_tables(case: str, data: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "out", data, "parquet", inexact_pages(data))
    file = source / "parquet/symbols_pages/part-00000.parquet"
    change, message = BAD_TABLES[case]
    change(pl.read_parquet(file)).write_parquet(file)
    with pytest.raises(OmrError) as raised:
        score_predictions(source, data)
    assert str(raised.value) == f"{file}: {message}"


def test_damaged_tables(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "out", data, "parquet", inexact_pages(data))
    images = source / "parquet/images_pages/part-00000.parquet"
    shutil.copy(images, images.with_name("part-00001.parquet"))
    with pytest.raises(OmrError, match=r"part-00001.parquet: duplicate image: lg-"):
        score_predictions(source, data)
    images.with_name("part-00001.parquet").write_bytes(b"PAR1" + bytes(99) + b"PAR1")
    with pytest.raises(OmrError, match=r"part-00001.parquet: is not a valid Parquet file: \w"):
        score_predictions(source, data)
    monkeypatch.setattr(parquet_predictions, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="reading Parquet needs polars"):
        score_predictions(source, data)


def test_strings_and_single_tables(data: Path, tmp_path: Path) -> None:
    """Tables of other tools have no fixed set of classes, and maybe no sizes of images."""
    pages = inexact_pages(data)
    source = write(tmp_path / "out", data, "parquet", pages)
    expected = metrics_of(score_predictions(source, data))
    table = pl.read_parquet(source / "parquet/symbols_pages")
    table.with_columns(pl.col("name").cast(pl.String)).write_parquet(tmp_path / "one.parquet")
    result = score_predictions(tmp_path / "one.parquet", data)
    assert metrics_of(result) == nearly(expected)


@pytest.mark.parametrize(("kind", "suffix"), [("mung", "xml"), ("labelme", "json")])
def test_an_image_in_two_files(kind: str, suffix: str, data: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "out", data, kind, inexact_pages(data))
    file = f"{kind}/pages/{IMAGE}.{suffix}"
    shutil.copy(source / file, source / f"{kind}/pages/copy.{suffix}")
    with pytest.raises(OmrError, match="several sets of predictions for") as raised:
        score_predictions(source, data)
    assert f"{kind}/pages/copy.{suffix}: " in str(raised.value)
    assert str(raised.value).endswith("; keep one")


def test_scores_of_other_labels(data: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "out", data, "yolo", inexact_pages(data))
    file = source / "scores" / f"{IMAGE}.txt"
    labels = source / "labels" / f"{IMAGE}.txt"
    file.write_text("0.5\n")
    with pytest.raises(OmrError) as raised:
        score_predictions(source, data)
    assert str(raised.value) == f"{file}: 1 scores for the 6 labels of {labels}; predict again"
    shutil.rmtree(source / "scores")
    with pytest.raises(
        OmrError, match=r"line 1: expected label, x_centre, .*; predict with save_conf"
    ):
        score_predictions(source, data)


def test_files_that_are_not_predictions(data: Path, tmp_path: Path) -> None:
    expected = (
        "is neither COCO nor labelme; expected results with an image_id or file_name, or the keys "
        "images, annotations and categories, or shapes and imagePath"
    )
    messages = {
        "no.json": (None, "no such file or folder"),
        "report.json": ('{"images": 2, "split": "val"}', expected),
        "numbers.json": ("[1, 2]", expected),
        "empty.json": ("[]", "contains no predictions"),
        "page.txt": ("0 .5 .5 .1 .1 .9", "label files of YOLO are read together; name the folder that contains them"),
    }  # fmt: skip
    for name, (content, message) in messages.items():
        if content is not None:
            (tmp_path / name).write_text(content)
        assert are_predictions(tmp_path / name)
        with pytest.raises(OmrError) as raised:
            score_predictions(tmp_path / name, data)
        assert str(raised.value) == f"{tmp_path / name}: {message}"


def test_an_image_that_a_coco_file_lists_twice(data: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "out", data, "coco", inexact_pages(data)) / "predictions.json"
    content = json.loads(file.read_text())
    content["images"][1]["file_name"] = content["images"][0]["file_name"]
    file.write_text(json.dumps(content))
    with pytest.raises(OmrError) as raised:
        score_predictions(file, data)
    assert str(raised.value) == (
        f"{file}: images: duplicate file_name: {IMAGE}.png; keep one entry per image"
    )


def test_folders_are_recognised_by_their_files(data: Path, tmp_path: Path) -> None:
    pages = inexact_pages(data)
    coco = write(tmp_path / "coco", data, "coco", pages)
    (coco / "predictions.json").rename(coco / "mine.json")
    assert score_predictions(coco, data).protocol.weights.kind == "coco"
    (coco / "broken.json").write_text("{")
    with pytest.raises(OmrError, match=r"broken.json: not valid JSON"):
        score_predictions(coco, data)
    shutil.copy(coco / "mine.json", coco / "broken.json")
    with pytest.raises(OmrError, match=r"several COCO files: broken.json, mine.json; name one of"):
        score_predictions(coco, data)
    empty = tmp_path / "empty"
    empty.mkdir()
    for other in (None, "[1, 2]", "{}"):
        if other:
            (empty / "other.json").write_text(other)
        with pytest.raises(OmrError) as raised:
            score_predictions(empty, data)
        assert str(raised.value) == (
            f"{empty}: contains no predictions; looked for predictions.json or another COCO file, "
            "Parquet tables, labelme JSON, labels/*.txt of YOLO, and MuNG XML"
        )


def test_tables_with_too_many_rows_are_not_read(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "out", data, "parquet", inexact_pages(data))
    monkeypatch.setattr(parquet_predictions, "MAX_ROWS", 1)
    with pytest.raises(OmrError, match=r"has \d+ rows; expected at most 1, divide it$"):
        score_predictions(source, data)


@pytest.mark.parametrize("key", ['"score"', r'"sc\u006fre"'])
def test_a_prediction_with_two_scores(key: str, data: Path, tmp_path: Path) -> None:
    row = f'{{"file_name": "{IMAGE}.png", "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5'
    file = tmp_path / "results.json"
    file.write_text(f"[{row}, {key}: 0.9}}]")
    with pytest.raises(OmrError) as raised:
        score_predictions(file, data)
    assert str(raised.value) == f"{file}: duplicate key: 'score'"
