import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from converters import images
from converters.formats.yolo import open_dataset
from converters.page import Page
from omr import scoring
from omr.commands.eval import evaluate

NAMES = ("notehead", "stem", "clef")


@dataclass
class Predictor:
    """Fake of training.predict.detector: predicts every truth of the split, by class name.

    Before these it predicts ``n_strangers`` symbols of each class that the data does not have.
    """

    names: tuple[str, ...] = NAMES
    n_strangers: int = 2
    calls: list[dict[str, Any]] = field(default_factory=list)

    def class_names(self, weights: Path, *, trust: bool) -> tuple[str, ...]:
        assert not trust
        return self.names

    def predict(
        self, weights: Path, images: list[tuple[Path, PurePosixPath]], **settings: object
    ) -> Iterator[Page]:
        self.calls.append(settings)
        folder = images[0][0].parent
        dataset = open_dataset(folder.parents[1])
        for page in dataset.pages(folder.name):
            assert folder / page.image in {file for file, _ in images}
            label_of = {name: label for label, name in enumerate(self.names)}
            labels = [label_of.get(dataset.names[label], 0) for label in page.labels]
            strangers = [label_of[name] for name in self.names if name not in dataset.names]
            strangers = strangers * self.n_strangers
            boxes_xyxy = [np.full((len(strangers), 4), [1.0, 2, 3, 4]), page.boxes_xyxy]
            labels = [*strangers, *labels]
            yield replace(
                page,
                boxes_xyxy=np.concatenate(boxes_xyxy),
                labels=np.array(labels, dtype=np.int64),
                scores=np.linspace(0.9, 0.8, len(labels)),
            )


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    fake = Predictor()
    monkeypatch.setattr(scoring, "class_names", fake.class_names)
    monkeypatch.setattr(scoring, "predict", fake.predict)
    return fake


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One image per split; two noteheads and a stem for val, nothing for train."""
    folder = tmp_path / "data"
    labels = {"train": "", "val": "0 .2 .2 .1 .1\n0 .5 .2 .1 .1\n1 .5 .5 .05 .5\n"}
    for split, text in labels.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        images.write(np.full((100, 100), 255, np.uint8), folder / "images" / split / "a.png")
        (folder / "labels" / split / "a.txt").write_text(text)
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}")
    (tmp_path / "best.pt").write_text("weights")
    return folder


def run(data: Path, *options: str) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(data.parent / "best.pt"), str(data), *options])


def test_split_without_symbols_has_no_metrics(data: Path, predictor: Predictor) -> None:
    result = run(data, "--split", "train", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["macro"] == {"ap50": None, "ap75": None, "ap": None, "recall50": None}
    assert report["n_images"] == 1


def test_json(data: Path, predictor: Predictor) -> None:
    result = run(data, "--json", "--imgsz", "320", "--batch", "2", "--device", "cpu")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["macro"]["ap"] == pytest.approx(1)
    assert report["instance_weighted"]["ap50"] == pytest.approx(1)
    assert [row["n_truths"] for row in report["classes"]] == [2, 1, 0]
    assert [report[key] for key in ("split", "imgsz", "conf", "is_training_split")] == [
        "val", 320, 0.001, False,
    ]  # fmt: skip
    assert (report["max_det"], report["images_at_max_det"]) == (300, 0)
    assert predictor.calls == [
        {"imgsz": 320, "batch": 2, "device": "cpu", "score_thresh": 0.001, "max_det": 300}
        | {"trust": False}
    ]


def test_table_names_each_mean(data: Path, predictor: Predictor) -> None:
    result = run(data)
    assert result.stderr == ""
    table = re.sub(r"[\s│┃]+", " ", result.stdout)
    assert "notehead 2 2 1.000 1.000 1.000" in table
    assert "no truths and no predictions: clef" in table
    assert "macro mean 3 3 1.000 1.000 1.000" in table
    assert "instance-weighted mean 3 3 1.000" in table
    assert "training images" not in table


def test_scoring_training_images_prints_a_note(data: Path, predictor: Predictor) -> None:
    description = (data / "data.yaml").read_text()
    (data / "data.yaml").write_text(description.replace("train: images/train", "train: images/val"))
    result = run(data, "--json")
    assert json.loads(result.stdout)["is_training_split"] is True
    assert (
        "note: these are training images: the metrics show how well the model memorised them, "
        "not how well it generalises"
    ) in " ".join(result.stderr.split())


def test_truths_of_zero_area_are_counted(data: Path, predictor: Predictor) -> None:
    (data / "labels/val/a.txt").write_text("0 .2 .2 0 .1\n")
    warning = "note: truths of zero area, which no prediction can match: 1"
    assert warning in " ".join(run(data).stderr.split())


def test_images_at_the_detection_limit_are_counted(
    data: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "suggested_max_det", lambda max_symbols: max_symbols)
    result = run(data, "--json")
    assert json.loads(result.stdout)["images_at_max_det"] == 1
    assert "images that reached the limit of 3 detections: 1\n" in result.stderr


def test_report_and_pictures(data: Path, predictor: Predictor, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = run(data, "--out", str(out), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads((out / "report.json").read_text()) == json.loads(result.stdout)
    assert images.read(out / "contact_sheet.png").ndim == 3
    message = (
        f"{out}: already contains report.json and contact_sheet.png; choose another folder, or "
        "use --force to replace them"
    )
    assert_error(run(data, "--out", str(out)), ConfigError(message))
    assert run(data, "--out", str(out), "--force").exit_code == 0


def assert_error(result: Result, error: Exception) -> None:
    assert type(result.exception) is type(error)
    assert str(result.exception) == str(error)


def test_conf_out_of_range_is_refused(data: Path, predictor: Predictor) -> None:
    message = (
        "--conf 0.25: too high, average precision also needs predictions of low confidence; "
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
            "not in the weights: stem (did you mean stems?)",
            id="other names",
        ),
        pytest.param(("notehead", "stem"), "not in the weights: clef", id="fewer"),
        pytest.param((*NAMES, "stem"), "duplicate names in the weights: stem", id="duplicate"),
    ],
)
def test_classes_must_agree(
    data: Path, predictor: Predictor, names: tuple[str, ...], message: str
) -> None:
    predictor.names = names
    error = ConfigError(f"classes of weights and data differ: {message}")
    assert_error(run(data), error)


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
    assert report == plain | {
        "ignored_classes": others,
        "ignored_predictions": 2 * len(others),
    }
    message = "ignored 4 predictions of 2 classes that the data set does not have"
    assert (message in result.stderr) == bool(others)


def test_extra_classes_do_not_use_up_the_detection_limit(
    data: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "suggested_max_det", lambda max_symbols: max_symbols)
    predictor.names, predictor.n_strangers = (*NAMES, "dog"), 50
    report = json.loads(run(data, "--json").stdout)
    assert predictor.calls[0]["max_det"] > 1000
    assert report["macro"]["recall50"] == pytest.approx(1)
    assert (report["ignored_predictions"], report["images_at_max_det"]) == (50, 1)
    assert sum(row["n_predictions"] for row in report["classes"]) == 3


def test_unknown_split(data: Path, predictor: Predictor) -> None:
    error = InputError("no split 'test'; available: train, val", path=data / "data.yaml")
    assert_error(run(data, "--split", "test"), error)
