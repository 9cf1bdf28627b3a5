"""Data sets as other tools write them: converted, or refused in one line that says why."""

import json
import shutil
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from PIL import Image

import class_maps
from class_maps import ConfigError, InputError
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.sources import identity_map, open_source
from converters.manifest import read_manifest
from converters.names import percent_decoded
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from converters.tally import Tally

FOLDER = Path(__file__).parent / "cases"
UNDRAWN = ("boxes-beyond-image", "empty-bbox/c-no", "labels-eps", "one-pixel-boxes")
"""Sources with a box that contains no ink, because it is there for its coordinates."""
TRAIN, ALL = {"train": 1}, {"train": 1, "val": 1, "test": 1}


def options(name: str = str(FOLDER / "mini.yaml"), **changes: Any) -> ConversionOptions:  # noqa: ANN401
    return ConversionOptions(class_map=class_maps.load(name), **changes)


@pytest.mark.parametrize(
    ("source", "splits", "written"),
    [
        ("annotation-ids-all-zero/a.json", TRAIN, 3),
        ("boxes-beyond-image/border.json", TRAIN, 3),
        ("boxes-beyond-image/epsilon.json", TRAIN, 3),
        ("boxes-beyond-image/epsilon2.json", TRAIN, 3),
        ("category-id-zero/a.json", TRAIN, 3),
        ("category-name-twice/a.json", TRAIN, 2),  # "stem " with a blank is another category
        ("coco-extras/a.json", TRAIN, 3),
        ("coco-images-train2017", {"train": 1, "val": 1}, 6),
        ("coco-images-train2017/annotations", {"train": 1, "val": 1}, 6),
        ("coco-images-train2017/annotations/instances_val2017.json", {"val": 1}, 3),
        ("cvat-images-subset", {"train": 2}, 6),
        ("cvat-images-subset/annotations/instances_Train.json", {"train": 2}, 6),
        ("datumaro-default-subset", TRAIN, 3),
        ("empty-bbox/a.json", TRAIN, 3),
        ("empty-bbox/b.json", TRAIN, 3),
        ("empty-bbox/c-no-bbox.json", TRAIN, 4),
        ("exif-orientation/half-turn.json", TRAIN, 3),
        ("exif-orientation/upright.json", TRAIN, 3),
        ("json-odd-values/bool-crowd.json", TRAIN, 3),
        ("json-odd-values/float-size.json", TRAIN, 3),
        ("json-odd-values/no-ann-ids.json", TRAIN, 3),
        ("json-odd-values/string-bbox.json", TRAIN, 3),
        ("json-odd-values/text-ann-ids.json", TRAIN, 3),
        ("json-odd-values/text-ids.json", TRAIN, 3),
        ("labels-bom-crlf", TRAIN, 3),
        ("labels-eps", TRAIN, 1),
        ("labels-exponents", TRAIN, 3),
        ("labels-polygons", TRAIN, 2),
        ("labelstudio-backslash", TRAIN, 3),
        ("macos-appledouble-coco", TRAIN, 3),
        ("macos-appledouble-yolo", TRAIN, 3),
        ("no-annotations/some.json", {"train": 2}, 3),
        ("official-annotations-folder", TRAIN, 3),
        ("official-annotations-folder/annotations/person_keypoints_train2017.json", TRAIN, 3),
        ("one-pixel-boxes/a.json", TRAIN, 4),
        ("rle-crowd-keypoints/a.json", TRAIN, 2),
        ("roboflow-coco", ALL, 9),
        ("roboflow-coco/valid", {"val": 1}, 3),
        ("roboflow-yolo-yaml", {"train": 1, "val": 1}, 6),
        ("rotation-attribute/a.json", TRAIN, 1),
        ("same-box-two-classes/a.json", TRAIN, 3),
        ("split-names", ALL, 9),
        ("yaml-names", TRAIN, 3),
    ],
)
def test_converted(source: str, splits: dict[str, int], written: int, tmp_path: Path) -> None:
    summary = convert(FOLDER / source, tmp_path / "out", options())
    assert {name: row["pages"] for name, row in summary["splits"].items()} == splits
    assert summary["symbols"]["written"] == written
    dataset = open_dataset(tmp_path / "out")
    for split in splits:
        for page in dataset.pages(split):
            pixels = images.read(dataset.splits[split] / page.image)
            for x0, y0, x1, y1 in page.boxes_xyxy.round().astype(int).tolist():
                assert pixels[y0:y1, x0:x1].min() < 128 or source.startswith(UNDRAWN)


@pytest.mark.parametrize("name", ["base", "differ", "ints", "noannids", "nocomments", "oneset", "plaincat"])  # fmt: skip
def test_deepscores_variants(name: str, tmp_path: Path) -> None:
    source = FOLDER / "deepscores-variants" / f"{name}.json"
    assert convert(source, tmp_path / "out", options("harmony"))["symbols"]["written"] == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("boxes-beyond-image/beyond.json", "annotations.bbox: extends beyond the image by up to 4 px: 2 annotations (1, 2); use --clip to clip boxes to the image"),
        ("exif-orientation/stored.json", "is 120 x 200 px after its EXIF rotation, but its labels are for 200 x 120 px"),
        ("json-odd-values/bom.json", "begins with a byte order mark; save the file without it"),
        ("json-odd-values/nan-area.json", "area (byte 168): expected finite numbers, got NaN or Infinity"),
        ("json-odd-values/nan-bbox.json", "bbox (byte 151): expected finite numbers, got NaN or Infinity"),
        ("json-odd-values/utf16.json", "is UTF-16 text; save it as UTF-8"),
        ("labels-class-fraction", "line 1: label 0.7 is not a whole number"),
        ("labels-commas", "line 1: expected label, x_centre, y_centre, width, height, got: 0,0.135,0.3,0.07,0.1; separate the numbers by spaces"),
        ("labels-conf-column", "line 1: expected label, x_centre, y_centre, width, height, got: 0 0.135 0.3 0.07 0.1 0.93; remove the sixth number, if it is a confidence"),
        ("labels-eps2", "extends beyond the image: 1 label ([-7.0, 30.0, 7.0, 42.0]); use --clip to clip boxes to the image"),
        ("labelstudio-backslash/result-dotdot", r"images[0].file_name: points outside the image folder: '..\\..\\label-studio\\media\\upload\\4\\90fb-a.png'; use --image-folder DIR to find the file in DIR by the end of its path"),
        ("no-annotations/none.json", "no symbols left with class map mini: 0 read"),
        ("not-coco/lines.json", "contains more than one JSON value (the second begins at byte 9), as JSON Lines do; expected one object"),
        ("not-coco/results.json", "expected a JSON object with images and annotations at the root, got a list, as in COCO results or Label Studio's JSON; export COCO or YOLO instead"),
        ("official-annotations-folder/annotations/captions_train2017.json", "neither DeepScoresV2, COCO nor labelme: its keys are annotations, images; expected annotation_sets, images, categories, annotations"),
        ("via-sizes/swapped.json", "is 200 x 120 px, but its labels are for 120 x 200 px"),
        ("via-sizes/via.json", "images[0]: invalid image size: -1 x -1 px"),
        ("zipped", "no annotations, but set.zip; unpack this archive and convert its content"),
        ("zipped/set.zip", "is a zip archive; unpack it and convert its content"),
    ],
)  # fmt: skip
def test_refused(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        convert(FOLDER / source, tmp_path / "out", options())
    error = raised.value
    assert str(error) == f"{error.path}: {message}"
    assert error.path.is_relative_to(FOLDER / source.split("/")[0])


@pytest.mark.parametrize("name", ["no-width", "null-width"])
def test_sizes_that_a_file_lacks_are_read_from_the_images(name: str, tmp_path: Path) -> None:
    source = FOLDER / "json-odd-values" / f"{name}.json"
    assert convert(source, tmp_path / "out", options())["symbols"]["written"] > 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "annotations[2].area: expected finite numbers, got NaN or Infinity"),
        ("nested", "annotations[1].o_bbox[0]: expected `float`, got `array`"),
        (
            "swapped",
            "no symbols left with class map harmony: 3 read, dropped: no id in the annotation set "
            "(3); choose another annotation set, or correct cat_id",
        ),
    ],
)
def test_refused_deepscores_variants(name: str, message: str, tmp_path: Path) -> None:
    path = FOLDER / "deepscores-variants" / f"{name}.json"
    with pytest.raises(InputError) as raised:
        convert(path, tmp_path / "out", options("harmony"))
    assert str(raised.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("source", "dropped", "changed"),
    [
        ("category-name-twice/a.json", {"not in class map": 1}, {}),
        ("empty-bbox/a.json", {"no box": 1}, {}),
        ("empty-bbox/b.json", {"no box": 1}, {}),
        ("empty-bbox/c-no-bbox.json", {}, {"box around a polygon": {"noteheadBlack": 1}}),
        ("labels-polygons", {}, {"box around a polygon": {"noteheadBlack": 1, "stem": 1}}),
        ("one-pixel-boxes/a.json", {"no width and no height": 1}, {"widened to min-side": {"stem": 2}}),
        ("rle-crowd-keypoints/a.json", {"crowd region": 1}, {}),
        ("rotation-attribute/a.json", {}, {"rotated by the angle in its attributes": {"stem": 1}}),
        ("same-box-two-classes/a.json", {"exact duplicate": 2, "near duplicate": 1}, {}),
    ],
)  # fmt: skip
def test_changes_are_counted(
    source: str, dropped: dict[str, int], changed: dict[str, Any], tmp_path: Path
) -> None:
    summary = convert(FOLDER / source, tmp_path / "out", options())
    assert summary["dropped_by_reason"] == dropped
    assert summary["changed"] == changed


@pytest.mark.parametrize(
    ("source", "warning"),
    [
        ("datumaro-default-subset", "instances_default.json: split train, because its name contains none"),
        ("macos-appledouble-yolo", "skipped in {}/images/train: 1 hidden image (._x.png)"),
        ("official-annotations-folder", "{}: skipped 2 files (annotations/captions_train2017.json, annotations/person_keypoints_train2017.json)"),
        ("roboflow-coco", "_annotations.coco.json: split val, after the folder valid"),
    ],
)  # fmt: skip
def test_assumptions_and_skipped_files_are_named(source: str, warning: str, tmp_path: Path) -> None:
    summary = convert(FOLDER / source, tmp_path / "out", options())
    assert warning.format(FOLDER / source) in summary["warnings"]


def test_a_rotated_box_encloses_its_ink(tmp_path: Path) -> None:
    """CVAT writes the box before the rotation, which is clockwise, around the centre."""
    source = FOLDER / "rotation-attribute"
    format_name, [file] = open_source(source / "a.json")
    class_map = identity_map(format_name, [file])
    [page] = file.pages(class_map.source("coco"), class_map.labels, Tally())
    rows, columns = np.nonzero(images.read(source / "images" / "x.png") < 128)
    ink = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(page.boxes_xyxy[0], ink, atol=4)
    assert page.corners is not None
    sides = np.linalg.norm(np.diff(page.corners[0], axis=0), axis=1)
    np.testing.assert_allclose(sides, [113.1, 6, 113.1])
    middle = page.corners[0].mean(axis=0)
    along = (page.corners[0][0] + page.corners[0][3]) / 2 - middle
    x, y = (middle + along * 0.8).astype(int)
    assert images.read(source / "images" / "x.png")[y - 3 : y + 4, x - 3 : x + 4].min() < 128


@pytest.mark.parametrize(
    ("annotations", "image"),
    [
        ("labels.json", "data/x.png"),  # FiftyOne
        ("train/labels.json", "train/data/x.png"),
        ("result.json", "images/x.png"),  # Label Studio
        ("annotations/instances_default.json", "images/x.png"),  # CVAT
        ("annotations/instances_default.json", "images/default/x.png"),  # Datumaro
        ("annotations/instances_train2017.json", "train2017/x.png"),  # COCO
        ("annotations/instances_train2017.json", "images/train2017/x.png"),
        ("annotations/instances_train.json", "images/train/x.png"),  # omr
        ("train/_annotations.coco.json", "train/x.png"),  # Roboflow
        ("train.json", "train/x.png"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_layouts(annotations: str, image: str, whole: bool, tmp_path: Path) -> None:
    case = FOLDER / "macos-appledouble-coco"
    for name, source in ((annotations, case / "labels.json"), (image, case / "images" / "x.png")):
        target = tmp_path / "in" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    source = tmp_path / "in" / ("" if whole else annotations)
    summary = convert(source, tmp_path / "out", options())
    assert summary["splits"] == {"train": {"pages": 1, "images": 1, "empty_images": 0}}
    assert summary["symbols"]["written"] == 3


def test_images_are_found_in_the_folder_that_is_named(tmp_path: Path) -> None:
    source = FOLDER / "labelstudio-backslash"
    moved = shutil.copytree(source / "images", tmp_path / "scans")
    for name in ("result.json", "result-dotdot/result.json"):
        summary = convert(source / name, tmp_path / "out", options(), images=moved, force=True)
        assert (summary["images"], summary["symbols"]["written"]) == (1, 3)


@pytest.mark.parametrize(
    ("name", "file", "needs_folder"),
    [
        ("a b.png", "a b.png", False),
        ("a%20b.png", "a b.png", False),
        ("a%20b.png", "a%20b.png", False),
        ("sub%20/%C3%A9.png", "sub /\u00e9.png", False),
        ("https://host/data/upload/1/a.png", "a.png", True),
        ("https://host/a%20b.png?X-Amz-Credential=1/2&name=c.png", "a b.png", True),
        ("http://localhost:8080/data/local-files/?d=scans/a.png", "a.png", True),
        ("s3://bucket/images/a.png", "a.png", True),
        ("/data/local-files/?d=scans/a%20b.png", "a b.png", True),
        ("/data/local-files/?d=scans/sub/a%20b.png", "sub/a b.png", True),
        ("https://host/data/upload/sub/a.png", "sub/a.png", True),
        ("../../home/me/scans/sub/\u00e9.png", "sub/\u00e9.png", True),
        (r"C:\scans\sub\a.png", "sub/a.png", True),
    ],
)
def test_image_names_that_are_urls_or_paths(
    name: str, file: str, needs_folder: bool, tmp_path: Path
) -> None:
    source, moved = tmp_path / "in" / "a.json", tmp_path / ("scans" if needs_folder else "in")
    source.parent.mkdir()
    target = moved / file
    target.parent.mkdir(parents=True, exist_ok=True)
    case = FOLDER / "labelstudio-backslash"
    shutil.copy(case / "images" / "90fb-a.png", target)
    data = json.loads((case / "result.json").read_text())
    data["images"][0]["file_name"] = name
    source.write_text(json.dumps(data))
    if needs_folder:
        with pytest.raises(
            InputError, match=r"points outside the image folder: .*; use --image-folder"
        ):
            convert(source, tmp_path / "out", options())
    summary = convert(source, tmp_path / "out", options(), images=moved if needs_folder else None)
    assert (summary["images"], summary["symbols"]["written"]) == (1, 3)
    assert (tmp_path / "out" / "images" / "train" / file).is_file()


@pytest.mark.parametrize("name", ["%2e%2e/a.png", "%2Fa.png", "x%2Fa.png", "%69mages/a.png"])
def test_percent_encoded_names_stay_in_the_folder(name: str) -> None:
    assert percent_decoded(PurePosixPath(name)) == PurePosixPath(name)


def test_an_image_in_other_case(tmp_path: Path) -> None:
    case = FOLDER / "labelstudio-backslash"
    shutil.copy(case / "images" / "90fb-a.png", tmp_path / "90fb-A.PNG")
    shutil.copy(case / "result.json", tmp_path)
    with pytest.raises(InputError) as raised:
        convert(tmp_path / "result.json", tmp_path / "out", options())
    assert str(raised.value) == (
        f"{tmp_path}/90fb-a.png: no such image; 90fb-A.PNG differs from it only in letter case; "
        "rename it"
    )


def test_a_folder_of_images_that_does_not_help(tmp_path: Path) -> None:
    source = FOLDER / "labelstudio-backslash" / "result.json"
    with pytest.raises(InputError) as raised:
        convert(source, tmp_path / "out", options(), images=tmp_path)
    assert str(raised.value) == (
        f"{tmp_path}/90fb-a.png: no such image; correct the folder given with --image-folder or the name "
        "of the image, or use --labels-only to convert without images"
    )
    with pytest.raises(ConfigError, match=f"^--image-folder {tmp_path}/gone: no such folder$"):
        convert(source, tmp_path / "out", options(), images=tmp_path / "gone")
    with pytest.raises(
        ConfigError, match=f"^--image-folder {tmp_path}: not for YOLO data, whose data"
    ):
        convert(FOLDER / "labels-eps", tmp_path / "out", options(), images=tmp_path)


NAMES = [
    "a b.png",
    'it\'s "so".png',
    "a#b.png",
    "a%20b.png",
    "[a]{b}(c).png",
    "楽譜.png",
    "𝄞.png",
    f"{'n' * 236}.png",
    f"{'é' * 118}.png",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tile", [None, 64])
def test_unusual_file_names(name: str, tile: int | None, tmp_path: Path) -> None:
    source = named(name, tmp_path)
    chosen = PreparationOptions(tiles=TileOptions(size=tile, overlap=16) if tile else None)
    summary = convert(source, tmp_path / "out", options(preparation=chosen))
    assert summary["symbols"]["written"] == 3
    dataset = open_dataset(tmp_path / "out")
    assert sum(len(page.labels) for page in dataset.pages("train")) >= 3
    manifest = read_manifest(tmp_path / "out")
    assert list(manifest.annotations["train"]) == [name]


def named(name: str, folder: Path, on_disk: str | None = None) -> Path:
    """Write a COCO file about one image of a given name."""
    source = shutil.copytree(FOLDER / "macos-appledouble-coco", folder / "in")
    (source / "images" / "x.png").rename(source / "images" / (on_disk or name))
    text = (source / "labels.json").read_text()
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    (source / "labels.json").write_text(text.replace("x.png", escaped), encoding="utf-8")
    return source / "labels.json"


def test_accents_may_be_encoded_differently_on_the_disk(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFC", "é.png")
    source = named(name, tmp_path, unicodedata.normalize("NFD", name))
    assert convert(source, tmp_path / "out", options())["symbols"]["written"] == 3


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_name_of_254_bytes(suffix: str, tmp_path: Path) -> None:
    name = "n" * 250 + suffix
    source = named(name, tmp_path)
    if suffix == ".jpg":
        Image.open(source.parent / "images" / name).convert("RGB").save(
            source.parent / "images" / name, format="JPEG"
        )
    assert convert(source, tmp_path / "out", options())["symbols"]["written"] == 3


@pytest.mark.parametrize(
    ("name", "tile", "n_bytes"), [("n" * 254, None, 259), ("n" * 237 + ".png", 64, 256)]
)
def test_a_name_that_leaves_no_room_for_its_output(
    name: str, tile: int | None, n_bytes: int, tmp_path: Path
) -> None:
    source = named(name, tmp_path)
    chosen = PreparationOptions(tiles=TileOptions(size=tile, overlap=16) if tile else None)
    with pytest.raises(InputError) as raised:
        convert(source, tmp_path / "out", options(preparation=chosen))
    assert str(raised.value) == (
        f"{source}: {'n' * 57}...: the name of this image is too long: with suffix and position of "
        f"a tile {n_bytes} bytes, 255 at most; rename it"
    )
    assert not (tmp_path / "out").exists()
