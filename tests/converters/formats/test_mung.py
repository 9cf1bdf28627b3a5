"""MuNG files compared with values worked out by hand."""

from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from strategies import pages

from class_maps import ConfigError, InputError
from converters.formats.mung import MungWriter
from converters.page import Page

NAMES = ("note", "a<b&c")


def page(*boxes: tuple[float, ...], name: str = "a.png", score: float | None = None) -> Page:
    return Page(
        image=PurePosixPath(name),
        width=40,
        height=30,
        boxes_xyxy=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.arange(len(boxes)) % 2,
        scores=None if score is None else np.full(len(boxes), score),
    )


def written(folder: Path, *added: Page, split: str = "train") -> list[str]:
    writer = MungWriter(folder, NAMES)
    for one in added:
        writer.add(split, one)
    writer.close()
    files = [folder / "mung" / split / one.image.with_suffix(".xml") for one in added]
    return [file.read_text("utf-8") for file in files]


def test_a_page_without_symbols(tmp_path: Path) -> None:
    assert written(tmp_path, page()) == [
        '<?xml version="1.0" encoding="utf-8"?>\n<Nodes dataset="omr" document="a">\n</Nodes>\n'
    ]


def test_a_page_written_by_hand(tmp_path: Path) -> None:
    boxes = (1.05, 2.89, 3.05, 4.11), (5.0, 6.0, 9.0, 8.0)
    [text] = written(tmp_path, page(*boxes, score=0.87654321))
    data = '<Data><DataItem key="score" type="float">0.876543</DataItem></Data>'
    assert text.splitlines()[2:] == [
        "<Node><Id>0</Id><ClassName>note</ClassName><Top>2</Top><Left>1</Left><Width>2</Width>"
        f"<Height>3</Height><Mask>0:0 1:6</Mask>{data}</Node>",
        "<Node><Id>1</Id><ClassName>a&lt;b&amp;c</ClassName><Top>6</Top><Left>5</Left>"
        f"<Width>4</Width><Height>2</Height><Mask>0:0 1:8</Mask>{data}</Node>",
        "</Nodes>",
    ]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((5.05, 5.05, 5.1, 5.1), (5, 5, 1, 1)),
        ((39.97, 29.97, 40.0, 30.0), (39, 29, 1, 1)),
        ((-0.00001, 0.0, 40.00001, 30.0), (0, 0, 40, 30)),
    ],
)
def test_boxes_are_at_least_a_pixel_of_the_page(
    box: tuple[float, ...], expected: tuple[int, ...], tmp_path: Path
) -> None:
    [text] = written(tmp_path, page(box))
    [node] = ElementTree.fromstring(text)
    sides = [int(node.findtext(side) or "") for side in ("Left", "Top", "Width", "Height")]
    assert tuple(sides) == expected


@given(drawn=pages())
def test_whole_pixels_are_unchanged(drawn: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    [text] = written(tmp_path_factory.mktemp("mung"), drawn)
    nodes = list(ElementTree.fromstring(text))
    assert len(nodes) == len(drawn.labels)
    for node, box, label in zip(nodes, drawn.boxes_xyxy, drawn.labels, strict=True):
        left, top, width, height = (
            int(node.findtext(side) or "") for side in ("Left", "Top", "Width", "Height")
        )
        assert node.findtext("Mask") == f"0:0 1:{width * height}"
        assert node.findtext("ClassName") == NAMES[label]
        assert (left + width <= drawn.width, top + height <= drawn.height) == (True, True)
        if (box[2:] > box[:2]).all():
            assert [left, top, left + width, top + height] == box.tolist()


@pytest.mark.parametrize(
    "name", ["é \u0301.png", "sub/a.png", 'a "b" & <c>.png', f"{'x' * 246}.png", "a\nb.png"]
)
def test_names_of_images(name: str, tmp_path: Path) -> None:
    [text] = written(tmp_path, page(name=name))
    document = ElementTree.fromstring(text).get("document")
    assert document == name.removesuffix(".png")


def test_images_of_equal_names_in_subfolders(tmp_path: Path) -> None:
    names = ["sub/a.png", "sub_a.png", "a.png", "sub/sub/a.png"]
    texts = written(tmp_path, *(page(name=name) for name in names), split="")
    assert len(list((tmp_path / "mung").rglob("*.xml"))) == 4
    assert [ElementTree.fromstring(text).get("document") for text in texts] == [
        name.removesuffix(".png") for name in names
    ]


def test_images_that_differ_in_their_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        written(tmp_path, page(name="s/a.png"), page(name="s/a.jpg"))
    assert str(raised.value) == (
        "s/a.jpg: another image is written to a.xml too, because their names differ only in suffix "
        "or letter case; rename one of them"
    )


@pytest.mark.parametrize("character", ["\x01", "\udcff", "\uffff"])
def test_characters_that_xml_cannot_represent(character: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains a character that XML cannot represent"):
        written(tmp_path, page(name=f"a{character}.png"))
    with pytest.raises(ConfigError, match="contains a character that XML cannot represent"):
        MungWriter(tmp_path, [f"a{character}"])
