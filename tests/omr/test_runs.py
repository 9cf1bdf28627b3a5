"""Tests of omr runs: finished, running, interrupted and damaged run folders."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lock_holder import held_by_another_process
from typer.testing import CliRunner, Result

from class_maps import ConfigError
from omr.cli import app
from omr.run_listing import SORT_KEYS, RunEntry, differing_settings, find_runs, in_order, read_run

SETTINGS = {"data": "/d", "out": "/o", "model": "yolo11n", "epochs": 3, "seed": 0, "lr": 0.001}
HASHES = {"folder": "/d", "manifest": None, "classes": "1", "train": "2", "val": "3", "images": "4"}


def write_run(
    path: Path,
    *aps: float,
    finished: bool = True,
    validated: bool = True,
    **changes: Any,  # noqa: ANN401
) -> Path:
    """Write a run with an epoch for every AP."""
    (path / "weights").mkdir(parents=True)
    settings = SETTINGS | {"epochs": len(aps) if finished else 9} | changes
    (path / "omr.yaml").write_text(yaml.safe_dump(settings))
    (path / "run.json").write_text(json.dumps({"data": [HASHES], "starts": []}))
    columns = ",metrics/mAP50(B),metrics/mAP50-95(B)" if validated else ""
    rows = [
        f"{i + 1},{10.5 * (i + 1)}" + (f",{ap + 0.1},{ap}" if validated else "")
        for i, ap in enumerate(aps)
    ]
    if aps:
        (path / "results.csv").write_text("\n".join([f"epoch,time{columns}", *rows, ""]))
        (path / "weights/last.pt").touch()
    if not finished:
        (path / "weights/state.pt").touch()
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["runs", *map(str, words)])


def listed(*words: object) -> list[dict[str, Any]]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    runs: list[dict[str, Any]] = json.loads(result.stdout)["runs"]
    return runs


def test_a_folder_without_runs(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == f"{tmp_path}: contains no training runs"


def test_a_finished_run(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a/run", 0.1, 0.5, 0.3)
    [entry] = listed(tmp_path)
    assert (entry["path"], entry["status"], entry["problems"]) == (str(path), "finished", [])
    assert (entry["epochs"], entry["planned_epochs"], entry["seconds"]) == (3, 3, 31.5)
    assert entry["score"] == {"epoch": 2, "ap": 0.5, "ap50": 0.6, "page_ap": None}
    assert entry["settings"]["lr"] == 0.001
    assert entry["folders"] == ["/d"]
    assert len(entry["recipe"]) == len(entry["data"]) == 8
    result = run(tmp_path)
    assert " ".join(result.stdout.split()).endswith(
        f"{path} finished yolo11n {entry['recipe']} 0 {entry['data']} 3/3 32 - 0.500 0.600"
    )
    assert result.stderr == ""


def test_runs_of_one_recipe_differ_in_seed_folder_and_device(tmp_path: Path) -> None:
    first = read_run(write_run(tmp_path / "1", 0.1, out="/o1", seed=1, device="0"))
    second = read_run(write_run(tmp_path / "2", 0.1, out="/o2", seed=2, workers=0))
    other = read_run(write_run(tmp_path / "3", 0.1, lr=0.01))
    assert first.recipe == second.recipe != other.recipe
    assert first.data == other.data
    (tmp_path / "3/run.json").write_text(
        json.dumps({"data": [HASHES | {"folder": "/moved", "train": "x"}]})
    )
    assert read_run(tmp_path / "3").data != first.data


def test_a_run_without_validation_has_no_score(tmp_path: Path) -> None:
    entry = read_run(write_run(tmp_path, 0.1, validated=False))
    assert (entry.status, entry.score, entry.seconds) == ("finished", None, 10.5)


def test_the_best_epoch_is_the_one_with_the_highest_page_score(tmp_path: Path) -> None:
    path = write_run(tmp_path, 0.3, 0.2)
    head, *rows = (path / "results.csv").read_text().splitlines()
    lines = [f"{head},metrics/page_mAP50-95(B)", f"{rows[0]},0.1", f"{rows[1]},0.15", ""]
    (path / "results.csv").write_text("\n".join(lines))
    score = read_run(path).score
    assert score is not None
    assert (score.epoch, score.ap, score.page_ap) == (2, 0.2, 0.15)
    assert " ".join(run(tmp_path).stdout.split()).endswith("0.150 0.200 0.300")


def test_runs_are_sorted_by_page_score_where_all_have_one(tmp_path: Path) -> None:
    for name, ap, page_ap in (("a", 0.3, 0.1), ("b", 0.2, 0.15)):
        path = write_run(tmp_path / name, ap)
        head, row = (path / "results.csv").read_text().splitlines()
        (path / "results.csv").write_text(f"{head},metrics/page_mAP50-95(B)\n{row},{page_ap}\n")
    assert [entry.path.name for entry in in_order(find_runs([tmp_path]), "score")] == ["b", "a"]
    write_run(tmp_path / "c", 0.25)
    names = [entry.path.name for entry in in_order(find_runs([tmp_path]), "score")]
    assert names == ["a", "c", "b"]


def test_settings_in_which_recipes_differ(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", 0.1, seed=1, unfreeze_at=[3, 6], heads="")
    write_run(tmp_path / "b", 0.1, seed=2, unfreeze_at=[3, 6], heads="")
    assert "differ" not in run(tmp_path).stdout
    other = write_run(tmp_path / "c", 0.1, unfreeze_at=[], heads="harmony")
    recipes = [read_run(path).recipe for path in (first, other)]
    assert differing_settings(find_runs([tmp_path])) == {
        recipes[0]: {"unfreeze_at": "3,6", "heads": "-"},
        recipes[1]: {"unfreeze_at": "-", "heads": "harmony"},
    }
    words = " ".join(run(tmp_path).stdout.split())
    assert "recipes differ recipe heads unfreeze_at" in words
    assert f"{recipes[1]} harmony -" in words


def test_running_and_interrupted_runs(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", 0.1, finished=False)
    assert read_run(path).status == "interrupted"
    with held_by_another_process(path):
        assert read_run(path).status == "running"
        (path / "results.csv").unlink()  # not written yet
        entry = read_run(path)
        assert (entry.status, entry.epochs, entry.problems) == ("running", 0, ())


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("omr.yaml", None, "omr.yaml: missing"),
        ("omr.yaml", "a: [", "omr.yaml: damaged"),
        ("omr.yaml", "- a", "omr.yaml: damaged"),
        ("omr.yaml", "a: &a [*a]", "omr.yaml: damaged"),
        ("omr.yaml", "a: &a [x, x]\n" + "".join(f"a{i}: &a [*a, *a]\n" for i in range(40)), "omr.yaml: damaged"),
        ("run.json", None, "run.json: missing"),
        ("run.json", "{", "run.json: damaged"),
        ("run.json", '{"data": 3}', "run.json: damaged"),
        ("run.json", "[" * 100_000, "run.json: damaged"),
        ("run.json", "\x00\xff", "run.json: damaged"),
        ("results.csv", "epoch,time\n1,2\n2,", "results.csv: damaged"),
        ("results.csv", "epoch,time\n1,2,3,4\n", "results.csv: damaged"),
        ("results.csv", "epoch,time\n1e18,2\n", "results.csv: damaged"),
        ("results.csv", "epoch,time\ninf,2\n", "results.csv: damaged"),
        ("weights/last.pt", None, "weights/last.pt: missing"),
    ],
)  # fmt: skip
def test_damaged_runs_are_listed(
    file: str, content: str | None, problem: str, tmp_path: Path
) -> None:
    path = write_run(tmp_path / "run", 0.1, 0.2)
    write_run(tmp_path / "other", 0.1)
    if content is None:
        (path / file).unlink()
    else:
        (path / file).write_text(content, "latin-1")
    entries = {Path(entry["path"]).name: entry for entry in listed(tmp_path)}
    assert entries["other"]["status"] == "finished"
    assert entries["run"]["status"] == "broken"
    assert problem in entries["run"]["problems"]
    assert f"note: {path}: {problem}" in " ".join(run(tmp_path).stderr.split())


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    path = write_run(tmp_path, 0.1)
    (path / "run.json").unlink()
    (path / "run.json").mkdir()
    assert read_run(path).problems == ("run.json: is not a file; expected a file of omr train",)


def test_a_run_that_was_killed_in_its_first_epoch(tmp_path: Path) -> None:
    entry = read_run(write_run(tmp_path, epochs=3))
    assert (entry.status, entry.epochs) == ("broken", 0)
    assert entry.problems == ("weights/state.pt: missing, cannot be resumed",)


def test_lost_rows_of_results(tmp_path: Path) -> None:
    path = write_run(tmp_path, 0.1, 0.2, 0.3)
    head, *rows = (path / "results.csv").read_text().splitlines(keepends=True)
    (path / "results.csv").write_text("".join([head, *rows[:2]]))
    assert read_run(path).problems == (
        "results.csv: 2 of 3 epochs, and weights/state.pt: missing; the run finished and lost rows, "
        "or it cannot be resumed",
    )
    (path / "results.csv").write_text("".join([head, rows[0], rows[2]]))
    assert read_run(path).problems == ("results.csv: no rows of 1 epoch (2)",)


def test_runs_are_sorted(tmp_path: Path) -> None:
    for name, aps in {"a": [0.2], "b": [0.1, 0.3], "c": []}.items():
        write_run(tmp_path / name, *aps)
    names = {key: [e.path.name for e in in_order(find_runs([tmp_path]), key)] for key in SORT_KEYS}
    assert names["score"] == ["b", "a", "c"]
    assert names["path"] == ["a", "b", "c"]
    assert names["epochs"] == ["c", "a", "b"]
    assert names["seconds"] == ["a", "b", "c"]
    assert [Path(entry["path"]).name for entry in listed(tmp_path, "--sort", "epochs")] == [
        *names["epochs"]
    ]


def test_runs_are_filtered(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.1, unfreeze_at=[3, 6], validate=True)
    write_run(tmp_path / "b", 0.1, finished=False, model="omr-tiny")

    def names(*conditions: str) -> list[str]:
        words = [word for condition in conditions for word in ("--where", condition)]
        return [Path(entry["path"]).name for entry in listed(tmp_path, *words)]

    assert names("model=omr-tiny") == ["b"]
    assert names("status=finished") == names("unfreeze_at=3,6") == names("validate=true") == ["a"]
    assert names("status=finished", "model=omr-tiny") == []
    result = run(tmp_path, "--where", "model=x")
    assert (result.stdout, result.stderr) == ("", "note: no run matches --where (2 runs found)\n")
    result = run(tmp_path, "--where", "modl=x")
    assert str(result.exception) == "--where modl=x: unknown name: modl (did you mean model?)"
    result = run(tmp_path, "--where", "model")
    assert str(result.exception) == "--where model: expected NAME=VALUE"


def test_scores_on_different_data_are_not_comparable(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.1)
    path = write_run(tmp_path / "b", 0.1)
    (path / "run.json").write_text(json.dumps({"data": [HASHES | {"val": "x"}]}))
    note = "note: scores on different data (column data) cannot be compared"
    assert note in run(tmp_path).stderr
    assert note not in run(tmp_path / "a").stderr


def test_a_run_is_listed_once(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", 0.1)
    entries: list[RunEntry] = find_runs([tmp_path, path])
    assert [entry.path for entry in entries] == [path]


def test_runs_are_listed_without_torch(tmp_path: Path) -> None:
    write_run(tmp_path / "a", 0.1)
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['cv2'] = None\n"
        "from omr.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "runs", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 run" in done.stdout
