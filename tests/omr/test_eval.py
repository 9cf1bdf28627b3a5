import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from class_maps import ConfigError, InputError
from converters import images
from converters.files.hashes import short_hashes
from converters.formats.yolo_dataset import open_dataset
from converters.page import Page
from omr import scoring
from omr.commands.eval import evaluate
from training.models.checkpoints import Weights
from training.models.training_record import Preparation, TrainingRecord

NAMES = ("notehead", "stem", "clef")


@dataclass
class Predictor:
    """Fake of weights and their predictions: every truth of the split, by class name.

    Before these it predicts ``n_strangers`` symbols of each class that the data does not have.
    """

    names: tuple[str, ...] = NAMES
    n_strangers: int = 2
    imgsz: int | None = None
    training: TrainingRecord | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)

    def open_weights(self, weights: Path, *, trust: bool) -> Weights:
        assert not trust
        args = {} if self.imgsz is None else {"imgsz": self.imgsz}
        model = SimpleNamespace(names=dict(enumerate(self.names)), args=args)
        return Weights(model=model, training=self.training)

    def predict(
        self, model: object, images: list[tuple[Path, PurePosixPath]], **settings: object
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
    monkeypatch.setattr(scoring, "open_weights", fake.open_weights)
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
    assert "no truths and no predictions: clef" in table
    assert "macro mean 3 3 1.000 1.000 1.000" in table
    assert "instance-weighted mean 3 3 1.000" in table


def record(*images: Path, **changes: Any) -> TrainingRecord:  # noqa: ANN401
    """Record of a training on images."""
    hashes = np.sort(short_hashes(images))
    return replace(TrainingRecord(images=hashes, is_complete=True, preparations=(None,)), **changes)


def add_images(data: Path) -> list[Path]:
    """Add two images to val, and return all three."""
    files = [data / "images" / "val" / name for name in ("a.png", "b.png", "c.png")]
    for i, file in enumerate(files):
        images.write(np.full((100, 100), i, np.uint8), file)
    return files


UNKNOWN = (
    "note: unknown whether the images were trained on: the weights do not record all images of "
    "their training"
)


@pytest.mark.parametrize(
    ("trained_on", "is_complete", "message"),
    [
        ([], True, "none of the 3 images was trained on"),
        ([], False, UNKNOWN),
        (
            [2, 1],
            True,
            "note: 2 of 3 images were trained on, the first is b.png: for these, the metrics show "
            "how well the model memorised them, not how well it generalises",
        ),
        ([2], False, "note: 1 of 3 images were trained on, the first is c.png: for these"),
        (None, True, UNKNOWN),
    ],
)
def test_training_images_are_reported(
    trained_on: list[int] | None,
    is_complete: bool,
    message: str,
    data: Path,
    predictor: Predictor,
) -> None:
    files = add_images(data)
    if trained_on is not None:
        others = data / "images" / "train" / "a.png"
        used = [files[i] for i in trained_on]
        predictor.training = record(others, *used, is_complete=is_complete)
    result = run(data, "--json")
    assert message in " ".join(result.stderr.split())
    report = json.loads(result.stdout)
    assert report["n_trained_on"] == len(trained_on or [])
    assert report["first_trained_on"] == (f"{'abc'[min(trained_on)]}.png" if trained_on else None)
    assert report["training_is_known"] == (trained_on is not None and is_complete)


def test_val_folder_of_the_data_may_be_new_to_the_model(data: Path, predictor: Predictor) -> None:
    """One folder for both splits says nothing about weights from another training."""
    description = (data / "data.yaml").read_text()
    (data / "data.yaml").write_text(description.replace("train: images/train", "train: images/val"))
    predictor.training = record(data / "images/train/a.png")
    images.write(np.zeros((100, 100), np.uint8), data / "images/val/a.png")
    assert "none of the 1 images was trained on" in run(data).stdout


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
