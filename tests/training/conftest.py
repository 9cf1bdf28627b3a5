from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from training.train_config import TrainConfig
from training.trainer import TrainResult, train

NAMES = ("notehead", "stem", "beam")
SHAPES = {0: (10, 8), 1: (2, 28), 2: (30, 6)}
"""Width and height in pixels of each label."""


def make_dataset(root: Path, *, n_images: int = 6, side: int = 96, n_symbols: int = 9) -> Path:
    """Draw a YOLO folder: noteheads, stems and beams in black on white."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for i in range(n_images):
            image = np.full((side, side, 3), 255, np.uint8)
            rows = []
            for label in rng.integers(0, 3, n_symbols):
                width, height = SHAPES[int(label)]
                x, y = rng.integers(0, [side - width, side - height])
                cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), (0, 0, 0), -1)
                rows.append((label, x + width / 2, y + height / 2, width, height))
            cv2.imwrite(str(root / "images" / split / f"{i}.png"), image)
            text = "".join(
                f"{label} " + " ".join(f"{v / side:.6f}" for v in box) + "\n"
                for label, *box in rows
            )
            (root / "labels" / split / f"{i}.txt").write_text(text)
    content = {"train": "images/train", "val": "images/val", "names": dict(enumerate(NAMES))}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root


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
