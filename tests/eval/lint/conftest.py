"""Engraved pages with correct labels, read once."""

from dataclasses import replace
from pathlib import Path

import pytest
from engraved import engraved_pages

import class_maps
from converters.conversion import ConversionOptions, convert
from converters.formats.datasets import open_dataset
from converters.formats.yolo_dataset import YoloDataset
from eval.lint.pages import LintPage, lint_pages


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data set of whole pages; tests must not change it."""
    base = tmp_path_factory.mktemp("lint")
    source = engraved_pages(base / "pages", pages=6, width=1300, height=1800)
    options = ConversionOptions(class_map=class_maps.load("harmony"))
    convert(source, base / "data", options)
    return base / "data"


@pytest.fixture(scope="session")
def dataset(folder: Path) -> YoloDataset:
    return open_dataset(folder)


@pytest.fixture(scope="session")
def clean(dataset: YoloDataset) -> list[LintPage]:
    """Pages of a split; tests add those of another one."""
    return [replace(page, has_other_splits=True) for page in lint_pages(dataset)]


@pytest.fixture(scope="session")
def names(dataset: YoloDataset) -> tuple[str, ...]:
    return dataset.names
