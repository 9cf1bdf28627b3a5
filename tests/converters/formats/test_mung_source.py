"""MuNG files of MUSCIMA++, DoReMi and omr itself."""

from dataclasses import replace
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
from converters.formats.mung import MungWriter
from converters.formats.mung_source import MungFile, open_files
from converters.formats.sources import format_of, open_source
from converters.manifest import read_manifest
from converters.page import Page
from converters.splitting.dataset import split_dataset
from converters.splitting.plan import SplitOptions
from converters.tally import Tally

NAMES = ("note", "stem")
W1, W2 = "CVC-MUSCIMA_W-01_N-10_D-ideal", "CVC-MUSCIMA_W-02_N-06_D-ideal"


def draw(path: Path, width: int = 40, height: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write(np.full((height, width), 255, np.uint8), path)
    return path


def node(id_: object = 0, name: str = "stem", box: tuple[object, ...] = (1, 2, 3, 4), links: str = "", tag: str = "ClassName") -> str:  # fmt: skip
    """Return the fields of a node with the box (left, top, width, height)."""
    left, top, width, height = box
    out = f"<Outlinks>{links}</Outlinks>" if links else ""
    return (
        f"<Id>{id_}</Id>\n<{tag}>{name}</{tag}><Top>{top}</Top><Left>{left}</Left>"
        f"<Width>{width}</Width><Height>{height}</Height><Mask>0:0 1:9</Mask>{out}"
    )


def nodes(*bodies: str, document: str = "a", dataset: str = "MUSCIMA-pp_2.0") -> str:
    inside = "".join(f"<Node>{body}</Node>\n" for body in bodies)
    return f'<Nodes dataset="{dataset}" document="{document}">\n{inside}</Nodes>'


def crop_objects(*bodies: str, document: str = "a") -> str:
    inside = "".join(
        f'<CropObject xml:id="MUSCIMA-pp_1.0___{document}___{i}">{body}</CropObject>'
        for i, body in enumerate(bodies)
    )
    return f"<CropObjectList>\n<CropObjects>{inside}</CropObjects></CropObjectList>"


def doremi(*bodies: str, index: object = 0) -> str:
    inside = "".join(f"<Node>{body}</Node>" for body in bodies)
    return f'<Page pageIndex="{index}"><Nodes>{inside}</Nodes></Page>'


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def read(file: MungFile, names: tuple[str, ...], source: str, *, clip: bool = False) -> tuple[Any, Tally]:  # fmt: skip
    mapping = CategoryMapping(name=source, annotation_set=None, class_of={n: n for n in names})
    counts = Tally()
    labels = {name: i for i, name in enumerate(names)}
    [page] = file.pages(mapping, labels, counts, clip=clip)
    symbols = zip(page.labels.tolist(), page.boxes_xyxy.tolist(), strict=True)
    return [(names[label], *box) for label, box in symbols], counts


def options(name: str = "harmony", **changes: Any) -> ConversionOptions:  # noqa: ANN401
    return ConversionOptions(class_map=class_maps.load(name), labels_only=True, **changes)


@given(written=pages())
def test_written_pages_are_read_back(
    written: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("mung")
    draw(folder / "images" / "test" / "page.png", written.width, written.height)
    writer = MungWriter(folder, NAMES)
    writer.add("test", written)
    writer.close()
    for source in (folder, folder / "mung", folder / "mung" / "test"):
        [file] = open_files(source)
        mapping = CategoryMapping(name="mung", annotation_set=None, class_of={n: n for n in NAMES})
        [page] = file.pages(mapping, {"note": 0, "stem": 1}, Tally())
        assert (file.split, file.image_folder.parts[-2:]) == ("test", ("images", "test"))
        assert (page.image, page.width, page.height) == (
            written.image,
            written.width,
            written.height,
        )
        has_area = (written.boxes_xyxy[:, 2:] > written.boxes_xyxy[:, :2]).all(axis=1)
        np.testing.assert_array_equal(page.boxes_xyxy[has_area], written.boxes_xyxy[has_area])
        np.testing.assert_array_equal(page.labels, written.labels)


def test_pages_in_subfolders_are_read_back(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "train" / "sub" / "a.png")
    write(tmp_path / "mung/train/sub/a.xml", nodes(document="sub/a", dataset="omr"))
    name, [file] = open_source(tmp_path / "mung")
    assert (name, list(file.images)) == ("mung", [PurePosixPath("sub/a.png")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (nodes(node()), "muscima"),
        (crop_objects(node()), "muscima"),
        (nodes(node(), dataset="omr"), "mung"),
        ("<Nodes/>", "mung"),
        (doremi(node()), "doremi"),
        (f"<Pages>{doremi(node())}</Pages>", "doremi"),
    ],
)
def test_data_sets_are_recognised(text: str, expected: str, tmp_path: Path) -> None:
    file = write(tmp_path / "sub" / "a.xml", text)
    write(tmp_path / "other.xml", "<score-partwise/>")
    assert format_of(file).name == expected
    assert format_of(tmp_path).name == expected


def test_the_releases_of_muscima_give_the_same_symbols(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    old = ("notehead-full", "notehead-empty", "notehead-empty", "stem", "g-clef", "8th_flag")
    new = ("noteheadFull", "noteheadHalf", "noteheadWhole", "stem", "gClef", "flag8thUp")
    newest = (*new[:4], "clefG", "flag8thUp")
    expected, counts = None, Tally()
    for text in (
        crop_objects(*(node(i, n, (i, 1, 2, 3), "3" if i < 2 else "") for i, n in enumerate(old))),
        crop_objects(*(node(i, n, (i, 1, 2, 3), "3" if i < 2 else "", "MLClassName") for i, n in enumerate(old))),
        nodes(*(node(i, n, (i, 1, 2, 3)) for i, n in enumerate(new))),
        nodes(*(node(i, n, (i, 1, 2, 3)) for i, n in enumerate(newest))),
    ):  # fmt: skip
        write(tmp_path / "x.xml", text)
        _, [file] = open_source(tmp_path / "x.xml")
        source = class_maps.load("harmony").source("muscima")
        counts = Tally()
        [page] = file.pages(source, class_maps.load("harmony").labels, counts)
        found = page.labels.tolist(), page.boxes_xyxy.tolist()
        expected = expected or found
        assert found == expected
        assert len(page.labels) == counts.read == 6
    assert counts.changed == {("category of another release", "clefG"): 1}


def test_empty_noteheads_without_links_keep_their_class(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    file = write(tmp_path / "a.xml", crop_objects(node(0, "notehead-empty")))
    [opened] = open_files(file)
    mapping = CategoryMapping(name="muscima", annotation_set=None, class_of={})
    assert opened.categories(mapping) == ("notehead-empty",)


@pytest.mark.parametrize(
    ("text", "unlabelled"),
    [
        (crop_objects(node(0), node(1, "8th_flag")), {"flag8thUp", "flag8thDown"}),
        (crop_objects(node(0), node(1, "fermata")), {"fermataAbove", "fermataBelow"}),
        (nodes(node(0), node(1, "flag8thUp")), set()),
    ],
)
def test_classes_that_an_early_release_does_not_distinguish_are_unlabelled(
    text: str, unlabelled: set[str], tmp_path: Path
) -> None:
    draw(tmp_path / "a.png")
    write(tmp_path / "a.xml", text)
    convert(tmp_path, tmp_path / "out", options("deepscores"))
    recorded = set(read_manifest(tmp_path / "out").class_map.unlabelled)
    mapped = class_maps.load("deepscores").source("muscima")
    assert recorded - set(mapped.unlabelled) == unlabelled


def test_each_release_in_a_source_has_its_own_unlabelled_classes(tmp_path: Path) -> None:
    early, late = tmp_path / "in/early", tmp_path / "in/late"
    for folder, name in ((early, "a"), (late, "b"), (late, "c")):
        draw(folder / f"{name}.png", width=40 + ord(name))
    write(early / "a.xml", crop_objects(node(0), node(1, "8th_flag"), node(2, "fermata")))
    write(late / "b.xml", nodes(node(0), node(1, "flag8thUp"), document="b"))
    write(late / "c.xml", nodes(node(0), document="c"))
    unlabelled = {}
    for paths in ([tmp_path / "in"], [early, late]):
        out = tmp_path / str(len(paths))
        summary = convert(paths, out, options("deepscores"))
        manifest = read_manifest(out)
        unlabelled[len(paths)] = [
            [{*d.unlabelled} for d in manifest.data_sets if d.name == name]
            for name in ("in-earlier", "in", "early", "late")
        ]
        notes = [text for text in summary["warnings"] if "two releases" in text]
        if len(paths) > 1:
            assert not notes
            continue
        assert notes == [
            f"{tmp_path}/in: contains two releases; the pages of 1 of 3 files are in the folder "
            "in-earlier, because their release does not distinguish flag8thUp, flag8thDown, "
            "fermataAbove, fermataBelow, and these count as unlabelled there"
        ]
        assert {p.relative_to(out / "labels").as_posix() for p in out.rglob("labels/*/*/*.txt")} == {
            "train/in-earlier/a.txt", "train/in/b.txt", "train/in/c.txt"
        }  # fmt: skip
    assert unlabelled[1][:2] == unlabelled[2][2:]
    assert "flag8thUp" in unlabelled[1][0][0] - unlabelled[1][1][0]


def test_duplicates_are_counted(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    write(tmp_path / "a.xml", nodes(node(0), node(1), node(1), node(2, box=(9, 2, 3, 4))))
    summary = convert(tmp_path, tmp_path / "out", options())
    assert summary["symbols"]["read"] == 4
    assert summary["dropped_by_reason"] == {"exact duplicate": 2}


def test_pages_of_a_writer_stay_together(tmp_path: Path) -> None:
    names = [f"CVC-MUSCIMA_W-{w:02}_N-{n:02}_D-ideal" for w in range(1, 6) for n in range(1, 4)]
    for name in names:
        draw(tmp_path / "pages" / f"{name}.png")
        write(tmp_path / "in" / f"{name}.xml", nodes(node(), document=name))
    convert(tmp_path / "in", tmp_path / "out", options(val=0.3), images=tmp_path / "pages")
    splits = {
        split: {file.name[12:16] for file in (tmp_path / "out" / "labels" / split).iterdir()}
        for split in ("train", "val")
    }
    assert len(splits["val"]) >= 1
    assert splits["train"].isdisjoint(splits["val"])
    assert len(splits["train"] | splits["val"]) == 5


def test_documents_find_their_images_by_the_exact_name(tmp_path: Path) -> None:
    for name in (W1, W2, f"{W1}x"):
        draw(tmp_path / "images" / f"{name}.png")
    write(tmp_path / "data" / "1.xml", nodes(node(), document=W1))
    write(tmp_path / "data" / "2.xml", crop_objects(node(), document=W2))
    write(tmp_path / "data" / "classes.xml", "<NodeClasses/>")
    opened = open_files(tmp_path / "data")
    assert [str(image) for file in opened for image in file.images] == [f"{W1}.png", f"{W2}.png"]
    assert list(opened[0].warnings) == [
        f"skipped in {tmp_path / 'data'}: 1 XML file (classes.xml) of another format or with pages of other files",
        f"skipped in {tmp_path / 'images'}: 1 image ({W1}x.png) without a MuNG document",
    ]


def test_pages_of_doremi(tmp_path: Path) -> None:
    for page in (1, 2):
        draw(tmp_path / "Images" / f"A b-00{page}.png")
        name = f"Parsed_A b-layout-0-muscima_Page_{page}.xml"
        text = doremi(node(page, "noteheadBlack", (page, 2, 3, 4)), index=page - 1)
        write(tmp_path / "Parsed_by_page_omr_xml" / name, text)
    draw(tmp_path / "Images" / "B-001.png", 80, 90)
    write(tmp_path / "Parsed_by_page_omr_xml/Parsed_B-layout-0-muscima_Page_1.xml", doremi(node()))
    write(tmp_path / "OMR_XML" / "A b-layout-0-muscima.xml", f"<Pages>{doremi(node())}</Pages>")
    chosen = replace(options(val=0.3), labels_only=False)
    summary = convert(tmp_path, tmp_path / "out", chosen)
    assert sorted(f.name for f in (tmp_path / "out" / "labels").rglob("*.txt")) == [
        "A b-001.txt",
        "A b-002.txt",
        "B-001.txt",
    ]
    val = sorted(f.name for f in (tmp_path / "out" / "labels" / "val").iterdir())
    assert val in (["B-001.txt"], ["A b-001.txt", "A b-002.txt"])
    properties = read_manifest(tmp_path / "out").properties
    works = {page: p.work for of_split in properties.values() for page, p in of_split.items()}
    assert works == {"A b-001.png": "A b", "A b-002.png": "A b", "B-001.png": "B"}
    divided = split_dataset(tmp_path / "out", tmp_path / "divided", SplitOptions(val=0.3))
    assert divided.counts.groups == {"train": 1, "val": 1}
    assert [w for w in summary["warnings"] if "XML" in w] == [
        f"skipped in {tmp_path}: 1 XML file (OMR_XML/A b-layout-0-muscima.xml) of another format or with pages of other files"
    ]


def test_pieces_of_doremi(tmp_path: Path) -> None:
    for page in (2, 3):
        draw(tmp_path / "Images" / f"A-00{page}.png")
    empty, one, two = doremi(), doremi(node(), index=1), doremi(node(), node(1), index=2)
    path = tmp_path / "OMR_XML" / "A-layout-0-muscima.xml"
    write(path, f"<?xml version='1.0'?><Pages>{empty}\n{one}{two}</Pages>")
    [file] = open_files(path)
    assert list(map(str, file.images)) == ["A-002.png", "A-003.png"]
    assert set(file.works.values()) == {"A"}
    assert file.warnings == (f"{path}: skipped 1 page (line 1) without nodes and image",)
    counts = Tally()
    mapping = class_maps.load("harmony").source("doremi")
    found = file.pages(mapping, class_maps.load("harmony").labels, counts)
    assert [len(page.labels) for page in found] == [1, 2]


def test_staff_lines_of_doremi_are_stored_twice(tmp_path: Path) -> None:
    path = tmp_path / "Parsed_A-layout-0-muscima_Page_1.xml"
    draw(tmp_path / "A-001.png")
    line = node(7, "kStaffLine", (1, 2, 30, 1))
    write(path, doremi(line, line, node(8, "kStaffLine", (1, 2, 30, 1))))
    text = "name: m\nclasses: [line]\nsources: {doremi: {map: {kStaffLine: line}}}\n"
    class_map = str(write(tmp_path / "m.yaml", text))
    summary = convert(path, tmp_path / "out", options(class_map))
    assert summary["symbols"] == {"read": 3, "written": 1, "dropped": 2, "labels": 1, "cut": 0}
    assert summary["dropped_by_reason"] == {"exact duplicate": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nodes(node("")), "line 2: missing Id"),
        (nodes(node(name="")), "line 2, node 0: missing ClassName"),
        (nodes(node(box=("", 2, 3, 4))), "line 2, node 0: missing Left"),
        (nodes(node(box=("x", 2, 3, 4))), "line 2, node 0: Left: expected a number of pixels, got 'x'"),
        (nodes(node(box=(1, "inf", 3, 4))), "line 2, node 0: Top: expected a number of pixels, got 'inf'"),
        (nodes(node(box=(1, 2, -3, 4))), "line 2, node 0: Width -3; expected at least 0"),
        (nodes(node(box=(1, 2, 3, -1))), "line 2, node 0: Height -1; expected at least 0"),
        (nodes(node(5), node(5, "beam")), "line 4, node 5: duplicate id, first in line 2; give one of the nodes another id"),
        (nodes(node(), document="../../etc/a"), "document: points outside the image folder: '../../etc/a'; use --image-folder DIR to find the file in DIR by the end of its path"),
        (f"<Pages>{doremi(node(), index='x')}</Pages>", "line 1: pageIndex: expected a whole number, got 'x'"),
        (f"<Pages>{doremi(node(), index=1)}{doremi(node(), index=1)}</Pages>", "line 2: duplicate page: x-002.png"),
        ("<Pages><Node/></Pages>", "line 1: node outside of a page"),
    ],
)  # fmt: skip
def test_invalid_documents(text: str, message: str, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "x-002.png")
    file = write(tmp_path / "x.xml", text)
    with pytest.raises(InputError) as raised:
        open_files(file)
    assert str(raised.value) == f"{file}: {message}"


def test_a_document_without_image(tmp_path: Path) -> None:
    file = write(tmp_path / "x.xml", nodes(node(), document=W1))
    (tmp_path / "pages").mkdir()
    with pytest.raises(InputError) as raised:
        open_source(file, images=tmp_path / "pages")
    assert str(raised.value) == (
        f"{file}: document: no image {W1}.png or with another image suffix in {tmp_path}/pages, "
        f"{tmp_path}/pages/images and 3 more folders; name the folder of the images with --image-folder"
    )


def test_several_images_of_a_document(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "a.bmp")
    file = write(tmp_path / "x.xml", nodes(node()))
    with pytest.raises(InputError) as raised:
        open_files(file)
    assert str(raised.value) == (
        f"{file}: document: several images in {tmp_path}: a.png, a.bmp; keep one of them"
    )


def test_nodes_beyond_the_image(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    file = write(tmp_path / "a.xml", nodes(node(3, box=(38, 1, 3, 4)), node(4)))
    [opened] = open_files(file)
    assert len(read(opened, ("stem",), "muscima", clip=True)[0]) == 2
    with pytest.raises(InputError) as raised:
        read(opened, ("stem",), "muscima")
    assert str(raised.value) == (
        f"{file}: extends beyond the image of 40 x 30 px: 1 symbol (line 2, node 3); use --clip to "
        "clip boxes to the image"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<annotations/>", "is in CVAT's own format; export COCO 1.0 from CVAT instead"),
        (b"<score-partwise/>", "its root element is 'score-partwise'; expected CropObjectList or Nodes of MuNG, Page or Pages of DoReMi, or annotation of Pascal VOC"),
        (b"<Nodes>\xff", "line 1: is not UTF-8 text; save it as UTF-8"),
        (b"", "line 1: is empty or incomplete; export it again"),
    ],
)  # fmt: skip
def test_other_xml_files(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    file.write_bytes(content)
    for path in (file, tmp_path):
        with pytest.raises(InputError) as raised:
            open_source(path)
        assert str(raised.value) == f"{file}: {message}"


def test_too_many_pages(tmp_path: Path) -> None:
    pages = '<Page pageIndex="7"><Nodes/></Page>' * 20_000
    path = write(tmp_path / "P-layout-0-muscima.xml", f"<Pages>{pages}</Pages>")
    with pytest.raises(InputError) as raised:
        open_files(path)
    assert str(raised.value) == f"{path}: line 1: more than 2,000 pages; expected those of a piece"
