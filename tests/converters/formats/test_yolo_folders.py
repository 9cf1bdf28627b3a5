"""YOLO folders of other tools: links, hidden files, lists of folders, and what is not read."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import class_maps
from class_maps import InputError, shortened
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.sources import open_source
from converters.formats.yolo_labels import parse
from converters.manifest import read_manifest

ROW = "0 0.5 0.5 0.2 0.2\n"
MAP = "name: m\nclasses: [note, stem]\nsources: {yolo: {map: same names}}\n"
YAML = "train: images/train\nval: images/train\nnames: [note, stem]\n"


def page(folder: Path, name: str, rows: str | None = ROW) -> Path:
    """Write an image and its label file, which is next to ``images`` if the path contains it."""
    image = folder / name
    image.parent.mkdir(parents=True, exist_ok=True)
    images.write(np.full((100, 200), 255, np.uint8), image)
    if rows is not None:
        parts = ["labels" if part == "images" else part for part in Path(name).parts]
        label = (folder / Path(*parts)).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(rows)
    return image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A YOLO folder with one page."""
    folder = tmp_path / "data"
    page(folder, "images/train/a.png")
    (folder / "data.yaml").write_text(YAML)
    return folder


def converted(data: Path, tmp_path: Path) -> dict[str, int | list[str]]:
    (tmp_path / "map.yaml").write_text(MAP)
    options = ConversionOptions(class_map=class_maps.load(str(tmp_path / "map.yaml")))
    summary = convert(data, tmp_path / "out", options)
    advice = "no page is held out"
    return {
        "pages": summary["pages"],
        "symbols": summary["symbols"]["written"],
        "notes": [note for note in summary["warnings"] if not note.startswith(advice)],
    }


def test_linked_folders_are_read(data: Path, tmp_path: Path) -> None:
    page(tmp_path / "disk", "images/b.png")
    (data / "images" / "train" / "more").symlink_to(tmp_path / "disk" / "images")
    (data / "labels" / "train" / "more").symlink_to(tmp_path / "disk" / "labels")
    assert converted(data, tmp_path) == {"pages": 2, "symbols": 2, "notes": []}
    paths = open_dataset(data).image_paths("train")
    assert [path.name for path in paths] == ["a.png", "b.png"]


def test_a_link_to_a_folder_above_is_no_loop(data: Path, tmp_path: Path) -> None:
    (data / "images" / "train" / "up").symlink_to(data / "images")
    assert len(open_dataset(data).image_paths("train")) == 1


def test_pages_have_no_duplicate_symbols(data: Path) -> None:
    rows = f"1 0.2 0.2 0.2 0.2\n{ROW}"
    (data / "labels" / "train" / "a.txt").write_text(rows + rows)
    [page] = open_dataset(data).pages("train")
    assert page.labels.tolist() == [0, 1]
    assert page.boxes_xyxy.round(6).tolist() == [[80, 40, 120, 60], [20, 10, 60, 30]]


def test_hidden_files_and_folders_are_skipped(data: Path, tmp_path: Path) -> None:
    page(data, "images/train/.ipynb_checkpoints/a-checkpoint.png", None)
    page(data, "images/train/._a.png", None)
    assert converted(data, tmp_path) == {
        "pages": 1,
        "symbols": 1,
        "notes": [
            f"skipped in {data}/images/train: 2 hidden images "
            "(._a.png, .ipynb_checkpoints/a-checkpoint.png)"
        ],
    }
    assert len(open_dataset(data).image_paths("train")) == 1


@pytest.mark.parametrize("suffix", [".tga", ".MPO", ".heif", ".jp2"])
def test_images_in_other_formats_are_named(suffix: str, data: Path, tmp_path: Path) -> None:
    (data / "images" / "train" / f"b{suffix}").touch()
    assert converted(data, tmp_path)["notes"] == [
        f"skipped in {data}/images/train: 1 image (b{suffix}) in an unsupported format"
    ]


def test_label_files_without_an_image_are_named(data: Path, tmp_path: Path) -> None:
    for name in ("gone", "b"):
        (data / "labels" / "train" / f"{name}.txt").write_text(ROW)
    (data / "labels" / "train" / "classes.txt").write_text("note\nstem\n")
    (data / "images" / "train" / "b.gif").write_bytes(b"GIF89a")
    assert converted(data, tmp_path)["notes"] == [
        f"skipped in {data}/images/train: 1 image (b.gif) in an unsupported format",
        f"skipped in {data}/labels/train: 2 label files (b.txt, gone.txt) without an image of this name",
    ]


def test_label_files_beside_images_are_named(data: Path, tmp_path: Path) -> None:
    page(data, "images/train/b.png", None)
    for name, text in (("a", ROW), ("b", ROW), ("classes", "note\nstem\n")):
        (data / "images" / "train" / f"{name}.txt").write_text(text)
    assert converted(data, tmp_path)["notes"] == [
        f"skipped in {data}/images/train: 2 label files (a.txt, b.txt) beside the images; expected "
        f"in {data}/labels/train",
        f"read without symbols in {data}/images/train: 1 image (b.png) without a label file",
    ]


def test_images_without_a_label_file_are_named(data: Path, tmp_path: Path) -> None:
    page(data, "images/train/empty.png", "")
    for name in ("b/1", "d", "c", "e"):
        page(data, f"images/train/{name}.png", None)
    assert converted(data, tmp_path)["notes"] == [
        f"read without symbols in {data}/images/train: 4 images (b/1.png, c.png, d.png, ...) "
        "without a label file"
    ]


def test_the_error_about_no_symbols_names_the_cause(data: Path, tmp_path: Path) -> None:
    label = data / "labels" / "train" / "a.txt"
    label.rename(data / "images" / "train" / "a.txt")
    with pytest.raises(InputError) as raised:
        converted(data, tmp_path)
    assert str(raised.value) == (
        f"{data}: no symbols left with class map m: 0 read; skipped in {data}/images/train: 1 label "
        f"file (a.txt) beside the images; expected in {data}/labels/train; read without symbols in "
        f"{data}/images/train: 1 image (a.png) without a label file"
    )


def test_labels_with_a_suffix_in_capitals_are_an_error(data: Path, tmp_path: Path) -> None:
    label = data / "labels" / "train" / "a.txt"
    label.rename(label.with_suffix(".TXT"))
    with pytest.raises(InputError) as raised:
        converted(data, tmp_path)
    assert str(raised.value) == (
        f"{data}/labels/train/a.TXT: readers of YOLO folders expect the suffix .txt; rename it"
    )


def test_a_pipe_is_neither_an_image_nor_a_label_file(data: Path, tmp_path: Path) -> None:
    label = data / "labels" / "train" / "a.txt"
    label.unlink()
    os.mkfifo(label)
    with pytest.raises(InputError, match=r"a\.txt: is not a regular file$"):
        converted(data, tmp_path)
    os.mkfifo(data / "images" / "train" / "b.png")
    with pytest.raises(InputError, match=r"b\.png: is not a regular file$"):
        converted(data, tmp_path)


def test_a_file_name_that_is_not_text(data: Path, tmp_path: Path) -> None:
    image = data / "images" / "train" / "a.png"
    image.rename(os.fsdecode(bytes(image.parent) + b"/\xff.png"))
    with pytest.raises(InputError, match=r"file name that is not Unicode text: .*; rename it$"):
        converted(data, tmp_path)
    assert len(open_dataset(data).fingerprint("train")) == 64


@pytest.mark.parametrize(
    "text",
    [
        "path:\ntrain: images/train\n",
        "path: .\ntrain: images/train\n",
        "path: ''\ntrain: ../images/train\n",
        "train: ../images/train\nval: ../images/train\ntest: ../test/images\n",
        "train: [images/train]\n",
        "train: images\\train\n",
        "train: .\n",
        "train: train.txt\n",
        "train: [train.txt]\n",
        "\ufefftrain: images/train\n",
    ],
)
def test_spellings_of_the_image_folder(text: str, data: Path, tmp_path: Path) -> None:
    (data / "train.txt").write_text("./images/train/a.png\r\n\n", encoding="utf-8-sig")
    (data / "data.yaml").write_text(text + "names: [note, stem]\n", encoding="utf-8")
    result = converted(data, tmp_path)
    assert (result["pages"], result["symbols"]) == (1, 1)
    assert len(list((tmp_path / "out" / "images" / "train").rglob("a.png"))) == 1
    [output] = open_dataset(tmp_path / "out").pages("train")
    assert output.boxes_xyxy.round(2).tolist() == [[80, 40, 120, 60]]


def test_several_image_folders(data: Path, tmp_path: Path) -> None:
    page(data, "more/images/b.png", ROW * 2)
    page(data, "extra/c.png", None)
    (data / "data.yaml").write_text(
        "train: [images/train, more/images, extra]\nnames: [note, stem]\n"
    )
    assert [
        image.page.image.as_posix() for image in open_dataset(data).labelled_images("train")
    ] == [
        "extra/c.png",
        "images/train/a.png",
        "more/images/b.png",
    ]
    assert [(len(f.images), f.image_folder.name) for f in open_source(data)[1]] == [
        (1, "extra"),
        (1, "train"),
        (1, "images"),
    ]
    assert converted(data, tmp_path) == {
        "pages": 3,
        "symbols": 2,
        "notes": [f"read without symbols in {data}/extra: 1 image (c.png) without a label file"],
    }
    annotations = read_manifest(tmp_path / "out").annotations
    assert annotations == {"train": {"c.png": 0, "a.png": 1, "b.png": 2}}


def test_a_json_file_beside_data_yaml(data: Path, tmp_path: Path) -> None:
    """As in Label Studio's exports."""
    (data / "notes.json").write_text("{}")
    assert converted(data, tmp_path)["pages"] == 1


def test_a_split_whose_labels_are_elsewhere_is_reported(data: Path, tmp_path: Path) -> None:
    """Label files are found only in ``labels`` beside ``images``, or next to the images."""
    page(data, "Images/val/b.png", None)
    (data / "Labels" / "val").mkdir(parents=True)
    (data / "Labels" / "val" / "b.txt").write_text(ROW)
    (data / "data.yaml").write_text(YAML.replace("val: images/train", "val: Images/val"))
    assert converted(data, tmp_path)["notes"] == [
        f"read without symbols in {data}/Images/val: 1 image (b.png) without a label file",
        "no symbols on any val page; check its annotations and the location of its label files",
    ]


def test_a_page_of_two_splits_is_reported(data: Path, tmp_path: Path) -> None:
    yaml = YAML.replace("val: images/train", "val: images")
    (data / "data.yaml").write_text(yaml)
    path = (data / "images" / "train" / "a.png").resolve()
    shared = (
        f"in more than one split: 1 work ({shortened(str(path))}); scores will be too optimistic"
    )
    assert converted(data, tmp_path)["notes"] == [shared]


def test_a_linked_page_of_two_splits_is_reported(data: Path, tmp_path: Path) -> None:
    (data / "data.yaml").write_text(YAML.replace("val: images/train", "val: images/val"))
    page(data, "images/val/b.png").unlink()
    (data / "images" / "val" / "b.png").symlink_to(data / "images" / "train" / "a.png")
    assert "in more than one split: 1 work (" in str(converted(data, tmp_path)["notes"])


def test_text_files_that_divide_a_folder(data: Path, tmp_path: Path) -> None:
    page(data, "images/train/b.png")
    (data / "train.txt").write_text("./images/train/a.png\n")
    (data / "val.txt").write_text(f"{data}/images/train/b.png\n")
    (data / "data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [note, stem]\n")
    dataset = open_dataset(data)
    assert [path.name for path in dataset.image_paths("train")] == ["a.png"]
    assert [path.name for path in dataset.image_paths("val")] == ["b.png"]
    assert not dataset.share_images("train", "val")
    assert converted(data, tmp_path) == {"pages": 2, "symbols": 2, "notes": []}


@pytest.mark.parametrize("key", ["val", "valid", "validation"])
def test_spellings_of_the_validation_split(key: str, data: Path) -> None:
    page(data, "images/v/b.png")
    (data / "data.yaml").write_text(f"train: images/train\n{key}: images/v\nnames: [note, stem]\n")
    assert [file.split for file in open_source(data)[1]] == ["train", "val"]


def test_a_test_set_that_is_missing_is_skipped(data: Path, tmp_path: Path) -> None:
    (data / "data.yaml").write_text(f"test: ../test/images\n{YAML}")
    assert converted(data, tmp_path)["notes"] == [
        f"data.yaml: test was skipped: no such folder: {data}/../test/images; correct test in this "
        "file"
    ]


def test_a_data_yaml_with_another_name(data: Path, tmp_path: Path) -> None:
    other = (data / "data.yaml").rename(data / "other.yml")
    assert converted(other, tmp_path) == {"pages": 1, "symbols": 1, "notes": []}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["files"][0]["name"], manifest["files"][0]["bytes"]) == ("other.yml", len(YAML))


@pytest.mark.parametrize("key", ["Val", "valid", "holdout", "validation_2"])
@pytest.mark.parametrize("value", ["images/v", "../images/v", "[images/v]", "v.txt"])
def test_a_folder_that_no_split_names_is_reported(
    key: str, value: str, data: Path, tmp_path: Path
) -> None:
    page(data, "images/v/b.png")
    (data / "v.txt").write_text("images/v/b.png\n")
    (data / "data.yaml").write_text(f"{YAML}{key}: {value}\n")
    assert converted(data, tmp_path)["notes"] == [
        f"data.yaml: skipped {key}; only one train, one val and one test split are read"
    ]


def test_other_keys_are_not_reported(data: Path) -> None:
    (data / "data.yaml").write_text(
        f"{YAML}path: .\ndownload: x.sh\nnc: 2\nroboflow: {{a: images}}\n"
    )
    assert open_dataset(data).warnings == ()


def test_listed_files_that_are_not_read_are_reported(data: Path, tmp_path: Path) -> None:
    (data / "images" / "train" / "b.raw").touch()
    (data / "train.txt").write_text("images/train/a.png\nimages/train/b.raw\n")
    (data / "data.yaml").write_text("train: train.txt\nnames: [note, stem]\n")
    assert converted(data, tmp_path)["notes"] == [
        "data.yaml: train: skipped 1 listed image (b.raw) in an unsupported format"
    ]


@pytest.mark.parametrize(
    ("train", "lines", "entries"),
    [
        ("train.txt", "images/train/a.png\n./images/train/a.png\n", "1 repeated entry (a.png)"),
        ("[train.txt, train.txt]", "images/train/a.png\n", "1 repeated entry (a.png)"),
        ("[images/train, images/train]", "", "1 repeated entry (train)"),
        (
            "train.txt",
            "images/train/a.png\nimages/train/b.png\n" * 3,
            "2 repeated entries (a.png, b.png)",
        ),
    ],
)
def test_repeated_images_are_reported(
    train: str, lines: str, entries: str, data: Path, tmp_path: Path
) -> None:
    page(data, "images/train/b.png")
    (data / "train.txt").write_text(lines)
    (data / "data.yaml").write_text(f"train: {train}\nnames: [note, stem]\n")
    assert converted(data, tmp_path)["notes"] == [
        f"data.yaml: train: {entries} read only once; to train on pages more often, make them a "
        "data set of their own and use --sampling-weights"
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("[a, 8, no, 1.50, true]", ("a", "8", "no", "1.50", "true")),
        ("[yes, on, Off, 2020-01-01]", ("yes", "on", "Off", "2020-01-01")),
        ("[3:4, '184', 1_0, 10]", ("3:4", "184", "1_0", "10")),
        ("{0: a, 1: on}", ("a", "on")),
        ("{'0': a, '1': b}", ("a", "b")),
        ("{1: b, 0: a}", ("a", "b")),
    ],
)
def test_names_are_read_as_written(names: str, expected: tuple[str, ...], data: Path) -> None:
    (data / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    assert open_dataset(data).names == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: 3\nnames: [a]", "train: expected a folder, a text file, or a list of them, got 3"),
        ("train: [3]\nnames: [a]", "train: expected a folder, a text file, or a list of them, got 3"),
        ("path: [a]\ntrain: images\nnames: [a]", "path: expected a folder, got ['a']"),
        ("train: images\nnc: 2\nnames: [a]", "names: nc is 2, but there are 1"),
        ("train: images\nnames: {0: a, true: b}", "names: expected the names of labels 0, 1, 2, ..."),
        ("train: images\nnames: {0: a, 0: b}", "duplicate keys in the mapping at line 2: 0"),
        ("train: images\nnames: [a, null]", "names: expected the names of labels 0, 1, 2, ..."),
        ("train: images\nnames: [a, [b]]", "names: expected the names of labels 0, 1, 2, ..."),
        ("train: images\nnames: a", "names: expected the names of labels 0, 1, 2, ..."),
        ("train: images\nkpt_shape: [17, 3]\nnames: [a]", "kpt_shape: keypoints are not supported; export boxes"),
    ],
)  # fmt: skip
def test_an_invalid_data_yaml(text: str, message: str, data: Path) -> None:
    (data / "data.yaml").write_text(text)
    with pytest.raises(InputError) as raised:
        open_dataset(data)
    assert str(raised.value) == f"{data}/data.yaml: {message}"


def test_a_list_with_an_image_that_is_missing(data: Path) -> None:
    (data / "train.txt").write_text("./images/train/a.png\n\n./images/train/gone.png\n")
    (data / "data.yaml").write_text("train: train.txt\nnames: [note, stem]\n")
    with pytest.raises(InputError) as raised:
        open_dataset(data)
    assert str(raised.value) == (
        f"{data}/train.txt: line 3: no such image: './images/train/gone.png'; export the "
        "data set together with its images"
    )


def test_a_list_with_too_many_images(data: Path) -> None:
    (data / "train.txt").write_text("./images/train/a.png\n" * 2_000_001)
    (data / "data.yaml").write_text("train: train.txt\nnames: [note, stem]\n")
    with pytest.raises(InputError) as raised:
        open_dataset(data)
    assert str(raised.value) == (
        f"{data}/train.txt: lists more than 2,000,000 images; name their folder instead"
    )


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"", []),
        (b"\xef\xbb\xbf0 .5 .5 .1 .1\r\n", [[0, 0.5, 0.5, 0.1, 0.1]]),
        (b"0 1.0000001 -1e-9 .1 .1", [[0, 1, 0, 0.1, 0.1]]),
        (b"1 .1 .2 .3 .2 .3 .6", [[1, 0.2, 0.4, 0.2, 0.4]]),
        (b"1 .1 .6 .3 .6 .3 1.0", [[1, 0.2, 0.8, 0.2, 0.4]]),
        (b"1 .1 .2 .3 .2 .3 .6\n0 .5 .5 .1 .1", [[1, 0.2, 0.4, 0.2, 0.4], [0, 0.5, 0.5, 0.1, 0.1]]),
    ],
)
def test_rows(content: bytes, rows: list[list[float]]) -> None:
    table, is_polygon = parse(content, Path("a.txt"), 2)
    np.testing.assert_allclose(table, np.array(rows).reshape(-1, 5))
    assert is_polygon.sum() == (b".6" in content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0 .5 .5 .1 .1\n0.7 .5 .5 .1 .1", "line 2: label 0.7 is not a whole number"),
        (b"0 0.5_1 .5 .1 .1", "line 1: expected label, x_centre, y_centre, width, height, got: 0 0.5_1 .5 .1 .1"),
        ("0 .\u0665 .5 .1 .1".encode(), "line 1: expected label, x_centre, y_centre, width, height, got: 0 .\u0665 .5 .1 .1"),
        (b"0 .1 .2 .3 .2 .3 .6 .7", "line 1: expected label, x_centre, y_centre, width, height, got: 0 .1 .2 .3 .2 .3 .6 .7"),
        (b"0 .1 .2 .3 .2 .3 6.", "line 1: expected coordinates from 0 to 1, got: 0 .1 .2 .3 .2 .3 6."),
        (b"0 .1 .2 .3 .2 .93 1", "line 1: expected label, x_centre, y_centre, width, height, got: 0 .1 .2 .3 .2 .93 1; remove the last two numbers, if they are a confidence and a track id"),
        (b"0 .1 .2 .3 .2 .93 26", "line 1: expected label, x_centre, y_centre, width, height, got: 0 .1 .2 .3 .2 .93 26; remove the last two numbers, if they are a confidence and a track id"),
        (b"0 .5 .5 .1 1.00001", "line 1: expected coordinates from 0 to 1, got: 0 .5 .5 .1 1.00001"),
        (b"0 .5 .5 .1 inf", "line 1: expected coordinates from 0 to 1, got: 0 .5 .5 .1 inf"),
        ("0 .5 .5 .1 .1".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    ],
)  # fmt: skip
def test_invalid_rows(content: bytes, message: str) -> None:
    with pytest.raises(InputError) as raised:
        parse(content, Path("a.txt"), 2)
    assert str(raised.value) == f"a.txt: {message}"
