"""Test of ``omr predict`` in an environment in which PyTorch is not installed."""

import json
import os
import subprocess
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ultralytics.nn.tasks import DetectionModel

from omr.exporting import export_model
from training.models.checkpoints import save_weights
from training.models.zoo import model_file

ROOT = Path(__file__).parents[2]
TORCH = ("torch", "torchvision", "ultralytics")
"""Dependencies that import PyTorch, and PyTorch."""


def packages() -> list[str]:
    """List the dependencies of omr that prediction with an ONNX file needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["export"]
    return [package for package in needed if not package.startswith(TORCH)]


def onnx_file(folder: Path) -> Path:
    model = DetectionModel(model_file("omr-tiny"), nc=2, verbose=False)
    model.names = {0: "note", 1: "stem"}
    save_weights(model, folder / "w.pt", train_args={"task": "detect", "imgsz": 64})
    export_model(folder / "w.pt", folder / "w.onnx", "onnx")
    return folder / "w.onnx"


@pytest.mark.slow
@pytest.mark.network
def test_pages_are_read_without_torch(tmp_path: Path) -> None:
    weights = onnx_file(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (100, 150), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *packages()], check=True)
    words = ["predict", tmp_path / "a.png", tmp_path / "out", "--weights", weights, "--json"]
    done = subprocess.run(
        [python, "-m", "omr", *map(str, words), "--staff-space", "none", "--conf", "0"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pages"][0]["symbols"] > 0
    versions = json.loads((tmp_path / "out/manifest.json").read_text())["versions"]
    assert versions["onnxruntime"]
    assert not versions.get("torch")
