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
    batches,
    config_of,
    heads_file,
    losses_in,
    option_of,
    slow,
)
from drawn_data import make_dataset
from interrupted import interrupted
from recording_display import RecordingDisplay
from torch import Tensor

from settings.run_files import RECORD_FILE
from settings.training import Precision
from training.config import read_config
from training.engine.display import TrainingStep
from training.heads.grouped import SeparateDetect
from training.models.checkpoints import load_weights
from training.trainer import ready_trainer, train

CLOSE = 0.1
"""Largest relative difference of a resumed run's losses: CUDA sums in no fixed order."""
CLOSE_WEIGHTS = 0.5
"""Largest distance between the weights of both runs, relative to the last epoch's change. If the
state is not restored it is 1.3, on a CPU it is 0."""


@pytest.mark.gpu(
    covers=[
        "training.runtime.precision:resolved",
        "training.runtime.precision:amp_argument",
        "training.runtime.precision:_supported",
        "training.runtime.devices:devices_of",
        "training.runtime.distributed:check_ranks",
        "training.runtime.distributed:leave",
        "training.runs.provenance:_device_name",
        "training.data.dataset:build_loader",
        "training.engine.omr_trainer:OmrTrainer.build_dataset",
        "training.engine.omr_trainer:OmrTrainer._setup_train",
        "training.assigners.assignment:on_device",
        "training.data.device_prefetch:DeviceLoader.__init__",
        "training.runtime.devices:is_deterministic",
        "training.runtime.devices:memory_format_of",
        "training.runtime.nan_guard:_copied",
    ],
    covers_on_cuda=[
        "training.runtime.precision:_has_bf16",
        "training.data.device_prefetch:SideStream.__init__",
        "training.data.device_prefetch:SideStream.start",
        "training.data.device_prefetch:SideStream.finish",
    ],
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
    options = {"epochs": 2, "precision": "fp32", "warmup_epochs": 0}
    config = config_of(dataset, tmp_path / "whole", device, model=model, **options)
    whole = flat_weights(train(config).last)
    halves = replace(config, out=tmp_path / "halves")
    interrupted(halves, 0)
    start = flat_weights(halves.out / "weights" / "last.pt")
    resumed = flat_weights(train(replace(halves, resume=True)).last)
    expected = losses_in(config.out)
    assert_finite(expected, 2)
    for losses, wanted in zip(losses_in(halves.out), expected, strict=True):
        assert losses == pytest.approx(wanted, rel=CLOSE)
    assert (resumed - whole).norm() < CLOSE_WEIGHTS * (whole - start).norm()


def flat_weights(file: Path) -> Tensor:
    """Read all parameters of a model as one vector."""
    return torch.cat([p.detach().flatten() for p in load_weights(file).parameters()])


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
    assert losses[1] == pytest.approx(losses[0], rel=0.3), "no jump between the devices"


class _WatchedDisplay(RecordingDisplay):
    """Display during whose reports torch raises an error if the host would wait."""

    def is_due(self) -> bool:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("error")
        return super().is_due()

    def show_step(self, step: TrainingStep) -> None:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")
        super().show_step(step)


@pytest.mark.gpu(covers=["training.engine.progress:_memory_bytes"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_display_does_not_wait_for_the_device(
    precision: Precision, device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    display = _WatchedDisplay()
    config = config_of(dataset, tmp_path / "run", device, precision=available(precision, device))
    train(config, make_display=lambda: display)
    assert [step.step for step in display.steps] == [1, 2]
    assert all(step.memory_bytes > 2**20 for step in display.steps)


@pytest.mark.gpu(covers=["training.runtime.precision:resolved"])
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


@pytest.mark.gpu(covers=["training.data.dataset:ClassMasks.added"])
@pytest.mark.parametrize("precision", [pytest.param("bf16", marks=slow), "fp16"])
def test_data_sets_with_different_classes_train_together(
    precision: Precision, device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    other = with_names(make_dataset(tmp_path / "other"), ["rest", "stem", "slur"])
    used = available(precision, device)
    config = config_of(
        dataset, tmp_path / "run", device, joint=(other,), merge_classes=("all",), precision=used
    )
    mask = next(batches(ready_trainer(replace(config, out=tmp_path / "ready"))))["class_mask"]
    assert mask.device.type == device.type
    assert {tuple(row) for row in mask.tolist()} == {
        (True, True, True, False, False),
        (False, True, False, True, True),
    }
    train(replace(config, workers=2))
    assert_finite(losses_in(config.out), 1)
