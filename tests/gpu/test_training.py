"""Trainings of a few steps: interrupted, resumed, validated, of several data sets."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from device_trainings import (
    MODELS,
    assert_finite,
    available,
    config_of,
    heads_file,
    losses_in,
    option_of,
    slow,
)
from drawn_data import make_dataset
from interrupted import interrupted

from training.checkpoints import load_weights
from training.heads.grouped import SeparateDetect
from training.precision import Precision
from training.run_record import RECORD_FILE
from training.train_config import read_config
from training.trainer import train

CLOSE = 0.1
"""Largest relative difference of a resumed run's losses: CUDA sums in no fixed order."""


@pytest.mark.gpu(
    covers=[
        "training.precision:resolved",
        "training.precision:amp_argument",
        "training.precision:_able",
        "training.devices:devices_of",
        "training.ranks:check_ranks",
        "training.ranks:leave",
        "training.run_record:_device_name",
        "training.score_data:mixed_loader",
        "training.score_trainer:ScoreTrainer.__init__",
        "training.score_trainer:ScoreTrainer.set_model_attributes",
        "training.score_trainer:ScoreTrainer.preprocess_batch",
        "training.score_trainer:ScoreTrainer._setup_train",
        "training.assigners.pairs:Pairs.best",
    ],
    covers_on_cuda=["training.precision:_has_bf16"],
)
@pytest.mark.parametrize(
    ("heads", "precision"),
    [
        ("one head", "bf16"),
        pytest.param("one head", "fp16", marks=slow),
        pytest.param("separate heads", "bf16", marks=slow),
        ("separate heads", "fp16"),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_an_interrupted_training_resumes(
    model: str,
    heads: str,
    precision: Precision,
    device: torch.device,
    dataset: Path,
    tmp_path: Path,
) -> None:
    used = available(precision, device)
    options = {"heads": heads_file(tmp_path)} if heads == "separate heads" else {}
    config = config_of(
        dataset, tmp_path / "run", device, model=model, epochs=2, precision=used, **options
    )
    interrupted(config, 0)
    result = train(replace(config, resume=True))
    assert (result.epochs, result.precision) == (2, used)
    assert_finite(losses_in(config.out), 2)
    trained = load_weights(result.last)
    assert isinstance(trained.model[-1], SeparateDetect) == bool(options)
    assert all(torch.isfinite(value).all() for value in trained.state_dict().values())


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_training_ends_close_to_an_uninterrupted_one(
    model: str, device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    config = config_of(dataset, tmp_path / "whole", device, model=model, epochs=2)
    train(config)
    halves = replace(config, out=tmp_path / "halves")
    interrupted(halves, 0)
    train(replace(halves, resume=True))
    whole, resumed = losses_in(config.out), losses_in(halves.out)
    assert_finite(whole, 2)
    for expected, losses in zip(whole, resumed, strict=True):
        assert losses == pytest.approx(expected, rel=CLOSE)


@pytest.mark.gpu
def test_a_run_of_the_device_resumes_on_the_cpu(
    device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    config = config_of(dataset, tmp_path / "run", device, epochs=2, precision="fp32")
    interrupted(config, 0)
    result = train(replace(config, device="cpu", resume=True))
    assert result.epochs == 2
    losses = losses_in(config.out)
    assert_finite(losses, 2)
    assert losses[1] == pytest.approx(losses[0], rel=0.5), "no jump between the devices"


@pytest.mark.gpu(covers=["training.precision:resolved"])
def test_auto_precision_trains_and_validates(
    device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    config = config_of(dataset, tmp_path / "run", device, validate=True, workers=2)
    result = train(config)
    assert result.precision == ("fp32" if device.type == "cpu" else "bf16")
    header, row = (config.out / "results.csv").read_text().splitlines()
    validated = [
        float(value)
        for name, value in zip(header.split(","), row.split(","), strict=True)
        if name.strip().startswith(("val/", "metrics/"))
    ]
    assert len(validated) == 7
    assert all(0 <= value < 1e6 for value in validated), f"{header}\n{row}"
    assert read_config(config.out).device == option_of(device)
    assert f"{device.type}: " in (config.out / RECORD_FILE).read_text()


def with_names(data: Path, names: Sequence[str]) -> Path:
    """Rename the classes of a data set."""
    file = data / "data.yaml"
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(content | {"names": list(names)}))
    return data


@pytest.mark.gpu(covers=["training.score_data:ClassMasks.added"])
@pytest.mark.parametrize("precision", [pytest.param("bf16", marks=slow), "fp16"])
def test_data_sets_with_different_classes_train_together(
    precision: Precision, device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    other = with_names(make_dataset(tmp_path / "other"), ["rest", "stem", "slur"])
    used = available(precision, device)
    config = config_of(
        dataset, tmp_path / "run", device, joint=(other,), same=("all",), precision=used
    )
    result = train(replace(config, workers=2))
    assert result.silent
    assert_finite(losses_in(config.out), 1)
