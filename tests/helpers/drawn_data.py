"""Small synthetic data sets."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import yaml

NAMES = ("notehead", "stem", "beam")
SHAPES = {0: (10, 8), 1: (2, 28), 2: (30, 6)}
"""Width and height in pixels of each label."""


def make_dataset(root: Path, *, n_images: int = 6, side: int = 96, n_symbols: int = 9) -> Path:
    """Create a YOLO folder with noteheads, stems and beams in black on white."""
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


def repeat_training_images(data: Path, times: int) -> None:
    """Copy the images and labels of a YOLO folder, for more steps per epoch.

    An epoch ends with the writing of weights, which takes as long as several steps.
    """
    for file in [*data.glob("images/train/*.*"), *data.glob("labels/train/*.txt")]:
        for copy in range(1, times):
            shutil.copy(file, file.with_stem(f"{file.stem}-copy{copy}"))
