import json
import subprocess
import sys
from pathlib import Path

import pytest
from deepscores import NOTE, content, write
from small_demo import shrink_demo
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from omr.cli import app
from omr.demo import options as demo
from omr.demo.folder import DemoFolder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


def test_unreadable_data_keeps_the_last_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / ".omr-demo").touch()
    (out / "REPORT.md").write_text("the last demo")
    error = run("--data", tmp_path / "gone", "--out", out, "--force").exception
    assert isinstance(error, InputError)
    assert (out / "REPORT.md").read_text() == "the last demo"


def test_data_inside_the_demo_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".omr-demo").touch()
    write(tmp_path / "mine", content(NOTE), "deepscores_train.json")
    error = run("--data", tmp_path / "mine", "--out", tmp_path, "--force").exception
    assert isinstance(error, ConfigError)
    assert str(error) == (
        f"--data {tmp_path}/mine: is inside the demo's folder {tmp_path}; choose another --out"
    )
    assert (tmp_path / "mine" / "deepscores_train.json").is_file()


def test_data_without_training_pages_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "in", content(NOTE), "deepscores_test.json")
    error = run("--data", tmp_path / "in", "--out", tmp_path / "out").exception
    assert isinstance(error, ConfigError)
    assert str(error) == (
        f"--data {tmp_path}/in: contains no training pages; add some, the demo trains on them"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("force", "message"),
    [
        ([], "{}: already exists; choose another folder, or use --force to replace it"),
        (
            ["--force"],
            "{}: contains no .omr-demo, so omr did not create it and will not replace it; "
            "choose another folder",
        ),
    ],
)
def test_a_folder_that_no_demo_made_is_kept(force: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear")
    error = run("--out", tmp_path, *force).exception
    assert isinstance(error, ConfigError)
    assert str(error) == message.format(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "dear"


def test_without_data_pages_are_engraved_and_some_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_demo(monkeypatch)
    out = tmp_path / "demo"
    result = run("--out", out, "--pages", demo.FEWEST_PAGES, "--steps", 1)
    report = (out / "REPORT.md").read_text()
    assert "in a font (Petaluma) that no training page uses" in report
    assert f"omr engrave {out}/pages --pages 9 --size 800x500 --val 0.12" in report
    assert "| macro mean, 30+ symbols | 0.0" in report
    engraved = json.loads((out / "pages" / "manifest.json").read_text())
    assert engraved["splits"]["val"]["fonts"] == {"Petaluma": 1}
    converted = json.loads((out / "data" / "manifest.json").read_text())
    assert converted["splits"]["val"]["pages"] == 1
    score = json.loads((out / "score" / "report.json").read_text())
    assert score["split"] == "val"
    headline = score["work_next"]["headline"]
    assert headline.startswith("Work on ")
    assert report.startswith(f"# omr demo\n\n**{headline}**\n")
    assert result.stdout.splitlines()[-2:] == [
        headline,
        f"Next, open {out}/score/report.html in a browser; {out}/REPORT.md lists the other outputs "
        "and all commands",
    ]
    first = score["work_next"]["priorities"][0]
    assert f"\n| {first['name']} | " in report


def test_joint_training_on_music_and_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_demo(monkeypatch)
    out = tmp_path / "demo"
    result = run("--out", out, "--pages", demo.FEWEST_PAGES, "--steps", 1, "--joint")
    assert result.exit_code == 0, result.exception
    report = (out / "REPORT.md").read_text()
    assert f"omr train {out}/data {out}/coco --sampling-weights 2:1 --true-negatives" in report
    assert "| drawn shapes, macro mean | " in report
    [row] = [line for line in report.splitlines() if line.startswith("| 1 |")]
    assert row.count("|") == 4
    assert json.loads((out / "coco_score" / "report.json").read_text())["truths"] == 8
    (out / "shapes" / "thesis.tex").touch()
    (out / "thesis.tex").touch()
    folder = DemoFolder(root=out)
    with pytest.raises(ConfigError) as raised:
        folder.prepare(force=True)
    assert str(raised.value) == (
        f"{out}: contains files that omr did not write (shapes/thesis.tex), so it was not "
        "replaced; move them, or choose another folder"
    )
    (out / "shapes" / "thesis.tex").unlink()
    folder.prepare(force=True)
    assert sorted(path.name for path in out.iterdir()) == [".omr-demo", "thesis.tex"]


def test_joint_training_with_another_class_map_is_refused(tmp_path: Path) -> None:
    error = run("--joint", "--classes", "deepscores", "--out", tmp_path / "demo").exception
    assert str(error) == "--joint: needs held-out pages and --classes harmony"
    assert not (tmp_path / "demo").exists()


def test_too_few_pages_to_hold_one_out_keep_the_last_demo(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / ".omr-demo").touch()
    (out / "REPORT.md").write_text("the last demo")
    result = run("--out", out, "--pages", demo.FEWEST_PAGES - 1, "--force")
    assert result.exit_code == 2
    assert (out / "REPORT.md").read_text() == "the last demo"


def test_missing_packages_keep_the_last_demo(tmp_path: Path) -> None:
    (tmp_path / ".omr-demo").touch()
    (tmp_path / "REPORT.md").write_text("the last demo")
    code = (
        "import sys; sys.modules['verovio'] = None; from omr.cli import main; "
        f"sys.argv = ['omr', 'demo', '--out', {str(tmp_path)!r}, '--force']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: engraving needs verovio, which is not installed; run pip install "
        "'omr-toolkit[engrave]'"
    )
    assert (tmp_path / "REPORT.md").read_text() == "the last demo"
