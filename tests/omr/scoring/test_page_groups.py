import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from engraved import engraved_pages
from tiled_data import write_data

import class_maps
from converters.conversion import ConversionOptions, convert
from converters.formats.sources import identity_map, open_source
from converters.manifest import read_manifest
from converters.names import page_of
from converters.prepare.preparation import PageProperties, PreparationOptions
from converters.prepare.tiles import TileOptions
from omr.scoring.evaluation_set import read_evaluation_set
from omr.scoring.page_groups import MOST_SOURCES, page_groups

UNKNOWN = PageProperties()


def groups_of(*names: str, **properties: PageProperties) -> dict[str, dict[str, str]]:
    of_images = [properties.get(name, UNKNOWN) for name in names]
    return page_groups([*map(PurePosixPath, names)], of_images)


def test_fonts_and_writers_are_read_from_names() -> None:
    names = [
        "lg-12-aug-bravura-000013--page-2.png",
        "lg-12-aug-leland-000014--page-2__x00010_y00020.png",
        "lg-7-aug-gonville--page-1.png",
        "CVC-MUSCIMA_W-01_N-10_D-ideal.png",
        "scan.png",
    ]
    assert groups_of() == {}
    assert groups_of(*names) == {
        names[0]: {"font": "bravura"},
        names[1]: {"font": "leland"},
        names[2]: {"font": "gonville"},
        names[3]: {"writer": "01"},
    }


def test_sources_are_folders_unless_they_are_too_many() -> None:
    assert groups_of("x/a.png", "x/b.png") == {}
    assert groups_of("x/a.png", "y/z/b.png", "c.png") == {
        "x/a.png": {"source": "x"},
        "y/z/b.png": {"source": "y"},
    }
    assert groups_of(*(f"{i}/a.png" for i in range(MOST_SOURCES + 1))) == {}


def test_sources_and_degradations_of_the_manifest() -> None:
    known = {
        "a": PageProperties(source="imslp", capture="scan"),
        "b": PageProperties(source="muscima", capture="scan"),
        "x/c": PageProperties(),
    }
    assert groups_of(*known, **known) == {
        "a": {"source": "imslp", "degrade": "scan"},
        "b": {"source": "muscima", "degrade": "scan"},
        "x/c": {"source": "x"},
    }
    assert groups_of("a", "b", **known) == {
        "a": {"source": "imslp"},
        "b": {"source": "muscima"},
    }


@pytest.fixture(scope="module")
def engraved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pages with different fonts and degradations."""
    folder = tmp_path_factory.mktemp("source") / "engraved"
    return engraved_pages(folder, pages=2, fonts=("Bravura", "Leland"), degrade="mixed", seed=4)


@pytest.mark.parametrize("tiles", [None, TileOptions(size=320, overlap=64)])
@pytest.mark.parametrize("staff_space", [None, 12.0])
def test_engraved_pages_are_sliced_by_font_degradation_and_size(
    tiles: TileOptions | None, staff_space: float | None, engraved: Path, tmp_path: Path
) -> None:
    preparation = PreparationOptions(tiles=tiles, staff_space=staff_space)
    options = ConversionOptions(class_map=class_maps.load("harmony"), preparation=preparation)
    convert(engraved, tmp_path / "data", options)
    content = json.loads((engraved / "deepscores_train.json").read_text())
    pages = {page["filename"]: page for page in content["images"]}
    for unit in ("page", "tile") if tiles else ("page",):
        evaluation = read_evaluation_set(tmp_path / "data", "val", unit)
        assert len(evaluation.groups) == len(evaluation.truths) > (unit == "tile") * 2
        for truth in evaluation.truths:
            page = pages[page_of(truth.image)]
            group = evaluation.groups[str(truth.image)]
            assert group["degrade"] == page["degradation"]["capture"]
            assert f"-aug-{group['font']}-" in page["filename"]
            assert truth.staff_space == (staff_space or page["staff_space"])
        assert {group["degrade"] for group in evaluation.groups.values()} == {"none", "fax"}
        assert {group["font"] for group in evaluation.groups.values()} == {"bravura", "leland"}


def test_the_folders_of_a_data_yaml_are_sources(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_data(tmp_path / name, tiles=None)
    names = (tmp_path / "first/whole/data.yaml").read_text().partition("names:")[2]
    folders = "[first/whole/images/val, second/whole/images/val]"
    (tmp_path / "data.yaml").write_text(f"train: {folders}\nval: {folders}\nnames:{names}")
    groups = read_evaluation_set(tmp_path, "val", None).groups
    values = [(group["source"], PurePosixPath(image).parts[0]) for image, group in groups.items()]
    assert sorted(values) == [("first", "first")] * 2 + [("second", "second")] * 2


def test_a_conversion_records_the_folders_of_its_pages(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_data(tmp_path / name, tiles=None)
        for file in (tmp_path / name).glob("whole/*/*/lg-*"):
            file.rename(file.with_name(f"{name}-{file.name}"))
    names = (tmp_path / "first/whole/data.yaml").read_text().partition("names:")[2]
    folders = "[first/whole/images/val, second/whole/images/val]"
    (tmp_path / "data.yaml").write_text(
        f"train: first/whole/images/train\nval: {folders}\nnames:{names}"
    )
    [_, files] = open_source(tmp_path)
    convert(tmp_path, tmp_path / "data", ConversionOptions(class_map=identity_map("yolo", files)))
    evaluation = read_evaluation_set(tmp_path / "data", "val", None)
    assert {
        image.partition("-")[0]: group["source"] for image, group in evaluation.groups.items()
    } == {
        "first": "first",
        "second": "second",
    }
    assert "train" not in read_manifest(tmp_path / "data").properties


def test_unknown_staff_spaces_are_those_of_the_predictions(tmp_path: Path) -> None:
    evaluation = read_evaluation_set(write_data(tmp_path, tiles=None), "val", None)
    assert [truth.staff_space for truth in evaluation.truths] == [None, None]
    pages = [replace(truth, staff_space=9.5) for truth in evaluation.truths]
    known = evaluation.with_staff_spaces(pages)
    assert [truth.staff_space for truth in known.truths] == [9.5, 9.5]
    assert known.with_staff_spaces(evaluation.truths).truths[0].staff_space == 9.5
