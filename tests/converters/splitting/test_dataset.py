import json
from pathlib import Path
from typing import Any, get_args

import pytest
from engraved import engraved_pages
from yolo_folders import draw, write_yolo

import class_maps
from class_maps import ConfigError
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.yolo_labels import label_path
from converters.manifest import converted_pages, read_manifest
from converters.page_groups import GroupBy
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from converters.splitting.dataset import split_dataset
from converters.splitting.plan import SplitOptions

WORKS = {f"train/lg-{i // 2}-aug-a--page-{i % 2}.png": [0] * 3 for i in range(20)}


def content(folder: Path) -> set[tuple[str, bytes, bytes]]:
    """Return the name, the image and the labels of each image."""
    dataset = open_dataset(folder)
    paths = [path for split in dataset.own_splits() for path in dataset.image_paths(split)]
    return {(path.name, path.read_bytes(), label_path(path).read_bytes()) for path in paths}


def works(folder: Path, split: str) -> set[str]:
    return {path.name.split("-")[1] for path in (folder / "images" / split).rglob("*.png")}


def divide(data: Path, out: Path | None, **changes: Any) -> Any:  # noqa: ANN401
    return split_dataset(data, out, SplitOptions(**changes))


def test_works_are_not_divided_and_nothing_is_lost(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "data", WORKS)
    result = divide(data, tmp_path / "out", val=0.2, test=0.1)
    assert content(tmp_path / "out") == content(data)
    by_split = [works(tmp_path / "out", split) for split in ("train", "val", "test")]
    assert [len(found) for found in by_split] == [7, 2, 1]
    assert len(set.union(*by_split)) == 10
    assert result.counts.images == {"train": 14, "val": 4, "test": 2}
    assert result.counts.groups == {"train": 7, "val": 2, "test": 1}
    assert result.counts.symbols["val"] == {"note": 12, "rest": 0}
    assert result.leaks == []
    assert read_manifest(tmp_path / "out").pages == {"test": 2, "train": 14, "val": 4}


@pytest.mark.parametrize("by", get_args(GroupBy))
def test_every_unit(by: GroupBy, tmp_path: Path) -> None:
    names = [
        f"train/s{i % 3}/CVC-MUSCIMA_W-0{i % 4}_N-{i}_D-ideal.png"
        if by == "writer"
        else f"train/s{i % 3}/lg-{i % 5}-aug-f{i % 6}--page-{i}.png"
        for i in range(30)
    ]
    data = write_yolo(tmp_path / "data", dict.fromkeys(names, (0,)))
    result = divide(data, tmp_path / "out", by=by, val=0.3)
    expected = {"work": 5, "piece": 5, "writer": 4, "font": 6, "source": 3}
    assert sum(result.counts.groups.values()) == expected[by]
    assert content(tmp_path / "out") == content(data)


def test_works_in_two_splits_by_font_are_reported(tmp_path: Path) -> None:
    names = [f"train/lg-1-aug-{font}--page-{i}.png" for font in "abc" for i in range(2)]
    data = write_yolo(tmp_path / "data", dict.fromkeys(names, (0,)))
    result = divide(data, tmp_path / "out", by="font", val=0.3)
    assert [(leak.kind, leak.key) for leak in result.leaks] == [("work", "1")]


def test_a_split_without_a_fraction_is_kept_with_its_works(tmp_path: Path) -> None:
    labels = WORKS | {"test/lg-0-aug-b--page-9.png": [1], "val/lg-77-aug-a--page-1.png": [0]}
    data = write_yolo(tmp_path / "data", labels)
    divide(data, tmp_path / "out", val=0.2)
    assert works(tmp_path / "out", "test") == {"0"}
    assert len(works(tmp_path / "out", "val")) == 2
    assert content(tmp_path / "out") == content(data)


def test_copies_of_an_image_stay_together(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "data", WORKS)
    for i in range(1, 6):
        first = data / "images" / "train" / "lg-0-aug-a--page-0.png"
        (data / "images" / "train" / f"lg-{i}-aug-a--page-0.png").write_bytes(first.read_bytes())
    divide(data, tmp_path / "out", val=0.3)
    sides = [{str(i) for i in range(6)} <= works(tmp_path / "out", s) for s in ("train", "val")]
    assert sum(sides) == 1


def test_equal_names_in_two_splits_are_kept_apart(tmp_path: Path) -> None:
    labels = {"train/a-page-1.png": [0], "val/a-page-1.png": [1], "train/b-page-1.png": [0]}
    data = write_yolo(tmp_path / "data", labels)
    divide(data, tmp_path / "out", by="piece", val=0.4)
    names = {
        p.relative_to(tmp_path / "out/images").as_posix()
        for p in (tmp_path / "out/images").rglob("*.png")
    }
    assert {name.split("/", 1)[1] for name in names} == {
        "b-page-1.png",
        "train/a-page-1.png",
        "val/a-page-1.png",
    }
    assert content(tmp_path / "out") == content(data)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiled")
    pages = engraved_pages(folder / "pages", pages=5)
    preparation = PreparationOptions(tiles=TileOptions(size=200, overlap=40, blank_tiles=0.5))
    class_map = class_maps.load("harmony")
    chosen = ConversionOptions(class_map=class_map, preparation=preparation, val=0.3)
    convert(pages, folder / "data", chosen)
    return folder / "data"


def test_the_manifest_follows_its_pages(tiled: Path, tmp_path: Path) -> None:
    divide(tiled, tmp_path / "out", val=0.6, seed=3)
    before, after = read_manifest(tiled), read_manifest(tmp_path / "out")
    for part in ("tiles", "properties", "annotations"):
        pages = [getattr(manifest, part).values() for manifest in (before, after)]
        merged = [{name: v for of_split in m for name, v in of_split.items()} for m in pages]
        assert merged[0] == merged[1] != {}
    out = open_dataset(tmp_path / "out")
    for split in ("train", "val"):
        images = {path.name for path in out.image_paths(split)}
        assert images == {t for page in after.tiles[split].values() for t in page.tiles}
        counted = converted_pages(out, split)
        assert counted is not None
        assert counted.n_pages == len(after.tiles[split])
    assert after.options == before.options
    assert json.loads((tmp_path / "out/manifest.json").read_text())["divided"]["val"] == 0.6


def test_in_place_without_copying_an_image(tiled: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    divide(tiled, data, val=0.2)
    before, inodes = content(data), {p.stat().st_ino for p in data.rglob("*.png")}
    divide(data, None, val=0.6)
    assert content(data) == before
    assert {p.stat().st_ino for p in data.rglob("*.png")} == inodes
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    divide(data, None, val=0.2)  # its files are listed again


def problem(data: Path, out: Path | None, **changes: Any) -> str:  # noqa: ANN401
    with pytest.raises(ConfigError) as raised:
        divide(data, out, **({"val": 0.5} | changes))
    return str(raised.value)


def test_in_place_only_in_a_folder_of_omr(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "data", WORKS)
    assert problem(data, None).startswith(
        f"{data}: contains no manifest.json, so omr did not create it"
    )


def test_in_place_only_if_nothing_would_be_lost(tiled: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    divide(tiled, data, val=0.2)
    (data / "annotations").mkdir()
    assert problem(data, None) == (
        f"{data}: contains annotations, which would not be divided and therefore lost; give a "
        "folder OUT for the new splits"
    )
    (data / "annotations").rmdir()
    draw(data / "images" / "other" / "a.png", 1)
    assert problem(data, None) == (
        f"{data}: 1 file (images/other/a.png) in no split; give a folder OUT for the new splits"
    )


def test_other_files_are_reported(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "data", WORKS)
    (data / "README.txt").write_text("notes")
    assert divide(data, tmp_path / "out", val=0.2).left_out == ["README.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val": None}, "--val or --test: expected a fraction, such as --val 0.1"),
        ({"val": 1.0}, "--val 1: expected a fraction of at least 0 and below 1"),
        ({"test": -0.1}, "--test -0.1: expected a fraction of at least 0 and below 1"),
        ({"test": 0.5}, "--val 0.5 --test 0.5: leave nothing to train on; expected fractions with a sum below 1"),
        ({"by": "writer"}, "--by writer: unknown writer of 3 images (a-page-1.png, a-page-2.png, b-page-1.png): neither the names nor manifest.json contain it; known for all: work, piece"),
        ({"by": "work", "val": 0.2, "test": 0.2}, "--by work: needs at least 3 works for train, val, test, got 2; add pages of others, or divide by another unit"),
    ],
)  # fmt: skip
def test_invalid_options(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    names = ("train/a-page-1.png", "train/a-page-2.png", "train/b-page-1.png")
    data = write_yolo(tmp_path / "data", dict.fromkeys(names, (0,)))
    assert problem(data, tmp_path / "out", **changes) == message
    assert not (tmp_path / "out").exists()


def test_an_output_inside_the_data_or_that_exists(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "data", WORKS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert problem(data, tmp_path / "out").startswith(f"{tmp_path}/out: already exists; ")
    assert problem(data, data).startswith(f"{data}: already exists; ")
