"""Round trips: reading a written page returns the page, for every format."""

import json
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from pycocotools.coco import COCO
from strategies import pages

from class_maps import CategoryMapping, ConfigError, InputError
from converters import images
from converters.formats.coco import CocoFile, CocoWriter
from converters.formats.datasets import open_dataset
from converters.formats.json_files import split_of
from converters.formats.parquet import ParquetWriter
from converters.formats.sources import format_of, open_source
from converters.formats.yolo import YoloWriter, label_lines, line_bytes, write_labels
from converters.formats.yolo_labels import label_path
from converters.page import Page
from converters.tally import Tally

NAMES = ("note", "stem")
SAME = CategoryMapping(name="coco", annotation_set=None, class_of={name: name for name in NAMES})


def empty_page() -> Page:
    return Page(
        image=PurePosixPath("a.png"),
        width=7,
        height=5,
        boxes_xyxy=np.empty((0, 4)),
        labels=np.empty(0, np.int64),
        symbol_ids=np.empty(0, np.int64),
    )


def write_yolo(folder: Path, page: Page) -> None:
    writer = YoloWriter(folder, NAMES)
    writer.add("train", page)
    writer.close()
    (folder / "labels" / "train").mkdir(parents=True)
    write_labels(page, folder / "labels" / "train")


def read_coco(folder: Path, *, clip: bool = False) -> Page:
    file = CocoFile(folder / "annotations" / "instances_train.json")
    [page] = file.pages(SAME, {"note": 0, "stem": 1}, Tally(), clip=clip)
    return page


@given(written=pages())
def test_coco(written: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("coco")
    writer = CocoWriter(folder, NAMES)
    writer.add("train", written)
    writer.close()
    page = read_coco(folder)
    assert (page.image, page.width, page.height) == (written.image, written.width, written.height)
    np.testing.assert_array_equal(page.boxes_xyxy, written.boxes_xyxy)
    np.testing.assert_array_equal(page.labels, written.labels)


@given(written=pages())
def test_yolo(written: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("yolo")
    write_yolo(folder, written)
    (folder / "images" / "train").mkdir(parents=True)
    white = np.full((written.height, written.width), 255, np.uint8)
    images.write(white, folder / "images" / "train" / "page.png")
    dataset = open_dataset(folder)
    [image] = dataset.labelled_images("train")
    page = image.page
    assert dataset.names == NAMES
    assert (page.image, page.width, page.height) == (written.image, written.width, written.height)
    tolerance = 1e-6 * max(written.width, written.height)  # six decimals
    np.testing.assert_allclose(page.boxes_xyxy, written.boxes_xyxy, atol=tolerance)
    np.testing.assert_array_equal(page.labels, written.labels)


@given(page=pages(n_classes=1200, max_symbols=20))
def test_label_lines_are_what_python_formats(page: Page) -> None:
    def line(label: int, x0: float, y0: float, x1: float, y1: float) -> str:
        w, h = page.width, page.height
        shares = (x0 + x1) / 2 / w, (y0 + y1) / 2 / h, (x1 - x0) / w, (y1 - y0) / h
        return f"{label} " + " ".join(f"{share:.6f}" for share in shares) + "\n"

    labelled = zip(page.labels.tolist(), page.boxes_xyxy.tolist(), strict=True)
    expected = [line(label, *box) for label, box in labelled]
    assert line_bytes(page.labels).tolist() == [len(formatted) for formatted in expected]
    for actual, formatted in zip(
        label_lines(page).splitlines(keepends=True), expected, strict=True
    ):
        numbers = zip(actual.split(), formatted.split(), strict=True)
        assert all(a == b or abs(float(a) - float(b)) < 1.5e-6 for a, b in numbers)
        assert len(actual) == len(formatted)


@given(written=pages())
def test_parquet(written: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    writer = ParquetWriter(folder, NAMES)
    writer.add("train", written)
    writer.close()
    symbols = pl.read_parquet(folder / "parquet" / "symbols_train" / "*.parquet")
    rows = symbols.select("x_min", "y_min", "x_max", "y_max").to_numpy()
    np.testing.assert_array_equal(rows, written.boxes_xyxy)
    assert symbols["name"].to_list() == [NAMES[label] for label in written.labels]
    pages_read = pl.read_parquet(folder / "parquet" / "images_train" / "*.parquet")
    assert pages_read.select("image", "width", "height").rows() == [
        ("page.png", written.width, written.height)
    ]


def test_oriented_boxes_are_kept(tmp_path: Path) -> None:
    corners = np.array([[[9, 3], [8, 1], [2, 4], [3, 6]]], np.float64)
    page = Page(
        image=PurePosixPath("a.png"),
        width=10,
        height=10,
        boxes_xyxy=np.array([[2.0, 1, 10, 7]]),
        labels=np.array([1]),
        corners=corners,
        cut=np.array([True]),
    )
    for writer in (CocoWriter(tmp_path, NAMES), ParquetWriter(tmp_path, NAMES)):
        writer.add("train", page)
        writer.close()
    data = json.loads((tmp_path / "annotations" / "instances_train.json").read_text())
    assert data["annotations"][0]["segmentation"] == [corners.ravel().tolist()]
    assert data["annotations"][0]["cut"] is True
    symbols = pl.read_parquet(tmp_path / "parquet" / "symbols_train" / "*.parquet")
    assert symbols["corners"][0].to_list() == corners.ravel().tolist()
    assert symbols["cut"].to_list() == [True]


def test_pycocotools_loads_written_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = CocoWriter(tmp_path, NAMES)
    writer.add("train", empty_page())
    writer.close()
    coco = COCO(str(tmp_path / "annotations" / "instances_train.json"))
    capsys.readouterr()
    assert (coco.getImgIds(), coco.getAnnIds()) == ([1], [])
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(NAMES)


def test_parquet_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.formats.parquet.ROWS_PER_PART", 1)
    writer = ParquetWriter(tmp_path, NAMES)
    one = Page(
        image=PurePosixPath("b.png"),
        width=7,
        height=5,
        boxes_xyxy=np.ones((1, 4)),
        labels=np.zeros(1, np.int64),
    )
    for page in (empty_page(), one, empty_page()):
        writer.add("train", page)
    writer.close()
    parts = sorted((tmp_path / "parquet" / "images_train").iterdir())
    assert [p.name for p in parts] == ["part-00000.parquet", "part-00001.parquet"]
    assert pl.read_parquet(parts)["image"].to_list() == ["a.png", "b.png", "a.png"]


@pytest.mark.parametrize(
    ("splits", "val", "noted"),
    [
        (["train"], "images/train", True),
        (["train", "test"], "images/test", False),
        (["train", "test", "val"], "images/val", False),
    ],
)
def test_the_validation_split_in_data_yaml(
    splits: list[str], val: str, noted: bool, tmp_path: Path
) -> None:
    writer = YoloWriter(tmp_path, NAMES)
    for split in splits:
        writer.add(split, empty_page())
    writer.close()
    text = (tmp_path / "data.yaml").read_text()
    assert f"\nval: {val}\n" in text
    assert ("no page is held out" in text) == noted


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "expected label, x_centre, y_centre, width, height, got: 0 0.5 0.5 0.1"),
        ("a 0.5 0.5 0.1 0.1", "expected label, x_centre, y_centre, width, height, got: a 0.5 0.5 0.1 0.1"),
        ("2 0.5 0.5 0.1 0.1", "label 2 has no name; there are 2 names"),
        ("0 0.5 nan 0.1 0.1", "expected coordinates from 0 to 1, got: 0 0.5 nan 0.1 0.1"),
        ("0 50 50 10 10", "expected coordinates from 0 to 1, got: 0 50 50 10 10"),
        ("0 0.5 0.5 0.1\n0 0.5 0.5 0.1 0.1 0", "expected label, x_centre, y_centre, width, height, got: 0 0.5 0.5 0.1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "0 0.5 0.5 0.1 0.1"])
def test_an_invalid_label_line(line: str, message: str, before: str, tmp_path: Path) -> None:
    write_yolo(tmp_path, empty_page())
    path = tmp_path / "labels" / "train" / "a.txt"
    path.write_text(f"{before}\n{line}\n")
    (tmp_path / "images" / "train").mkdir(parents=True)
    images.write(np.zeros((5, 7), np.uint8), tmp_path / "images" / "train" / "a.png")
    with pytest.raises(InputError) as raised:
        list(open_dataset(tmp_path).pages("train"))
    assert str(raised.value) == f"{path}: line 2: {message}"


@pytest.mark.parametrize(
    ("text", "n"),
    [("", 0), ("\n \n", 0), ("\t1  .5 .5\t.25 5e-1 \n\n0 0 0 0 0\n", 2), ("0 .5 .5 .5 1", 1)],
)
def test_label_lines_of_other_writers(text: str, n: int, tmp_path: Path) -> None:
    write_yolo(tmp_path, empty_page())
    (tmp_path / "labels" / "train" / "a.txt").write_text(text)
    (tmp_path / "images" / "train").mkdir(parents=True)
    images.write(np.zeros((8, 8), np.uint8), tmp_path / "images" / "train" / "a.png")
    [page] = open_dataset(tmp_path).pages("train")
    assert len(page.labels) == n
    if n == 2:
        assert page.labels.tolist() == [1, 0]
        assert page.boxes_xyxy.tolist() == [[3, 2, 5, 6], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "data.yaml: no such file; expected a YOLO folder; convert other formats first with `omr convert`"),
        ("", "data.yaml: expected a mapping with train, val and names"),
        ("names: [", "data.yaml: line 1: while parsing a flow node expected the node content"),
        ("names: {1: a}", "data.yaml: names: expected the names of labels 0, 1, 2, ..."),
        ("train: x\nnames: [a]", "data.yaml: train: no such folder: {}/x; correct train in this file"),
        ("path: .\ntrain: x\nnames: [a]", "data.yaml: train: no such folder: {}/x; correct train in this file"),
        ("path: /gone\nval: x\nnames: [a]", "data.yaml: val: no such folder: /gone/x; correct path in this file"),
    ],
)  # fmt: skip
def test_an_invalid_yolo_folder(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError) as raised:
        open_dataset(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path}/{message.replace('{}', str(tmp_path))}")


def test_splits_without_images(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "data.yaml").write_text("train: train\nnames: [a]")
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"data\.yaml: no split 'val'; available: train$"):
        list(dataset.pages("val"))
    with pytest.raises(InputError, match="contains no images; convert without --labels-only"):
        list(dataset.pages("train"))


def test_label_files_with_equal_names_do_not_replace_each_other(tmp_path: Path) -> None:
    """Examples are a.png and A.png on a case-insensitive file system."""
    page = Page(
        image=PurePosixPath("a.png"),
        width=9,
        height=9,
        boxes_xyxy=np.array([[1.0, 1, 2, 2]]),
        labels=np.array([0]),
    )
    write_labels(page, tmp_path)
    with pytest.raises(FileExistsError):
        write_labels(page.only(slice(0)), tmp_path)
    assert (tmp_path / "a.txt").stat().st_size


def test_label_paths_are_those_of_ultralytics() -> None:
    path = label_path(Path("/a/images/b/images/train/sub/x.y.png"))
    assert path == Path("/a/images/b/labels/train/sub/x.y.txt")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("category_id", 9, "annotations.category_id: unknown category: 1 annotation (1)"),
        ("image_id", 9, "annotations.image_id: unknown image: 1 annotation (1)"),
        ("bbox", [1, 1, -1, 1], "annotations.bbox: negative width or height: 1 annotation (1)"),
        ("bbox", [1, 1, 99, 1], "annotations.bbox: extends beyond the image by up to 91 px: 1 annotation (1); use --clip to clip boxes to the image"),
        ("id", [], "annotations[0].id: expected `int | float | str | null`, got `array`"),
        ("id", 2**63, "annotations[0].id: expected 64 bits, got 9223372036854775808"),
        ("bbox", "x", "annotations[0].bbox: expected `array | null`, got `str`"),
        ("bbox", [1, 1, 2], "annotations[0].bbox: expected 4 numbers, got 3"),
        ("bbox", [1, 1, "x", 2], "annotations[0].bbox: expected numbers, got [1.0, 1.0, 'x', 2.0]"),
        ("bbox", ["1_0", 1, 1, 2], "annotations[0].bbox: expected numbers, got ['1_0', 1.0, 1.0, 2.0]"),
        ("attributes", {"rotation": "4_5"}, "annotations[0].attributes.rotation: expected an angle in degrees, got '4_5'"),
        ("attributes", {"rotation": "x"}, "annotations[0].attributes.rotation: expected an angle in degrees, got 'x'"),
    ],
)  # fmt: skip
def test_inconsistent_coco_annotations(
    field: str, value: object, message: str, tmp_path: Path
) -> None:
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]} | {field: value}
    image = {"id": 1, "file_name": "a.png", "width": 9, "height": 9}
    data = {"images": [image], "annotations": [row], "categories": [{"id": 1, "name": "note"}]}
    path = tmp_path / "annotations" / "instances_train.json"
    path.parent.mkdir()
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as raised:
        read_coco(tmp_path)
    assert str(raised.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("images_of", "categories", "message"),
    [
        ([("a.png", 1), ("b.png", 1)], [1], "images[1].id: duplicate id: 1"),
        ([("a.png", 1), ("a.png", 2)], [1], "images: duplicate: 1 file (a.png)"),
        (
            [("../a.png", 1)],
            [1],
            "images[0].file_name: points outside the image folder: '../a.png'; use --image-folder DIR to "
            "find the file in DIR by the end of its path",
        ),
        ([("a.png", 1)], [1, 1], "categories: duplicate id"),
    ],
)
def test_invalid_coco_images_and_categories(
    images_of: list[tuple[str, int]], categories: list[int], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "annotations" / "instances_train.json"
    path.parent.mkdir()
    data = {
        "images": [{"id": i, "file_name": n, "width": 9, "height": 9} for n, i in images_of],
        "annotations": [],
        "categories": [{"id": i, "name": "note"} for i in categories],
    }
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as raised:
        read_coco(tmp_path)
    assert str(raised.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("deepscores_test", "test"),
        ("deepscores-complete-7_train", "train"),
        ("instances_val2017", "val"),
        ("instances_Train", "train"),
        ("valid", "val"),
        ("x_validation", "val"),
        ("MyValidationSet", "val"),
        ("dev", "val"),
        ("training", "train"),
        ("TESTING", "test"),
        ("my_latest", None),
        ("interval", None),
        ("devices", None),
        ("testimony", None),
        ("a", None),
        ("valid/a", "val"),
        ("val2017/a", "val"),
        ("my_valid/a", None),
        ("valid/a_test", "test"),
    ],
)
def test_the_split_is_a_word_of_the_name(name: str, split: str | None) -> None:
    assert split_of(Path(f"{name}.json")) == split


def test_two_splits_in_a_name(tmp_path: Path) -> None:
    path = tmp_path / "train_and_val.json"
    with pytest.raises(InputError) as raised:
        split_of(path)
    message = "contains two splits in its name: train and val; rename it"
    assert str(raised.value) == f"{path}: {message}"


def test_crowds_are_dropped_under_their_own_reason(tmp_path: Path) -> None:
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
        "annotations": [row, row | {"id": 2, "iscrowd": 1}],
        "categories": [{"id": 1, "name": "note"}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    counts = Tally()
    [page] = CocoFile(path).pages(SAME, {"note": 0}, counts)
    assert (len(page.labels), counts.dropped) == (1, {("crowd region", "note"): 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"annotation_sets": [], "annotations": {}}', "deepscoresv2"),
        ('{"images": [], "annotations": {}}', "deepscoresv2"),
        ('{"annotation_sets": ["deepscores", "muscima++"]}', "deepscoresv2"),
        ('{"annotation_sets": ["engraved"], "annotations": {}}', "engraved"),
        ('{"info": 1,\n "annotation_sets" :\n [ "engraved"\n ]', "engraved"),
        ('{"annotation_sets": ["engraved", "deepscores"]}', "deepscoresv2"),
        ('{"annotation_sets": "engraved"}', "deepscoresv2"),
        (f'{{"info": "{" " * 5000}", "annotation_sets": ["engraved"], "annotations": {{}}}}', "engraved"),
        (f'{{"info": "{" " * 4060}", "annotation_sets": ["engraved"], "annotations": {{}}}}', "engraved"),
        ('{"images": [], "annotations": [], "categories": []}', "coco"),
        ("{}", "neither DeepScoresV2, COCO nor labelme: its keys are none; expected annotation_sets, images, categories, annotations"),
        (
            '[{"id": 1, "annotations": [{"result": []}]}]',
            "expected a JSON object with images and annotations at the root, got a list, as in COCO "
            "results or Label Studio's JSON; export COCO or YOLO instead",
        ),
        ('"a"', "expected a JSON object with images and annotations at the root"),
        ("", "is empty or cannot be read; expected JSON"),
        ('{"a', "not valid JSON, truncated or damaged: Input data was truncated"),
    ],
)  # fmt: skip
def test_the_format_is_recognised(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    try:
        assert format_of(path).name == expected
    except InputError as error:
        assert str(error) == f"{path}: {expected}"  # noqa: PT017


def test_invalid_sources(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        open_source(tmp_path / "gone")
    assert str(raised.value) == f"{tmp_path}/gone: no such file or folder"
    with pytest.raises(InputError, match=r"no annotations; expected deepscores_train\.json or"):
        open_source(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^--source: unknown format: cocoa \(did you mean coco\?\)"
    ):
        open_source(tmp_path, "cocoa")
    (tmp_path / "deepscores_train.json").write_text(
        '{"annotation_sets": [], "categories": {}, "images": [], "annotations": {}}'
    )
    with pytest.raises(InputError) as raised:
        open_source(tmp_path)
    assert str(raised.value) == f"{tmp_path}: contains no images"
