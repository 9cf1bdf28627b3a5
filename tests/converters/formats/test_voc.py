"""Pascal VOC XML as the challenge, labelling tools and DeepScores v1 write it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import class_maps
from class_maps import CategoryMapping, InputError
from converters import images
from converters.conversion import ConversionOptions, convert
from converters.formats.sources import open_source
from converters.formats.voc import VocFile, open_files
from converters.tally import Tally

SAME = CategoryMapping(name="voc", annotation_set=None, class_of={"note": "note", "stem": "stem"})
MAP = "name: m\nclasses: [note, stem]\nsources: {voc: {map: same names}}\n"


def draw(path: Path, width: int = 40, height: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(np.full((height, width), 255, np.uint8), path)
    return path


def thing(box: tuple[object, ...] | None = (1, 2, 5, 6), name: str = "note", more: str = "") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box or (), strict=False)
    inside = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    bndbox = f"<bndbox>{inside}</bndbox>" if box else ""
    return f"<object>\n<name>{name}</name>{more}{bndbox}</object>\n"


def write(path: Path, *things: str, head: str = "", size: tuple[object, ...] | None = (40, 30)) -> Path:  # fmt: skip
    """Write a file that names the image of its own name, unless ``head`` names another."""
    sizes = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    head = head or f"<filename>{path.stem}.png</filename>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{head}{sizes}\n{''.join(things)}</annotation>", "utf-8")
    return path


def read(file: VocFile, *, clip: bool = False) -> tuple[list[list[float]], Tally]:
    counts = Tally()
    [page] = file.pages(SAME, {"note": 0, "stem": 1}, counts, clip=clip)
    rows = zip(page.labels.tolist(), page.boxes_xyxy.tolist(), strict=True)
    return [[label, *box] for label, box in rows], counts


def opened(path: Path) -> VocFile:
    [file] = open_files(path)
    return file


def test_a_page_without_symbols(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    file = opened(write(tmp_path / "a.xml"))
    assert read(file)[0] == []
    assert (list(map(str, file.images)), list(file.images.values())) == (["a.png"], [(40, 30)])


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("", [1, 2, 5, 6]),
        ("<source><database>Unknown</database></source>", [1, 2, 5, 6]),  # LabelImg, CVAT
        ("<source><database>roboflow.com</database></source>", [1, 2, 5, 6]),
        ("<source><database>The VOC2007 Database</database></source>", [0, 1, 5, 6]),
        ("<source><database>x</database><annotation>PASCAL VOC2012</annotation></source>", [0, 1, 5, 6]),
    ],
)  # fmt: skip
def test_pixels_are_numbered_from_1_in_pascal_voc_only(
    head: str, expected: list[float], tmp_path: Path
) -> None:
    draw(tmp_path / "a.png")
    file = write(tmp_path / "a.xml", thing((1, 2, 5, 6)), head=head)
    assert read(opened(file))[0] == [[0, *expected]]


def test_the_whole_image_in_both_conventions(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    pascal = "<source><database>The VOC2007 Database</database></source>"
    first = read(opened(write(tmp_path / "a.xml", thing((1, 1, 40, 30)), head=pascal)))[0]
    assert first == read(opened(write(tmp_path / "a.xml", thing((0, 0, 40, 30)))))[0]


def test_fractions_of_deepscores_v1_refer_to_the_image(tmp_path: Path) -> None:
    draw(tmp_path / "images_png" / "lg-1.png")
    path = tmp_path / "xml_annotations" / "lg-1.xml"
    things = thing((0.25, 0.1, 0.5, 0.2)), thing((0.5, 0, 1.0000001, 1), "stem")
    file = opened(write(path, *things, head="<filename>lg-1</filename>", size=(2480.4, 1860.3)))
    symbols, _ = read(file)
    np.testing.assert_allclose(symbols, [[0, 10, 3, 20, 6], [1, 20, 0, 40, 30]])


def test_a_symbol_on_the_first_pixel_is_not_a_fraction(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    assert read(opened(write(tmp_path / "a.xml", thing((0, 0, 1, 1)))))[0] == [[0, 0, 0, 1, 1]]


@pytest.mark.parametrize("size", [None, (0, 0), ("", "")])
def test_the_size_of_the_image_is_read_if_it_is_missing(
    size: tuple[object, ...] | None, tmp_path: Path
) -> None:
    draw(tmp_path / "a.png")
    assert list(opened(write(tmp_path / "a.xml", thing(), size=size)).images.values()) == [(40, 30)]


@pytest.mark.parametrize(
    ("image", "file", "head"),
    [
        ("a.png", "a.xml", ""),
        ("JPEGImages/a.jpg", "Annotations/a.xml", "<filename>a.jpg</filename>"),
        ("JPEGImages/sub/a.jpg", "Annotations/sub/a.xml", "<filename>sub/a.jpg</filename>"),
        ("pages/a.png", "a.xml", "<folder>pages</folder><filename>a.png</filename>"),
        ("pages/a.png", "in/a.xml", "<folder>C:\\x\\pages</folder><filename>a.png</filename>"),
        ("images/a.png", "a.xml", "<filename>a</filename>"),
        ("images/a.png", "a.xml", "<filename>renamed.png</filename>"),
        ("images/a.png", "a.xml", "<path>/home/me/a.png</path>"),
        ("train/a_png.rf.0123456789abcdef.jpg", "train/b.xml", "<filename>a_png.rf.0123456789abcdef.jpg</filename>"),
    ],
)  # fmt: skip
def test_images_are_found(image: str, file: str, head: str, tmp_path: Path) -> None:
    drawn = draw(tmp_path / image)
    write(tmp_path / file, thing(), head=head)
    found = opened(tmp_path)
    [name] = found.images
    assert (found.image_folder / name).samefile(drawn)


def test_marked_objects_are_noted_and_objects_without_a_box_are_counted(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    marks = "<pose>Unspecified</pose><truncated>1</truncated><difficult>0</difficult>"
    parts = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>"
    things = thing(more=marks), thing(None, "stem"), thing(None, "x"), thing(more=parts)
    write(tmp_path / "a.xml", *things)
    draw(tmp_path / "b.png")
    write(tmp_path / "c.xml").write_text("<other/>")
    (tmp_path / "m.yaml").write_text(MAP)
    options = ConversionOptions(class_map=class_maps.load(str(tmp_path / "m.yaml")))
    summary = convert(tmp_path, tmp_path / "out", options)
    assert summary["symbols"]["read"] == 4
    assert summary["dropped"] == {
        "exact duplicate": {"note": 1},
        "no box": {"stem": 1},
        "not in class map": {"x": 1},
    }
    for warning in (
        "symbols marked in the source, and read like all others: 1 truncated",
        f"skipped in {tmp_path}: 1 XML file (c.xml) of another format",
        f"skipped in {tmp_path}: 1 image (b.png) without a VOC file",
    ):
        assert warning in summary["warnings"]


def test_splits_are_those_of_the_folders(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        draw(tmp_path / split / "a.png")
        write(tmp_path / split / "a.xml", thing())
    name, files = open_source(tmp_path)
    assert (name, sorted(file.split for file in files)) == ("voc", ["test", "train", "val"])


def test_splits_in_lists_of_images(tmp_path: Path) -> None:
    for name in "abcde":
        draw(tmp_path / "JPEGImages" / f"{name}.png")
        write(tmp_path / "Annotations" / f"{name}.xml", thing())
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n\n")
    (lists / "val.txt").write_text('"b"\r\n')
    (lists / "trainval.txt").write_text("a\nb\nc\n")
    (lists / "stem_train.txt").write_text("d  1\nb -1\n")  # symbols of a class, not a split
    (lists / "test.txt").write_text("e\n")
    for source in (tmp_path, tmp_path / "Annotations"):
        files = open_files(source)
        splits = {file.path.stem: file.split for file in files}
        assert splits == {"a": "train", "b": "val", "c": "train", "d": "train", "e": "test"}
        assert files[0].warnings == (
            f"not in the lists of {lists}, and split by folder, otherwise train: 1 XML file (d.xml)",
        )
    assert opened(tmp_path / "Annotations" / "b.xml").split == "val"
    (lists / "test.txt").write_text("e\na\n")
    with pytest.raises(InputError) as raised:
        open_files(tmp_path)
    assert str(raised.value) == (
        f"{lists}/train.txt: a is also in the list of test; keep it in one of them"
    )


def attributes(**values: object) -> str:
    """Write attributes as CVAT does."""
    pairs = values.items()
    each = (f"<attribute><name>{k}</name><value>{v}</value></attribute>" for k, v in pairs)
    return f"<attributes>{''.join(each)}</attributes>"


def test_boxes_are_rotated_by_the_angle_in_the_attributes(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    turned = attributes(pose="o", rotation=90.0, name="x")
    things = thing((8, 10, 20, 14), "stem", turned), thing(more=attributes(rotation=0.0))
    file = opened(write(tmp_path / "a.xml", *things, thing(more=attributes(pose=""))))
    symbols, counts = read(file)
    np.testing.assert_allclose(symbols, [[1, 12, 6, 16, 18], [0, 1, 2, 5, 6], [0, 1, 2, 5, 6]])
    assert counts.changed == {("rotated by the angle in its attributes", "stem"): 1}
    [page] = file.pages(SAME, {"note": 0, "stem": 1}, Tally())
    assert page.corners is not None
    assert page.corners[1].tolist() == [[5, 6], [5, 2], [1, 2], [1, 6]]


@pytest.mark.parametrize(
    ("things", "changes", "message"),
    [
        ([thing(name="")], {}, "line 2: missing name"),
        ([thing((1, 2, 5))], {}, "line 2, 'note': missing bndbox/ymax"),
        ([thing((1, "b", 5, 6))], {}, "line 2, 'note': bndbox/ymin: expected a number, got 'b'"),
        ([thing((1, "nan", 5, 6))], {}, "line 2, 'note': bndbox/ymin: expected a number, got 'nan'"),
        ([thing((7, 2, 5, 6))], {}, "line 2, 'note': xmin 7 is greater than xmax 5; swap or correct them"),
        ([thing((1, 9, 5, 6))], {}, "line 2, 'note': ymin 9 is greater than ymax 6; swap or correct them"),
        ([thing(more="<attributes><attribute><name>rotation</name><value>x</value></attribute></attributes>")], {}, "line 2, 'note': attributes/attribute/rotation: expected a number, got 'x'"),
        ([], {"size": ("x", 3)}, "size/width: expected a number, got 'x'"),
        ([], {"size": (-3, 3)}, "size: invalid image size: -3 x 3 px"),
        ([], {"size": (10**7, 3)}, "size: image size of 10000000 x 3 px; expected at most 1,000,000 px per side and 300,000,000 px in total"),
        ([], {"head": "<filename>../../x.png</filename>"}, "filename: points outside the image folder: '../../x.png'; use --image-folder DIR to find the file in DIR by the end of its path"),
        ([], {"head": "<filename>a.png</filename><filename>b.png</filename>"}, "line 1: duplicate filename"),
    ],
)  # fmt: skip
def test_invalid_files(
    things: list[str], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    draw(tmp_path / "a.png")
    file = write(tmp_path / "a.xml", *things, **changes)
    with pytest.raises(InputError) as raised:
        open_files(file)
    assert str(raised.value) == f"{file}: {message}"


def test_a_file_without_image(tmp_path: Path) -> None:
    file = write(tmp_path / "b.xml", head="<filename>a.png</filename>")
    (tmp_path / "pages").mkdir()
    with pytest.raises(InputError) as raised:
        open_source(file, images=tmp_path / "pages")
    assert str(raised.value) == (
        f"{file}: filename: no image a.png in {tmp_path}/pages, {tmp_path}/pages/images and 3 more "
        "folders; name the folder of the images with --image-folder"
    )


def test_objects_beyond_the_image(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    file = write(tmp_path / "a.xml", thing((1, 2, 41, 6)), thing())
    assert len(read(opened(file), clip=True)[0]) == 2
    with pytest.raises(InputError) as raised:
        read(opened(file))
    assert str(raised.value) == (
        f"{file}: extends beyond the image of 40 x 30 px: 1 symbol (line 2, 'note'); use --clip to "
        "clip boxes to the image"
    )
