from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from class_maps import ConfigError
from training.memory import batch_search
from training.memory.batch_search import (
    find_launch,
    limit_of,
    present_device,
    round_batch,
    workers_for,
)
from training.memory.gpus import GIB, Gpu
from training.memory.step_spec import StepSpec

SPEC = StepSpec(model="yolo11m", n_classes=3)
Need = Callable[[StepSpec], int]


def gpu_of(usable_bytes: int) -> Gpu:
    return Gpu(name="small", total_bytes=2 * usable_bytes, usable_bytes=usable_bytes, bf16=True)


def step_of(batch: int) -> StepSpec:
    return replace(SPEC, batch=batch, boxes=10 * batch)


@pytest.fixture
def predicts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Need], None]:
    """Replace the memory of a step by a formula; symbols are scaled with the batch as usual."""

    def set_to(need: Need) -> None:
        def of_step(spec: StepSpec) -> SimpleNamespace:
            return SimpleNamespace(total_bytes=need(spec), spec=spec)

        def over(spec: StepSpec, batches: Sequence[int]) -> list[SimpleNamespace]:
            boxes = -(-spec.boxes // spec.batch)
            return [of_step(replace(spec, batch=b, boxes=boxes * b)) for b in batches]

        monkeypatch.setattr(batch_search, "predict_step", of_step)
        monkeypatch.setattr(batch_search, "memory_over_batch", over)

    return set_to


@pytest.mark.parametrize(
    ("fixed", "n_images", "nominal", "expected"),
    [  # 10 bytes per image, 90 available: batch, batches per optimiser step, largest batch
        pytest.param(0, 0, 64, (1, 1, 1), id="no image"),
        pytest.param(0, 1, 64, (1, 1, 1), id="one image"),
        pytest.param(80, 1000, 64, (1, 64, 1), id="one fits to the byte"),
        pytest.param(60, 1000, 64, (2, 32, 3), id="three fit"),
        pytest.param(0, 1000, 64, (8, 8, 9), id="nine fit"),
        pytest.param(0, 7, 64, (7, 1, 7), id="fewer images than fit"),
        pytest.param(0, 9, 64, (9, 1, 9), id="as many images as fit"),
        pytest.param(0, 10, 64, (8, 2, 9), id="an image more than fits"),
        pytest.param(0, 1000, 4, (4, 1, 4), id="more fit than a step has"),
        pytest.param(0, 1000, 1, (1, 1, 1), id="steps of one image"),
    ],
)
def test_the_largest_batch_that_fits(
    fixed: int,
    n_images: int,
    nominal: int,
    expected: tuple[int, int, int],
    predicts: Callable[[Need], None],
) -> None:
    predicts(lambda spec: fixed + 10 * spec.batch)
    launch = find_launch(step_of, gpu_of(100), n_images, nominal)
    assert (launch.batch, launch.accumulate, launch.largest) == expected
    assert launch.memory.total_bytes == fixed + 10 * launch.batch <= limit_of(gpu_of(100))


def test_a_smaller_batch_may_be_fuller_for_its_size(predicts: Callable[[Need], None]) -> None:
    predicts(lambda spec: spec.boxes)
    # 64 images have 655 symbols, so 8 are expected to have 88; but the fullest 8 have 95.
    launch = find_launch(lambda n: replace(SPEC, batch=n, boxes=10 * n + 15), gpu_of(100), 1000)
    assert (launch.batch, launch.largest) == (6, 7)


def test_a_rounded_batch_that_needs_more_memory_is_not_taken(
    predicts: Callable[[Need], None],
) -> None:
    predicts(lambda spec: 91 if spec.batch == 16 or spec.batch > 17 else spec.batch)
    assert find_launch(step_of, gpu_of(100), 1000, nominal_batch=21).batch == 17


def test_an_error_suggests_what_would_fit(predicts: Callable[[Need], None]) -> None:
    weight = {"yolo11n": 1, "yolo11s": 3, "yolo11m": 8}
    predicts(lambda spec: weight[spec.model] * spec.side**2 * 1024)  # 3.1 GiB
    start = "yolo11m at 640 px: not even a batch of 1 fits on small: it needs 3.1 GiB, but only "
    with pytest.raises(ConfigError) as error:
        find_launch(step_of, gpu_of(2 * GIB), 9)
    # 640 * sqrt(1.8 / 3.125) = 485.7; s: 1.17 GiB
    assert str(error.value) == (
        f"{start}1.8 of 2.0 GiB may be used; use --imgsz 480 or --model yolo11s"
    )
    with pytest.raises(ConfigError) as error:
        find_launch(step_of, gpu_of(2**20), 9)  # m: at 10 px
    assert str(error.value) == f"{start}0.0 of 0.0 GiB may be used; use a GPU with more memory"


@pytest.mark.parametrize("model", ["omr-tiny", "yolov7-tiny", "yolo11n", "here/best.pt"])
def test_models_without_a_smaller_one(model: str, predicts: Callable[[Need], None]) -> None:
    predicts(lambda spec: spec.side**2)
    with pytest.raises(ConfigError, match=r"use --imgsz 96$"):
        find_launch(lambda n: replace(SPEC, model=model, batch=n), gpu_of(10_300), 9)


def test_a_gpu_without_free_memory(predicts: Callable[[Need], None]) -> None:
    predicts(lambda spec: spec.batch)
    with pytest.raises(ConfigError, match=r"use a GPU with more memory$"):
        find_launch(lambda n: replace(SPEC, model="omr-tiny", batch=n), gpu_of(0), 9)


@pytest.mark.parametrize(("batch", "rounded"), [(1, 1), (2, 2), (3, 2), (7, 6), (8, 8), (31, 24)])
def test_batches_are_rounded_down(batch: int, rounded: int) -> None:
    assert round_batch(batch) == rounded


def test_one_loader_process_per_core_and_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    assert [workers_for(n) for n in (0, 1, 5, 100)] == [1, 1, 5, 16]


def test_a_cpu_is_described_by_its_main_memory() -> None:
    device = present_device("cpu")
    assert (device.device, device.bf16, device.name) == ("cpu", False, "this CPU")
    assert 0 <= device.usable_bytes < device.total_bytes


def test_a_missing_device_is_an_error() -> None:
    with pytest.raises(ConfigError, match="--device 99: no CUDA device 99"):
        present_device("99")


def test_several_devices_are_limited_by_the_one_with_the_least_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = {0: 8, 1: 3, 2: 5}
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(free))
    monkeypatch.setattr(
        "training.memory.batch_search.present_gpu",
        lambda index: Gpu(name=str(index), total_bytes=9, usable_bytes=free[index], bf16=True),
    )
    names = [present_device(device).name for device in ("", "0", "0,2", "2, 1", "0,1,2")]
    assert names == ["0", "0", "2", "1", "1"]
