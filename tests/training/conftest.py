from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from drawn_data import make_dataset

from training.config import TrainConfig
from training.trainer import TrainResult, train


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, 2))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def draw() -> Callable[..., Path]:
    """The function that draws a data set, for tests that need one of their own."""
    return make_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "drawn")


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """Two epochs of the smallest model: not good, but whole."""
    return train(
        TrainConfig(
            data=dataset,
            out=tmp_path_factory.mktemp("runs") / "tiny",
            epochs=2,
            imgsz=96,
            batch=4,
            device="cpu",
        )
    )
