"""Page scores in validation, on tiles of two pages with two noteheads and a stem each.

The first notehead is in one tile only, the second also in the overlaps with its neighbours.
"""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiled_data import manifest_of, write_data
from torch import Tensor
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.utils.ops import xywh2xyxy

from class_maps import ConfigError
from converters.page import Page
from settings.run_files import MAP, MAP50, PAGE_MAP, PAGE_MAP50
from settings.training import Selection
from training.config import TrainConfig, read_config
from training.data.multi_dataset import DatasetOptions
from training.engine.inputs import TrainingInputs, open_inputs
from training.engine.page_scores import (
    PAGE_SOURCE_METRIC,
    PageScores,
    ScoredImages,
    image_predictions,
    resolved_selection,
)
from training.engine.validator import OmrValidator
from training.models.checkpoints import open_weights
from training.trainer import TrainResult, run_options, train

FIRST_TILE = "__x00000_y00000"
"""Part of the names of the tiles that show the first notehead, and the second one whole."""
CONFS = 0.8, 0.6
"""Confidence of all predictions in each epoch. The weights of an epoch record half of it as their
threshold, by which the test recognises them."""

Choose = Callable[[str, Tensor], Tensor]
"""Function of an image's name and boxes that returns which symbols are found."""


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("whole"), tiles=None)


def is_note(boxes: Tensor) -> Tensor:
    return boxes[:, 2] - boxes[:, 0] > 4


def without_first_note(name: str, boxes: Tensor) -> Tensor:
    """Miss the symbol that only one tile shows."""
    notes = is_note(boxes)
    if FIRST_TILE not in name:
        return torch.ones_like(notes)
    return ~(notes & (boxes[:, 1] == boxes[notes, 1].min()))


def without_repeated_notes(name: str, boxes: Tensor) -> Tensor:
    """Miss a symbol in all tiles but the one that shows all of it."""
    notes = is_note(boxes)
    return torch.ones_like(notes) if FIRST_TILE in name else ~notes


def guess(choose: Choose, conf: float) -> Callable[..., list[dict[str, Tensor]]]:
    """Return a postprocessing that predicts the chosen part of the ground truth."""

    def postprocess(validator: OmrValidator, _preds: object) -> list[dict[str, Tensor]]:
        batch, found = validator.current, []
        scale = torch.tensor(batch["img"].shape[2:])[[1, 0, 1, 0]]
        for i, file in enumerate(batch["im_file"]):
            own = batch["batch_idx"] == i
            boxes, labels = xywh2xyxy(batch["bboxes"][own] * scale), batch["cls"][own, 0]
            kept = choose(file, boxes)
            n = int(kept.sum())
            image = {"bboxes": boxes[kept], "conf": torch.full((n,), conf), "cls": labels[kept]}
            found.append(image | {"extra": torch.empty(n, 0)})
        return found

    return postprocess


def train_with(
    monkeypatch: pytest.MonkeyPatch, config: TrainConfig, epochs: Iterable[Choose]
) -> TrainResult:
    """Train with the given predictions in each epoch's validation."""
    prepare, start_stock = OmrValidator.preprocess, OmrValidator.init_metrics
    guesses = [guess(choose, conf) for choose, conf in zip(epochs, CONFS, strict=True)]

    def remember(validator: OmrValidator, batch: dict[str, Any]) -> dict[str, Any]:
        batch = validator.current = prepare(validator, batch)
        return batch

    def start(validator: OmrValidator, model: object) -> None:
        start_stock(validator, model)
        monkeypatch.setattr(OmrValidator, "postprocess", guesses.pop(0))

    monkeypatch.setattr(OmrValidator, "init_metrics", start)
    monkeypatch.setattr(OmrValidator, "preprocess", remember)
    return train(config)


def config_of(data: Path, out: Path, **changes: Any) -> TrainConfig:  # noqa: ANN401
    config = TrainConfig(
        data=data, out=out, model="omr-tiny", epochs=2, imgsz=96, batch=8, device="cpu"
    )
    return replace(config, **changes)


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "results.csv").open() as file:
        return [{k.strip(): float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def opened(*folders: Path, **options: Any) -> TrainingInputs:  # noqa: ANN401
    config = config_of(folders[0], Path("run"))
    datasets = DatasetOptions(folders=folders, **options)
    return open_inputs(replace(run_options(config), datasets=datasets))


def perfect(inputs: TrainingInputs) -> dict[str, Page]:
    """Return the ground truth of every validation image as its prediction."""
    pages = {}
    for source, labels in zip(inputs.data.sources, inputs.labels, strict=True):
        images = ScoredImages.of(source, labels["val"], pages=[])
        for truth in images.truths:
            pages[str(images.folder / truth.image)] = replace(
                truth, scores=np.full(len(truth.labels), 0.9)
            )
    return pages


@pytest.mark.parametrize(("select", "conf"), [("page", 0.3), ("tile", 0.4)])
def test_pages_and_tiles_rank_two_epochs_differently(
    select: Selection,
    conf: float,
    tiles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_of(tiles, tmp_path / "run", select=select, tensorboard=select == "page")
    result = train_with(monkeypatch, config, [without_first_note, without_repeated_notes])
    training = open_weights(result.best).training
    assert training is not None
    assert training.conf == conf
    first, second = rows(config.out)
    assert first[MAP] > second[MAP] + 0.02
    if select == "tile":
        assert not {PAGE_MAP, PAGE_MAP50} & first.keys()
        return
    # Of two classes, stems are found, and half of the noteheads.
    assert first[PAGE_MAP] == pytest.approx((1 + 51 / 101) / 2, abs=1e-5)
    assert (second[PAGE_MAP], second[PAGE_MAP50]) == (1, 1)
    events = EventAccumulator(str(config.out))
    events.Reload()
    for name in (PAGE_MAP, PAGE_MAP50, MAP, MAP50):
        values = [event.value for event in events.Scalars(name)]
        assert values == pytest.approx([first[name], second[name]])


@pytest.mark.parametrize(("data", "select"), [("tiles", "page"), ("whole", "tile")])
def test_auto_scores_pages_if_images_are_their_tiles(
    data: str, select: Selection, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = config_of(request.getfixturevalue(data), tmp_path / "run", epochs=1, warmup_epochs=0)
    train(config)
    assert read_config(config.out).select == select
    assert (PAGE_MAP in rows(config.out)[0]) == (select == "page")


def test_truth_as_predictions_scores_1(tiles: Path) -> None:
    inputs = opened(tiles)
    assert PageScores(inputs, ["tiles"]).metrics(perfect(inputs)) == {PAGE_MAP50: 1, PAGE_MAP: 1}


def test_images_without_known_pages_are_scored_as_they_are(tiles: Path, whole: Path) -> None:
    inputs = opened(tiles, whole)
    scores, predictions = PageScores(inputs, ["tiles", "whole"]), perfect(inputs)
    name = PAGE_SOURCE_METRIC.format("tiles")
    assert scores.metrics(predictions) == {PAGE_MAP50: 1, PAGE_MAP: 1, name: 1}
    file = next(file for file in predictions if file.startswith(str(whole)))
    predictions[file] = predictions[file].only(slice(0))
    metrics = scores.metrics(predictions)
    # Of four pages, one has no predictions: a quarter of both classes is missed.
    assert metrics == {
        PAGE_MAP50: pytest.approx(76 / 101),
        PAGE_MAP: pytest.approx(76 / 101),
        name: 1,
    }


def test_pages_that_cannot_be_scored_are_refused(tiles: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        train(config_of(whole, tmp_path / "run", select="page"))
    assert str(raised.value) == (
        f"--select page: the val images of {whole} are not tiles; use --select tile"
    )
    assert not (tmp_path / "run").exists()
    assert resolved_selection("page", opened(whole, tiles)) == "page"


@pytest.mark.parametrize(
    ("positions", "reason"),
    [
        ({}, "manifest.json does not list the positions of the tiles"),
        ([], "manifest.json: tiles: expected `object`, got `array`"),
    ],
)
def test_unknown_positions_are_refused_or_scored_per_tile(
    positions: object, reason: str, tmp_path: Path
) -> None:
    data = write_data(tmp_path)
    content = manifest_of(data) | {"tiles": positions}
    (data / "manifest.json").write_text(json.dumps(content))
    inputs = opened(data)
    assert resolved_selection("auto", inputs) == "tile"
    with pytest.raises(ConfigError) as raised:
        resolved_selection("page", inputs)
    message = str(raised.value).replace(f"{data}/", "")
    assert message == f"--select page: {reason}; use --select tile"


def test_runs_of_earlier_versions_keep_their_selection(tiles: Path, tmp_path: Path) -> None:
    (tmp_path / "omr.yaml").write_text(f"data: {tiles}\nout: {tmp_path}\n")
    assert read_config(tmp_path).select == "tile"


@pytest.mark.parametrize("n", [0, 3])
def test_predictions_are_in_pixels_of_their_image(n: int) -> None:
    # An image of 50 x 40 px, doubled, in the middle of an input of 128 x 96 px.
    boxes = torch.tensor([[34.0, 18, 14, 28], [14, 8, 34, 28], [14, 8, torch.nan, 28]])[:n]
    prediction = {"bboxes": boxes, "conf": torch.full((n,), 0.5), "cls": torch.full((n,), 2.0)}
    batch = {
        "img": torch.empty(1, 3, 96, 128),
        "im_file": ["/a/b.png"],
        "ori_shape": [(40, 50)],
        "ratio_pad": [((2.0, 2.0), (14, 8))],
    }
    page = image_predictions([prediction], batch)["/a/b.png"]
    assert (page.width, page.height) == (50, 40)
    # Swapped sides are put right, and NaN is dropped.
    assert page.boxes_xyxy.tolist() == [[0, 5, 10, 10], [0, 0, 10, 10]][:n]
    assert page.labels.tolist() == [2, 2][:n]
    assert page.scores is not None
    assert page.scores.tolist() == [0.5, 0.5][:n]


def test_the_first_device_gathers_all_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: dict[str, Any] = {"a": "symbols of a", "b": "symbols of b"}

    def gather(part: object, gathered: list[object], dst: int) -> None:
        gathered[:] = [part, ([1], {"b": pages["b"]})]

    monkeypatch.setattr("training.engine.validator.are_joined", lambda: True)
    monkeypatch.setattr("training.engine.validator.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("training.engine.validator.distributed.gather_object", gather)
    monkeypatch.setattr(DetectionValidator, "gather_stats", lambda _: None)
    validator = OmrValidator.__new__(OmrValidator)
    validator.sources, validator.predictions = [0], {"a": pages["a"]}
    validator.gather_stats()
    assert (validator.sources, validator.predictions) == ([0, 1], pages)
