"""Tests that all packages are imported from this project, and that start-up stays light."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ["eval", "training", "reading", "converters", "settings", "class_maps"]


def _home(package: str) -> Path:
    return Path(str(import_module(package).__file__)).parent.parent


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_a_sibling_of_omr(name: str) -> None:
    assert _home(name) == _home("omr")


def test_help_does_not_import_heavy_packages() -> None:
    code = "import sys, omr.cli; sys.exit(', '.join(sys.modules.keys() & {%r}) or 0)"
    heavy = "', '".join(["torch", "ultralytics", "cv2", "polars", "numpy"])
    command = [sys.executable, "-c", code.replace("%r", f"'{heavy}'")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [("heads", "list"), ("heads", "show", "harmony")])
def test_head_configs_are_shown_without_torch(words: tuple[str, ...]) -> None:
    code = "import sys; sys.modules['torch'] = None; from omr.cli import main; main()"
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "harmony" in done.stdout or "noteheads" in done.stdout


def test_only_one_opencv_is_installed() -> None:
    """Ultralytics depends on opencv-python; a second OpenCV package would overwrite its files."""
    from importlib.metadata import distributions

    names = {str(d.metadata["Name"]).lower() for d in distributions()}
    assert {name for name in names if name.startswith("opencv")} == {"opencv-python"}
