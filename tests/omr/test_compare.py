"""Tests of omr compare: verdicts, groups of runs, protocols, damaged folders, files."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scored_folders import NAMES, PREDICTIONS, TRUTHS, thinned, without_symbols, write_scored
from typer.testing import CliRunner, Result

from eval.metrics.coco import evaluate
from omr.cli import app
from omr.scoring.symbols_file import write_symbols


@pytest.fixture(autouse=True)
def current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["compare", "--samples", "100", *map(str, words)])


def compared(*words: object) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def error(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 1, result.output
    assert result.exception is not None
    return str(result.exception)


def test_an_evaluation_against_itself() -> None:
    a = write_scored(Path("a"), 0.2)
    report = compared(a, a)
    assert (report["headline"], report["verdict"]) == (
        f"No difference shown between {a} (A) and {a} (B)",
        "no difference shown",
    )
    assert report["difference"] == {"ap": 0, "low": 0, "high": 0}
    assert report["instance_weighted"] == report["difference"] | {"verdict": "no difference shown"}
    present = [row for row in report["classes"] if row["truths"]]
    assert len(present) == len(NAMES) - 1
    for row in present:
        assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
        assert row["verdict"] == "no difference shown"


@pytest.mark.parametrize("metric", ["ap", "ap50"])
def test_scores_are_those_of_the_evaluations(metric: str) -> None:
    a, b = write_scored(Path("a")), write_scored(Path("b"), 0.5)
    report = compared(a, b, "--metric", metric)
    first, second = (evaluate(TRUTHS, thinned(PREDICTIONS, x), NAMES) for x in (0.0, 0.5))
    means = [getattr(one.macro, metric) for one in (first, second)]
    assert [model["mean"] for model in report["models"]] == pytest.approx(means, abs=1e-12)
    assert report["difference"][metric] == pytest.approx(means[0] - means[1], abs=1e-12)
    assert (report["verdict"], report["ranking"]) == ("A is better", ["A", "B"])
    assert report["difference"]["low"] > 0
    for row, one, other in zip(report["classes"], first.classes, second.classes, strict=True):
        assert (row["name"], row["truths"]) == (one.name, one.n_truths)
        assert [row["a"], row["b"]] == pytest.approx(
            [getattr(one, metric), getattr(other, metric)], abs=1e-12
        )


def test_swapped_folders_negate_the_difference() -> None:
    a, b = write_scored(Path("a"), 0.1), write_scored(Path("b"), 0.4)
    report, swapped = compared(a, b), compared(b, a)
    assert (report["verdict"], swapped["verdict"]) == ("A is better", "B is better")
    assert swapped["headline"] == f"{a} (B) is better than {b} (A)"
    assert swapped["ranking"] == ["B", "A"]
    for key in ("difference", "frequent_macro", "instance_weighted"):
        one, other = report[key], swapped[key]
        assert [-other["ap"], -other["high"], -other["low"]] == pytest.approx(
            [one["ap"], one["low"], one["high"]], abs=1e-12
        )
    for one, other in zip(report["classes"], swapped["classes"], strict=True):
        if one["truths"]:
            assert [-other["difference"], -other["high"], -other["low"]] == pytest.approx(
                [one["difference"], one["low"], one["high"]], abs=1e-12
            )


def test_the_seed_changes_only_intervals() -> None:
    a, b = write_scored(Path("a")), write_scored(Path("b"), 0.2)
    first, same, other = (compared(a, b, "--seed", seed) for seed in (0, 0, 1))
    assert first == same
    assert first["difference"]["ap"] == other["difference"]["ap"]
    assert first["difference"]["low"] != other["difference"]["low"]
    assert (other["seed"], other["samples"]) == (1, 100)


def test_groups_of_runs() -> None:
    for seed in range(3):
        write_scored(Path(f"small/seed{seed}"), 0.7, seed)
        write_scored(Path(f"large/seed{seed}"), 0.02, seed)
    report = compared("small", "large")
    assert report["models"][0]["runs"] == ["seed0", "seed1", "seed2"]
    assert [len(model["macro"]) for model in report["models"]] == [3, 3]
    assert report["verdict"] == "B is better"
    text = re.sub(r"\s+", " ", run("small", "large").stdout)
    assert text.startswith(
        "small (A, 3 runs) compared with large (B, 3 runs): AP50-95 on 12 pages of "
    )
    assert "small (A) compared with large (B) mean A B" in re.sub(r"[\s│┃━┏┓┳]+", " ", text)
    assert re.search(r"runs of B: 0\.\d{3}, 0\.\d{3}, 0\.\d{3} \(spread 0\.0\d\d\)", text)
    assert "the verdict is on the recipes" in text
    Path("small/notes").mkdir()
    Path("small/.hidden").mkdir()
    assert compared("small", "large")["notes"] == [
        "small: skipped folders without an evaluation: notes"
    ]


def test_more_than_two_are_compared_with_the_first() -> None:
    a, b, c, d = (
        write_scored(Path(name), x) for name, x in zip("abcd", (0.3, 0.3, 0.7, 0), strict=True)
    )
    report = compared(a, b, c, d)
    assert [(one["a"], one["b"]) for one in report["comparisons"]] == [
        ("A", "B"),
        ("A", "C"),
        ("A", "D"),
    ]
    assert [one["verdict"] for one in report["comparisons"]] == [
        "no difference shown",
        "A is better",
        "D is better",
    ]
    assert report["headline"] == (
        "D is better than A; C is worse than A; no difference shown between A and B"
    )
    assert report["ranking"] == ["D", "A", "B", "C"]
    alone = compared(a, c)
    assert {key: alone[key] for key in report["comparisons"][1] if key != "b"} == {
        key: value if key != "classes" else alone["classes"]
        for key, value in report["comparisons"][1].items()
        if key not in {"b"}
    }
    text = run(a, b, c, d).stdout
    assert "Ranking by macro AP50-95" in text
    assert text.splitlines()[-1] == f"verdict: {report['headline']}"


def test_the_verdict_is_the_last_line() -> None:
    a, b = write_scored(Path("a")), write_scored(Path("b"), 0.6)
    result = run(a, b)
    assert result.stderr == ""
    evidence, verdict = result.stdout.splitlines()[-2:]
    assert re.fullmatch(
        r"Macro AP50-95: A 0\.\d{3}, B 0\.\d{3}, difference A - B \+0\.\d{3}, "
        r"95% interval \+0\.\d{3} to \+0\.\d{3}\.",
        evidence,
    )
    assert verdict == f"verdict: {a} (A) is better than {b} (B)"
    assert "another seed of the same recipe can give another verdict" in result.stdout


def test_one_page_has_no_interval() -> None:
    a, b = (write_scored(Path(name), x, truths=TRUTHS[:1]) for name, x in (("a", 0), ("b", 0.9)))
    report = compared(a, b)
    assert report["difference"]["ap"] > 0
    assert (report["difference"]["low"], report["verdict"]) == (None, "no difference shown")
    assert "no interval, because a single image has ground truth." in run(a, b).stdout


@pytest.mark.parametrize("n_pages", [0, 2])
def test_without_truths(n_pages: int) -> None:
    truths = without_symbols(TRUTHS[:n_pages])
    a, b = (write_scored(Path(name), x, truths=truths) for name, x in (("a", 0), ("b", 0.9)))
    report = compared(a, b, "--out", "out")
    assert report["difference"] == {"ap": None, "low": None, "high": None}
    assert report["headline"] == (
        "No difference shown: nothing can be compared without ground truth"
    )
    assert "No class has truths." in Path("out/comparison.html").read_text()
    assert "Nothing to compare: no class has ground truth." in run(a, b).stdout


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"settings": {"max_det": 450}}, "max_det (300, 450)"),
        (
            {"settings": {"is_truncated": True, "lowest_score": 0.25}},
            "confidence threshold (none, lowest score 0.25)",
        ),
        (
            {"metrics": "AP by centre", "settings": {"max_det": 9}},
            "max_det (300, 9); definition of the metrics (COCO AP, AP by centre)",
        ),
        ({"hash_changes": True}, r"hash of the protocol (\w{16}, 0)"),
    ],
)
def test_different_protocols(changes: dict[str, Any], problem: str) -> None:
    write_scored(Path("a"))
    is_unknown = changes.pop("hash_changes", False)
    write_scored(Path("b"), 0.5, **changes)
    if is_unknown:
        change_report(Path("b"), hash="0")
    expected = (
        f"b: protocol differs from a: {problem}; score both in the same way, or use --any-protocol"
    )
    message = error("a", "b")
    assert re.sub(r"\(\w{16}, 0", r"(\\w{16}, 0", message) == expected
    report = compared("a", "b", "--any-protocol")
    assert report["verdict"] == "A is better"
    assert len(report["protocol_differences"]) == problem.count(";") + 1
    note = run("a", "b", "--any-protocol").stderr
    assert "note: Different protocols: " in note
    assert "may come from the protocol instead of the models" in note


@pytest.mark.parametrize(("n_pages", "n_notes"), [(1, 0), (2, 1), (9, 1), (10, 0)])
def test_intervals_from_few_pages(n_pages: int, n_notes: int) -> None:
    a = write_scored(Path("a"), truths=TRUTHS[:n_pages])
    notes = [f"intervals from {n_pages} pages are unreliable; score at least 10"]
    assert compared(a, a)["notes"] == notes[:n_notes]


def test_predictions_that_were_cut_off() -> None:
    for name, lowest in (("a", 0.25), ("b", 0.5)):
        write_scored(Path(name), settings={"is_truncated": True, "lowest_score": lowest})
    assert compared("a", "b")["notes"] == [
        "a: predictions below 0.25 were cut off, which lowers the AP",
        "b: predictions below 0.5 were cut off, which lowers the AP",
    ]


def change_report(folder: Path, **protocol: Any) -> None:  # noqa: ANN401
    file = folder / "report.json"
    report = json.loads(file.read_text())
    report["protocol"] |= protocol
    file.write_text(json.dumps(report))


def test_settings_that_may_differ() -> None:
    write_scored(Path("a"))
    write_scored(Path("b"), 0.5, settings={"imgsz": 960, "conf": 0.0005}, versions={"omr": "9"})
    assert compared("a", "b", "--out", "out")["protocol_differences"] == []
    text = Path("out/comparison.md").read_text()
    assert "| imgsz | 640 | 960 |" in text
    assert "lowest score" not in text


@pytest.mark.parametrize(
    ("truths", "changes", "problem"),
    [
        (
            TRUTHS[1:],
            {"split": "test"},
            "split (val, test); images (1 only in the first, 0 only in the second)",
        ),
        (
            [replace(page, image=page.image.with_suffix(".jpg")) for page in TRUTHS],
            {"unit": "tile"},
            "unit (page, tile); images (12 only in the first, 12 only in the second)",
        ),
        ([page.only(slice(30)) for page in TRUTHS], {}, "symbols (480, 360)"),
        (TRUTHS, {"names": (*NAMES[:4], "dot")}, "2 classes only in one of them (dot, flag)"),
        (TRUTHS, {"names": (*NAMES[:3], "flag", "rest")}, "order of the classes"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--any-protocol",)])
def test_different_ground_truth(
    truths: list[Any], changes: dict[str, Any], problem: str, options: tuple[str, ...]
) -> None:
    write_scored(Path("a"))
    write_scored(Path("b"), truths=truths, **changes)
    assert error("a", "b", *options) == (
        f"b: ground truth differs from a: {problem}; score both on the same data, split and unit"
    )


def test_a_group_with_another_protocol() -> None:
    write_scored(Path("a"))
    write_scored(Path("b/seed0"), 0.1)
    write_scored(Path("b/seed1"), 0.1, 1, settings={"max_det": 450})
    assert error("a", "b").startswith("b/seed1: protocol differs from a: max_det (300, 450); ")


def test_a_run_must_not_count_twice() -> None:
    write_scored(Path("a"))
    write_scored(Path("b/seed0"), 0.1)
    write_scored(Path("b/seed1"), 0.1)
    assert error("a", "b") == (
        "b/seed1: evaluates the same weights as seed0; keep one evaluation per run"
    )


def test_bad_folders() -> None:
    write_scored(Path("a"))
    Path("empty").mkdir()
    expected = "expected 2 to 26 folders to compare, got {}; to compare the runs of a folder, name their folders"
    assert error("a") == expected.format(1)
    assert error(*["a"] * 27) == expected.format(27)
    assert error("a", "empty") == (
        "empty: contains no evaluation; expected report.json and symbols.npz of "
        "`omr eval --out`, or folders that contain them"
    )


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("symbols.npz", None, "missing; run omr eval --out again"),
        ("report.json", None, "missing; run omr eval --out again"),
        (
            "symbols.npz",
            b"PK",
            "damaged, or not a file of omr eval; run omr eval --out again",
        ),
        ("report.json", b"\xff{", "damaged, or not a report of omr eval; run omr eval --out again"),
        (
            "report.json",
            b"{",
            "damaged, or not a report of omr eval; run omr eval --out again",
        ),
        (
            "report.json",
            b"[]",
            "not a report of this version of omr eval (Expected `object`, got `array`); run omr eval "
            "--out again",
        ),
        (
            "report.json",
            b'{"protocol": {"hash": 1}}',
            "not a report of this version of omr eval (Expected `str`, got `int` - at "
            "`$.protocol.hash`); run omr eval --out again",
        ),
    ],
)
def test_damaged_folders(file: str, content: bytes | None, problem: str) -> None:
    write_scored(Path("a"))
    path = write_scored(Path("b"), 0.1) / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert error("a", "b") == f"b/{file}: {problem}"


def test_files_of_two_evaluations() -> None:
    write_scored(Path("a"))
    write_scored(Path("b"), 0.1)
    truths = [page.only(slice(3)) for page in TRUTHS]
    write_symbols(Path("b/symbols.npz"), truths, PREDICTIONS, NAMES)
    assert error("a", "b") == (
        "b/symbols.npz: is not from the same evaluation as report.json; run omr eval --out again"
    )


def test_report_files() -> None:
    a, b = write_scored(Path("a")), write_scored(Path("b"), 0.5)
    report = compared(a, b, "--out", "out")
    assert json.loads(Path("out/comparison.json").read_text()) == report
    assert sorted(file.name for file in Path("out").iterdir()) == [
        "comparison.html",
        "comparison.json",
        "comparison.md",
    ]
    markdown = Path("out/comparison.md").read_text()
    assert markdown.startswith(
        "# a (A) is better than b (B)\n\n"
        "a (A, best.pt) compared with b (B, best.pt): AP50-95 on 12 pages of data, split val\n"
    )
    assert "\n## a (A) compared with b (B)\n" in markdown
    html = Path("out/comparison.html").read_text()
    assert "<title>a (A, best.pt) compared with b (B, best.pt)</title>" in html
    assert "<h2>a (A) compared with b (B)</h2>" in html
    before = Path("out/comparison.html").read_bytes()
    assert error(b, a, "--out", "out") == (
        "out: already contains comparison.json, comparison.md and comparison.html; choose "
        "another folder, or use --force to replace them"
    )
    assert Path("out/comparison.html").read_bytes() == before
    assert run(b, a, "--out", "out", "--force").exit_code == 0
    assert Path("out/comparison.html").read_bytes() != before


def test_it_starts_without_torch_and_opencv() -> None:
    write_scored(Path("a"))
    code = (
        "import sys; from omr.cli import app; app(['compare', 'a', 'a', '--metric', 'ap50', "
        "'--samples', '100'], standalone_mode=False); "
        "print([m for m in ('torch', 'cv2', 'ultralytics', 'polars') if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    verdict = "verdict: No difference shown between a (A) and a (B)"
    assert done.stdout.splitlines()[-2:] == [verdict, "[]"]
