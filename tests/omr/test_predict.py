"""Tests of ``omr predict``, with a network that finds patches of ink."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ink_network import InkNetwork
from PIL import Image
from typer.testing import CliRunner, Result

from class_maps import ConfigError, OmrError
from converters.manifest import Preparation
from omr import prediction
from omr.cli import app

OWN_SIZE = ("--staff-space", "none")


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> InkNetwork:
    """Replace the network of every weights file."""
    ink = InkNetwork()
    monkeypatch.setattr(prediction, "open_network", lambda *_, **__: ink)
    (tmp_path / "w.onnx").touch()
    return ink


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def read(tmp_path: Path, *arguments: object) -> Result:
    """Read the pages of ``in`` to ``out``, in their own size unless the arguments say otherwise."""
    size = () if {"--staff-space", "--scale"} & {*arguments} else OWN_SIZE
    weights = "--weights", tmp_path / "w.onnx"
    return run(tmp_path / "in", tmp_path / "out", *weights, *size, *arguments)


def write_page(path: Path, *boxes: tuple[int, int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((160, 300), 255, np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = 0
    Image.fromarray(pixels).save(path)


BOXES = (40, 40, 52, 50), (100, 20, 250, 24)


def coco(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "out" / "predictions.json").read_text())
    return content


def error_of(result: Result, kind: type[OmrError]) -> str:
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def test_symbols_are_written_as_coco(tmp_path: Path) -> None:
    write_page(tmp_path / "in/a.png", *BOXES)
    write_page(tmp_path / "in/b/c.png")
    result = read(tmp_path, "--overlay", "none")
    assert result.exit_code == 0, result.output
    content = coco(tmp_path)
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b/c.png"]
    assert content["categories"] == [{"id": 1, "name": "black"}, {"id": 2, "name": "grey"}]
    rows = sorted(
        (a["image_id"], a["bbox"], a["category_id"], a["score"]) for a in content["annotations"]
    )
    assert rows == [(1, [40, 40, 12, 10], 1, 0.9), (1, [100, 20, 150, 4], 1, 0.9)]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        ".omr-files", "manifest.json", "predictions.json",
    ]  # fmt: skip
    lines = [line.split() for line in result.stdout.splitlines() if ".png" in line]
    assert [line[:4] for line in lines] == [["a.png", "2", "-", "5"], ["b/c.png", "0", "-", "0"]]
    assert "2 symbols on 2 pages in " in result.stdout
    assert result.stderr.endswith(f"coco -> {tmp_path}/out\n")


def test_the_json_result_and_the_manifest(tmp_path: Path) -> None:
    write_page(tmp_path / "in/a.png", *BOXES)
    result = read(tmp_path, "--overlay", "none", "--json")
    content = json.loads(result.stdout)
    [page] = content["pages"]
    assert page.pop("seconds") >= 0
    assert page == {
        "image": "a.png", "symbols": 2, "staff_space": None, "angle_degrees": 0.0, "tiles": 5,
        "error": None,
    }  # fmt: skip
    assert content["classes"] == ["black", "grey"]
    assert content["seconds"] >= 0
    assert content["conf"] == 0.25
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["pages"] == content["pages"] or manifest["pages"][0]["image"] == "a.png"
    assert manifest["options"] == {
        "formats": ["coco"],
        "staff_space": "none",
        "staff_space_of_training": None,
    }
    assert manifest["conf"] == 0.25
    assert manifest["weights"]["name"] == "w.onnx"


def test_the_manifest_describes_the_weights_that_were_loaded(
    tmp_path: Path, network: InkNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = network.find

    def replace_weights(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        (tmp_path / "w.onnx").write_text("other weights")
        return find(*arguments, **options)

    monkeypatch.setattr(network, "find", replace_weights)
    write_page(tmp_path / "in/a.png", *BOXES)
    assert read(tmp_path).exit_code == 0
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["weights"]["sha256"] == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("words", "of_weights", "used", "n_symbols"),
    [
        ([], None, 0.25, 2),
        ([], 0.5, 0.5, 2),
        ([], 0.0, 0.0, 2),
        ([], 0.95, 0.95, 0),
        (["--conf", 0.95], 0.5, 0.95, 0),
        (["--conf", 0], 0.95, 0.0, 2),
    ],
)
def test_the_threshold_is_that_of_the_weights_unless_chosen(
    words: list[object],
    of_weights: float | None,
    used: float,
    n_symbols: int,
    tmp_path: Path,
    network: InkNetwork,
) -> None:
    network.conf = of_weights
    write_page(tmp_path / "in/a.png", *BOXES)
    result = read(tmp_path, "--overlay", "none", "--json", *words)
    content = json.loads(result.stdout)
    assert content["conf"] == used
    assert [page["symbols"] for page in content["pages"]] == [n_symbols]


def test_a_broken_page_does_not_stop_the_others(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        write_page(tmp_path / "in" / name, *BOXES)
    (tmp_path / "in/b.png").write_bytes((tmp_path / "in/a.png").read_bytes()[:100])
    (tmp_path / "in/d.pdf").write_bytes(b"%PDF")
    result = read(tmp_path, "--overlay", "none", "--json")
    assert result.exit_code == 1
    message = error_of(result, OmrError)
    assert message.startswith("2 pages could not be read: b.png: is damaged or truncated")
    assert message.endswith(f"{tmp_path}/in/d.pdf: is damaged or not a PDF file")
    errors = {page["image"]: page["error"] for page in json.loads(result.stdout)["pages"]}
    assert [name for name, error in errors.items() if error] == ["b.png", f"{tmp_path}/in/d.pdf"]
    assert [image["file_name"] for image in coco(tmp_path)["images"]] == ["a.png", "c.png"]


def test_nothing_is_written_if_no_page_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/b.png").write_bytes(b"")
    message = error_of(read(tmp_path), OmrError)
    assert (
        message == "no page could be read: b.png: is damaged or not an image in a supported format"
    )
    assert not (tmp_path / "out").exists()


def test_an_existing_output_is_kept_without_force(tmp_path: Path) -> None:
    write_page(tmp_path / "in/a.png", *BOXES)
    assert read(tmp_path).exit_code == 0
    assert "already exists" in error_of(read(tmp_path), ConfigError)
    assert read(tmp_path, "--force").exit_code == 0
    (tmp_path / "out" / "corrected.json").touch()
    message = error_of(read(tmp_path, "--force"), ConfigError)
    assert "contains files that omr did not write (corrected.json)" in message


def test_an_output_around_the_pages_is_refused(tmp_path: Path) -> None:
    write_page(tmp_path / "in/a.png", *BOXES)
    assert read(tmp_path).exit_code == 0
    write_page(tmp_path / "out/b.png", *BOXES)
    result = run(
        tmp_path / "out/b.png", tmp_path / "out", "--weights", tmp_path / "w.onnx", "--force",
        *OWN_SIZE,
    )  # fmt: skip
    assert "b.png: is inside" in error_of(result, ConfigError)


def test_pages_of_a_pdf_are_written_as_images(tmp_path: Path) -> None:
    write_page(tmp_path / "in/a.pdf", *BOXES)
    assert read(tmp_path, "--overlay", "none", "--dpi", "144").exit_code == 0
    with Image.open(tmp_path / "out/images/a-1.png") as image:
        size = image.size
    [entry] = coco(tmp_path)["images"]
    assert entry["file_name"] == "a-1.png"
    assert (entry["width"], entry["height"]) == size == (600, 320)


def test_every_format(tmp_path: Path) -> None:
    write_page(tmp_path / "in/s/a.png", *BOXES)
    formats = "yolo,mung,labelme"
    assert read(tmp_path, "--overlay", "none", "--format", formats).exit_code == 0
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert {
        "labels/s/a.txt", "scores/s/a.txt", "classes.txt", "mung/pages/s/a.xml", "labelme/pages/s/a.json",
    } <= files  # fmt: skip
    assert "predictions.json" not in files
    assert (tmp_path / "out/classes.txt").read_text() == "black\ngrey\n"
    for folder in ("labels", "scores"):
        assert (tmp_path / f"out/{folder}/s/a.txt").read_text().count("\n") == 2


def test_an_overlay_shows_the_boxes(tmp_path: Path) -> None:
    write_page(tmp_path / "in/s/a.png", *BOXES)
    assert read(tmp_path, "--overlay", "png").exit_code == 0
    with Image.open(tmp_path / "out/overlay/s/a.png") as image:
        pixels = np.array(image.convert("RGB")).astype(int)
    coloured = np.ptp(pixels, axis=2) > 50
    is_frame = coloured.sum(axis=1) >= BOXES[1][2] - BOXES[1][0]  # its upper and its lower side
    assert is_frame.sum() == 2
    assert np.diff(np.flatnonzero(is_frame)).tolist() == [BOXES[1][3] - BOXES[1][1] + 1]


def viewers(tmp_path: Path) -> list[str]:
    files = (tmp_path / "out").rglob("*.html")
    return sorted(file.relative_to(tmp_path / "out").as_posix() for file in files)


def test_one_score_gets_one_viewer(tmp_path: Path) -> None:
    for i in range(12):
        write_page(tmp_path / f"in/{i}.png", *BOXES)
    (tmp_path / "in/3.png").write_bytes(b"")
    assert read(tmp_path, "--workers", "1").exit_code == 1
    assert viewers(tmp_path) == ["overlay.html"]
    text = (tmp_path / "out/overlay.html").read_text()
    names = re.findall(r'"name": ?"([^"]+)"', text)
    assert names == [f"{i}.png" for i in range(12) if i != 3]
    assert "<title>in</title>" in text


@pytest.mark.parametrize(
    ("source", "title"), [(".", "v1.2"), ("../v1.2", "v1.2"), ("a.png", "a.png")]
)
def test_the_title_of_a_viewer_is_the_name_of_its_source(
    source: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_page(tmp_path / "v1.2/a.png", *BOXES)
    monkeypatch.chdir(tmp_path / "v1.2")
    result = run(source, tmp_path / "out", "--weights", tmp_path / "w.onnx", *OWN_SIZE)
    assert result.exit_code == 0, result.output
    assert f"<title>{title}</title>" in (tmp_path / "out/overlay.html").read_text()


def test_each_score_gets_a_viewer(tmp_path: Path) -> None:
    for name in ("a.png", "s/b.png", "s/c.png", "s/d.pdf", "t/u/e.png"):
        write_page(tmp_path / "in" / name, *BOXES)
    (tmp_path / "in/v").mkdir()
    (tmp_path / "in/v/f.png").write_bytes(b"")
    assert read(tmp_path).exit_code == 1
    assert viewers(tmp_path) == [
        "overlay/pages.html", "overlay/s.html", "overlay/s/d.pdf.html", "overlay/t/u.html",
    ]  # fmt: skip


def test_the_order_and_the_workers_do_not_change_the_output(tmp_path: Path) -> None:
    for i in range(5):
        write_page(tmp_path / f"in/{i}.png", (40 + 20 * i, 40, 52 + 20 * i, 50))
    outputs = []
    for options in ([], ["--workers", "1", "--batch", "1"], ["--workers", "3", "--batch", "7"]):
        assert read(tmp_path, "--overlay", "none", "--force", *options).exit_code == 0
        outputs.append((tmp_path / "out/predictions.json").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def preparation(**changes: Any) -> Preparation:  # noqa: ANN401
    values = {"tile": 64, "staff_space": 12.0, "class_map": "harmony", "class_map_sha256": ""}
    return Preparation(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("preparations", "reason"),
    [
        ((), "do not record how the pages of their training were prepared"),
        ((None,), "do not record how the pages of their training were prepared"),
        (
            (preparation(), preparation(staff_space=10.5)),
            "were trained with staff spaces of 10.5, 12 px",
        ),
    ],
)
def test_an_unknown_staff_space_has_to_be_given(
    preparations: tuple[Preparation | None, ...], reason: str, network: InkNetwork, tmp_path: Path
) -> None:
    network.preparations = preparations
    write_page(tmp_path / "in/a.png", *BOXES)
    assert error_of(read(tmp_path, "--staff-space", "auto"), ConfigError) == (
        f"{tmp_path}/w.onnx: the weights {reason}; give the staff space of their training with "
        "--scale staff-space:PX, or read pages in their own size with --staff-space none"
    )
    assert read(tmp_path, "--scale", "staff-space:12", "--staff-space", 24).exit_code == 0
    [entry] = json.loads((tmp_path / "out/manifest.json").read_text())["pages"]
    assert (entry["staff_space"], entry["tiles"]) == (24, 3)


def test_other_data_than_music_does_not_matter(network: InkNetwork, tmp_path: Path) -> None:
    network.preparations = preparation(), preparation(staff_space=None, tile=None)
    write_page(tmp_path / "in/a.png", *BOXES)
    result = read(tmp_path, "--staff-space", "24")
    assert result.exit_code == 0, result.output


def test_the_angle_of_each_page_is_reported(network: InkNetwork, tmp_path: Path) -> None:
    network.preparations = (preparation(),)
    (tmp_path / "in").mkdir()
    for name, degrees in ("down.png", 2.0), ("level.png", 0.0), ("up.png", -1.5):
        page = np.full((400, 700), 255, np.uint8)
        slope = int(np.tan(np.radians(degrees)) * 640)
        for y in range(120, 180, 12):
            cv2.line(page, (30, y), (670, y + slope), 0, 2)
        Image.fromarray(page).save(tmp_path / "in" / name)
    (tmp_path / "in/broken.png").write_bytes(b"")
    result = read(tmp_path, "--staff-space", "12", "--overlay", "none", "--json")
    angles = {page["image"]: page["angle_degrees"] for page in json.loads(result.stdout)["pages"]}
    assert angles == {
        "down.png": pytest.approx(2, abs=0.15),
        "level.png": 0,
        "up.png": pytest.approx(-1.5, abs=0.15),
        "broken.png": None,
    }


def test_pages_without_staves_are_noted(network: InkNetwork, tmp_path: Path) -> None:
    network.preparations = (preparation(),)
    for i in range(7):
        write_page(tmp_path / f"in/{i}.png", *BOXES)
    result = read(tmp_path, "--staff-space", "auto", "--overlay", "none")
    assert "note: 0.png: no staves found, read in its own size" in result.stderr
    assert "note: 2 more notes are in manifest.json" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "cocoa"], "--format: unknown format: cocoa (did you mean coco?); expected one of yolo, coco, parquet, mung, labelme"),
        (["--conf", "1"], "--conf 1: expected a number of at least 0 and below 1"),
        (["--staff-space", "big"], "--staff-space big: expected auto, none, or pixels above 0 and below 1000"),
        (["--staff-space", "0"], "--staff-space 0: expected auto, none, or pixels above 0 and below 1000"),
        (["--scale", "12"], "--scale 12: expected native, or staff-space:PX with PX above 0 and below 1000"),
    ],
)  # fmt: skip
def test_wrong_options(
    arguments: list[str], message: str, network: InkNetwork, tmp_path: Path
) -> None:
    network.preparations = (preparation(),)
    write_page(tmp_path / "in/a.png", *BOXES)
    assert error_of(read(tmp_path, *arguments), ConfigError) == message
    assert not (tmp_path / "out").exists()


def test_the_python_function(network: InkNetwork, tmp_path: Path) -> None:
    write_page(tmp_path / "a.png", *BOXES)
    for image in (tmp_path / "a.png", str(tmp_path / "a.png")):
        page = prediction.predict(image, weights=tmp_path / "w.onnx", staff_space="none")
        assert sorted(map(tuple, page.boxes_xyxy.tolist())) == sorted(BOXES)
        assert str(page.image) == "a.png"
    pixels = np.full((100, 100), 255, np.uint8)
    assert len(prediction.predict(pixels, weights="w.onnx", staff_space="none").labels) == 0


def test_remarks_on_a_page_are_python_warnings(tmp_path: Path) -> None:
    page = np.full((400, 300), 255, np.uint8)
    page[:, 60:150:18] = 0
    with pytest.warns(UserWarning, match=r"^page: its staff lines are vertical, "):
        prediction.predict(page, weights=tmp_path / "w.onnx", staff_space="none")


@pytest.mark.parametrize(("n", "images"), [(1, "1 image"), (2, "2 images")])
def test_images_in_other_formats_are_counted(n: int, images: str, tmp_path: Path) -> None:
    write_page(tmp_path / "in/a.png", *BOXES)
    for i in range(n):
        (tmp_path / f"in/{i}.jp2").touch()
    result = read(tmp_path, "--json")
    assert json.loads(result.stdout)["notes"] == [f"skipped {images} in unsupported formats"]
