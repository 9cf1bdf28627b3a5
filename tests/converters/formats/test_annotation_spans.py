"""Positions of annotations, with which a file is opened without reading all of it."""

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sharded
from stopped_runs import contents

import class_maps
from converters.conversion import ConversionOptions, convert, convert_shard
from converters.files.output_lock import locked_path
from converters.formats import annotation_spans, deepscores_json
from converters.formats.annotation_spans import Span, shared_spans
from converters.formats.deepscores_json import open_json
from converters.parts import plan

OPTIONS = ConversionOptions(class_map=class_maps.load("harmony"), labels_only=True)


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that receives each file that is read completely."""
    files: list[Path] = []

    def remember(path: Path, *span: Any) -> None:  # noqa: ANN401
        files.append(path)
        annotation_spans.remember_span(path, *span)

    monkeypatch.setattr(deepscores_json, "remember_span", remember)
    return files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return sharded.write(tmp_path / "data", 1) / "shard_0_train.json"


def opened(file: Path) -> tuple[object, ...]:
    content, span, text = open_json(file)
    annotations = bytes(memoryview(content.annotations))
    assert text[span.start : span.stop] == annotations
    images = [(i.id, i.filename, i.width, bytes(memoryview(i.ann_ids))) for i in content.images]
    return images, content.categories, span.start, annotations


@pytest.mark.parametrize("is_last", [True, False])
def test_a_known_position_gives_the_same_content(
    is_last: bool, file: Path, scanned: list[Path], tmp_path: Path
) -> None:
    data = json.loads(file.read_text())
    annotations = data.pop("annotations")
    ordered = data | {"annotations": annotations}
    file.write_text(json.dumps(ordered if is_last else {"annotations": annotations} | data))
    expected = opened(file)
    for _ in range(3):
        with shared_spans(tmp_path / "index"):
            assert opened(file) == expected
    assert scanned == [file] * 2  # without an index, and with an empty one


@pytest.mark.parametrize("change", ["time", "size", "span", "damaged", "removed", "locked"])
def test_a_position_that_may_be_wrong_is_not_used(
    change: str, file: Path, scanned: list[Path], tmp_path: Path
) -> None:
    index = tmp_path / "index"
    with shared_spans(index):
        expected = opened(file)
    if change == "time":
        os.utime(file, ns=(0, 0))
    if change == "size":
        file.write_text(file.read_text().replace("{", "{ ", 1))
    if change == "span":
        spans = json.loads(index.read_text())
        spans[str(file)]["start"] += 1
        index.write_text(json.dumps(spans))
    if change == "damaged":
        index.write_text("{")
    if change in {"removed", "locked"}:
        index.unlink()
    held = locked_path(index, index) if change == "locked" else nullcontext()
    with held, shared_spans(index):
        assert opened(file)[:2] == expected[:2]
    assert scanned == [file, file]
    assert index.exists() == (change != "locked")


def test_only_the_first_job_reads_all_files(
    scanned: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PART_PAGES", 1)
    data, out = sharded.write(tmp_path / "data", 4), tmp_path / "out"
    for number in (1, 2, 3):
        convert_shard(data, out, OPTIONS, (number, 3))
    assert len(scanned) == 4
    [index] = tmp_path.glob(".out.parts/.omr-parts/spans.json")
    assert len(msgspec.json.decode(index.read_bytes(), type=dict[str, Span])) == 4
    convert(data, out, OPTIONS, only_merge=True)
    convert(data, tmp_path / "fresh", OPTIONS)
    assert contents(out) == contents(tmp_path / "fresh")
