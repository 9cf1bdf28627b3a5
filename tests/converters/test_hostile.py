"""Annotation files that could hang, exhaust memory, or be read wrong."""

import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deepscores import NOTE, content

import class_maps
from class_maps import InputError
from converters import image_headers, images
from converters.conversion import ConversionOptions, convert
from converters.formats.coco import CocoFile
from converters.formats.image_folders import files_in
from converters.formats.sources import identity_map, open_source
from converters.formats.yolo_labels import parse
from converters.manifest import read_manifest
from converters.page import Page
from converters.prepare.preparation import PreparationOptions
from converters.prepare.tiles import TileOptions
from converters.tally import Tally

FOLDER = Path(__file__).parent / "hostile"
FILES = sorted(FOLDER.glob("*.json"))
MAX_KB = 300_000
TILES = PreparationOptions(tiles=TileOptions(size=64, overlap=12))
MEASURE = r"""
import re, sys
from pathlib import Path
import class_maps
from converters import images
from converters.conversion import ConversionOptions, convert
options = ConversionOptions(class_map=class_maps.load("harmony"), labels_only=True)
for path in sys.argv[2:]:
    try:
        convert(Path(path), Path(sys.argv[1]), options)
    except class_maps.OmrError:
        pass
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.parametrize("source_format", [None, "deepscoresv2", "coco"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_refused_in_one_line(
    path: Path, source_format: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    is_coco = source_format == "coco" or path.stem.startswith("fuzzed_coco")
    harmony = class_maps.load("coco" if is_coco else "harmony")
    options = ConversionOptions(class_map=harmony, labels_only=True, preparation=TILES)
    start = time.perf_counter()
    with pytest.raises(InputError) as raised:
        convert(Path(path.name), tmp_path / "out", options, source_format=source_format)
    assert time.perf_counter() - start < 2
    assert str(raised.value).startswith(f"{path.name}: ")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) <= 300


def test_memory_is_bounded(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "out"), *map(str, FILES)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert int(result.stdout) < MAX_KB


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deep_in_annids", "lists or objects are nested too deeply"),
        ("dup_ann_key_and_nested_box", "annotations: duplicate key: '1'"),
        ("dup_ann_key_with_escape", "annotations: duplicate key: '1'"),
        ("dup_cat_key", "duplicate key: '25'"),
        ("dup_img_id", "duplicate key: 'id'"),
        ("dup_in_ann_cat", "annotations: duplicate key: 'cat_id'"),
        ("dup_top_annotations", "duplicate key: 'annotations'"),
        ("not_utf8_category", r"is not UTF-8 text: b'note\xff\xfe'"),
        ("size_1e6", "images[0]: image size of 1000000 x 1000000 px; expected at most 1,000,000 px per side and 300,000,000 px in total"),
    ],
)  # fmt: skip
def test_messages(name: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        pages_of(FOLDER / f"{name}.json")
    assert str(raised.value) == f"{FOLDER}/{name}.json: {message}"


def pages_of(path: Path) -> None:
    format_name, [file] = open_source(path)
    class_map = identity_map(format_name, [file])
    list(file.pages(class_map.source(format_name), class_map.labels, Tally()))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("categories", "categories: duplicate: 1 id (25)"),
        ("annotations", "annotations: duplicate: 1 id (1)"),
        ("images", "images[1].id: duplicate id: 1"),
    ],
)
def test_a_number_with_a_leading_zero_is_the_same_id(
    part: str, message: str, tmp_path: Path
) -> None:
    data = content(NOTE)
    if part == "images":
        data["images"].append(data["images"][0] | {"id": "01", "filename": "b.png"})
    else:
        key, entry = ("25", "1")[part == "annotations"], data[part]
        entry[f"0{key}"] = entry[key]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as raised:
        pages_of(path)
    assert str(raised.value) == f"{path}: {message}"


@pytest.mark.parametrize("value", ["1_0", "\uff11", " 1", "+1", ""])
def test_an_id_in_unusual_digits_is_not_a_number(value: str, tmp_path: Path) -> None:
    data = content(NOTE)
    data["annotations"]["1"]["img_id"] = value
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"annotations\[1\]\.img_id: expected a number, got '"):
        pages_of(path)


ROW: dict[str, Any] = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}
IMAGE = {"id": 1, "file_name": "a.png", "width": 9, "height": 9}


def coco_text(rows: str, images: str = json.dumps(IMAGE)) -> str:
    return (
        f'{{"images": [{images}], "annotations": [{rows}],'
        ' "categories": [{"id": 1, "name": "stem"}]}'
    )


def read_coco(path: Path) -> list[Page]:
    file = CocoFile(path)
    class_map = identity_map("coco", [file])
    return list(file.pages(class_map.source("coco"), class_map.labels, Tally()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (coco_text(json.dumps(ROW)[:-1] + ', "bbox": [1, 1, 3, 3]}'), "annotations[0]: duplicate key: 'bbox'"),
        (coco_text(json.dumps(ROW)[:-1] + r', "\u0062box": [1, 1, 3, 3]}'), "annotations[0]: duplicate key: 'bbox'"),
        (coco_text(json.dumps(ROW) + ", " + json.dumps(ROW)[:-1] + ', "category_id": 1}'), "annotations[1]: duplicate key: 'category_id'"),
        (coco_text("", json.dumps(IMAGE)[:-1] + ', "width": 8}'), "duplicate key: 'width'"),
        (coco_text("", json.dumps(IMAGE) + ", " + json.dumps(IMAGE | {"id": "01", "file_name": "b.png"})), "images[1].id: duplicate id: 1"),
    ],
)  # fmt: skip
def test_duplicate_keys_in_coco(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_coco(path)
    assert str(raised.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    "row",
    [
        ROW | {"note": 'a "bbox": b', "segmentation": {"counts": "a\\b"}},
        ROW | {"attributes": {"id": 7, "bbox": 1, "iscrowd": 1}},
        ROW | {"id": None, "iscrowd": None},
    ],
)
def test_fields_in_other_places_are_not_duplicates(row: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(coco_text(json.dumps(row)))
    [page] = read_coco(path)
    assert page.boxes_xyxy.tolist() == [[1, 1, 3, 3]]


def test_a_label_file_that_is_not_text() -> None:
    path = FOLDER / "fuzzed_labels.txt"
    with pytest.raises(InputError) as raised:
        parse(path.read_bytes(), path, 2)
    assert str(raised.value) == f"{path}: is not UTF-8 text (byte 67: 0xbb); save it as UTF-8"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04...", "is a zip archive; unpack it and convert its content"),
        (b"\x1f\x8b\x08", "is a gzip archive; unpack it and convert its content"),
        (b"\x89PNG\r\n\x1a\n", "is a PNG image; expected JSON"),
        (b"\xff\xd8\xff\xe0", "is a JPEG image; expected JSON"),
        (b"<?xml version='1.0'?>", "is XML or HTML; expected JSON"),
        (b"\n <annotation>", "is XML or HTML; expected JSON"),
        (b"\x00\x05\x16\x07", "is a resource fork of macOS; expected JSON"),
        ('{"a": 1}'.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark; save the file without it"),
        (b'{"a": {"b": -Infinity}}', "b (byte 13): expected finite numbers, got NaN or Infinity"),
        (b'{"a": 1', "not valid JSON, truncated or damaged: Input data was truncated"),
    ],
)
def test_files_that_are_not_json(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        open_source(path)
    assert str(raised.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b""),
        ("a.txt", b"0 0.5 0.5 0.1 0.1\n"),
        ("a.csv", b"image,x,y\n"),
    ],
)
@pytest.mark.parametrize("source_format", [None, "coco"])
def test_annotations_in_other_formats(
    name: str, content: bytes, source_format: str | None, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        open_source(path, source_format)
    assert str(raised.value) == (
        f"{path}: not in a format that omr reads; expected DeepScoresV2, COCO or labelme JSON, MuNG or Pascal VOC XML, Parquet tables, or a YOLO "
        "folder with a data.yaml; export the data set in one of these formats"
    )
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(InputError, match="contains no images"):
        open_source(path, "coco")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a":' + b"[" * 10**6, "lists or objects are nested too deeply"),
        (b'{"source": "yolo", "source": "coco"}', "duplicate key: 'source'"),
        (b'{"splits": {"train": {}, "train": {}}}', "duplicate key: 'train'"),
        (b'{"\xff": 1}', r"is not UTF-8 text: b'\xff'"),
        (b"[]", "expected a JSON object"),
    ],
)
def test_manifests_that_cannot_be_read(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_manifest(tmp_path)
    assert str(raised.value) == f"{path}: {message}"


def test_integers_of_any_length(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(f'{{"unknown": {"9" * 5000}}}')
    assert read_manifest(tmp_path).source == ""


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "images" / "a.png"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    for read in (images.read, images.read_bgr, images.check_complete, image_headers.size):
        with pytest.raises(InputError, match=r"a\.png: is not a regular file$"):
            read(pipe)
    with pytest.raises(InputError, match=r"a\.png: is not a regular file$"):
        list(files_in(tmp_path))
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(InputError, match="is not a file; expected a manifest"):
        read_manifest(tmp_path)


def test_the_size_of_an_image_is_checked_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    size = (40_000).to_bytes(4, "big") * 2
    header = b"IHDR" + size + bytes([8, 0, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + bytes(4) + b"IDAT")
    with pytest.raises(InputError, match="has 40000 x 40000 px; expected at most 1,073,741,824"):
        image_headers.size(path)


OUTSIDE = (
    *("../y.png", "a/../../x.png", "images/../../x.png", "..\\x.png", "C:\\x.png"),
    *("%2e%2e/x.png", "..%2fx.png", "file:///x.png"),
)
VOC = "<size><width>9</width><height>9</height></size><object><name>stem</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></object>"
NODE = "<Node><Id>0</Id><ClassName>stem</ClassName><Top>1</Top><Left>1</Left><Width>2</Width><Height>2</Height></Node>"


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.json", coco_text(json.dumps(ROW), json.dumps(IMAGE | {"file_name": "NAME"}))),
        ("a.xml", f"<annotation><filename>NAME</filename>{VOC}</annotation>"),
        ("a.xml", f"<Nodes document='NAME'>{NODE}</Nodes>"),
    ],
    ids=["coco", "voc", "mung"],
)
def test_names_that_lead_out_of_the_folder(file: str, text: str, name: str, tmp_path: Path) -> None:
    source, secret = tmp_path / "in" / file, tmp_path / "x.png"
    source.parent.mkdir()
    images.write(np.full((9, 9), 255, np.uint8), secret)
    path = name.replace("/x.png", str(secret)) if name.startswith(("/", "file:")) else name
    source.write_text(
        text.replace("NAME", path.replace("\\", "\\\\") if file == "a.json" else path)
    )
    class_map = tmp_path / "a.yaml"
    class_map.write_text(
        "name: a\nclasses: [stem]\n"
        "sources: {coco: {map: same names}, voc: {map: same names}, mung: {map: same names}}"
    )
    options = ConversionOptions(class_map=class_maps.load(str(class_map)))
    with pytest.raises(InputError):
        convert(source, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
