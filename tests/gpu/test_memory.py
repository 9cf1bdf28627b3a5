"""Memory of a step on the device, predicted and measured, and the batch that fits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from device_trainings import available, losses_in, option_of
from typer.testing import CliRunner, Result

from omr.cli import app
from omr.session import trials
from settings.training import Precision
from training.memory.batch_search import present_device
from training.memory.profile import profile_step
from training.memory.step import predict_step
from training.memory.step_spec import StepSpec


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.gpu(
    covers=[
        "training.memory.profile:profile_step",
        "training.memory.profile:_Training.__init__",
        "training.memory.profile:_Training.step",
        "training.memory.profile:_run_steps",
        "training.memory.step_spec:StepSpec.__post_init__",
        "training.memory.step:_memory",
        "training.memory.fake_step:recorded_step",
        "training.memory.fake_step:_optimize",
        "training.memory.fake_step:_labels",
        "training.memory.step:_of_many",
        "training.memory.fake_step:_autocast",
        "training.runtime.precision:resolved",
    ],
    covers_on_cuda=["training.memory.profile:_on_gpu"],
)
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "boxes"), [("fp32", 120), ("bf16", 121), ("fp16", 122)])
def test_prediction_matches_the_measurement(
    precision: Precision, boxes: int, device: torch.device
) -> None:
    used: Any = available(precision, device)
    spec = StepSpec(
        model="omr-tiny",
        n_classes=3,
        imgsz=128 if device.type == "cpu" else 256,
        batch=8,
        boxes=boxes,  # a different number in each test, because predictions are cached
        precision=used,
        device="cuda" if device.type == "cuda" else "cpu",
    )
    measured = profile_step(spec)
    predicted = predict_step(spec)
    assert measured.total_bytes > 0
    assert measured.reserved_bytes > 0 or device.type == "cpu"
    # At such sizes the workspace of the libraries dominates a GPU's step.
    factor = 3 if device.type == "cuda" else 1.1
    assert 1 / factor < measured.total_bytes / predicted.allocated_bytes < factor, (
        f"measured {measured.total_bytes:,}, reserved {measured.reserved_bytes:,}, "
        f"predicted {predicted.allocated_bytes:,} of {predicted.at_peak}"
    )


@pytest.mark.gpu(
    covers=[
        "training.memory.batch_search:present_device",
    ],
    covers_on_cuda=["training.memory.gpus:present_gpu"],
)
def test_the_device_is_described(device: torch.device) -> None:
    gpu = present_device(option_of(device))
    assert gpu.device == device.type
    assert 0 < gpu.usable_bytes <= gpu.total_bytes
    if device.type == "cuda":
        assert gpu.name == torch.cuda.get_device_name(device)
        assert gpu.bf16


@pytest.mark.gpu(
    covers=[
        "training.density.fitting_batch:_precision",
        "training.memory.batch_search:present_device",
        "training.memory.step:_memory",
    ],
    covers_on_cuda=["training.memory.gpus:present_gpu"],
)
def test_batch_auto_trains(device: torch.device, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", dataset, "--out", out, "--model", "omr-tiny", "--batch", "auto"]
    words += ["--imgsz", 64, "--epochs", 1, "--workers", 0, "--device", option_of(device)]
    assert "batch 6: " in run(*words).output, "all images of the data set fit"
    assert len(losses_in(out)) == 1


@pytest.mark.gpu(
    covers=[
        "eval.reports.density_memory:_table_by_purpose",
        "omr.density_output:_show_memory",
        "omr.density_output:show_measured_step",
        "training.density.recommendation:recommend",
        "training.density.fitting_batch:_precision",
    ]
)
@pytest.mark.slow
def test_analysis_measures_on_the_device(
    device: torch.device, dataset: Path, tmp_path: Path
) -> None:
    words = ["analyze-density", dataset, "--model", "omr-tiny", "--imgsz", 96, "--batch", 4]
    words += ["--report", tmp_path / "page.html"]
    measured = json.loads(run(*words, "--measure", "--json").stdout)["measured"]
    assert measured["total_bytes"] > 0
    assert measured["device"].startswith(
        "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
    )


@pytest.mark.gpu(covers=["omr.session.trials:_devices", "omr.session.trials:_smallest"])
def test_a_session_tries_runs_on_the_device_with_the_least_memory(device: torch.device) -> None:
    if device.type == "cpu":
        assert trials._smallest(["cpu"]) == "cpu"
    devices = trials._devices()
    n_gpus = torch.cuda.device_count()
    assert devices == ([str(i) for i in range(n_gpus)] or ["cpu"])
    assert trials._smallest(devices) in devices
