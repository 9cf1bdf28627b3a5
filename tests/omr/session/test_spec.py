"""Tests of session files: combined settings, groups of seeds, and faults."""

from pathlib import Path

import pytest

from class_maps import InputError
from omr.session.spec import Fault, SessionSpec, read_spec


def spec_of(text: str, folder: Path) -> SessionSpec:
    file = folder / "variants.yaml"
    file.write_text(text, "utf-8")
    return read_spec(file)


def faults_of(text: str, folder: Path) -> list[str]:
    return [str(fault) for fault in spec_of(text, folder).faults]


def test_runs_and_grid_are_combined(tmp_path: Path) -> None:
    spec = spec_of(
        """
base: {data: music, epochs: 3, lr: 0.01}
runs: {small: , large: {model: yolo11s, epochs: 4}}
grid: {seed: [0, 1], unfreeze_at: [[3, 6]]}
""",
        tmp_path,
    )
    assert spec.faults == ()
    assert spec.name == "variants"
    assert [(run.name, run.group) for run in spec.runs] == [
        ("small_unfreeze_at-3-6_seed-0", "small_unfreeze_at-3-6"),
        ("small_unfreeze_at-3-6_seed-1", "small_unfreeze_at-3-6"),
        ("large_unfreeze_at-3-6_seed-0", "large_unfreeze_at-3-6"),
        ("large_unfreeze_at-3-6_seed-1", "large_unfreeze_at-3-6"),
    ]
    music = str(Path("music").absolute())
    assert spec.runs[-1].settings == {
        "data": music, "model": "yolo11s", "epochs": 4, "lr": 0.01, "unfreeze_at": [3, 6], "seed": 1,
    }  # fmt: skip
    assert spec.scoring.data == music


@pytest.mark.parametrize(
    ("runs", "groups"),
    [
        ("grid: {seed: [0, 1, 2]}", ["seeds"] * 3),
        ("grid: {seed: [0]}", ["seed-0"]),
        ("grid: {model: [a, b], seed: [0, 1]}", ["model-a", "model-a", "model-b", "model-b"]),
        ("runs: {x1: {seed: 0}, x2: {seed: 7}, y: {lr: 0.1}}", ["x1", "x1", "y"]),
        ("runs: {a: {seed: 0}, a-more: {seed: 1}}", ["a", "a"]),
        ("runs: {a: {seed: 3}, a-b: {lr: 0.1, seed: 1}, a-c: {lr: 0.1}}", ["a", "a-b", "a-b"]),
    ],
)
def test_seeds_are_grouped(runs: str, groups: list[str], tmp_path: Path) -> None:
    text = f"base: {{data: d}}\n{runs}\n"
    spec = spec_of(text, tmp_path)
    assert spec.faults == ()
    expected = ["x" if group == "x1" else group for group in groups]
    assert [run.group for run in spec.runs] == expected


NAME_FAULT = (
    "not a valid name of a run; expected at most 100 letters, digits or . _ - + =, beginning with a "
    "letter, digit or _"
)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("base: {data: d}", ["no runs; give runs, grid or both"]),
        ("base: {data: d}\nruns: {}", ["runs: empty; name at least one run"]),
        ("base: {data: d}\ngrid: {}", ["grid: empty; give a list of values per setting"]),
        (
            "base: {data: d}\ngrid: {lr: [], seed: 3}",
            [
                "grid.lr: expected a list of values, got []",
                "grid.seed: expected a list of values, got 3",
            ],
        ),
        (
            f"base: {{data: d}}\ngrid: {{seed: {[*range(1000)]}, epochs: {[*range(1, 1001)]}}}",
            ["1,000,000 runs; expected at most 1,000"],
        ),
        (
            "base: {data: d}\nruns: {a: {epoch: 3}, b: {lr: fast, mosaik: 1}, c: {batch: 0}}",
            [
                "a: unknown settings: epoch (did you mean epochs?)",
                "b: unknown settings: mosaik (did you mean mosaic?)",
                "b: lr: expected a number above 0 and at most 1 or auto, auto:sqrt, auto:linear, got "
                "'fast'",
                "c: batch: expected an integer of at least 1 or auto, got 0",
            ],
        ),
        (
            "base: {data: d}\nruns: {a: , b: {batch: 16, lr: 0.001}, c: {seed: 0}, d: {seed: 1}}",
            ["b: has the same settings as a", "c: has the same settings as a"],
        ),
        (
            "base: {data: d}\nruns: {../a: , b/c: {seed: 1}, .: {seed: 2}, '-x': {seed: 3}}",
            [f"{name}: {NAME_FAULT}" for name in ("../a", "b/c", ".", "-x")],
        ),
        (
            "base: {data: d, out: x}\nruns: {a: {device: 1}}",
            ["a: out: the session chooses it; drop it", "a: device: --devices chooses it; drop it"],
        ),
        ("runs: {a: }", ["a: data: missing; give it in base"]),
        (
            "base: {data: d}\nruns: {a: {seed: 1}}\ngrid: {seed: [1]}",
            ["a: seed: set by runs and by grid; drop one of them"],
        ),
        (
            "base: {data: d}\ngrid: {model: [x/y.pt, x-y.pt]}",
            ["model-x-y.pt: several values of the grid give this name; use runs for them"],
        ),
        (
            "base: {data: d}\nruns: {a: , b: {data: [e, d]}}",
            ["the runs train on different data; give eval: {data: ...} to compare them"],
        ),
        (
            "base: {data: d}\nruns: {a: }\neval: {unit: image, spilt: test, data: 3}",
            [
                "eval: unknown: spilt (did you mean split?)",
                "eval.unit: expected page or tile, got 'image'",
                "eval: expected text: data",
            ],
        ),
    ],
)
def test_faults_are_listed_together(text: str, faults: list[str], tmp_path: Path) -> None:
    assert faults_of(text, tmp_path) == faults


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping, got nothing"),
        ("- 1", "expected a mapping, got list [1]"),
        (
            "bas: {}",
            "unknown: bas (did you mean base?); expected: name, base, runs, grid, eval",
        ),
        ("runs: [a]", "runs: expected a mapping, got list ['a']"),
        ("runs: {a: 1}", "runs.a: expected a mapping, got int 1"),
        ("runs: {1: }", "runs: expected names as keys, got [1]"),
        ("name: 3\nruns: {a: }", "name: expected a name, got int 3"),
        ("runs: {a: , a: }", "duplicate keys in the mapping at line 1: a"),
        ("runs: !!python/object:os.system {a: }", "line 1"),
    ],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        spec_of(text, tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/variants.yaml: ")
    assert message in str(error.value)


def test_valid_runs_remain_beside_faulty_ones(tmp_path: Path) -> None:
    spec = spec_of("base: {data: d}\nruns: {a: {x: 1}, b: }", tmp_path)
    assert [run.name for run in spec.runs] == ["b"]
    assert spec.faults == (Fault(run="a", problem="unknown settings: x"),)


def test_scoring_is_that_of_the_file(tmp_path: Path) -> None:
    text = "base: {data: [d, e]}\nruns: {a: }\neval: {data: e, split: test, unit: tile}"
    scoring = spec_of(text, tmp_path).scoring
    expected = str(Path("e").absolute())
    assert (scoring.data, scoring.split, scoring.unit) == (expected, "test", "tile")
    text = "base: {data: [d, e]}\nruns: {a: }"
    assert spec_of(text, tmp_path).scoring.data == str(Path("d").absolute())


def test_the_recipe_that_comes_with_omr_is_valid() -> None:
    spec = read_spec(Path(__file__).parents[3] / "recipes" / "sessions" / "npu-variants.yaml")
    assert spec.faults == ()
    assert len({(run.settings["model"], run.settings["activation"]) for run in spec.runs}) == 6
