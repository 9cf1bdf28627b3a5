import json
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from deepscores import NOTE, content, engraved, several_pages, write
from engraved import engraved_pages
from second_run import during
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from converters.formats.datasets import open_dataset
from converters.images import Pixels
from eval.pictures.drawing import class_colour
from omr import page_picture
from omr.cli import app

STEM = ("42", [40, 10, 42, 60])
BARLINE = ("1001", [60, 10, 62, 60])
PAGE = "lg-7-aug-gonville--page-1.png"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["show", *map(str, arguments)])


def shown(*arguments: object) -> dict[str, object]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    description = json.loads(result.stdout)
    assert isinstance(description, dict)
    return description


def refused(*arguments: object) -> str:
    error = run(*arguments).exception
    assert isinstance(error, (ConfigError, InputError)), error
    return str(error)


@pytest.fixture(autouse=True)
def _current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pages, and their tiles, with the tiles of two pages held out."""
    folder = tmp_path_factory.mktemp("data")
    engraved_pages(folder / "pages", pages=4, width=400, height=300, fonts=("Leland",))
    arguments = ["convert", folder / "pages", folder / "tiles", "--tile", 200, "--val", 0.5]
    result = CliRunner().invoke(app, [*map(str, arguments), "--workers", "1"])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pages of two works."""
    names = [f"lg-{w}-aug-gonville--page-{n}.png" for w in (1000, 1001) for n in (1, 2)]
    return write(tmp_path_factory.mktemp("works"), several_pages(names, NOTE)).parent


def read(path: object) -> Pixels:
    return np.asarray(cv2.imread(str(path)), np.uint8)


def has_colour(picture: Pixels, label: int) -> bool:
    return bool((picture == class_colour(label)).all(axis=-1).any())


def test_a_page_without_symbols() -> None:
    write(Path("in"), content())
    result = run("in")
    assert result.stdout == f"no symbols on this page -> show-{PAGE}\n"
    assert read(f"show-{PAGE}").shape[1] >= 4 * 200


def test_the_json_of_a_page() -> None:
    data = engraved(NOTE, NOTE, ("1001", [195, 10, 205, 60]), BARLINE)
    description = shown(write(Path("in"), data))
    assert description == {
        "path": f"show-{PAGE}",
        "image": f"in/images/{PAGE}",
        "split": "train",
        "page": 1,
        "width": 200,
        "height": 100,
        "symbols": 4,
        "classes": {"noteheadBlackOnLine": 2, "barlineSingle": 2},
        "repeated": [{"class": "noteheadBlackOnLine", "box_xyxy": [10, 20, 30, 36]}],
        "beyond_the_page": [{"class": "barlineSingle", "box_xyxy": [195, 10, 205, 60]}],
        "without_text": 0,
        "scale": 4.0,
    }


def test_problems_are_notes() -> None:
    data = engraved(NOTE, NOTE, NOTE, ("1001", [195, 10, 205, 60]))
    result = run(write(Path("in"), data))
    assert result.stdout == f"symbols: 4, classes: 2 -> show-{PAGE}\n"
    assert result.stderr.splitlines() == [
        "note: duplicate of another symbol of the same class: 2 symbols (noteheadBlackOnLine "
        "[10.0, 20.0, 30.0, 36.0], noteheadBlackOnLine [10.0, 20.0, 30.0, 36.0])",
        "note: extends beyond the page: 1 symbol (barlineSingle [195.0, 10.0, 205.0, 60.0])",
    ]


def test_boxes_without_text_are_a_note() -> None:
    write(Path("in"), content(*[NOTE] * 99, size=(60, 60)))
    assert shown("in", "--no-names", "--scale", 1)["without_text"] == 0
    result = run("in", "--scale", 1, "--force")
    assert (
        "boxes have no text for lack of room; use a larger --scale to make room\n" in result.stderr
    )


def test_every_category_is_shown_without_a_class_map() -> None:
    data = content(NOTE, ("2", [1, 1, 9, 3]), STEM, (["9", None], [50, 5, 60, 9]))
    data["categories"]["9"] = {"name": "newWord", "annotation_set": "deepscores", "color": 200}
    path = write(Path("in"), data)
    classes = {"ledgerLine": 1, "newWord": 1, "noteheadBlackOnLine": 1, "stem": 1}
    assert shown(path)["classes"] == classes


def test_symbols_dropped_by_a_class_map_are_a_note() -> None:
    path = write(Path("in"), content(NOTE, ("2", [1, 1, 9, 3])))
    result = run(path, "--classes", "harmony")
    assert "symbols: 1, classes: 1" in result.stdout
    assert (
        "note: dropped on all pages of deepscores_train.json: not in class map (1)\n"
        in result.stderr
    )


def test_another_annotation_set() -> None:
    path = write(Path("in"), content((["2", "138"], [10, 10, 20, 20]), NOTE))
    result = run(path, "--annotation-set", "muscima++", "--json")
    assert json.loads(result.stdout)["classes"] == {"legerLine": 1}
    assert "deepscores_train.json: no id in the annotation set (1)" in result.stderr
    assert "no annotation set 'x' in ['deepscores', 'muscima++']" in refused(
        path, "--annotation-set", "x"
    )


def test_a_coco_file() -> None:
    write(Path("in"), content())
    row = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 5, 5]}
    image = {"id": 1, "file_name": PAGE, "width": 200, "height": 100}
    coco = {"images": [image], "annotations": [row], "categories": [{"id": 3, "name": "bar"}]}
    Path("in/val.json").write_text(json.dumps(coco))
    description = shown("in/val.json")
    assert (description["classes"], description["split"]) == ({"bar": 1}, "val")


@pytest.mark.parametrize(("arguments", "label"), [([], 1), (["--classes", "harmony"], 3)])
def test_only_some_classes(arguments: list[str], label: int) -> None:
    path = write(Path("in"), content(NOTE, STEM, STEM, ("135", [0, 20, 200, 88])))
    description = shown(path, *arguments, "--only", "stem", "--only", "staff", "--no-names")
    assert description["classes"] == {"stem": 2, "staff": 1}
    names = ["brace", "ledgerLine", "noteheadBlackOnLine", "noteheadBlackInSpace", "stem", "staff"]
    label = label if arguments else names.index("stem")
    picture = read(description["path"])
    assert has_colour(picture, label)
    assert not has_colour(picture, 0 if arguments else names.index("noteheadBlackOnLine"))


def test_all_symbols_of_an_engraved_page(data: Path) -> None:
    raw = json.loads((data / "pages" / "deepscores_train.json").read_text())
    names = {key: category["name"] for key, category in raw["categories"].items()}
    category_ids = [a["cat_id"][0] for a in raw["annotations"].values() if a["img_id"] == "2"]
    description = shown(data / "pages", "--page", "lg-2-aug-leland")
    assert description["image"] == f"{data}/pages/images/{raw['images'][1]['filename']}"
    assert description["classes"] == Counter(names[key] for key in category_ids)
    assert (description["repeated"], description["beyond_the_page"]) == ([], [])


def test_pages_by_number_and_by_name(works: Path) -> None:
    assert [shown(works, "--page", k, "--force")["page"] for k in (1, 4)] == [1, 4]
    description = shown(works, "--page", "1001-aug-gonville--page-2", "--force")
    assert (description["page"], description["path"]) == (
        4,
        "show-lg-1001-aug-gonville--page-2.png",
    )
    assert shown(works, "--page", "lg-1000-aug-gonville--page-1.png", "--force")["page"] == 1


def test_tiles_of_a_converted_folder(data: Path) -> None:
    first, last = shown(data / "tiles"), shown(data / "tiles" / "data.yaml", "--page", 24)
    assert (first["split"], last["split"], first["scale"]) == ("train", "val", 4.0)
    of_val = shown(data / "tiles", "--split", "val", "--page", 12, "--force")
    assert of_val["image"] == last["image"]
    second = shown(data / "tiles", "--page", 2)
    label_file = data / "tiles" / "labels" / "train" / Path(str(second["image"])).name
    labels = [int(n.split()[0]) for n in label_file.with_suffix(".txt").read_text().splitlines()]
    names = open_dataset(data / "tiles").names
    assert len(labels) > 1
    assert second["classes"] == Counter(names[label] for label in labels)


def test_splits_that_share_a_folder_are_counted_once(tmp_path: Path) -> None:
    write(Path("in"), content(NOTE))
    assert CliRunner().invoke(app, ["convert", "in", "out", "--workers", "1"]).exit_code == 0
    assert (
        refused("out", "--page", 2) == "out: --page 2: no such page; pages are numbered from 1 to 1"
    )
    assert shown("out", "--split", "val")["split"] == "val"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--page", "5"], "--page 5: no such page; pages are numbered from 1 to 4"),
        (["--page", "0"], "--page 0: no such page; pages are numbered from 1 to 4"),
        (["--page", "page-2"], "--page page-2: matches 2 images (lg-1000-aug-gonville--page-2.png, lg-1001-aug-gonville--page-2.png), give a longer part of the name; pages are numbered from 1 to 4"),
        (["--page", "lg-1001-aug-gonville--page-3"], "--page lg-1001-aug-gonville--page-3: matches no image, the nearest names are lg-1001-aug-gonville--page-2.png, lg-1001-aug-gonville--page-1.png, lg-1000-aug-gonville--page-2.png; pages are numbered from 1 to 4"),
        (["--split", "val"], "no split 'val'; available: train"),
    ],
)  # fmt: skip
def test_pages_that_do_not_exist(arguments: list[str], message: str, works: Path) -> None:
    assert refused(works, *arguments) == f"{works}: {message}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "stemm"], "--only: unknown class: stemm (did you mean stem?)"),
        (["--out", "page.jpg"], "--out page.jpg: expected a file name ending in .png"),
        (["--classes", "harmoni"], "unknown class map: harmoni (did you mean harmony?); expected one of coco, deepscores, harmony, harmony-core, muscima, or the path of a .yaml file"),
        (["--classes", "coco"], "class map coco has no entry for engraved data (available: coco); add sources.engraved to a copy of "),
    ],
)  # fmt: skip
def test_invalid_options(arguments: list[str], message: str, data: Path) -> None:
    assert refused(data / "pages", *arguments).startswith(message)
    assert list(Path().iterdir()) == []


def test_options_that_do_not_apply_to_a_converted_folder(data: Path) -> None:
    tiles = data / "tiles"
    assert refused(tiles, "--classes", "harmony").startswith(
        "class map harmony has no entry for yolo data (available: deepscoresv2, engraved, "
    )
    assert refused(tiles, "--annotation-set", "deepscores") == (
        "--annotation-set deepscores: yolo data have no annotation sets; omit the option"
    )
    assert refused(tiles, "--split", "test") == (
        f"{tiles}/data.yaml: no split 'test'; available: train, val"
    )


def test_missing_data() -> None:
    assert refused("nowhere") == "nowhere: no such file or folder"


def test_missing_images_and_other_sizes() -> None:
    write(Path("in"), content(NOTE))
    image = Path("in/images") / PAGE
    cv2.imwrite(str(image), np.zeros((9, 9), np.uint8))
    assert refused("in") == f"{image}: is 9 x 9 px, but its labels are for 200 x 100 px"
    image.unlink()
    assert refused("in") == f"{image}: no such image, so there is nothing to draw boxes on"
    assert not list(Path().glob("*.png"))


def test_a_picture_too_large_to_draw() -> None:
    write(Path("in"), content(size=(2000, 1000)))
    assert refused("in", "--scale", 16) == (
        "--scale 16: the picture would have 32000 x 16000 px; choose a smaller scale"
    )


def test_the_picture_is_replaced_only_with_force_and_the_page_never(data: Path) -> None:
    shutil.copytree(data / "pages", "pages")
    out = Path("new/page.png")
    assert run("pages", "--out", out).exit_code == 0
    before = out.read_bytes()
    assert refused("pages", "--out", out) == (
        "new/page.png: already exists; choose another file, or use --force to replace it"
    )
    assert run("pages", "--out", out, "--no-names", "--force").exit_code == 0
    assert out.read_bytes() != before
    [image] = Path("pages/images").glob("lg-1-*.png")
    pixels = image.read_bytes()
    assert refused("pages", "--out", image, "--force") == (
        f"{image}: is an input and will not be replaced; choose another file"
    )
    assert image.read_bytes() == pixels


def test_the_output_is_checked_before_the_page_is_searched(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("old.png").write_text("mine")
    message = "old.png: already exists; choose another file, or use --force to replace it"
    assert refused("missing", "--out", "old.png") == message
    seconds = during(
        monkeypatch,
        page_picture,
        "annotated_page",
        lambda: refused(data / "pages", "--out", "new.png", "--force"),
    )
    assert run(data / "pages", "--out", "new.png").exit_code == 0
    assert seconds[0].startswith("new.png: another omr process")


@pytest.mark.parametrize(
    ("size", "scale"),
    [((100, 320), 4), ((640, 640), 2), ((801, 30), 1), ((1960, 2772), 1), ((1, 1), 4)],
)
def test_small_images_are_enlarged(size: tuple[int, int], scale: float) -> None:
    write(Path("in"), content(size=size))
    assert shown("in")["scale"] == scale
    assert shown("in", "--scale", 0.5, "--force")["scale"] == 0.5


def test_the_probability_of_a_class_is_drawn(data: Path) -> None:
    description = shown(data / "pages", "--page", 2, "--classes", "harmony", "--scores", "clefG")
    plain = shown(data / "pages", "--page", 2, "--classes", "harmony", "--only", "clefG", "--force")
    scores = description.pop("scores")
    assert isinstance(scores, dict)
    assert (scores["class"], scores["tiles"] > 0, scores["highest"] > 0.5) == (
        "clefG",
        True,
        True,
    )
    assert description == plain
    result = run(data / "pages", "--page", 2, "--scores", "clefG", "--force")
    assert result.stdout == (
        f"clefG: probability at most {scores['highest']:.2f}, 1 label -> {plain['path']}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "stem"], "--scores shows the labels of its class; drop --only"),
        (["--weights", "w.onnx"], "--weights w.onnx: an ONNX file does not return the scores of every anchor point; use the weights that it was exported from"),
        (["--weights", "w.pt"], "w.pt: no such weights; give a run's weights/best.pt, or harmony-tiny"),
    ],
)  # fmt: skip
def test_probabilities_that_cannot_be_computed(
    arguments: list[str], message: str, data: Path
) -> None:
    Path("w.onnx").touch()
    assert refused(data / "pages", "--scores", "stem", *arguments).startswith(message)
    unknown = refused(data / "pages", "--scores", "stemm")
    assert unknown == "--scores: unknown class: stemm (did you mean stem?)"
