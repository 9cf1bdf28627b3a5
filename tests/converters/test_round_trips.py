"""Each format that is written is read again: what it holds is unchanged, what it loses is counted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import coco_json
import numpy as np
import polars as pl
import pytest
from deepscores import NOTE, content, write
from engraved import engraved_pages

import class_maps
from class_maps import ClassMap
from converters.conversion import ConversionOptions, convert
from converters.formats import WRITERS
from converters.formats.sources import identity_map, open_source
from converters.page import Page
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from converters.tally import Tally

READABLE = list(WRITERS)
MOST_CHANGED = {"yolo": 6e-4, "coco": 1e-9, "mung": 1.0, "labelme": 1e-9, "parquet": 1e-9}
"""Largest change of a coordinate in pixels: YOLO has six decimals of the side of a page, MuNG whole
pixels."""
SHARE_CHANGED = {"yolo": 0.0, "coco": 0.0, "mung": 1.0, "labelme": 0.0, "parquet": 0.0}
"""Share of the boxes that change by more than a hundredth of a pixel."""
WITH_CORNERS = {"coco", "parquet"}
"""Formats that hold the corners of oriented boxes."""


def read(folder: Path, class_map: ClassMap | None = None) -> dict[str, Page]:
    """Read all pages of a data set of any format, by split and name, with the labels of ``MAP``."""
    format_name, files = open_source(folder)
    chosen, counts, pages = class_map or identity_map(format_name, files), Tally(), {}
    new_labels = np.array([MAP.labels.get(name, -1) for name in chosen.names])
    for file in files:
        for page in file.pages(chosen.source(format_name), chosen.labels, counts):
            key = f"{file.split}/{page.image}"
            pages[key] = replace(page, labels=new_labels[page.labels])
    assert class_map or not counts.dropped
    return pages


def corners_by_id(page: Page) -> dict[int, list[list[float]]]:
    """Return the corners of each symbol by the id of its annotation."""
    assert page.corners is not None
    assert page.symbol_ids is not None
    return dict(zip(page.symbol_ids.tolist(), page.corners.tolist(), strict=True))


MAP = class_maps.load("harmony")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training and a validation page with slanted symbols, and a page without symbols."""
    folder = tmp_path_factory.mktemp("source")
    return engraved_pages(folder / "pages", pages=3, degrade="photo")


def class_map_of(names: Sequence[str]) -> str:
    """Return a class map that keeps the categories of a Parquet data set."""
    return (
        f"name: m\nclasses: {json.dumps(list(names))}\nsources: {{parquet: {{map: same names}}}}\n"
    )


def converted(source: Path, out: Path, name: str, **changes: Any) -> Path:  # noqa: ANN401
    convert(source, out, ConversionOptions(class_map=MAP, formats=(name,), val=0.4, **changes))
    return out


@pytest.mark.parametrize("name", READABLE)
def test_pages_are_read_as_they_were_written(name: str, source: Path, tmp_path: Path) -> None:
    start = read(converted(source, tmp_path / "start", "coco"))
    again = read(converted(source, tmp_path / name, name))
    assert {key.split("/")[0] for key in again} == {"train", "val"}
    assert again.keys() == start.keys()
    n_changed = n_corners = n = 0
    truth = read(source, MAP)
    corners_of = {key.split("/")[1]: corners_by_id(page) for key, page in truth.items()}
    for key, page in again.items():
        before = start[key]
        assert (page.width, page.height) == (before.width, before.height)
        assert page.labels.tolist() == before.labels.tolist()
        changes = np.abs(page.boxes_xyxy - before.boxes_xyxy).max(axis=1)  # (N,)
        assert changes.max() <= MOST_CHANGED[name]
        n += len(page.labels)
        n_changed += int((changes > 0.01).sum())
        known = corners_of[page.image.name].values()
        for corners in [] if page.corners is None else page.corners.tolist():
            assert corners in known
            n_corners += 1
    assert n > 1000
    assert n_changed / n == pytest.approx(SHARE_CHANGED[name], abs=0.01)
    assert n_corners == (n if name in WITH_CORNERS else 0)


@pytest.mark.parametrize("name", READABLE)
def test_tiles_are_read_as_they_were_written(name: str, source: Path, tmp_path: Path) -> None:
    tiles = PreparationOptions(tiles=TileOptions(size=200, overlap=40))
    start = read(converted(source, tmp_path / "start", "coco", preparation=tiles))
    again = read(converted(source, tmp_path / name, name, preparation=tiles))
    assert again.keys() == start.keys()
    for key, page in again.items():
        before = start[key]
        assert page.labels.tolist() == before.labels.tolist()
        assert np.abs(page.boxes_xyxy - before.boxes_xyxy).max(initial=0) <= MOST_CHANGED[name]


@pytest.mark.parametrize("name", READABLE)
def test_a_page_without_symbols_and_a_page_in_a_folder(name: str, tmp_path: Path) -> None:
    data = content(NOTE)
    data["images"].append(data["images"][0] | {"id": 2, "filename": "a/b/c.png", "ann_ids": []})
    (tmp_path / "in" / "images" / "a" / "b").mkdir(parents=True)
    out = tmp_path / "out"
    options = ConversionOptions(class_map=MAP, formats=(name,))
    convert(write(tmp_path / "in", data), out, options)
    pages = {key: len(page.labels) for key, page in read(out).items()}
    assert sorted(pages.values()) == [0, 1]
    assert pages["train/a/b/c.png"] == 0


@pytest.mark.parametrize("name", READABLE)
def test_merged_data_sets(name: str, tmp_path: Path) -> None:
    sources = []
    for folder, grey in (("one", 9), ("two", 99)):
        coco_json.draw(tmp_path / folder / "images" / "x.png", grey)
        sources.append(coco_json.write(tmp_path / folder / "a.json").parent)
    text = "name: m\nclasses: [noteheadBlack]\nsources: {coco: {map: same names}}\n"
    (tmp_path / "m.yaml").write_text(text)
    class_map = class_maps.load(str(tmp_path / "m.yaml"))
    convert(sources, tmp_path / "out", ConversionOptions(class_map=class_map, formats=(name,)))
    pages = read(tmp_path / "out")
    assert sorted(pages) == ["train/one/x.png", "train/two/x.png"]
    boxes = [page.boxes_xyxy.round(3).tolist() for page in pages.values()]
    assert boxes == [[[10, 10, 20, 20]]] * 2


@pytest.mark.parametrize("formats", [("mung",), ("labelme",), ("labelme", "mung"), ("coco",)])
def test_what_a_format_loses_is_counted(
    formats: tuple[str, ...], source: Path, tmp_path: Path
) -> None:
    options = ConversionOptions(class_map=MAP, formats=formats)
    warnings = convert(source, tmp_path / "out", options)["warnings"]
    n = sum(len(page.labels) for page in read(source, MAP).values())
    rounded = [w for w in warnings if w.endswith(f" of {n} boxes were rounded to whole pixels")]
    upright = [w for w in warnings if w.endswith(f" of {n} boxes are oriented, and were replaced by the upright boxes around them")]  # fmt: skip
    assert [w.split()[0] for w in rounded] == ["mung:"] * ("mung" in formats)
    if formats == ("coco",):
        assert not upright
    else:
        [remark] = upright
        assert remark.startswith(f"{', '.join(formats)}: ")
        assert 0.05 < int(remark.split(": ")[1].split()[0]) / n < 1


def test_parquet_holds_what_a_page_holds(source: Path, tmp_path: Path) -> None:
    """Tables of tiles that are converted to Parquet again do not change."""
    tiles = PreparationOptions(tiles=TileOptions(size=200, overlap=40))
    start = converted(source, tmp_path / "start", "parquet", preparation=tiles)
    (tmp_path / "m.yaml").write_text(class_map_of(MAP.names))
    same = class_maps.load(str(tmp_path / "m.yaml"))
    unchanged = replace(PreparationOptions().cleaning, dedup_iou=1.0, min_side=0.0)
    options = ConversionOptions(
        class_map=same, formats=("parquet",), preparation=PreparationOptions(cleaning=unchanged)
    )
    convert(start, tmp_path / "again", options)
    tables = sorted((start / "parquet").rglob("*.parquet"))
    assert {table.parent.name for table in tables} == {
        f"{kind}_{split}" for kind in ("images", "symbols") for split in ("train", "val")
    }
    for table in tables:
        written = pl.read_parquet(table)
        again = pl.read_parquet(tmp_path / "again" / table.relative_to(start))
        assert written.equals(again)
        assert written["image"].is_sorted()
        optional = ["symbol_id", "corners", "cut"] if "name" in written.columns else ["page", "x"]
        assert sum(written.select(optional).null_count().row(0)) == 0
    manifest = json.loads((tmp_path / "again" / "manifest.json").read_text())
    assert manifest["tiles"] == {}  # this conversion has cut nothing


def test_every_format_is_covered() -> None:
    assert set(MOST_CHANGED) == set(SHARE_CHANGED) == set(READABLE)
