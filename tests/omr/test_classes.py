import json
from pathlib import Path

from deepscores import NOTE, content, write
from typer.testing import CliRunner, Result

from omr.cli import app


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, ["classes", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result


def test_list() -> None:
    assert "harmony-core 14 deepscoresv2" in " ".join(run("list").stdout.split())
    maps = json.loads(run("list", "--json").stdout)
    assert maps["coco"]["sources"] == ["coco"]
    assert len(maps["deepscores"]["classes"]) == 136


def test_show() -> None:
    shown = " ".join(run("show", "harmony").stdout.split())
    assert "noteheadBlack 0 noteheadBlackOnLine, noteheadBlackInSpace" in shown
    assert "barlineSingle 37 never labelled" in shown
    classes = json.loads(run("show", "harmony-core", "--json").stdout)["classes"]
    assert classes[9] == {
        "label": 9,
        "name": "keySignature",
        "sources": {"deepscoresv2": "keySharp, keyFlat, keyNatural"},
    }


def test_check(tmp_path: Path) -> None:
    path = write(tmp_path, content(NOTE, NOTE, ("2", [1, 1, 9, 9])))
    shown = " ".join(run("check", "harmony", path).stdout.split())
    assert "noteheadBlack 2 noteheadBlackOnLine" in shown
    assert "ledgerLine 1" in shown
    assert "no source can fill: barlineSingle, barlineDouble, barlineFinal" in shown
    found = json.loads(run("check", "harmony", path, "--json").stdout)
    assert found["dropped"] == {"ledgerLine": 1}
    assert found["unlabelled"] == ["barlineSingle", "barlineDouble", "barlineFinal"]
    assert "stem" in found["empty"]
