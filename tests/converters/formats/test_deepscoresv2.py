import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from deepscores import NOTE, content, sample, write
from hypothesis import given
from hypothesis import strategies as st

import class_maps
from class_maps import InputError
from converters.formats import deepscores_tables
from converters.formats.deepscoresv2 import DeepScoresFile
from converters.formats.json_files import json_files
from converters.formats.yolo import label_lines
from converters.page import Page
from converters.tally import Tally

DEEPSCORES = class_maps.load("deepscores")
STEM = ("42", [40, 10, 42, 60])


def read(path: Path, *, clip: bool = False) -> tuple[list[Page], Tally]:
    counts = Tally()
    file = DeepScoresFile(path)
    pages = file.pages(DEEPSCORES.source("deepscoresv2"), DEEPSCORES.labels, counts, clip=clip)
    return list(pages), counts


def names_of(page: Page) -> list[str]:
    return [DEEPSCORES.names[label] for label in page.labels]


def test_a_page_without_symbols(tmp_path: Path) -> None:
    [page], counts = read(write(tmp_path, content()))
    assert (page.boxes_xyxy.shape, counts.read, page.staff_space) == ((0, 4), 0, None)


def test_a_page(tmp_path: Path) -> None:
    staff = ("135", [0, 20, 200, 88])
    [page], counts = read(write(tmp_path, content(STEM, staff, NOTE)))
    assert (page.image.name, page.width, page.height) == ("lg-7-aug-gonville--page-1.png", 200, 100)
    assert names_of(page) == ["stem", "staff", "noteheadBlackOnLine"]
    assert page.boxes_xyxy.tolist() == [[40, 10, 42, 60], [0, 20, 200, 88], [10, 20, 30, 36]]
    assert page.symbol_ids is not None
    assert page.symbol_ids.tolist() == [1, 2, 3]
    assert page.corners is not None
    assert page.corners[0].tolist() == [[41, 59], [41, 10], [40, 10], [40, 59]]
    assert page.staff_space == pytest.approx(68 / 4.1)
    assert (counts.read, counts.dropped.total()) == (3, 0)


@pytest.mark.parametrize(
    ("cat_id", "names", "reason"),
    [
        pytest.param(["2", "138"], ["ledgerLine"], {}, id="the pre-release spelling"),
        pytest.param([25, 157], ["noteheadBlackOnLine"], {}, id="numbers"),
        pytest.param("42", ["stem"], {}, id="a plain id, as in proposals"),
        pytest.param([None, "157"], [], {"no id in the annotation set": 1}, id="null"),
        pytest.param(None, [], {"no id in the annotation set": 1}, id="null instead of a list"),
    ],
)
def test_forms_of_cat_id(
    cat_id: object, names: list[str], reason: dict[str, int], tmp_path: Path
) -> None:
    [page], counts = read(write(tmp_path, content((cat_id, [10, 10, 20, 20]))))
    assert names_of(page) == names
    assert counts.by_reason() == reason


@pytest.mark.parametrize(
    ("sets", "cat_id", "names"),
    [
        (["deepscores", "muscima++"], ["2", "138"], ["legerLine"]),
        (["deepscores", "muscima++"], ["2", None], []),
        (["muscima++"], ["138"], ["legerLine"]),
    ],
)
def test_the_other_annotation_set(
    sets: list[str], cat_id: object, names: list[str], tmp_path: Path
) -> None:
    data = content((cat_id, [10, 10, 20, 20]))
    data["annotation_sets"] = sets
    source = class_maps.CategoryMapping(
        name="deepscoresv2", annotation_set="muscima++", class_of={"legerLine": "legerLine"}
    )
    counts = Tally()
    [page] = DeepScoresFile(write(tmp_path, data)).pages(source, {"legerLine": 0}, counts)
    assert len(page.labels) == len(names)
    assert counts.read == 1


def test_ids_may_be_numbers(tmp_path: Path) -> None:
    data = content(NOTE)
    data["annotations"]["1"]["img_id"] = 1
    data["images"][0]["id"] = "1"
    data["images"][0]["ann_ids"] = [1]
    [page], counts = read(write(tmp_path, data))
    assert (len(page.labels), counts.warnings) == (1, [])


def test_categories_without_a_class_are_counted(tmp_path: Path) -> None:
    file = DeepScoresFile(write(tmp_path, content(NOTE, STEM, STEM)))
    harmony, counts = class_maps.load("harmony-core"), Tally()
    source = class_maps.CategoryMapping(
        name="deepscoresv2", annotation_set="deepscores", class_of={"stem": "stem"}
    )
    [page] = file.pages(source, harmony.labels, counts)
    assert len(page.labels) == 2
    assert counts.dropped == {("not in class map", "noteheadBlackOnLine"): 1}


def test_lists_that_disagree_are_a_warning(tmp_path: Path) -> None:
    data = content(NOTE)
    data["images"][0]["ann_ids"] = ["1", "9"]
    _, counts = read(write(tmp_path, data))
    assert counts.warnings == [
        "deepscores_train.json: ann_ids and img_id disagree for 1 image "
        "(lg-7-aug-gonville--page-1.png); img_id was used"
    ]


Change = Callable[[dict[str, Any]], object]


def first(data: dict[str, Any]) -> Any:  # noqa: ANN401
    return data["annotations"]["1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda d: d.pop("annotations"), "object missing required field `annotations`", id="no annotations"),
        pytest.param(lambda d: d.update(annotations=[]), "annotations: expected an object by id, got a list as in COCO; see --source", id="a list"),
        pytest.param(lambda d: d.update(annotation_sets=["muscima++"]), "annotation_sets: no annotation set 'deepscores' in ['muscima++']; choose one with --annotation-set", id="set"),
        pytest.param(lambda d: first(d).update(img_id="9"), "annotations.img_id: unknown image: 1 annotation (1); the first has img_id 9", id="image"),
        pytest.param(lambda d: first(d).update(img_id="x"), "annotations[1].img_id: expected a number, got 'x'", id="img_id"),
        pytest.param(lambda d: first(d).update(cat_id=["99", None]), "annotations.cat_id: not in categories: 1 category id (99)", id="category"),
        pytest.param(lambda d: first(d).update(cat_id=["138", "2"]), "annotations.cat_id: 1 category id (138) of annotation set muscima++ in the position of deepscores", id="sets swapped"),
        pytest.param(lambda d: first(d).pop("a_bbox"), "annotations[1]: object missing required field `a_bbox`", id="no box"),
        pytest.param(lambda d: first(d).update(a_bbox=[1, 2, 3]), "annotations[1].a_bbox: expected `array` of length 4", id="three sides"),
        pytest.param(lambda d: first(d).update(a_bbox=[1, 2, 3, None]), "annotations[1].a_bbox[3]: expected `float`, got `null`", id="null side"),
        pytest.param(lambda d: first(d).update(a_bbox=[30, 20, 10, 36]), "annotations.a_bbox: reversed corners: 1 annotation (1); the first is [30.0, 20.0, 10.0, 36.0], expected [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1", id="reversed"),
        pytest.param(lambda d: first(d).update(a_bbox=[-3, 20, 30, 36]), "annotations.a_bbox: extends beyond the page by up to 3 px: 1 annotation (1); use --clip to clip boxes to the page", id="outside"),
        pytest.param(lambda d: d["images"][0].update(filename="../a.png"), "images[0].filename: points outside the image folder: '../a.png'; use --image-folder DIR to find the file in DIR by the end of its path", id="up"),
        pytest.param(lambda d: d["images"][0].update(filename="a/images/b.png"), "images[0].filename: contains a folder called images, in which YOLO readers do not find labels: 'a/images/b.png'; rename it", id="images in the name"),
        pytest.param(lambda d: d["images"][0].update(filename=".a.png"), "images[0].filename: is a hidden file or in a hidden folder, which YOLO readers skip: '.a.png'; rename it", id="hidden file"),
        pytest.param(lambda d: d["images"][0].update(filename="a/.b/c.png"), "images[0].filename: is a hidden file or in a hidden folder, which YOLO readers skip: 'a/.b/c.png'; rename it", id="file in a hidden folder"),
        pytest.param(lambda d: d["images"].append(d["images"][0] | {"id": 2, "filename": "./lg-7-aug-gonville--page-1.png"}), "images: duplicate: 1 file (lg-7-aug-gonville--page-1.png)", id="duplicate file in another spelling"),
        pytest.param(lambda d: d["images"][0].update(ann_ids="x"), "images[0].ann_ids: expected `array`, got `str`", id="ann_ids"),
        pytest.param(lambda d: d["categories"].update(x=d["categories"]["1"]), "categories: expected numbers below a million as ids, got 'x'", id="category key"),
        pytest.param(lambda d: d["categories"].update({"99999999999": d["categories"]["1"]}), "categories: expected numbers below a million as ids, got '99999999999'", id="large category key"),
        pytest.param(lambda d: first(d).update(cat_id=["-7", None]), "annotations[1].cat_id: expected a number, got '-7'", id="negative category"),
        pytest.param(lambda d: first(d).update(a_bbox=[90, 20, 10, 36], o_bbox=[90, 36, 90, 20, 10, 20, 10, 36]), "annotations.a_bbox: reversed corners: 1 annotation (1); the first is [90.0, 20.0, 10.0, 36.0], expected [x0, y0, x1, y1] with x0 <= x1 and y0 <= y1", id="reversed far"),
        pytest.param(lambda d: d["images"][0].update(filename="/etc/a.png"), "images[0].filename: points outside the image folder: '/etc/a.png'; use --image-folder DIR to find the file in DIR by the end of its path", id="absolute"),
        pytest.param(lambda d: d["images"][0].update(filename=""), "images[0].filename: expected a file name, got ''", id="no name"),
        pytest.param(lambda d: d["images"][0].update(width=0), "images[0]: invalid image size: 0 x 100 px", id="no width"),
        pytest.param(lambda d: d["images"][0].update(width="wide"), "images[0].width: expected `int`, got `str`", id="width"),
        pytest.param(lambda d: d["images"][0].update(id="x"), "images[0].id: expected a number, got 'x'", id="image id"),
        pytest.param(lambda d: d["images"].append(d["images"][0]), "images[1].id: duplicate id: 1", id="duplicate image"),
        pytest.param(lambda d: d["images"].append(d["images"][0] | {"id": 2}), "images: duplicate: 1 file (lg-7-aug-gonville--page-1.png)", id="duplicate file"),
    ],
)  # fmt: skip
def test_errors_contain_file_location_and_remedy(
    change: Change, message: str, tmp_path: Path
) -> None:
    data = content(NOTE)
    change(data)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("\ufeff{}", "begins with a byte order mark; save the file without it", id="BOM"),
        pytest.param("", "is empty; expected DeepScoresV2 JSON", id="empty"),
        pytest.param("1", "expected a JSON object with images and annotations at the root", id="wrong root"),
        pytest.param('{"annotation_sets": ["deep', "not valid JSON, truncated or damaged: Input data was truncated", id="truncated"),
    ],
)  # fmt: skip
def test_files_in_another_format(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value) == f"{path}: {message}"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: no such file$"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_file_truncated_anywhere(share: float, tmp_path: Path) -> None:
    text = json.dumps(content(NOTE, STEM, NOTE))
    path = tmp_path / "cut.json"
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value) == (
        f"{path}: not valid JSON, truncated or damaged: Input data was truncated"
    )


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("field", ["a_bbox", "o_bbox"])
def test_nan_is_rejected(field: str, number: str, tmp_path: Path) -> None:
    data = content(STEM, NOTE)
    data["annotations"]["2"][field][2] = float(number)
    path = tmp_path / "nan.json"
    path.write_text(json.dumps(data, indent=2))
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value) == (
        f"{path}: annotations[2].{field}: expected finite numbers, got NaN or Infinity"
    )


def test_a_number_that_is_too_large_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "inf.json"
    text = json.dumps(content(*[NOTE] * 2000, ("25", [10, 20, 30, 36])))
    path.write_text(text.replace("[10, 20, 30, 36]", "[10, 20, 1e999, 36]", 1))
    with pytest.raises(InputError, match=r"annotations.*(out of range|finite)"):
        read(path)


def test_a_duplicate_id(tmp_path: Path) -> None:
    text = json.dumps(content(NOTE, STEM)).replace('"2": {"a_bbox"', '"1": {"a_bbox"')
    path = tmp_path / "duplicate.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"duplicate\.json: annotations: duplicate key: '1'$"):
        read(path)


def test_a_bbox_with_width_and_height_is_rejected(tmp_path: Path) -> None:
    data = content(("25", [100, 20, 120, 36]), STEM)
    for row in data["annotations"].values():
        x0, y0, x1, y1 = row["a_bbox"]
        row["a_bbox"] = [x0, y0, x1 - x0, y1 - y0]
    path = write(tmp_path, data)
    with pytest.raises(InputError) as raised:
        read(path)
    assert str(raised.value) == (
        f"{path}: annotations.a_bbox: 2 of 2 differ from the bounds of o_bbox by more than 20 px: "
        "a_bbox seems to be [x, y, width, height], but DeepScoresV2 has corners; correct the file "
        "first"
    )


@pytest.mark.parametrize(("n_far", "refused"), [(1, False), (2, True)])
def test_one_box_in_a_thousand_may_differ(n_far: int, refused: bool, tmp_path: Path) -> None:
    data = content(*[("25", [10, 20, 30, 36])] * 1000)
    for key in list(data["annotations"])[:n_far]:
        data["annotations"][key]["o_bbox"] = [180, 90, 180, 60, 150, 60, 150, 90]
    path = write(tmp_path, data)
    if refused:
        with pytest.raises(InputError, match=r"2 of 1000 differ .* has another format"):
            read(path)
    else:
        assert read(path)[1].read == 1000


@given(
    comment=st.one_of(
        st.text(max_size=30),
        st.sampled_from(["a_bbox", '}, "9": {', '},"a": {"b', "}\\", '"a_bbox"']),
    ),
    n=st.integers(1, 6),
    indent=st.sampled_from([None, 0, 4]),
    chunk=st.sampled_from([1, 200, 1 << 20]),
)
def test_chunks_do_not_change_the_result(
    comment: str, n: int, indent: int | None, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = content(
        *[NOTE, STEM][: n % 2 + 1], *[("27", [5 * i, 3, 5 * i + 4, 9]) for i in range(n)]
    )
    for row in data["annotations"].values():
        row["comments"] = comment
        row["nested"] = {"a": {"b": 1}} if n > 4 else 1
    path = tmp_path_factory.mktemp("chunks") / "deepscores_train.json"
    path.write_text(json.dumps(data, indent=indent))
    with mock.patch.object(deepscores_tables, "CHUNK_BYTES", chunk):
        [page], counts = read(path)
    expected = [row["a_bbox"] for row in data["annotations"].values()]
    np.testing.assert_array_equal(page.boxes_xyxy, np.array(expected, np.float64))
    assert counts.read == len(expected)


def test_the_golden_label(tmp_path: Path) -> None:
    """Annotation 567857 of the release."""
    data = content((["2", "138"], [1354, 278, 1384, 281]), size=(1960, 2772))
    [page], _ = read(write(tmp_path, data))
    label = DEEPSCORES.labels["ledgerLine"]
    assert label_lines(page) == f"{label} 0.698469 0.100830 0.015306 0.001082\n"


def test_the_sample_is_accounted_for() -> None:
    path = sample() / "deepscores_sample" / "deepscores_train.json"
    [page], counts = read(path)
    assert (counts.read, len(page.labels), counts.dropped.total()) == (547, 547, 0)
    assert counts.warnings == []
    raw = json.loads(path.read_text())
    for row, key in enumerate(raw["annotations"]):  # one annotation at a time
        annotation = raw["annotations"][key]
        name = raw["categories"][annotation["cat_id"][0]]["name"]
        assert names_of(page)[row] == name.replace("legerLine", "ledgerLine")
        assert page.boxes_xyxy[row].tolist() == annotation["a_bbox"]


def test_shards_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10_train", "9_train", "9_test"):
        (tmp_path / f"deepscores-complete-{name}.json").touch()
    assert [p.name for p in json_files(tmp_path)] == [
        "deepscores-complete-9_test.json",
        "deepscores-complete-9_train.json",
        "deepscores-complete-10_train.json",
    ]
