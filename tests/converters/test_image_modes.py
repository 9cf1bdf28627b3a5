"""Tests of conversions that link or refer to images instead of copying them."""

import json
import shutil
from pathlib import Path
from typing import Any

import coco_json
import polars as pl
import pytest
from PIL import Image

import class_maps
from class_maps import ConfigError, InputError
from converters.conversion import ConversionOptions, convert
from converters.formats.sources import open_source
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions

MAP = "name: own\nclasses: [noteheadBlack, stem]\nsources: {coco: {map: same names}, labelme: {map: same names}}\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(MAP)
    coco_json.draw(tmp_path / "in" / "images" / "x.png")
    return coco_json.write(tmp_path / "in" / "a.json")


def run(source: Path | list[Path], out: Path, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    class_map = class_maps.load(str(out.parent / "own.yaml"))
    return convert(source, out, ConversionOptions(class_map=class_map, **changes))


def transparent(image: Path) -> None:
    with Image.open(image) as opened:
        opened.convert("LA").save(image)


def test_a_link_takes_no_space_and_survives_its_source(source: Path, tmp_path: Path) -> None:
    image = tmp_path / "in/images/x.png"
    content = image.read_bytes()
    run(source, tmp_path / "out", image_mode="link")
    linked = tmp_path / "out/images/train/x.png"
    assert linked.samefile(image)
    assert not linked.is_symlink()
    shutil.rmtree(tmp_path / "in")
    assert linked.read_bytes() == content
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["options"]["images"] == "link"


def test_a_symbolic_link_to_another_file_system(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    run(source, tmp_path / "out", image_mode="link")
    linked = tmp_path / "out/images/train/x.png"
    assert linked.readlink() == tmp_path / "in/images/x.png"


def test_replacing_links_keeps_their_images(source: Path, tmp_path: Path) -> None:
    content = (tmp_path / "in/images/x.png").read_bytes()
    run(source, tmp_path / "out", image_mode="link")
    class_map = class_maps.load(str(tmp_path / "own.yaml"))
    convert(source, tmp_path / "out", ConversionOptions(class_map=class_map), force=True)
    assert (tmp_path / "in/images/x.png").read_bytes() == content
    assert not (tmp_path / "out/images/train/x.png").samefile(tmp_path / "in/images/x.png")


def test_images_that_have_to_be_encoded_again_are_copied(source: Path, tmp_path: Path) -> None:
    image = tmp_path / "in/images/x.png"
    transparent(image)
    summary = run(source, tmp_path / "out", image_mode="link")
    assert (
        "copied instead of linked: 1 image (x.png); not all readers would read the same pixels"
        in summary["warnings"]
    )
    with Image.open(tmp_path / "out/images/train/x.png") as written:
        assert written.mode == "L"


def test_references(source: Path, tmp_path: Path) -> None:
    image = tmp_path / "in/images/x.png"
    run(source, tmp_path / "out", image_mode="reference", formats=("coco", "parquet", "labelme"))
    assert not (tmp_path / "out/images").exists()
    coco = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert [row["file_name"] for row in coco["images"]] == [str(image)]
    for table in ("symbols_train", "images_train"):
        frame = pl.read_parquet(tmp_path / "out/parquet" / table / "*.parquet")
        assert frame["image"].to_list() == [str(image)]
    for written in ("labelme", "annotations"):
        [file] = open_source(tmp_path / "out" / written)[1]
        assert file.image_folder / next(iter(file.images)) == image


def test_references_of_merged_data_sets(source: Path, tmp_path: Path) -> None:
    coco_json.draw(tmp_path / "two" / "images" / "x.png", 9)
    two = coco_json.write(tmp_path / "two" / "a.json")
    run([source.parent, two.parent], tmp_path / "out", image_mode="reference", formats=("coco",))
    coco = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    names = [row["file_name"] for row in coco["images"]]
    assert names == [str(tmp_path / name / "images/x.png") for name in ("in", "two")]
    again = run(tmp_path / "out", tmp_path / "again")
    assert again["symbols"]["written"] == 2
    for name in ("in", "two"):
        copy = tmp_path / "again/images/train" / name / "x.png"
        assert copy.read_bytes() == (tmp_path / name / "images/x.png").read_bytes()


@pytest.mark.parametrize("prefix", ["", "../"])
def test_paths_outside_the_folder_of_a_file(prefix: str, tmp_path: Path) -> None:
    """They are read in files of omr only; a file of that name nearby is not read."""
    image = coco_json.draw(tmp_path / "pages" / "sub" / "x.png")
    coco_json.draw(tmp_path / "in" / "images" / "x.png")
    path = prefix + ("pages/sub/x.png" if prefix else str(image))
    source = coco_json.write(tmp_path / "in" / "a.json", [path])
    for manifest in ("", '{"options": {"images": "copy"}}', "{", '{"options": 1}'):
        (tmp_path / "manifest.json").write_text(manifest)
        with pytest.raises(InputError, match="points outside the image folder"):
            open_source(source)
    (tmp_path / "manifest.json").write_text('{"options": {"images": "reference"}}')
    [file] = open_source(source)[1]
    assert [file.image_folder / name for name in file.images] == [image]
    image.unlink()
    with pytest.raises(InputError, match="points outside the image folder"):
        open_source(tmp_path / "in" / "a.json")


def test_a_damaged_image_is_not_linked(source: Path, tmp_path: Path) -> None:
    image = tmp_path / "in/images/x.png"
    content = image.read_bytes()
    image.write_bytes(content[:60] + bytes([content[60] ^ 255]) + content[61:])
    with pytest.raises(InputError, match=r"x\.png: is damaged"):
        run(source, tmp_path / "out", image_mode="link")


def test_an_image_that_cannot_be_referred_to(source: Path, tmp_path: Path) -> None:
    image = tmp_path / "in/images/x.png"
    transparent(image)
    with pytest.raises(InputError) as raised:
        run(source, tmp_path / "out", image_mode="reference", formats=("coco",))
    assert str(raised.value) == (
        f"{image}: is rotated, transparent or of 16 bits, so that not all readers would read the "
        "same pixels; use --images copy"
    )


def test_references_to_equal_names_in_two_splits(source: Path, tmp_path: Path) -> None:
    for i, split in enumerate(("train", "val")):
        coco_json.draw(tmp_path / "two" / split / "x.png", i)
        coco_json.write(tmp_path / "two" / split / "a.json")
    with pytest.raises(InputError) as raised:
        run(tmp_path / "two", tmp_path / "out", image_mode="reference", formats=("coco",))
    assert str(raised.value) == (
        f"{tmp_path}/two/val/x.png: has the same name as {tmp_path}/two/train/x.png; use --images "
        "link, or rename one of them"
    )


TILES = PreparationOptions(tiles=TileOptions(size=64, overlap=0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_mode": "link", "preparation": TILES}, "--images link: tiles and scaled pages are new images; omit --tile and --scale"),
        ({"image_mode": "link", "preparation": PreparationOptions(staff_space=9)}, "--images link: tiles and scaled pages are new images; omit --tile and --scale"),
        ({"image_mode": "link", "labels_only": True}, "--images link: --labels-only omits images; use one of the two options"),
        ({"image_mode": "reference", "formats": ("yolo", "coco", "mung")}, "--images reference: readers of yolo and mung expect the images in OUT; use --images link, or --format coco, parquet, labelme"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(
    changes: dict[str, Any], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        run(source, tmp_path / "out", **changes)
    assert str(raised.value) == message
