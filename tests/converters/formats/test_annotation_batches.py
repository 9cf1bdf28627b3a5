"""Large DeepScoresV2 files, which are read in batches of pages."""

import json
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from deepscores import annotation, content

import class_maps
from class_maps import InputError
from converters.formats import (
    annotation_batches,
    deepscores_json,
    deepscores_pages,
    deepscores_tables,
    deepscoresv2,
)
from converters.formats.deepscoresv2 import DeepScoresFile
from converters.page import Page
from converters.tally import Tally

HARMONY = class_maps.load("harmony")
N_PAGES = 7
OPEN_AND_READ = r"""
import re, sys
from pathlib import Path
import class_maps
from converters.formats import deepscores_json, deepscores_tables, deepscoresv2
from converters.tally import Tally

def kilobytes(name):
    return int(re.search(name + r":\s+(\d+)", Path("/proc/self/status").read_text())[1])

deepscores_json.WINDOW_BYTES = deepscores_tables.CHUNK_BYTES = deepscoresv2.LARGE_BYTES = 1 << 20
harmony, before = class_maps.load("harmony"), kilobytes("VmRSS")
file = deepscoresv2.DeepScoresFile(Path(sys.argv[1]))
pages = file.pages(harmony.source("deepscoresv2"), harmony.labels, Tally())
print(sum(len(page.labels) for page in pages), kilobytes("VmHWM") - before)
"""


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepscores_json, "WINDOW_BYTES", 64)
    monkeypatch.setattr(deepscores_tables, "CHUNK_BYTES", 600)
    monkeypatch.setattr(annotation_batches, "MOST_PAGES", 3)


def pages_of(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, in_batches: bool
) -> tuple[list[Page], Tally, int]:
    """Read a file; return its pages, counts, and its number of batches."""
    monkeypatch.setattr(deepscoresv2, "LARGE_BYTES", 0 if in_batches else 1 << 30)
    file, counts = DeepScoresFile(path), Tally()
    pages = [*file.pages(HARMONY.source("deepscoresv2"), HARMONY.labels, counts)]
    return pages, counts, len(file.batches(1))


def described(page: Page) -> tuple[Any, ...]:
    assert page.corners is not None
    assert page.symbol_ids is not None
    arrays = (page.boxes_xyxy, page.labels, page.corners, page.symbol_ids)
    rest = (page.image, page.width, page.height, page.staff_space, page.n_annotations)
    return *(array.tolist() for array in arrays), *rest


def several_pages(n: int = N_PAGES, per_page: int = 3) -> dict[str, Any]:
    """The JSON of pages with different symbols, of which the third has none."""
    data = content()
    [image] = data["images"]
    data["images"] = []
    for i in range(n):
        keys = [str(100 * i + k + 1) for k in range(per_page if i != 2 else 0)]
        name = f"lg-{i}-aug-leland--page-1.png"
        data["images"].append(image | {"id": i + 1, "filename": name, "ann_ids": keys})
        for k, key in enumerate(keys):
            box = [10 * (k % 9), i % 90, 10 * (k % 9) + 8, i % 90 + 8]
            data["annotations"][key] = annotation(("25", "42", "1")[k % 3], box, str(i + 1))
    return data


def write(folder: Path, data: dict[str, Any], **options: Any) -> Path:  # noqa: ANN401
    path = folder / "deepscores_train.json"
    path.write_text(json.dumps(data, **options))
    return path


def reorder(data: dict[str, Any], key: Callable[[tuple[str, dict[str, Any]]], Any]) -> None:
    data["annotations"] = dict(sorted(data["annotations"].items(), key=key))


def in_order(_data: dict[str, Any]) -> None:
    pass


def other_order_of_images(data: dict[str, Any]) -> None:
    random.Random(0).shuffle(data["images"])


def descending_ids(data: dict[str, Any]) -> None:
    reorder(data, lambda item: -int(item[0]))


def annotations_first(data: dict[str, Any]) -> None:
    rest = {name: data.pop(name) for name in [*data] if name != "annotations"}
    data |= rest


def a_page_in_two_places(data: dict[str, Any]) -> None:
    reorder(data, lambda item: (item[0] == "2", int(item[0])))


def differing_ids(data: dict[str, Any]) -> None:
    for i in (1, 5):
        data["images"][i]["ann_ids"] = ["7"]


def braces_in_text(data: dict[str, Any]) -> None:
    data["annotations"]["101"]["comments"] = '}}, "9": {}}, "images": {'


def annotations_in_a_nested_object(data: dict[str, Any]) -> None:
    rest = dict(data)
    data.clear()
    data |= {"info": {"annotations": {"a": {"b": 1}}}, **rest}


@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize(
    "change",
    [
        in_order,
        other_order_of_images,
        descending_ids,
        annotations_first,
        a_page_in_two_places,
        differing_ids,
        braces_in_text,
        annotations_in_a_nested_object,
    ],
)
def test_batches_do_not_change_the_pages(
    change: Callable[[dict[str, Any]], None],
    indent: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = several_pages()
    change(data)
    path = write(tmp_path, data, indent=indent)
    expected, expected_counts, _ = pages_of(path, monkeypatch, in_batches=False)
    pages, counts, n_batches = pages_of(path, monkeypatch, in_batches=True)
    assert n_batches >= 3
    assert [*map(described, pages)] == [*map(described, expected)]
    assert counts == expected_counts
    assert bool(counts.warnings) == (change is differing_ids)


def no_order(data: dict[str, Any]) -> None:
    reorder(data, lambda item: int(item[0]) % 100)


def nested_objects(data: dict[str, Any]) -> None:
    for row in data["annotations"].values():
        row["nested"] = {"a": {"b": 1}, "c": {"d": 2}}


@pytest.mark.parametrize("change", [no_order, nested_objects])
def test_unusual_files_are_read_as_a_whole(
    change: Callable[[dict[str, Any]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = several_pages(per_page=9)
    change(data)
    pages, counts, n_batches = pages_of(write(tmp_path, data), monkeypatch, in_batches=True)
    assert (n_batches, len(pages), counts.read) == (0, N_PAGES, 9 * (N_PAGES - 1))


def test_objects_in_an_annotation_are_no_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A boundary of objects is found for that of a key with an escape, which is not."""
    data = several_pages()
    data["annotations"]["1"] = {"nested": {"a": {}, "b": {}}} | data["annotations"]["1"]
    path = write(tmp_path, data)
    path.write_text(path.read_text().replace('"102": {', '"10\\u0032": {'))
    expected, _, _ = pages_of(path, monkeypatch, in_batches=False)
    pages, _, n_batches = pages_of(path, monkeypatch, in_batches=True)
    assert n_batches == 0
    assert [*map(described, pages)] == [*map(described, expected)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"img_id": "6"', '"img_id": "66"', "annotations.img_id: unknown image: 3 annotations"),
        ('"501": {', '"1": {', "annotations: duplicate: 1 id (1)"),
        ('"502": {', '"501": {', "annotations: duplicate key: '501'"),
        ("[10, 5, 18, 13]", "[10, 5, 18]", "annotations[502].a_bbox: expected `array` of length 4"),
        ("[10, 5, 18, 13]", "[10, 5, 18 13]", "not valid JSON, truncated or damaged"),
        ("[10, 5, 18, 13]", "[18, 5, 10, 13]", "annotations.a_bbox: reversed corners"),
        ("[10, 5, 18, 13]", "[10, 5, 90, 13]", "annotations.a_bbox: 1 of 18 differ"),
        ('"ann_ids": ["501"', '"ann_ids": [null', "images[5].ann_ids"),
    ],
)  # fmt: skip
def test_errors_are_those_of_a_file_that_is_read_as_a_whole(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, several_pages())
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    errors = []
    for in_batches in (True, False):
        with pytest.raises(InputError) as raised:
            pages_of(path, monkeypatch, in_batches=in_batches)
        errors.append(str(raised.value).partition(", got")[0])
    assert message in errors[0]
    assert errors[0] == errors[1]


def test_a_file_that_changes_between_two_batches_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, several_pages())
    monkeypatch.setattr(deepscoresv2, "LARGE_BYTES", 0)
    file = DeepScoresFile(path)
    pages = file.pages(HARMONY.source("deepscoresv2"), HARMONY.labels, Tally())
    next(pages)
    path.write_text(path.read_text().replace('"img_id": "6"', '"img_id": "1"'))
    with pytest.raises(InputError, match="changed while it was converted"):
        list(pages)


@pytest.mark.parametrize("least_pages", [1, 3, 4])
def test_a_divided_file_has_the_same_pages(
    least_pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, several_pages())
    expected, expected_counts, _ = pages_of(path, monkeypatch, in_batches=False)
    file, counts, pages = DeepScoresFile(path), Tally(), list[Page]()
    sources = deepscores_pages.divided(file, least_pages, 1)
    for source in sources:
        own = [*source.pages(HARMONY.source("deepscoresv2"), HARMONY.labels, counts)]
        assert [page.image for page in own] == [*source.images]
        assert len(own) >= least_pages or source is sources[-1]
        pages += own
    assert [*map(described, pages)] == [*map(described, expected)]
    assert counts == expected_counts
    assert (len(sources) > 1) == (least_pages < 4)
    assert len({source.sha256() for source in sources}) == len(sources)


def test_a_worker_opens_a_divided_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, several_pages())
    sources = [pickle.dumps(s) for s in deepscores_pages.divided(DeepScoresFile(path), 3, 1)]
    opened = Mock(wraps=deepscores_json.open_json)
    monkeypatch.setattr(deepscoresv2, "open_json", opened)
    parts = [pickle.loads(source) for source in sources]
    assert opened.call_count == 1
    assert len({part.whole for part in parts}) == 1
    os.utime(path, ns=(0, 0))  # another state
    copies = pickle.loads(pickle.dumps(DeepScoresFile(path))), pickle.loads(sources[0]).whole
    assert len({*copies, parts[0].whole}) == 3
    assert opened.call_count == 4


def test_the_text_is_not_kept_in_memory(tmp_path: Path) -> None:
    """Reading a file of 40 MB takes less than half of it."""
    data = several_pages(100, 100)
    for row in data["annotations"].values():
        row["comments"] = "x" * 4000
    path = write(tmp_path, data)
    assert path.stat().st_size > 40e6
    command = [sys.executable, "-c", OPEN_AND_READ, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    n_labels, kilobytes = map(int, result.stdout.split())
    assert n_labels > 0
    assert kilobytes < 20_000


def test_the_arrays_are_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with eight times as many pages takes far less than eight times the memory."""
    monkeypatch.setattr(deepscores_tables, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr(deepscoresv2, "LARGE_BYTES", 0)
    peaks = []
    for n in (10, 10, 80):  # the first time, class maps are read
        file = DeepScoresFile(write(tmp_path, several_pages(n, 40)))
        assert len(file.batches(1)) > 5
        counts = Tally()
        tracemalloc.start()
        pages = file.pages(HARMONY.source("deepscoresv2"), HARMONY.labels, counts)
        assert sum(1 for _ in pages) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 3 * peaks[1], peaks
