from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from shared_recording import share_recording

from class_maps import ConfigError, InputError
from settings.head_config import Group, HeadConfig
from training.config import TrainConfig
from training.density import fitting_batch
from training.density.crowding import Crowding
from training.density.fitting_batch import auto_batch, head_form, step_spec
from training.memory.batch_search import limit_of
from training.memory.gpus import Gpu, find_gpu
from training.memory.step import predict_step

HEADS = HeadConfig(
    groups=(Group(name="thin", classes=("stem",)), Group(name="rest", classes=("note", "clef"))),
    box="separate",
)
CROWDING = Crowding(
    trained=np.array([10, 30]),
    drawn=np.array([0, 1]),
    stored=np.array([10, 30]),
    pairs_per_box=2.5,
)
SetGpu = Callable[[int], Gpu]


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Nine images of 64 x 64 px."""
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").mkdir(parents=True)
    for i in range(9):
        cv2.imwrite(str(tmp_path / f"images/train/{i}.png"), np.full((64, 64, 3), 255, np.uint8))
        (tmp_path / f"labels/train/{i}.txt").write_text("0 .5 .5 .2 .2\n1 .2 .2 .1 .2\n")
    (tmp_path / "data.yaml").write_text(
        "train: images/train\nval: images/train\nnames: [note, stem, clef]\n"
    )
    return TrainConfig(data=tmp_path, out=tmp_path / "run", model="omr-tiny", imgsz=160)


@pytest.fixture
def holds(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> SetGpu:
    """Return a function that installs a GPU whose memory fits exactly n of those images."""

    def set_to(images: int) -> Gpu:
        none = Gpu(name="small", total_bytes=0, usable_bytes=0, bf16=True)
        two = Crowding(
            trained=np.full(9, 2), drawn=np.arange(9), stored=np.full(9, 2), pairs_per_box=8.0
        )
        need = predict_step(step_spec(config, none, None, 3, two, images, nominal_batch=images + 1))
        gpu = Gpu(
            name="small",
            total_bytes=2 * need.total_bytes,
            usable_bytes=round(need.total_bytes * 1.003 / 0.9),
            bf16=True,
        )
        monkeypatch.setattr(fitting_batch, "present_device", lambda _: gpu)
        return gpu

    return set_to


@pytest.fixture(autouse=True)
def _few_draws_and_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.density.simulated_augmentation.FEWEST_DRAWS", 100)
    share_recording(monkeypatch)


def with_nominal(config: TrainConfig, nominal_batch: int, device: str = "") -> TrainConfig:
    return TrainConfig(
        data=config.data, out=config.out, model=config.model, imgsz=config.imgsz, batch=1,
        nominal_batch=nominal_batch, device=device,
    )  # fmt: skip


def test_all_images_at_once_where_they_fit(config: TrainConfig) -> None:
    result = auto_batch(config)  # this machine
    assert (result.batch, result.accumulate) == (9, 1)


def test_a_batch_fits_and_divides_the_nominal_one(config: TrainConfig, holds: SetGpu) -> None:
    gpu = holds(4)
    for nominal, batch in ((0, 4), (14, 2), (7, 1)):
        result = auto_batch(with_nominal(config, nominal))
        assert (result.batch, result.accumulate) == (batch, nominal // batch or 1)
        assert result.memory.batch == batch
        assert result.memory.total_bytes <= limit_of(gpu)


def test_several_devices_share_a_nominal_batch(config: TrainConfig, holds: SetGpu) -> None:
    holds(64)
    result = auto_batch(with_nominal(config, 8, "0,1"))
    assert (result.batch, result.accumulate) == (4, 1)  # on each: 4 of its 4 images
    assert auto_batch(with_nominal(config, 16, "0,1")).batch == 4
    with pytest.raises(ConfigError) as error:
        auto_batch(with_nominal(config, 7, "0,1"))
    message = "--nominal-batch 7: must be a multiple of the number of devices, 2; use 6 or 8"
    assert str(error.value) == message


def test_torchrun_needs_a_number(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting_batch, "n_started", lambda: 2)
    with pytest.raises(
        ConfigError, match=r"^--batch auto: not available under torchrun; give a number$"
    ):
        auto_batch(config)


@pytest.mark.parametrize(
    ("model", "strides", "reg_max"),
    [
        ("omr-tiny", (8, 16, 32), 16),
        ("omr-tiny-p2", (4, 8, 16, 32), 16),
        ("yolo26n", (8, 16, 32), 1),
    ],
)
def test_the_form_of_a_models_head(
    config: TrainConfig, model: str, strides: tuple[int, ...], reg_max: int
) -> None:
    result = head_form(TrainConfig(data=config.data, out=config.out, model=model), 3, None)
    assert (result.strides, result.reg_max, result.heads) == (strides, reg_max, None)


def test_groups_of_classes_are_part_of_the_form(config: TrainConfig) -> None:
    assert head_form(config, 3, HEADS).heads == HEADS
    with pytest.raises(ConfigError, match="heads: config has 3 classes, but the data has 4"):
        head_form(config, 4, HEADS)


@pytest.mark.parametrize(
    ("gpu", "requested", "precision"),
    [
        ("rtx5090", "auto", "bf16"),
        ("t4", "auto", "fp16"),
        ("rtx5090", "fp32", "fp32"),
        ("t4", "fp32", "fp32"),
    ],
)
def test_a_step_is_as_crowded_as_the_fullest_in_a_thousand(
    config: TrainConfig, gpu: str, requested: str, precision: str
) -> None:
    asking = TrainConfig(data=config.data, out=config.out, precision=requested)  # type: ignore[arg-type]
    one = step_spec(asking, find_gpu(gpu), None, 3, CROWDING, 1)
    assert (one.boxes, one.boxes_max, one.pairs) == (30, 30, 75)
    two = step_spec(asking, find_gpu(gpu), HEADS, 3, CROWDING, 2, nominal_batch=3)
    assert (two.boxes, two.boxes_max, two.pairs) == (40, 30, 100)  # each image once
    assert (two.precision, two.device, two.heads) == (precision, "cuda", HEADS)
    assert (one.accumulates, two.accumulates) == (False, True)


def test_no_image_has_a_symbol(config: TrainConfig) -> None:
    none = Crowding(
        trained=np.zeros(2, np.int64),
        drawn=np.arange(2),
        stored=np.zeros(2, np.int64),
        pairs_per_box=0.0,
    )
    spec = step_spec(config, find_gpu("t4"), None, 3, none, 2)
    assert (spec.boxes, spec.boxes_max, spec.pairs) == (0, 0, 0)
    assert predict_step(spec).total_bytes > 0


def test_a_gpu_without_bf16(config: TrainConfig) -> None:
    asking = TrainConfig(data=config.data, out=config.out, precision="bf16")
    with pytest.raises(ConfigError) as error:
        step_spec(asking, find_gpu("t4"), None, 3, CROWDING, 1)
    assert str(error.value) == "--precision bf16: not supported by T4; use fp16 or fp32"


def test_without_a_symbol_no_batch_is_chosen(config: TrainConfig) -> None:
    for file in (config.data / "labels").rglob("*.txt"):
        file.write_text("")
    with pytest.raises(InputError, match=r"no symbols in any of \d+ images: the label files are"):
        auto_batch(config)
