import json
import sys
from pathlib import Path

import pytest
from deepscores import NOTE, content, write
from PIL import Image
from typer.testing import CliRunner, Result

from class_maps import ConfigError
from omr.cli import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    staff = ("135", [0, 20, 200, 88])
    return write(tmp_path / "in", content(NOTE, NOTE, staff, ("2", [1, 1, 9, 9])))


def test_json_is_the_only_output_on_stdout(source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["pages"] == 1
    assert summary["symbols"] == {"read": 4, "written": 2, "dropped": 2, "labels": 2, "cut": 0}
    assert summary["dropped_by_reason"] == {"exact duplicate": 1, "not in class map": 1}
    counts = {row["name"]: row["written"] for row in summary["classes"]}
    assert {name: n for name, n in counts.items() if n} == {"noteheadBlack": 1, "staff": 1}


def test_the_summary(source: Path, tmp_path: Path) -> None:
    result = run(source, tmp_path / "out")
    table = " ".join(result.stdout.split())
    for row in ("symbols read 4", "written 2", "dropped: exact duplicate 1", "noteheadBlack 1 1"):
        assert row in table
    assert "classes without symbols: noteheadHalf, " in table
    assert "not in the class map: ledgerLine (1)" in table
    note = "note: no page is held out: data.yaml trains and validates on the train pages"
    assert result.stderr.startswith(note)


def test_images_without_symbols_are_counted(tmp_path: Path) -> None:
    data = tmp_path / "in"
    for folder in ("images/train", "labels/train"):
        (data / folder).mkdir(parents=True)
    (data / "data.yaml").write_text("train: images/train\nnames: [noteheadBlack]\n")
    for i, labels in enumerate(("0 0.5 0.5 0.2 0.2\n", "", "")):
        Image.new("L", (40, 30), i).save(data / f"images/train/{i}.png")
        (data / f"labels/train/{i}.txt").write_text(labels)
    own = tmp_path / "own.yaml"
    own.write_text("name: own\nclasses: [noteheadBlack]\nsources: {yolo: {map: same names}}\n")
    result = run(data, tmp_path / "out", "--classes", own)
    assert "pages 3 images 3 without symbols 2 symbols read 1" in " ".join(result.stdout.split())


def test_several_sources(source: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", content(NOTE))
    result = run(source, other, tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["symbols"]["written"] == 3
    folders = sorted(path.name for path in (tmp_path / "out/images/train").iterdir())
    assert folders == ["in-deepscores_train", "other-deepscores_train"]


def test_links(source: Path, tmp_path: Path) -> None:
    assert run(source, tmp_path / "out", "--images", "link").exit_code == 0
    [image] = (tmp_path / "out" / "images" / "train").iterdir()
    assert image.samefile(tmp_path / "in" / "images" / image.name)


def test_every_format_and_option(source: Path, tmp_path: Path) -> None:
    formats = ("--format", "yolo", "--format", "coco", "--format", "parquet")
    tiles = (
        "--tile",
        64,
        "--overlap",
        16,
        "--min-visible",
        0.3,
        "--scale",
        "staff-space:10",
        "--blank-tiles",
        0.5,
    )
    cleaning = ("--dedup-iou", 0.9, "--min-side", 3, "--clip", "--annotation-set", "deepscores")
    rest = ("--source", "deepscoresv2", "--workers", 1, "--seed", 3, "--classes", "deepscores")
    result = run(source, tmp_path / "out", *formats, *tiles, *cleaning, *rest)
    assert result.exit_code == 0, result.output
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert made["options"] == {
        "formats": ["yolo", "coco", "parquet"],
        "cleaning": {"dedup_iou": 0.9, "min_side": 3.0, "clip": True},
        "staff_space": 10.0,
        "tiles": {"size": 64, "overlap": 16, "min_visible": 0.3, "blank_tiles": 0.5},
        "val": 0.0,
        "split_by": "work",
        "seed": 3,
        "labels_only": False,
        "images": "copy",
    }
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        ".omr-files", "annotations", "data.yaml", "images", "labels", "manifest.json", "parquet",
        "sheets.html",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--overlap", "8"], "--overlap 8: requires --tile"),
        (["--tile", "64", "--overlap", "64"], "--overlap 64: must be smaller than --tile 64"),
        (["--scale", "half"], "--scale half: expected native, or staff-space:PX with PX above 0 and below 1000"),
        (["--scale", "staff-space:0"], "--scale staff-space:0: expected native, or staff-space:PX with PX above 0 and below 1000"),
        (["--format", "cocoa"], "--format: unknown format: cocoa (did you mean coco?); expected one of yolo, coco, parquet, mung, labelme"),
        (["--source", "coco2"], "--source: unknown format: coco2 (did you mean coco?); expected one of deepscoresv2, engraved, coco, yolo, labelme, muscima, doremi, mung, voc, parquet"),
        (["--val", "0.5"], "--val: needs at least two works to hold one out, but the training set has 1"),
    ],
)  # fmt: skip
def test_invalid_options(arguments: list[str], message: str, source: Path, tmp_path: Path) -> None:
    error = run(source, tmp_path / "out", *arguments).exception
    assert isinstance(error, ConfigError)
    assert str(error) == message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("formats", [["yolo,coco"], ["yolo, coco"], ["yolo", "coco,yolo"]])
def test_a_list_of_formats(formats: list[str], source: Path, tmp_path: Path) -> None:
    arguments = [argument for name in formats for argument in ("--format", name)]
    assert run(source, tmp_path / "out", *arguments).exit_code == 0
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert made["options"]["formats"] == ["yolo", "coco"]
    assert (tmp_path / "out" / "data.yaml").is_file()
    assert (tmp_path / "out" / "annotations" / "instances_train.json").is_file()


def test_the_folder_of_the_images(source: Path, tmp_path: Path) -> None:
    (source.parent / "images").rename(tmp_path / "scans")
    error = run(source, tmp_path / "out").exception
    assert "name the folder of the images with --image-folder, or use --labels-only" in str(error)
    assert run(source, tmp_path / "out", "--image-folder", tmp_path / "scans").exit_code == 0


def test_out_is_replaced_only_with_force(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(source, out).exit_code == 0
    error = run(source, out).exception
    message = f"{out}: already exists; choose another folder, or use --force to replace it"
    assert str(error) == message
    assert run(source, out, "--force", "--labels-only").exit_code == 0
    assert not (out / "images").exists()


def test_ultralytics_accepts_the_output(source: Path, tmp_path: Path) -> None:
    """Its data set class finds every image and label."""
    assert run(source, tmp_path / "out").exit_code == 0
    pytest.importorskip("training")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    data = check_det_dataset(str(tmp_path / "out" / "data.yaml"))
    assert len(data["names"]) == 42
    dataset = YOLODataset(img_path=data["train"], data=data, imgsz=64, augment=False)
    assert [len(label["cls"]) for label in dataset.labels] == [2]
    assert "ultralytics" in sys.modules
