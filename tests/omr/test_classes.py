import json
from pathlib import Path

import coco_json
from deepscores import NOTE, content, engraved, write
from typer.testing import CliRunner, Result

from omr.cli import app


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["classes", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def test_list() -> None:
    assert "harmony-core 14 deepscoresv2, engraved" in " ".join(run("list").stdout.split())
    maps = json.loads(run("list", "--json").stdout)
    assert maps["coco"]["sources"] == ["coco"]
    assert len(maps["deepscores"]["classes"]) == 136


def test_show() -> None:
    shown = " ".join(run("show", "harmony").stdout.split())
    assert "class label deepscoresv2 engraved" in shown
    assert "noteheadBlack 0 noteheadBlackOnLine (finer), noteheadBlackInSpace (finer)" in shown
    assert "barlineSingle 37 never labelled barlineSingle" in shown
    classes = json.loads(run("show", "harmony-core", "--json").stdout)["classes"]
    assert classes[9] == {
        "label": 9,
        "name": "keySignature",
        "sources": {
            **dict.fromkeys(
                ("deepscoresv2", "engraved"),
                "keySharp (finer), keyFlat (finer), keyNatural (finer)",
            ),
            **dict.fromkeys(("muscima", "doremi"), "never labelled"),
        },
    }
    assert classes[4]["sources"]["muscima"] == "accidentalSharp (coarser)"


def test_check(tmp_path: Path) -> None:
    path = write(tmp_path, content(NOTE, NOTE, ("2", [1, 1, 9, 9])))
    shown = " ".join(run("check", "harmony", path).stdout.split())
    assert "noteheadBlack 2 noteheadBlackOnLine" in shown
    assert "ledgerLine 1" in shown
    assert "so no negatives either: barlineSingle, barlineDouble, barlineFinal" in shown
    assert "without a category in any source" not in shown
    result = json.loads(run("check", "harmony", path, "--json").stdout)
    assert result["dropped"] == {"ledgerLine": 1}
    assert result["unlabelled"] == ["barlineSingle", "barlineDouble", "barlineFinal"]
    assert "stem" in result["empty"]


def test_check_counts_every_reason_and_reports_skipped_files(tmp_path: Path) -> None:
    rows = [
        coco_json.annotation(id=1),
        coco_json.annotation(id=2, iscrowd=1),
        *(coco_json.annotation(id=i, bbox=[]) for i in (3, 4, 5)),
    ]
    coco_json.write(tmp_path / "data" / "a.json", annotations=rows)
    coco_json.write(tmp_path / "data" / "holdout" / "b.json")
    mini = tmp_path / "mini.yaml"
    mini.write_text("name: mini\nclasses: [noteheadBlack]\nsources: {coco: {map: same names}}\n")
    arguments = ["classes", "check", str(mini), str(tmp_path / "data"), "--json"]
    shown = CliRunner().invoke(app, arguments)
    result = json.loads(shown.stdout)
    assert result["dropped"] == {"noteheadBlack": 4}
    assert result["warnings"] == [
        "a.json: split train, because its name contains none",
        f"{tmp_path}/data: skipped 1 file (holdout/b.json)",
    ]
    assert "skipped 1 file" in shown.stderr


def test_check_lists_classes_that_no_source_fills(tmp_path: Path) -> None:
    custom = tmp_path / "own.yaml"
    custom.write_text(
        "name: custom\nclasses: [note, bar]\nsources:\n  deepscoresv2:\n    annotation_set: deepscores\n"
        "    map: {noteheadBlackOnLine: note}\n    unlabelled: [bar]\n"
    )
    shown = run("check", custom, write(tmp_path, content(NOTE))).stdout
    assert "without a category in any source: bar\n" in shown
    checked = json.loads(run("check", custom, tmp_path / "deepscores_train.json", "--json").stdout)
    assert checked["without_category"] == ["bar"]


def test_check_of_engraved_pages(tmp_path: Path) -> None:
    path = write(tmp_path, engraved(NOTE, ("1001", [1, 1, 3, 9]), ("1012", [5, 5, 9, 9])))
    result = json.loads(run("check", "harmony", path, "--json").stdout)
    assert (result["source"], result["annotation_set"]) == ("engraved", "engraved")
    assert {row["name"]: row["count"] for row in result["classes"] if row["count"]} == {
        "noteheadBlack": 1,
        "barlineSingle": 1,
    }
    assert (result["dropped"], result["unlabelled"]) == ({"lyrics": 1}, [])


def test_check_of_images_elsewhere(tmp_path: Path) -> None:
    coco_json.draw(tmp_path / "scans" / "x.png")
    (tmp_path / "own.yaml").write_text(
        "name: own\nclasses: [note]\nsources: {voc: {map: same names}}\n"
    )
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.xml").write_text(
        f"<annotation><object><name>note</name><bndbox>{box}</bndbox></object></annotation>"
    )
    folder = ("--image-folder", tmp_path / "scans")
    checked = run("check", tmp_path / "own.yaml", tmp_path / "in", *folder, "--json")
    assert json.loads(checked.stdout)["classes"][0]["count"] == 1
