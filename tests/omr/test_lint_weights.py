"""Tests of omr lint --weights with the weights that come with omr, and of its worklist."""

import csv
import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engraved import engraved_pages
from typer.testing import CliRunner, Result

import class_maps
from class_maps import ConfigError
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from eval.lint.pages import lint_pages
from omr import label_predictions
from omr.cli import app
from omr.label_predictions import LabelPredictor
from omr.prediction import open_network
from settings.published import weights_path

RULES = ("overlooked-label", "badly-placed-label", "swapped-label")
WIDTH = 700
WEIGHTS = ("--weights", "harmony-tiny", "--device", "cpu")


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> Iterator[None]:
    """Load the network once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        open_once = cache(open_network)
        open_once(weights_path("harmony-tiny"), device="cpu", trust=False)
        patch.setattr(label_predictions, "open_network", open_once)
        yield


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small engraved page with correct labels."""
    base = tmp_path_factory.mktemp("weights")
    source = engraved_pages(base / "pages", pages=1, width=WIDTH, height=500)
    convert(source, base / "data", ConversionOptions(class_map=class_maps.load("harmony")))
    return base / "data"


@pytest.fixture
def data(clean: Path, tmp_path: Path) -> Path:
    """A copy that tests may change."""
    return Path(shutil.copytree(clean, tmp_path / "data"))


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["lint", *map(str, words)])


def report_of(data: Path, *words: object) -> dict[str, Any]:
    result = run(data, *WEIGHTS, "--json", *words)
    assert result.exit_code in (0, 1), result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def of_weights(report: dict[str, Any]) -> dict[str, int]:
    """Return the number of labels that the rules of --weights report, by class."""
    findings = [f for f in report["findings"] if f["rule"] in RULES]
    return {f"{f['rule']}: {f['class']}": f["count"] for f in findings}


def label_file(data: Path) -> Path:
    (file,) = (data / "labels/train").iterdir()
    return file


def staff_space(data: Path) -> float:
    (properties,) = json.loads((data / "manifest.json").read_text("utf-8"))["properties"][
        "train"
    ].values()
    return float(properties["staff_space"])


def plant(data: Path, name: str, change: Any) -> int:  # noqa: ANN401
    """Change the rows of a class, and return their number."""
    names = class_maps.load("harmony").names
    file = label_file(data)
    rows = np.loadtxt(file, ndmin=2)
    chosen = rows[:, 0] == names.index(name)
    changed = np.concatenate((rows[~chosen], change(rows[chosen])))
    file.write_text("".join(f"{int(r[0])} {r[1]} {r[2]} {r[3]} {r[4]}\n" for r in changed))
    return int(chosen.sum())


def test_correct_labels_have_no_findings(data: Path) -> None:
    report = report_of(data)
    assert of_weights(report) == {}
    assert not [text for text in report["skipped"] if text.startswith("predictions")]


def test_what_other_processes_have_measured_is_kept(data: Path) -> None:
    dataset = open_dataset(data)
    (page,) = lint_pages(dataset)
    page.measured["Check"] = 1
    predictor = LabelPredictor(weights_path("harmony-tiny"), dataset, device="cpu")
    (predicted,) = predictor.added_to([page])
    assert predicted.measured == {"Check": 1}


def test_planted_bugs_are_found_under_their_names(data: Path, tmp_path: Path) -> None:
    names = class_maps.load("harmony").names
    n_stems = plant(data, "stem", lambda rows: rows[3:]) - 3
    half_a_space = 0.5 * staff_space(data) / WIDTH
    n_heads = plant(data, "noteheadBlack", lambda rows: np.add(rows, [0, half_a_space, 0, 0, 0]))
    n_clefs = plant(
        data,
        "clefG",
        lambda rows: np.add(rows * [0, 1, 1, 1, 1], [names.index("clefF"), 0, 0, 0, 0]),
    )
    report = report_of(data, "--worklist", tmp_path / "worklist")
    counts = of_weights(report)
    assert counts["overlooked-label: stem"] == 3
    assert counts["badly-placed-label: noteheadBlack"] >= 0.9 * n_heads
    assert n_stems > 3
    assert n_clefs < 3 or counts["swapped-label: clefF"] == n_clefs
    rows = [*csv.DictReader((tmp_path / "worklist/worklist.csv").read_text("utf-8").splitlines())]
    swapped = [row for row in rows if row["rule"] == "swapped-label"]
    assert {(row["class"], row["predicted_class"]) for row in swapped} == {("clefF", "clefG")}
    finding = next(f for f in report["findings"] if f["rule"] == "badly-placed-label")
    assert finding["level"] == "warning"
    keys = "rule level class source count share examples detail meaning remedy"
    assert sorted(finding) == sorted(keys.split())
    assert (tmp_path / "worklist/worklist.html").is_file()


def test_classes_are_compared_by_name(data: Path) -> None:
    file = data / "data.yaml"
    file.write_text(file.read_text("utf-8").replace("noteheadBlack", "blackHead"), "utf-8")
    report = report_of(data)
    assert of_weights(report) == {}
    assert [text for text in report["skipped"] if text.startswith("predictions")] == [
        "predictions: 1 class that the weights lack: blackHead",
        "predictions: 1 class that the data set lacks: noteheadBlack",
    ]


def test_classes_that_the_source_does_not_label_are_not_overlooked(data: Path) -> None:
    plant(data, "stem", lambda rows: rows[:0])
    assert "overlooked-label: stem" in of_weights(report_of(data))
    manifest = data / "manifest.json"
    content = json.loads(manifest.read_text("utf-8"))
    content["class_map"]["unlabelled"] = ["stem"]
    manifest.write_text(json.dumps(content), "utf-8")
    assert of_weights(report_of(data)) == {}


def test_images_without_staves_are_skipped(data: Path) -> None:
    from PIL import Image

    (image,) = (data / "images/train").iterdir()
    with Image.open(image) as opened:
        size = opened.size
    Image.new("L", size, 255).save(image)
    (data / "manifest.json").unlink()
    report = report_of(data)
    assert of_weights(report) == {}
    assert report["skipped"][-1] == "predictions: 1 image without staves"


def test_weights_without_a_common_class(data: Path) -> None:
    names = [f"thing{i}" for i in range(len(class_maps.load("harmony").names))]
    (data / "data.yaml").write_text(f"train: images/train\nval: images/train\nnames: {names}\n")
    result = run(data, *WEIGHTS)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).endswith(
        f"harmony-tiny.safetensors: no class in common with {data}; the weights find "
        "noteheadBlack, noteheadHalf, noteheadWhole and 39 more, the data labels thing0, thing1, "
        "thing2 and 39 more"
    )


def test_weights_that_do_not_record_their_training(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = SimpleNamespace(names=("stem",), preparations=())
    monkeypatch.setattr(label_predictions, "open_network", lambda *_, **_k: network)
    result = run(data, "--weights", "own.onnx")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == (
        "--weights own.onnx: the weights do not record how the pages of their training were "
        "prepared; use weights that omr train wrote from a data set of omr convert"
    )


def test_a_worklist_needs_weights(data: Path, tmp_path: Path) -> None:
    result = run(data, "--worklist", tmp_path / "out")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == (
        f"--worklist {tmp_path / 'out'}: needs predictions; add --weights, such as --weights "
        "harmony-tiny"
    )


def test_an_existing_worklist_is_replaced_only_with_force(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report_of(data, "--worklist", out)
    again = run(data, *WEIGHTS, "--worklist", out)
    assert isinstance(again.exception, ConfigError)
    report_of(data, "--worklist", out, "--force")
