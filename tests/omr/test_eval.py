import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_scoring import NAMES, Predictor, fake_predictor, make_data, record, run
from second_run import during
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import Result
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, InputError, MissingExtraError
from converters import images
from converters.manifest import Preparation
from converters.page import Page
from omr.scoring import model_predictions
from omr.scoring.report_files import FILES
from omr.scoring.score import score_model
from training.models.checkpoints import save_weights
from training.models.zoo import model_file


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    return fake_predictor(monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path)


def test_split_without_symbols_has_no_metrics(data: Path, predictor: Predictor) -> None:
    result = run(data, "--split", "train", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert set(report["macro"].values()) == {None}
    assert report["images"] == 1


def test_json(data: Path, predictor: Predictor) -> None:
    result = run(data, "--json", "--imgsz", "320", "--batch", "2", "--device", "cpu")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["macro"]["ap"] == pytest.approx(1)
    assert report["instance_weighted"]["ap50"] == pytest.approx(1)
    assert [row["truths"] for row in report["classes"]] == [2, 1, 0]
    assert [report[key] for key in ("split", "imgsz", "conf")] == ["val", 320, 0.001]
    assert (report["max_det"], report["images_at_max_det"]) == (300, 0)
    assert predictor.calls == [
        {"imgsz": 320, "batch": 2, "device": "cpu", "score_thresh": 0.001, "max_det": 300}
    ]


def test_table_names_each_mean(data: Path, predictor: Predictor) -> None:
    predictor.training = record()
    result = run(data)
    assert result.stderr == ""
    table = re.sub(r"[\s│┃]+", " ", result.stdout)
    assert "notehead 2 2 1.000 1.000 1.000" in table
    assert "neither ground truth nor predictions: clef" in table
    assert "macro mean 3 3 1.000 1.000 1.000" in table
    assert "macro mean, 30+ symbols 0 0 - - -" in table
    assert "instance-weighted mean 3 3 1.000" in table
    assert "No class stands out: AP50-95 is at least 0.99 for all classes." in table


def test_predictions_of_classes_without_truth_are_in_no_mean(
    data: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clefs(*args: Any, **settings: Any) -> Iterator[Page]:  # noqa: ANN401
        for page in predictor.predict(*args, **settings):
            yield replace(page, labels=np.full_like(page.labels, NAMES.index("clef")))

    monkeypatch.setattr(model_predictions, "predict", clefs)
    result = run(data)
    line = "in no mean: 3 predictions of classes without ground truth: clef (3)"
    assert line in re.sub(r"\s+", " ", result.stdout)
    assert "in no mean" not in run(data, "--split", "train").stdout


@pytest.mark.parametrize(
    ("trained_at", "options", "used", "note"),
    [
        (320, [], 320, None),
        (320, ["--imgsz", "320"], 320, None),
        (320, ["--imgsz", "640"], 640, "imgsz 640 px (320 px in training)"),
        (None, [], 640, None),
        (None, ["--imgsz", "96"], 96, None),
    ],
)
def test_the_input_size_is_that_of_the_training(
    trained_at: int | None,
    options: list[str],
    used: int,
    note: str | None,
    data: Path,
    predictor: Predictor,
) -> None:
    predictor.imgsz = trained_at
    result = run(data, "--json", *options)
    assert predictor.calls[0]["imgsz"] == json.loads(result.stdout)["imgsz"] == used
    assert json.loads(result.stdout)["differences"] == ([note] if note else [])
    line = f"note: differs from the training: {note}"
    assert (line in " ".join(result.stderr.split())) == bool(note)


def test_duplicate_rows_are_skipped_as_in_training(data: Path, predictor: Predictor) -> None:
    labels = data / "labels" / "val" / "a.txt"
    labels.write_text(labels.read_text() * 2)
    result = run(data, "--json")
    report = json.loads(result.stdout)
    assert [row["truths"] for row in report["classes"]] == [2, 1, 0]
    assert report["macro"]["ap"] == pytest.approx(1)
    assert report["duplicates"] == 3
    assert "note: 3 duplicate rows of the label files skipped" in result.stderr


def preparation(**changes: Any) -> Preparation:  # noqa: ANN401
    same = Preparation(tile=640, staff_space=12.0, class_map="harmony", class_map_sha256="ab")
    return replace(same, **changes)


@pytest.mark.parametrize(
    ("trained", "differences"),
    [
        ([preparation()], []),
        ([None], []),
        ([preparation(tile=320), None], []),
        ([preparation(tile=320)], ["tile 640 px (320 px in training)"]),
        ([preparation(tile=320), preparation(tile=640)], []),
        (
            [preparation(staff_space=None), preparation(staff_space=8.5)],
            ["staff space 12 px (none or 8.5 px in training)"],
        ),
        ([preparation(class_map="coco")], ["class map harmony (coco in training)"]),
        ([preparation(class_map_sha256="cd")], ["class map harmony in another version"]),
    ],
)
def test_other_preparation_than_that_of_the_training(
    trained: list[Preparation | None], differences: list[str], data: Path, predictor: Predictor
) -> None:
    predictor.training = record(preparations=tuple(trained))
    options = {
        "cleaning": {}, "staff_space": 12.0, "val": 0.1, "split_by": "work", "seed": 0,
        "tiles": {"size": 640, "overlap": 128},
    }  # fmt: skip
    content = {"options": options, "class_map": {"name": "harmony", "sha256": "ab"}}
    for other in (None, "[]"):  # no manifest, and that of another program
        if other:
            (data / "manifest.json").write_text(other)
        assert json.loads(run(data, "--json").stdout)["differences"] == []
    (data / "manifest.json").write_text(json.dumps(content))
    assert json.loads(run(data, "--json").stdout)["differences"] == differences


def test_truths_of_zero_area_are_counted(data: Path, predictor: Predictor) -> None:
    (data / "labels/val/a.txt").write_text("0 .2 .2 0 .1\n")
    warning = "note: ground-truth symbols of zero area, which no prediction can match: 1"
    assert warning in " ".join(run(data).stderr.split())


def test_images_at_the_detection_limit_are_counted(
    data: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_predictions, "suggested_max_det", lambda max_symbols: max_symbols)
    result = run(data, "--json")
    assert json.loads(result.stdout)["images_at_max_det"] == 1
    assert "pages that reached the limit of 3 detections: 1\n" in result.stderr


def test_report_and_pictures(data: Path, predictor: Predictor, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = run(data, "--out", str(out), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads((out / "report.json").read_text()) == json.loads(result.stdout)
    assert images.read(out / "contact_sheet.png").ndim == 3
    assert "<h1>Macro AP50 1.000" in (out / "report.html").read_text()
    markdown = (out / "report.md").read_text()
    assert markdown.startswith("# Macro AP50 1.000")
    assert markdown.count("| unit |") == 1
    assert "| weights | kind weights, name best.pt, sha256 " in markdown
    message = (
        f"{out}: already contains report.json, report.md, report.html, contact_sheet.png and "
        "symbols.npz; choose another folder, or use --force to replace them"
    )
    assert_error(run(data, "--out", str(out)), ConfigError(message))
    assert run(data, "--out", str(out), "--force").exit_code == 0


def test_tensorboard_contains_the_scalars_of_the_report(
    data: Path, predictor: Predictor, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    result = run(data, "--tensorboard", str(logs), "--json")
    assert result.exit_code == 0, result.output
    assert f"TensorBoard logs -> {logs}" in result.stderr
    report = json.loads(result.stdout)
    expected = {
        f"{part}/{key}": value
        for part in (
            "macro", "frequent_macro", "instance_weighted", "voc2007", "voc2010", "ultralytics",
        )
        for key, value in report[part].items()
    }  # fmt: skip
    expected |= {f"tide/delta_ap/{name}": v for name, v in report["tide"]["delta_ap"].items()}
    expected |= {f"ap50/{row['name']}": row["ap50"] for row in report["classes"]}
    expected["calibration/ece"] = report["calibration"]["ece"]
    unknown = {name for name, value in expected.items() if value is None}
    assert "ap50/clef" in unknown
    assert {
        "macro/ap",
        "voc2010/map50",
        "ap50/stem",
        "calibration/ece",
    } <= expected.keys() - unknown
    events = EventAccumulator(str(logs))
    events.Reload()
    written = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    assert {
        name: [(event.step, event.value) for event in values] for name, values in written.items()
    } == {
        f"val_page/{name}": [(0, pytest.approx(value))]
        for name, value in expected.items()
        if name not in unknown
    }


def test_tensorboard_is_checked_before_anything_is_predicted(
    data: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    message = "--tensorboard needs tensorboard: pip install 'omr-toolkit[log]'"
    assert_error(run(data, "--tensorboard", str(tmp_path)), MissingExtraError(message))
    assert not predictor.calls


def test_a_second_run_is_refused_before_it_predicts(
    data: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report"
    seconds = during(
        monkeypatch,
        model_predictions,
        "open_weights",
        lambda: run(data, "--out", str(out), "--force"),
    )
    assert run(data, "--out", str(out)).exit_code == 0
    assert "report.json: another omr process" in str(seconds[0].exception)
    assert len(predictor.calls) == 1
    assert {path.name for path in out.iterdir()} == set(FILES)


def assert_error(result: Result, error: Exception) -> None:
    assert type(result.exception) is type(error)
    assert str(result.exception) == str(error)


def test_conf_out_of_range_is_refused(data: Path, predictor: Predictor) -> None:
    message = (
        "--conf 0.25: too high, average precision also needs low-confidence predictions; "
        "use 0.001 or less"
    )
    assert_error(run(data, "--conf", "0.25"), ConfigError(message))
    message = "--conf -1: expected a number from 0 to 0.001"
    assert_error(run(data, "--conf", "-1"), ConfigError(message))
    assert run(data, "--conf", "0.001").exit_code == 0
    assert not predictor.calls[1:]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(
            ("notehead", "clef", "stems"),
            "not in the weights: stem (did you mean stems?); convert the data set again with the "
            "class map of the weights, or score other weights",
            id="other names",
        ),
        pytest.param(
            ("clef",),
            "not in the weights: notehead, stem; convert the data set again with the class map of "
            "the weights, or score other weights",
            id="fewer",
        ),
        pytest.param((*NAMES, "stem"), "duplicate names in the weights: stem", id="duplicate"),
    ],
)
def test_classes_must_agree(
    data: Path, predictor: Predictor, names: tuple[str, ...], message: str
) -> None:
    predictor.names = names
    error = ConfigError(f"classes of weights and data differ: {message}")
    assert_error(run(data), error)


def test_classes_without_truths_may_be_missing_in_the_weights(
    data: Path, predictor: Predictor, tmp_path: Path
) -> None:
    plain = json.loads(run(data, "--json").stdout)
    predictor.names = ("stem", "notehead")
    result = run(data, "--json", "--out", str(tmp_path / "report"))
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report == plain | {"missing_classes": ["clef"]}
    note = "note: 1 class of the data set, without ground truth, is not in the weights: clef"
    assert note in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "names", [("notehead", "clef", "stem"), ("dog", "clef", "stem", "cat", "notehead")]
)
def test_order_and_extra_classes_of_the_weights_do_not_change_the_metrics(
    data: Path, predictor: Predictor, names: tuple[str, ...], tmp_path: Path
) -> None:
    plain = json.loads(run(data, "--json").stdout)
    predictor.names = names
    result = run(data, "--json", "--out", str(tmp_path / "report"))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    others = [name for name in names if name not in NAMES]
    assert (report["ignored_classes"], report["ignored_predictions"]) == (others, 2 * len(others))
    for key in ("macro", "instance_weighted", "voc2010", "tide", "pages", "protocol"):
        assert report[key] == plain[key]
    assert [row["ap"] for row in report["classes"]] == [row["ap"] for row in plain["classes"]]
    message = "ignored 4 predictions of 2 classes that the data set does not have"
    assert (message in result.stderr) == bool(others)


@pytest.mark.parametrize(
    "names",
    [NAMES, ("clef", "notehead", "stem"), ("clef", "dog", "stem", "notehead")],
)
def test_predictions_of_real_weights_are_matched_by_name(
    data: Path, names: tuple[str, ...]
) -> None:
    """The weights predict a notehead and a stem at every anchor point, and no clef."""
    torch.manual_seed(0)
    model = DetectionModel(model_file("omr-tiny"), nc=len(names), verbose=False)
    model.names, model.args = dict(enumerate(names)), {"imgsz": 64}
    scores = {"notehead": 0.9, "stem": 0.4, "dog": 0.7, "clef": 1e-6}
    for branch in model.model[-1].cv3:
        torch.nn.init.zeros_(branch[-1].weight)
        branch[-1].bias.data = torch.tensor([scores[name] for name in names]).logit()
    save_weights(model, data.parent / "best.pt", train_args={"imgsz": 64})
    score = score_model(data.parent / "best.pt", data, device="cpu").report
    n_predictions = {row.name: row.n_predictions for row in score.classes}
    assert n_predictions["notehead"] == n_predictions["stem"] > 10
    assert n_predictions["clef"] == 0


def test_extra_classes_do_not_use_up_the_detection_limit(
    data: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_predictions, "suggested_max_det", lambda max_symbols: max_symbols)
    predictor.names, predictor.n_strangers = (*NAMES, "dog"), 50
    report = json.loads(run(data, "--json").stdout)
    assert predictor.calls[0]["max_det"] > 1000
    assert report["macro"]["recall50"] == pytest.approx(1)
    assert (report["ignored_predictions"], report["images_at_max_det"]) == (50, 1)
    assert sum(row["predictions"] for row in report["classes"]) == 3


def test_an_image_that_was_replaced_meanwhile(
    data: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(*args: Any, **settings: Any) -> Iterator[Page]:  # noqa: ANN401
        for page in predictor.predict(*args, **settings):
            yield replace(page, width=90)

    monkeypatch.setattr(model_predictions, "predict", predict)
    message = (
        "is 90 x 100 px, but was 100 x 100 px when its labels were read; restore the image, or "
        "start again"
    )
    assert_error(run(data), InputError(message, path=data / "images/val/a.png"))


def test_hidden_images_are_reported(data: Path, predictor: Predictor) -> None:
    folder = data / "images/val"
    for name in ("._a.png", ".ipynb_checkpoints/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "a.png", folder / name)
    result = run(data, "--json")
    remark = f"skipped in {folder}: 2 hidden images (._a.png, .ipynb_checkpoints/a.png)"
    assert json.loads(result.stdout)["skipped_files"] == [remark]
    assert f"note: {remark}" in " ".join(result.stderr.split())


def test_unknown_split(data: Path, predictor: Predictor) -> None:
    error = InputError("no split 'test'; available: train, val", path=data / "data.yaml")
    assert_error(run(data, "--split", "test"), error)
