"""Fake weights and predictions, and a small data set, for tests of omr eval."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from ink_network import InkNetwork
from typer.testing import CliRunner, Result

from converters import images
from converters.files.hashes import short_hashes
from converters.formats.datasets import open_dataset
from converters.page import Page
from omr.commands.eval import evaluate
from omr.scoring import model_predictions
from omr.scoring.model_predictions import ModelOptions
from reading.network import Network
from training.models.checkpoints import Weights
from training.models.training_record import TrainingRecord

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
    network: Network | None = None
    """Network that reads pages in tiles; None for one that finds nothing."""

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

    def tile_network(self, weights: Weights, options: ModelOptions) -> Network:
        return self.network or InkNetwork(
            imgsz=options.imgsz or self.imgsz or 64, names=self.names, levels=()
        )


def fake_predictor(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    fake = Predictor()
    monkeypatch.setattr(model_predictions, "open_weights", fake.open_weights)
    monkeypatch.setattr(model_predictions, "predict", fake.predict)
    monkeypatch.setattr(model_predictions, "tile_network", fake.tile_network)
    return fake


def make_data(parent: Path) -> Path:
    """One image per split; two noteheads and a stem for val, nothing for train."""
    folder = parent / "data"
    labels = {"train": "", "val": "0 .2 .2 .1 .1\n0 .5 .2 .1 .1\n1 .5 .5 .05 .5\n"}
    for split, text in labels.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        images.write(np.full((100, 100), 255, np.uint8), folder / "images" / split / "a.png")
        (folder / "labels" / split / "a.txt").write_text(text)
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}")
    (parent / "best.pt").write_text("weights")
    return folder


def run(data: Path, *options: str) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(data.parent / "best.pt"), str(data), *options])


def record(*images: Path, **changes: Any) -> TrainingRecord:  # noqa: ANN401
    """Create the record of a training run on images."""
    hashes = np.sort(short_hashes(images))
    return replace(TrainingRecord(images=hashes, is_complete=True, preparations=(None,)), **changes)
