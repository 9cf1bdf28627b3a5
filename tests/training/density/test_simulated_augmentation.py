import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from ultralytics.utils import DEFAULT_CFG, IterableSimpleNamespace

from converters.boxes import cxcywh_to_xyxy
from training.config import TrainConfig
from training.data.augmentation import SymbolCounter
from training.data.dataset import OmrDataset
from training.data.label_files import read_labels
from training.data.multi_dataset import MultiDataset, join
from training.data.sampling import Draw
from training.density.simulated_augmentation import (
    LabelDataset,
    enough_draws,
    pages_of,
    simulate_draws,
)
from training.trainer import ready_trainer

NAMES = ("stem", "notehead", "clef")
SIZES = [(64, 64), (31, 31), (128, 64), (640, 480), (10, 300), (97, 33)]
"""Very different widths and heights of images."""


def written(root: Path, *, names: tuple[str, ...] = NAMES, seed: int = 0) -> Path:
    """Write images of all sizes: one without labels, one with no rows, one with a duplicate row."""
    rng = np.random.default_rng(seed)
    for kind in ("images", "labels"):
        (root / kind / "train").mkdir(parents=True)
    for i, (width, height) in enumerate(SIZES):
        image = np.full((height, width, 3), 200, np.uint8)
        cv2.imwrite(str(root / f"images/train/{i}.png"), image)
        rows = []
        for label in rng.integers(0, len(names), 12):
            w, h = rng.uniform(0.01, 0.4, 2)
            x, y = rng.uniform([w / 2, h / 2], [1 - w / 2, 1 - h / 2])
            rows.append(f"{label} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n")
        text = {1: "", 3: "".join(rows + rows[:1])}.get(i, "".join(rows))
        if i != 2:
            (root / f"labels/train/{i}.txt").write_text(text)
    content = {"train": "images/train", "val": "images/train", "names": list(names)}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("data")
    return written(root / "a"), written(root / "b", names=("fermata", "tie"), seed=1)


def config_of(out: Path, *folders: Path, **options: Any) -> TrainConfig:  # noqa: ANN401
    defaults: dict[str, Any] = {"model": "omr-tiny", "imgsz": 64, "batch": 4, "device": "cpu"}
    return TrainConfig(
        data=folders[0], joint=folders[1:], out=out, epochs=3, **(defaults | options)
    )


def opened(config: TrainConfig) -> MultiDataset:
    return join(config.sources())


def with_pixels(config: TrainConfig, joint: MultiDataset) -> OmrDataset:
    """Return the data set of a training."""
    hyp = IterableSimpleNamespace(**vars(DEFAULT_CFG))
    hyp.translate, hyp.scale, hyp.hsv_v = config.translate, config.scale, config.brightness
    return OmrDataset(
        counter=SymbolCounter(len(joint.names), 0),
        multi_dataset=joint,
        image_labels={
            file: labels
            for source in joint.sources
            for file, labels in read_labels(source.dataset)["train"].images.items()
        },
        seed=config.seed,
        chosen=config.transforms(),
        img_path=joint.image_files("train"),
        imgsz=config.imgsz,
        batch_size=config.batch,
        augment=True,
        hyp=hyp,
        data={"names": dict(enumerate(joint.names)), "nc": len(joint.names), "channels": 3},
        task="detect",
    )


@pytest.mark.parametrize(
    ("n_sources", "options"),
    [
        pytest.param(1, {}, id="as it is by default"),
        pytest.param(1, {"imgsz": 96, "scale": 0.9, "translate": 0.5, "seed": 7}, id="far"),
        pytest.param(1, {"mosaic": 1.0}, id="mosaic"),
        pytest.param(
            2,
            {"mosaic": 0.5, "fliplr": 0.5, "flipud": 0.5, "degrees": 30, "allow_music_flips": True},
            id="all",
        ),
        pytest.param(2, {"mosaic": 0.5, "sampling_weights": (1.0, 3.0)}, id="two sources"),
    ],
)
def test_the_same_labels_as_with_pixels(
    folders: tuple[Path, Path], tmp_path: Path, n_sources: int, options: dict[str, Any]
) -> None:
    config = config_of(tmp_path, *folders[:n_sources], **options)
    joint = opened(config)
    real, without = with_pixels(config, joint), LabelDataset(config, joint, pages_of(joint))
    assert real.counter is not None
    for number in range(40):
        draw = Draw(number * 5 % len(real), epoch=0, number=number)
        truth, result = real[draw], without[draw]
        assert torch.equal(result["cls"], truth["cls"])
        assert torch.equal(result["bboxes"], truth["bboxes"])
        assert result["im_file"] == truth["im_file"]
        assert truth["img"].shape[1:] == (config.imgsz, config.imgsz)
        assert "img" not in result
    assert torch.equal(without.counter.totals(), real.counter.totals())


def test_the_same_batches_as_a_trainer(folders: tuple[Path, Path], tmp_path: Path) -> None:
    balance = {"balance_classes": True, "balance_threshold": 1.0}
    weights = {"sampling_weights": (1.0, 2.0)}
    config = config_of(tmp_path / "run", *folders, mosaic=0.5, **weights, **balance)
    joint = opened(config)
    trainer = ready_trainer(config)
    files, labels, boxes = [], [], []
    for _ in range(2):  # epochs
        for batch in trainer.train_loader:
            files += batch["im_file"]
            labels += batch["cls"][:, 0].tolist()
            boxes.append(batch["bboxes"].numpy())
    result = simulate_draws(config, joint, pages_of(joint), n_draws=len(files))
    assert len(files) == 2 * 2 * len(SIZES)
    assert [joint.image_files("train")[i] for i in result.images] == files
    assert result.symbols.labels.tolist() == labels
    boxes_xyxy = cxcywh_to_xyxy(np.concatenate(boxes).astype(np.float64) * config.imgsz)
    np.testing.assert_array_equal(result.symbols.boxes_xyxy, boxes_xyxy)
    np.testing.assert_array_equal(result.seen, trainer.state.counter.totals()[0])
    np.testing.assert_array_equal(result.dropped, trainer.state.counter.totals()[1])


def test_counts(folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = config_of(tmp_path, folders[0], scale=0.9, translate=0.5)
    joint = opened(config)
    result = simulate_draws(config, joint, pages_of(joint), n_draws=50)
    assert len(result.n_symbols) == len(result.images) == 50
    np.testing.assert_array_equal(
        result.n_symbols, np.bincount(result.symbols.images, minlength=50)
    )
    assert (result.n_symbols[result.images == 1] == 0).all(), "an image without symbols"
    kept = np.bincount(result.symbols.labels, minlength=3)
    np.testing.assert_array_equal(kept, result.seen - result.dropped)
    assert result.dropped.sum() > 0
    assert result.symbols.boxes_xyxy.min() >= -1e-5
    assert result.symbols.boxes_xyxy.max() <= 64 + 1e-5, (
        "clipped, as centre and size in single precision"
    )
    # Six images come nine times, and then two of them once more.
    assert sorted(np.bincount(result.images).tolist()) == [8, 8, 8, 8, 9, 9]


def test_without_augmentation_labels_are_unchanged(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    config = config_of(tmp_path, folders[0], scale=0.0, translate=0.0)
    joint = opened(config)
    pages = pages_of(joint)
    result = simulate_draws(config, joint, pages, n_draws=6)
    expected = [len(pages[i].labels) for i in result.images]
    assert result.n_symbols.tolist() == expected
    first = result.images.tolist().index(0)
    boxes_xyxy = result.symbols.boxes_xyxy[result.symbols.images == first]
    np.testing.assert_allclose(boxes_xyxy, pages[0].boxes_xyxy, atol=1e-4)


def states() -> tuple[object, ...]:
    """Return the states of this process's random number generators."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002  Ultralytics draws from it
    assert isinstance(numpy, dict)
    return random.getstate(), repr(numpy["state"]), torch.get_rng_state().tolist()


def test_random_state_is_preserved(folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = config_of(tmp_path, folders[0], mosaic=1.0)
    joint = opened(config)
    before = states()
    runs = [simulate_draws(config, joint, pages_of(joint), n_draws=8) for _ in range(2)]
    assert states() == before
    np.testing.assert_array_equal(runs[0].symbols.boxes_xyxy, runs[1].symbols.boxes_xyxy)


@pytest.mark.parametrize(
    ("n_images", "n_draws"), [(1, 1000), (6, 1000), (1200, 1200), (4000, 4000), (4100, 4000)]
)
def test_number_of_draws(n_images: int, n_draws: int) -> None:
    assert enough_draws(n_images) == n_draws


def test_enough_are_drawn_unless_a_number_is_given(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    config = config_of(tmp_path, folders[0])
    joint = opened(config)
    assert len(simulate_draws(config, joint, pages_of(joint)).n_symbols) == 1000


def test_no_labels_at_all(tmp_path: Path) -> None:
    root = written(tmp_path / "bare")
    for file in (root / "labels/train").iterdir():
        file.unlink()
    config = config_of(tmp_path / "run", root, mosaic=0.5)
    joint = opened(config)
    result = simulate_draws(config, joint, pages_of(joint), n_draws=10)
    assert len(result.symbols) == 0
    assert result.symbols.boxes_xyxy.shape == (0, 4)
    assert result.n_symbols.tolist() == [0] * 10
    assert result.seen.tolist() == result.dropped.tolist() == [0, 0, 0]


def test_no_pixels_are_read(folders: tuple[Path, Path], tmp_path: Path) -> None:
    root = written(tmp_path / "data")
    config = config_of(tmp_path / "run", root, mosaic=1.0)
    joint = opened(config)
    pages = pages_of(joint)
    for file in joint.image_files("train"):
        Path(file).write_bytes(b"")
    assert simulate_draws(config, joint, pages, n_draws=6).n_symbols.sum() > 0
    assert not list(root.rglob("*.cache"))


def test_invalid_arguments(folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = config_of(tmp_path, folders[0])
    joint = opened(config)
    pages = pages_of(joint)
    too_many = [*pages[:-1], replace(pages[0], labels=pages[0].labels * 0 + 3)]
    for wrong, n_draws, message in (
        (pages[1:], 1, "5 pages for 6 images"),
        ([], 1, "0 pages for 6 images"),
        (pages, 0, "n_draws must be at least 1, got 0"),
        (too_many, 1, "label 3 is not one of 3 classes: 0.png"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            simulate_draws(config, joint, wrong, n_draws)
