import inspect
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from class_maps import ConfigError
from converters.engraving.smufl import FONTS
from omr.cli import app
from omr.commands.engrave import engrave

SCORES = Path(__file__).parent.parent / "converters" / "engraving" / "scores"
NOTE = (
    "note: blend2d is not installed; pages are rasterised with NumPy, which is slower and changes "
    "pixels by a few grey levels. Run pip install 'omr-toolkit[engrave]' to install it."
)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["engrave", *map(str, words)])


def rasteriser(folder: Path) -> str:
    return str(json.loads((folder / "manifest.json").read_text())["rasteriser"])


def test_pages_are_rasterised_with_blend2d_by_default(tmp_path: Path) -> None:
    result = run(tmp_path / "out", "--pages", 1, "--size", "400x300")
    assert result.exit_code == 0, result.output
    assert "blend2d" not in result.stderr
    assert rasteriser(tmp_path / "out") == f"blend2d {version('blend2d-py')}"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_fallback_without_blend2d_is_noted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr("converters.engraving.raster.find_spec", lambda name: None)
    result = run(
        tmp_path / "out", "--pages", 3, "--size", "400x300", "--workers", workers, "--json"
    )
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0] == NOTE
    assert result.stderr.count("blend2d") == 1
    assert json.loads(result.stdout)["rasteriser"] == f"numpy {version('numpy')}"
    assert rasteriser(tmp_path / "out") == f"numpy {version('numpy')}"


def test_the_closing_summary(tmp_path: Path) -> None:
    result = run(tmp_path / "out", "--pages", 1, "--size", "400x300", "--val", 0.1)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    n_absent = list(json.loads((tmp_path / "out/manifest.json").read_text())["categories"].values())
    assert f"{n_absent.count(0)} categories do not occur; manifest.json lists them" in lines
    assert "overlapping symbols: 0 (0.00%)" in lines
    assert result.stderr == (
        "note: --val 0.1: too few pages to hold any out; all pages are in the training split\n"
    )


def test_characters_that_are_not_drawn_are_noted(tmp_path: Path) -> None:
    score = SCORES / "lyrics-in-many-scripts.musicxml"
    result = run(
        tmp_path / "out", "--scores", score, "--pages", 1, "--size", "1200x900", "--seed", 1
    )
    assert result.exit_code == 0, result.output
    missing = json.loads((tmp_path / "out/manifest.json").read_text())["characters_not_drawn"]
    assert missing["春 U+6625 CJK UNIFIED IDEOGRAPH-6625"] == 1
    assert (
        "note: characters that the text typeface lacks, and that are not drawn: "
        "\u05d5 U+05D5 HEBREW LETTER VAV (1), "
    ) in " ".join(result.stderr.split())


def test_unused_files_and_skipped_elements_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    folder.mkdir()
    for name in ("small-staff-and-ossia.mei", "mensural.mei", "timewise.musicxml"):
        shutil.copy(SCORES / name, folder / name)
    shutil.copy(SCORES / "plain.krn", folder / "plain.KRN")
    (folder / "page.svg").write_text("<svg/>")
    result = run(tmp_path / "out", "--scores", folder, "--pages", 1, "--size", "1200x900")
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [*manifest["failures"]] == ["mensural.mei", "timewise.musicxml"]
    assert manifest["warnings"] == {
        "small-staff-and-ossia.mei": [
            "Unsupported '<ossia>' within <staff>",
            "only 20 of its 28 notes are drawn",
        ]
    }
    used = list(manifest["works"].values())
    assert sorted(used + manifest["not_drawn"]) == ["plain.KRN", "small-staff-and-ossia.mei"]
    output = " ".join((result.stdout + result.stderr).split())
    for line in (
        "note: timewise.musicxml: MusicXML of the type score-timewise; convert it to score-partwise first",
        "note: scores that verovio reads with warnings: 1, e.g. small-staff-and-ossia.mei: "
        "Unsupported '<ossia>' within <staff>; manifest.json lists them",
        "scores not drawn: 1 (manifest.json lists them); pieces drawn: 1",
        "files of other types: .svg (1)",
    ):
        assert line in output


@pytest.mark.parametrize("size", ["", "400", "400x", "400X300", "0x400000"])
def test_a_malformed_size(tmp_path: Path, size: str) -> None:
    error = run(tmp_path / "out", "--size", size).exception
    assert isinstance(error, ConfigError)
    assert (
        str(error) == f"--size {size}: malformed; expected WIDTHxHEIGHT in pixels, e.g. 1960x2772"
    )


def test_help_lists_every_music_font() -> None:
    [option] = inspect.signature(engrave, eval_str=True).parameters["fonts"].annotation.__metadata__
    assert option.help == f"Music fonts, comma-separated: {', '.join(FONTS)}."


def test_classes_below_the_balance_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nclasses: [staff, grace]\nsources:\n  engraved:\n    annotation_set: engraved\n"
        "    map: {staff: staff, graceNoteAcciaccaturaStemUp: grace}\n"
    )
    result = run(
        tmp_path / "out", "--pages", 1, "--size", "400x300", "--balance", 100, "--classes", path
    )
    assert result.exit_code == 0, result.output
    assert result.stderr == "note: --balance: classes with fewer than 1 symbol: grace (0)\n"
    goal = json.loads((tmp_path / "out/manifest.json").read_text())["balance"]
    assert goal["below"] == ["grace"]
    assert goal["classes"]["staff"] > 0


def test_classes_need_a_balance(tmp_path: Path) -> None:
    result = run(tmp_path / "out", "--classes", "harmony")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == (
        "--classes harmony: applies to --balance only; set --balance too"
    )
