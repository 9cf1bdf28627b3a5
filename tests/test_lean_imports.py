"""Tests that polars, a wheel of 45 MB, is needed only for Parquet."""

import subprocess
import sys
from pathlib import Path

import pytest
from deepscores import NOTE, content, write

BLOCKED = "import sys; sys.modules['polars'] = None\n"
"""Code that makes ``import polars`` fail as if polars were not installed."""
IMPORT_ALL = """
import importlib, pkgutil
for name in ("omr", "eval", "training", "reading", "converters", "settings", "class_maps"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if module.name != "omr.__main__":
            importlib.import_module(module.name)
"""
COMMAND = "from omr.cli import main; main()"


def without_polars(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED + code, *map(str, args)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.slow
def test_every_module_can_be_imported_without_polars() -> None:
    done = without_polars(IMPORT_ALL)
    assert (done.returncode, done.stderr) == (0, "")


def test_conversion_works_without_polars(tmp_path: Path) -> None:
    source = write(tmp_path / "in", content(NOTE))
    done = without_polars(COMMAND, "convert", source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_parquet_without_polars_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "in", content(NOTE))
    done = without_polars(COMMAND, "convert", source, tmp_path / "out", "--format", "parquet")
    assert (done.returncode, done.stderr) == (
        1,
        "error: --format parquet: needs polars, which is not installed; "
        "pip install polars, or choose another format\n",
    )
    assert not (tmp_path / "out").exists()
