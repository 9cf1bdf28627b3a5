"""Tests of the ground truth of pages that are in tiles."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiled_data import manifest_of, write_data

from class_maps import ConfigError, InputError
from converters import images
from converters.page import Page
from converters.prepare.tiles import TileOptions
from omr.scoring.evaluation_set import read_evaluation_set


def rows_of(page: Page) -> list[tuple[float, ...]]:
    rows = np.column_stack([page.labels, page.boxes_xyxy]).round(2)
    return sorted(map(tuple, rows.tolist()))


@pytest.mark.parametrize("size", [64, 96, 400])
def test_symbols_and_pixels_of_pages_come_back_from_tiles(size: int, tmp_path: Path) -> None:
    tiles = TileOptions(size=size, overlap=32)
    tiled = read_evaluation_set(write_data(tmp_path, tiles=tiles), "val", None)
    whole = read_evaluation_set(write_data(tmp_path, tiles=None), "val", None)
    assert (tiled.unit, tiled.n_pages, tiled.remarks) == ("page", 2, ())
    assert (whole.unit, whole.n_pages, whole.is_assembled) == ("page", 2, False)
    for page, expected in zip(tiled.truths, whole.truths, strict=True):
        assert page.image == expected.image
        assert (page.width, page.height) == (expected.width, expected.height)
        assert rows_of(page) == rows_of(expected)
        assert page.scores is None
        np.testing.assert_array_equal(tiled.pixels(page.image), whole.pixels(page.image))


def test_tiles_can_be_scored_alone(tmp_path: Path) -> None:
    evaluation = read_evaluation_set(write_data(tmp_path), "val", "tile")
    names = [str(truth.image) for truth in evaluation.truths]
    assert (evaluation.unit, evaluation.n_pages, len(names)) == ("tile", 2, 12)
    assert names[0].endswith("__x00000_y00000.png")
    assert evaluation.pixels(evaluation.truths[0].image).shape == (96, 96)


def test_blank_tiles_that_were_left_out_are_white(tmp_path: Path) -> None:
    tiles = TileOptions(size=64, overlap=32, blank_tiles=0.0)
    evaluation = read_evaluation_set(write_data(tmp_path, tiles=tiles), "train", None)
    n_blank = sum(page.n_blank for page in evaluation.tiled_pages)
    assert n_blank > 0
    assert evaluation.remarks == (
        f"blank tiles that the data set does not contain: {n_blank}; pages are white there",
    )
    whole = read_evaluation_set(write_data(tmp_path, tiles=None), "train", None)
    for page, expected in zip(evaluation.truths, whole.truths, strict=True):
        assert rows_of(page) == rows_of(expected)
        pixels = whole.pixels(page.image)[: page.height, : page.width]
        np.testing.assert_array_equal(evaluation.pixels(page.image), pixels)


def test_colour_in_one_tile_is_kept(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    evaluation = read_evaluation_set(data, "val", None)
    tile = evaluation.folder / evaluation.tiled_pages[0].tiles[0]
    images.write(np.full((96, 96, 3), [1, 2, 3], np.uint8), tile)
    pixels = evaluation.pixels(evaluation.truths[0].image)
    assert pixels.shape == (160, 200, 3)
    assert pixels[0, 0].tolist() == [1, 2, 3]
    assert pixels[0, -1].tolist() == [255, 255, 255]
    images.write(np.full((96, 90), 255, np.uint8), tile)
    with pytest.raises(InputError, match="is 90 x 96 px, but was 96 x 96 px when its labels"):
        evaluation.pixels(evaluation.truths[0].image)


def test_other_numbers_of_symbols_than_in_the_manifest_are_reported(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    label_file = min((data / "labels/val").iterdir())
    label_file.write_text("")
    remarks = read_evaluation_set(data, "val", None).remarks
    assert remarks == (
        "5 symbols after merging the tiles, but manifest.json counts 6 on the pages",
    )


def change_manifest(data: Path, **changes: Any) -> None:  # noqa: ANN401
    (data / "manifest.json").write_text(json.dumps(manifest_of(data) | changes))


def test_unknown_positions_are_scored_per_tile(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    change_manifest(data, tiles={})
    evaluation = read_evaluation_set(data, "val", None)
    reason = "manifest.json does not list the positions of the tiles"
    assert (evaluation.unit, evaluation.n_pages) == ("tile", None)
    assert evaluation.remarks == (f"scored per tile: {reason}",)
    with pytest.raises(ConfigError) as raised:
        read_evaluation_set(data, "val", "page")
    assert str(raised.value) == f"--unit page: {reason}; use --unit tile"


def test_tiles_that_are_missing_or_not_listed_are_named(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    tile = min((data / "images/val").iterdir())
    tile.rename(tile.with_name("other.png"))
    with pytest.raises(ConfigError) as raised:
        read_evaluation_set(data, "val", "page")
    assert str(raised.value) == (
        f"--unit page: tiles that manifest.json lists are missing: 1 image ({tile.name}); use "
        "--unit tile"
    )
    (data / "images/val/other.png").rename(tile)
    images.write(np.full((9, 9), 255, np.uint8), data / "images/val/new.png")
    with pytest.raises(ConfigError, match=r"manifest.json does not list 1 image \(new.png\); use"):
        read_evaluation_set(data, "val", "page")


def test_whole_pages_have_no_tiles(tmp_path: Path) -> None:
    data = write_data(tmp_path, tiles=None)
    with pytest.raises(ConfigError) as raised:
        read_evaluation_set(data, "val", "tile")
    message = f"--unit tile: the images of {data} are whole pages; use --unit page"
    assert str(raised.value) == message


def test_a_manifest_of_another_program_is_ignored(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    (data / "manifest.json").write_text("[]")
    evaluation = read_evaluation_set(data, "val", None)
    assert (evaluation.unit, evaluation.is_tiled, evaluation.preparation) == ("page", False, None)
