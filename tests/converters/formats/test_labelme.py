"""labelme's JSON files: written ones are read back, and those of labelme itself are read."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from strategies import pages

import class_maps
from class_maps import CategoryMapping, InputError
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.labelme import LabelmeFile, LabelmeWriter, open_files
from converters.formats.sources import format_of, open_source
from converters.page import Page
from converters.tally import Tally

NAMES = ("note", "stem")
SAME = CategoryMapping(name="labelme", annotation_set=None, class_of={name: name for name in NAMES})
NOTE = {"label": "note", "points": [[1, 2], [5, 6]], "shape_type": "rectangle"}
MAP = "name: m\nclasses: [note, stem]\nsources: {labelme: {map: same names}}\n"


def draw(path: Path, width: int = 20, height: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(np.full((height, width), 255, np.uint8), path)
    return path


def write(path: Path, *shapes: dict[str, Any], **fields: Any) -> Path:  # noqa: ANN401
    """Write a file of an image of 20 x 10 px next to it."""
    data: dict[str, Any] = {
        "version": "5.0.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{path.stem}.png",
        "imageData": None,
        "imageHeight": 10,
        "imageWidth": 20,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data | fields), "utf-8")
    return path


def read(file: LabelmeFile, *, clip: bool = True) -> tuple[Page, Tally]:
    counts = Tally()
    [page] = file.pages(SAME, {"note": 0, "stem": 1}, counts, clip=clip)
    return page, counts


def options(folder: Path, **changes: Any) -> ConversionOptions:  # noqa: ANN401
    (folder / "m.yaml").write_text(MAP)
    return ConversionOptions(class_map=class_maps.load(str(folder / "m.yaml")), **changes)


@given(written=pages())
def test_written_pages_are_read_back(
    written: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("labelme")
    writer = LabelmeWriter(folder, NAMES)
    writer.add("test", written)
    writer.close()
    [file] = open_files(folder)
    page, _ = read(file)
    assert (file.split, file.image_folder) == ("test", folder / "images" / "test")
    assert (page.image, page.width, page.height) == (written.image, written.width, written.height)
    np.testing.assert_array_equal(page.boxes_xyxy, written.boxes_xyxy)
    np.testing.assert_array_equal(page.labels, written.labels)


def test_a_page_written_by_hand(tmp_path: Path) -> None:
    page = Page(
        image=PurePosixPath("sub/é.png"),
        width=20,
        height=10,
        boxes_xyxy=np.array([[1.25, 2.0, 5.0, 6.0]]),
        labels=np.array([1]),
        scores=np.array([0.87654321]),
    )
    paths = {page.image: tmp_path / "my pages" / "é.png"}
    LabelmeWriter(tmp_path / "out", NAMES, paths).add("", page)
    text = (tmp_path / "out" / "labelme" / "sub" / "é.json").read_text("utf-8")
    assert json.loads(text) == {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {
                "label": "stem",
                "points": [[1.25, 2.0], [5.0, 6.0]],
                "group_id": None,
                "description": '{"score": 0.876543}',
                "shape_type": "rectangle",
                "flags": {},
            }
        ],
        "imagePath": "../../../my pages/é.png",
        "imageData": None,
        "imageHeight": 10,
        "imageWidth": 20,
    }


def test_an_empty_page(tmp_path: Path) -> None:
    page = Page(
        image=PurePosixPath(f"{'x' * 246}.png"),
        width=20,
        height=10,
        boxes_xyxy=np.empty((0, 4)),
        labels=np.empty(0, np.int64),
        scores=np.empty(0),
    )
    LabelmeWriter(tmp_path, NAMES).add("train", page)
    data = json.loads((tmp_path / "labelme" / "train" / f"{'x' * 246}.json").read_text())
    assert data["shapes"] == []
    assert read(open_files(tmp_path)[0])[0].boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ({"points": [[5, 6], [1, 2]]}, [1, 2, 5, 6]),
        ({"shape_type": "polygon", "points": [[1, 2], [7, 4], [3, 9]]}, [1, 2, 7, 9]),
        ({"shape_type": None, "points": [[1, 2], [7, 4], [3, 9]]}, [1, 2, 7, 9]),
        ({"shape_type": "oriented_rectangle", "points": [[3, 1], [5, 3], [4, 4], [2, 2]]}, [2, 1, 5, 4]),
        ({"shape_type": "circle", "points": [[7, 5], [10, 9]]}, [2, 0, 12, 10]),
        ({"shape_type": "mask", "points": [[1, 2], [5, 6]]}, [1, 2, 6, 7]),
        ({"shape_type": "line", "points": [[1, 2], [1, 6]]}, [1, 2, 1, 6]),
        ({"shape_type": "point", "points": [[1, 2]]}, [1, 2, 1, 2]),
        ({"points": [[-1e-6, 2], [20.000001, 6]]}, [0, 2, 20, 6]),
    ],
)  # fmt: skip
def test_shapes(shape: dict[str, Any], box: list[float], tmp_path: Path) -> None:
    [file] = open_files(write(tmp_path / "a.json", NOTE, NOTE | {"label": "stem"} | shape))
    page, counts = read(file, clip=False)
    assert page.boxes_xyxy.tolist() == [[1, 2, 5, 6], box]
    assert page.labels.tolist() == [0, 1]
    is_rectangle = (NOTE | shape)["shape_type"] == "rectangle"
    assert counts.changed == ({} if is_rectangle else {("box around a polygon", "stem"): 1})


LEFT = {"shape_type": "polygon", "points": [[1, 2], [3, 2], [3, 6]]}
RIGHT = {"shape_type": "polygon", "points": [[8, 4], [9, 4], [9, 9]]}
JOINED, APART = [[1, 2, 9, 9]], [[1, 2, 3, 6], [8, 4, 9, 9]]


@pytest.mark.parametrize(
    ("left", "right", "boxes"),
    [
        ({"group_id": 1}, {"group_id": 1}, JOINED),
        (
            {"group_id": 0},
            {"group_id": 0, "shape_type": "mask", "points": [[8, 4], [8, 8]]},
            JOINED,
        ),
        ({"group_id": None}, {"group_id": None}, APART),
        ({"group_id": 1}, {"group_id": 2}, APART),
        ({"group_id": 1}, {"group_id": 1, "label": "stem"}, APART),
        ({"group_id": 1}, {"group_id": 1, "shape_type": "rectangle"}, APART),
    ],
)
def test_polygons_of_a_group_are_one_symbol(
    left: dict[str, Any], right: dict[str, Any], boxes: list[list[float]], tmp_path: Path
) -> None:
    shapes = NOTE | LEFT | left, NOTE | {"label": "stem"}, NOTE | RIGHT | right
    [file] = open_files(write(tmp_path / "a.json", *shapes))
    page, counts = read(file, clip=False)
    assert page.boxes_xyxy[[0, *range(2, len(boxes) + 1)]].tolist() == boxes
    assert page.boxes_xyxy[1].tolist() == [1, 2, 5, 6]
    assert counts.read == page.n_annotations == len(boxes) + 1
    n_joined = counts.changed["box around several parts", "note"]
    assert n_joined == (1 if boxes == JOINED else 0)


def test_labels_without_a_class_are_counted(tmp_path: Path) -> None:
    [file] = open_files(write(tmp_path / "a.json", NOTE, NOTE | {"label": "x"}, NOTE))
    page, counts = read(file)
    assert file.categories(SAME) == ("note", "x")
    assert (len(page.labels), counts.read, page.n_annotations) == (2, 3, 3)
    assert counts.dropped == {("not in class map", "x"): 1}


@pytest.mark.parametrize(
    ("file", "split", "folder", "image"),
    [
        ("a.json", "train", ".", "a.png"),
        ("val/a.json", "val", "val", "a.png"),
        ("sub/a.json", "train", ".", "sub/a.png"),
        ("images/test/sub/a.json", "test", "images/test", "sub/a.png"),
    ],
)
def test_images_next_to_their_files(
    file: str, split: str, folder: str, image: str, tmp_path: Path
) -> None:
    draw(write(tmp_path / file, NOTE).with_suffix(".png"))
    [opened] = open_files(tmp_path)
    assert (opened.split, opened.warnings) == (split, ())
    assert opened.image_folder == tmp_path / folder
    assert list(opened.images) == [PurePosixPath(image)]


@pytest.mark.parametrize(
    "image_path",
    ["../../pages/sub/a.png", r"..\..\pages\sub\a.png", "/gone/a.png", r"C:\gone\a.png", "a.png"],
)
def test_image_paths(image_path: str, tmp_path: Path) -> None:
    """An image that is not where the path points is looked for next to the file."""
    folder = "pages" if "pages" in image_path else "labels"
    draw(tmp_path / folder / "sub" / "a.png")
    write(tmp_path / "labels" / "sub" / "a.json", NOTE, imagePath=image_path)
    [file] = open_files(tmp_path / "labels")
    assert (file.image_folder / "sub" / "a.png").is_file()
    assert list(file.images) == [PurePosixPath("sub/a.png")]


@pytest.mark.parametrize("image", ["sub/a.png", "a.png"])
def test_the_folder_of_the_images(image: str, tmp_path: Path) -> None:
    draw(tmp_path / "scans" / image)
    write(tmp_path / "labels" / "sub" / "a.json", NOTE, imageHeight=None, imageWidth=None)
    [file] = open_files(tmp_path / "labels", tmp_path / "scans")
    assert (file.image_folder, file.images) == (
        tmp_path / "scans",
        {PurePosixPath(image): (20, 10)},
    )


def test_files_and_images_that_are_not_read_are_reported(tmp_path: Path) -> None:
    draw(write(tmp_path / "in" / "a.json", NOTE).with_suffix(".png"))
    draw(tmp_path / "in" / "sub" / "b.png")
    (tmp_path / "in" / "notes.json").write_text("{}")
    assert format_of(tmp_path / "in").name == "labelme"
    summary = convert(tmp_path / "in", tmp_path / "out", options(tmp_path))
    assert summary["symbols"]["written"] == 1
    assert [text for text in summary["warnings"] if "skipped" in text] == [
        f"skipped in {tmp_path}/in: 1 file (notes.json) of another format",
        f"skipped in {tmp_path}/in: 1 image (sub/b.png) without a JSON file",
    ]


def test_a_conversion_and_back(tmp_path: Path) -> None:
    stem = {"label": "stem", "points": [[7, 1], [8, 9]], "shape_type": "rectangle"}
    for name in ("train/a b", "train/sub/a b", "val/é"):
        draw(write(tmp_path / "in" / f"{name}.json", NOTE, stem).with_suffix(".png"))
    formats = ("labelme", "yolo", "mung")
    convert(tmp_path / "in", tmp_path / "out", options(tmp_path, formats=formats))
    written = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.json"))
    assert [p.as_posix() for p in written] == [
        "labelme/train/a b.json",
        "labelme/train/sub/a b.json",
        "labelme/val/é.json",
        "manifest.json",
    ]
    name, files = open_source(tmp_path / "out" / "labelme")
    assert name == "labelme"
    assert [(file.split, *map(str, file.images)) for file in files] == [
        ("train", "a b.png"),
        ("train", "sub/a b.png"),
        ("val", "é.png"),
    ]
    summary = convert(tmp_path / "out" / "labelme", tmp_path / "back", options(tmp_path))
    assert summary["symbols"] == {"read": 6, "written": 6, "dropped": 0, "labels": 6, "cut": 0}
    for label_file in (tmp_path / "out" / "labels").rglob("*.txt"):
        back = tmp_path / "back" / label_file.relative_to(tmp_path / "out")
        assert back.read_text() == label_file.read_text()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shapes": [NOTE | {"points": []}]}, "shapes[0].points: expected points"),
        ({"shapes": [NOTE | {"points": [[1]]}]}, "shapes[0].points[0]: expected `array` of length 2"),
        ({"shapes": [{"points": []}]}, "shapes[0]: object missing required field `label`"),
        ({"shapes": [NOTE, NOTE | {"points": [[1, 2], [21, 6]]}]}, "extends beyond the image of 20 x 10 px: 1 symbol (shapes[1]); use --clip to clip boxes to the image"),
        ({"imageWidth": 0}, "invalid image size: 0 x 10 px"),
        ({"imageWidth": 20.5}, "imageWidth: expected `int | null`, got `float`"),
        ({"imagePath": ".a.png"}, "imagePath: is a hidden file or in a hidden folder, which YOLO readers skip: '.a.png'; rename it"),
    ],
)  # fmt: skip
def test_invalid_files(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", **fields)
    with pytest.raises(InputError) as raised:
        read(open_files(path)[0], clip=False)
    assert str(raised.value) == f"{path}: {message}"


def test_too_many_points(tmp_path: Path) -> None:
    """They would take gigabytes of memory."""
    path = tmp_path / "a.json"
    points = ",".join(["[1,2]"] * 2_000_001)
    path.write_text(
        '{"imagePath": "a.png", "shapes": [{"label": "note", "points": [' + points + "]}]}"
    )
    with pytest.raises(InputError) as raised:
        open_files(path)
    assert str(raised.value) == (
        f"{path}: more than 2,000,000 points; expected the symbols of a page"
    )


def test_files_in_a_subfolder_that_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "labels" / "a.json", NOTE)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    with pytest.raises(InputError) as raised:
        open_source(tmp_path)
    assert str(raised.value) == f"{path}: begins with a byte order mark; save the file without it"


def test_damaged_files(tmp_path: Path) -> None:
    write(tmp_path / "a.json", NOTE)
    (tmp_path / "b.json").write_text('{"shapes": [')
    with pytest.raises(InputError, match=r"b\.json: not valid JSON, truncated or damaged: "):
        open_source(tmp_path)
    (tmp_path / "b.json").write_text('{"shapes": [], "shapes": [], "imagePath": "b.png"}')
    with pytest.raises(InputError, match=r"b\.json: duplicate key: 'shapes'$"):
        open_files(tmp_path / "b.json")
