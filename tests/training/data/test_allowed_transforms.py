import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from shapes import converted_shapes
from torch import Tensor
from ultralytics.utils import DEFAULT_CFG, IterableSimpleNamespace

from class_maps import ConfigError
from converters.formats.labelled_files import ImageLabels
from training.config import TrainConfig
from training.data.allowed_transforms import (
    MUSIC_DEGREES,
    FreeImages,
    SourceMosaic,
    SourcePerspective,
    Transforms,
    is_music,
)
from training.data.augmentation import SymbolCounter
from training.data.dataset import OmrDataset
from training.data.multi_dataset import DatasetOptions, MultiDataset, join
from training.trainer import train

Draw = Callable[..., Path]
SIDE = 64


def one_sided(root: Path, *, colour: int, n_images: int = 4, label: int = 0) -> Path:
    """Images with one thin symbol each, at the left and near the top."""
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for i in range(n_images):
            image = np.full((SIDE, SIDE, 3), colour, np.uint8)
            image[8:32, 6:8] = 0
            cv2.imwrite(str(root / "images" / split / f"{i}.png"), image)
            row = [7 / SIDE, 20 / SIDE, 2 / SIDE, 24 / SIDE]
            text = f"{label} " + " ".join(f"{v:.6f}" for v in row) + "\n"
            (root / "labels" / split / f"{i}.txt").write_text(text)
    content = {"train": "images/train", "val": "images/val", "names": ["stem"]}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root


def photographs(root: Path, *, name: str = "dog") -> Path:
    one_sided(root, colour=90)
    content = yaml.safe_load((root / "data.yaml").read_text()) | {"names": [name]}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    manifest = {"source": "coco", "class_map": {"name": "mine"}}
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> MultiDataset:
    """Music, white, and photographs, grey."""
    root = tmp_path_factory.mktemp("both")
    music = one_sided(root / "music", colour=255)
    return join(DatasetOptions(folders=(music, photographs(root / "photographs"))))


def labels_of(joint: MultiDataset) -> dict[str, ImageLabels]:
    """Labels of all training images by their files."""
    return {
        str(image.path.absolute()): ImageLabels(
            height=image.page.height, width=image.page.width, rows=image.rows.astype(np.float32)
        )
        for source in joint.sources
        for image in source.dataset.labelled_images("train")
    }


def dataset_of(joint: MultiDataset, **options: Any) -> OmrDataset:  # noqa: ANN401
    hyp = IterableSimpleNamespace(**vars(DEFAULT_CFG))
    hyp.translate = hyp.scale = hyp.hsv_v = 0.0
    return OmrDataset(
        counter=SymbolCounter(len(joint.names), 0),
        multi_dataset=joint,
        image_labels=labels_of(joint),
        chosen=Transforms(**options),
        img_path=joint.image_files("train"),
        imgsz=SIDE,
        batch_size=4,
        augment=True,
        hyp=hyp,
        data={"names": dict(enumerate(joint.names)), "nc": len(joint.names), "channels": 3},
        task="detect",
    )


def sides_of(dataset: OmrDataset) -> dict[int, list[tuple[float, float]]]:
    """Centre of the symbol of each image of each source, as shares of the image."""
    found: dict[int, list[tuple[float, float]]] = {}
    for i in range(len(dataset)):
        sample = dataset[i]
        x, y = sample["bboxes"][0, :2].tolist()
        dark = (sample["img"].max(dim=0).values == 0).nonzero().float().mean(dim=0) + 0.5
        assert dark.tolist() == pytest.approx([y * SIDE, x * SIDE], abs=0.6), "pixels and box agree"
        found.setdefault(dataset.multi_dataset.source_of[sample["im_file"]], []).append(
            (round(x, 3), round(y, 3))
        )
    return found


LEFT, RIGHT = 0.109, 0.891
HIGH, LOW = 0.312, 0.688


@pytest.mark.parametrize(
    ("options", "music", "photograph"),
    [
        pytest.param({}, (LEFT, HIGH), (LEFT, HIGH), id="nothing"),
        pytest.param({"fliplr": 1.0}, (LEFT, HIGH), (RIGHT, HIGH), id="fliplr"),
        pytest.param({"flipud": 1.0}, (LEFT, HIGH), (LEFT, LOW), id="flipud"),
        pytest.param(
            {"fliplr": 1.0, "flipud": 1.0, "allow_music_flips": True},
            (RIGHT, LOW),
            (RIGHT, LOW),
            id="i know",
        ),
    ],
)
def test_only_photographs_are_mirrored(
    both: MultiDataset,
    options: dict[str, Any],
    music: tuple[float, float],
    photograph: tuple[float, float],
) -> None:
    found = sides_of(dataset_of(both, **options))
    assert set(found[0]) == {music}
    assert set(found[1]) == {photograph}


def test_half_of_the_photographs_are_mirrored(both: MultiDataset) -> None:
    random.seed(0)
    data = dataset_of(both, fliplr=0.5)
    places = [sides_of(data)[1] for _ in range(20)]
    mirrored = sum(x == RIGHT for image in places for x, _ in image)
    assert 25 <= mirrored <= 55, "of 80"


def test_music_is_turned_a_degree_at_most(both: MultiDataset) -> None:
    music, photograph = both.sources[0], both.sources[1]
    counter = SymbolCounter(2, 0)
    operation = SourcePerspective(
        counter, FreeImages(both, allow_music_flips=False), degrees=30.0, translate=0.0, scale=0.0
    )
    for source, most in ((music, MUSIC_DEGREES), (photograph, 30.0)):
        file = str(source.dataset.image_paths("train")[0].absolute())
        labels = {"img": np.zeros((SIDE, SIDE, 3), np.uint8), "im_file": file}
        turns = [operation.get_params(labels)["M"] for _ in range(300)]
        degrees = [abs(np.degrees(np.arctan2(m[1, 0], m[0, 0]))) for m in turns]
        assert 0.9 * most < max(degrees) <= most + 1e-3


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"fliplr": 0.5}, "--fliplr: a mirrored note is another note"),
        ({"flipud": 0.1}, "--flipud: a note upside down is another note"),
        (
            {"degrees": 1.1},
            "--degrees: more than 1 degree changes the meaning of beams, ties and stems",
        ),
    ],
)
def test_music_alone_is_refused(
    options: dict[str, float], reason: str, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    config = TrainConfig(data=dataset, out=out, device="cpu", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as error:
        train(config)
    assert (
        str(error.value)
        == f"{reason}, and {dataset} is music; omit it, or give --allow-music-flips"
    )
    assert not out.exists()


def test_what_is_not_refused(both: MultiDataset, dataset: Path) -> None:
    music = join(DatasetOptions(folders=(dataset,)))
    Transforms(degrees=1, mosaic=1).check(music)
    Transforms(fliplr=1, flipud=1, degrees=90, allow_music_flips=True).check(music)
    Transforms(fliplr=1, flipud=1, degrees=90).check(both)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fliplr": 1.1}, "--fliplr 1.1: expected a number from 0 to 1"),
        ({"flipud": -0.1}, "--flipud -0.1: expected a number from 0 to 1"),
        ({"mosaic": float("nan")}, "--mosaic nan: expected a number from 0 to 1"),
        ({"degrees": 181}, "--degrees 181: expected a number from 0 to 180"),
    ],
)
def test_numbers_out_of_range(options: dict[str, float], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        TrainConfig(data=tmp_path, out=tmp_path / "run", **options)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_which_data_sets_are_music(dataset: Path, tmp_path: Path) -> None:
    def source(folder: Path) -> bool:
        return is_music(join(DatasetOptions(folders=(folder,))).sources[0])

    assert source(dataset), "nobody says what it is"
    assert not source(converted_shapes(tmp_path / "shapes"))
    assert not source(photographs(tmp_path / "dogs"))
    assert source(photographs(tmp_path / "music in COCO's form", name="noteheadBlack"))
    other = photographs(tmp_path / "other")
    (other / "manifest.json").write_text('{"source": "deepscoresv2"}')
    assert source(other)


def colours(sample: dict[str, Any]) -> set[int]:
    """Grey values of a mosaic, but for the symbols and the filling."""
    image: Tensor = sample["img"]
    return set(image.unique().tolist()) - {0, 114}


def test_a_mosaic_is_of_one_source(both: MultiDataset) -> None:
    random.seed(1)
    data = dataset_of(both, mosaic=1.0)
    for i in range(len(data)):
        for _ in range(5):
            sample = data[i]
            colour = {0: 255, 1: 90}[both.source_of[sample["im_file"]]]
            assert colours(sample) <= {colour}
            own = both.names.index({0: "stem", 1: "dog"}[both.source_of[sample["im_file"]]])
            assert sample["cls"].flatten().tolist() == [own] * len(sample["cls"])


def test_no_mosaic_unless_asked_for(both: MultiDataset) -> None:
    kinds = [type(transform) for transform in dataset_of(both).transforms.transforms]
    assert SourceMosaic not in kinds
    assert len(kinds) == 3
    some = dataset_of(both, mosaic=0.5)
    random.seed(0)
    shapes = [len(some[0]["cls"]) for _ in range(40)]
    assert shapes.count(1) > 5
    assert max(shapes) > 1


def test_a_mosaic_keeps_thin_symbols_and_counts_the_others(both: MultiDataset) -> None:
    random.seed(2)
    data = dataset_of(both, mosaic=1.0)
    n_kept = n_made = 0
    for i in range(len(data)):
        for _ in range(10):
            sample = data[i]
            boxes = sample["bboxes"].numpy() * SIDE  # xywh
            n_kept += len(boxes)
            n_made += 1
            for x, y, width, height in boxes:
                assert 0 < width <= 2.01
                assert 0.25 * 24 - 0.1 <= height <= 24.01
                assert _is_dark(sample["img"], x, y)
    assert data.counter is not None
    seen, dropped = data.counter.totals().sum(dim=1).tolist()
    assert seen == 4 * n_made, "each symbol of four images once"
    assert seen - dropped == n_kept > 0


def _is_dark(image: Tensor, x: float, y: float) -> bool:
    pixels: NDArray[np.uint8] = image.numpy()
    column, row = int(x - 0.01), int(y)
    return bool(pixels[:, row, max(column - 1, 0) : column + 2].min() == 0)


def test_images_of_a_mosaic_without_symbols(tmp_path: Path) -> None:
    data = one_sided(tmp_path / "empty", colour=255, n_images=1)
    (data / "labels" / "train" / "0.txt").write_text("")
    joint = join(DatasetOptions(folders=(data,)))
    sample = dataset_of(joint, mosaic=1.0)[0]
    assert sample["bboxes"].shape == (0, 4)
    assert torch.equal(sample["cls"], torch.zeros(0, 1))


def test_a_training_of_both_with_everything_on(both: MultiDataset, tmp_path: Path) -> None:
    config = TrainConfig(
        data=both.options.folders[0],
        joint=both.options.folders[1:],
        out=tmp_path / "run",
        model="omr-tiny",
        epochs=1,
        imgsz=64,
        batch=4,
        device="cpu",
    )
    result = train(replace(config, fliplr=0.5, degrees=5, mosaic=0.5, validate=False))
    assert result.augmented["stem"]["seen"] >= 4
    recorded = yaml.safe_load((tmp_path / "run" / "args.yaml").read_text())
    assert [recorded[n] for n in ("fliplr", "degrees", "mosaic")] == [0.5, 5, 0.5]
