"""Profiles of tiny training runs, and the agreement of their steps with those of training."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from device_trainings import config_of, heads_file, take_step, weights_of
from yolo_folders import write_yolo

from class_maps import ConfigError, InputError
from training.memory.gpus import Gpu
from training.profiling import profile as profiling
from training.profiling.profile import profile_training
from training.profiling.times import PARTS
from training.single_steps import batches, temporary_trainer

CPU = torch.device("cpu")
WHOLE = {"translate": 0.0, "scale": 0.0}
"""Augmentation that keeps all symbols."""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, ""),
        ({"assigner": "simota", "similarity": "ciou"}, ""),
        ({"heads": heads_file}, "not available for heads with separate boxes"),
        pytest.param({"model": "yolo26n"}, "", marks=pytest.mark.slow),  # two assigners
    ],
    ids=["tal", "simota", "separate heads", "two branches"],
)
def test_every_part_of_a_step_is_measured(
    options: dict[str, object], reason: str, dataset: Path, tmp_path: Path
) -> None:
    values = {
        name: value(tmp_path) if callable(value) else value for name, value in options.items()
    }
    config = config_of(dataset, tmp_path / "run", CPU, batch=2, **WHOLE, **values)
    result = profile_training(config, steps=1)
    assert not config.out.exists()
    assert [part.name for part in result.times.parts] == list(PARTS)
    assert all(part.ms > 0 for part in result.times.parts)
    assert sum(part.share for part in result.times.parts) == pytest.approx(1)
    assert result.times.images_per_s == pytest.approx(2000 / result.times.step_ms)
    assert (result.batch, result.symbols_per_image, result.gpu_busy) == (2, 9, None)
    assert [one.name for one in result.densities] == ["sparse", "medium", "dense"]
    for one in result.densities:
        assert [part.name for part in one.omr.parts] == list(PARTS[1:])
        assert one.reason == reason
        assert (one.ultralytics is None) == bool(reason)
        # 64 px: 8 x 8, 4 x 4 and 2 x 2 anchor points, and 9 symbols in each of 2 images
        assert one.ultralytics_pairs == 2 * 9 * 84
        assert 0 < one.omr_pairs < one.ultralytics_pairs
    assert result.advice.endswith(".")
    assert json.loads(json.dumps(result.to_json()))["parts"][0]["name"] == "load"


def test_a_trace_contains_the_parts(dataset: Path, tmp_path: Path) -> None:
    trace, numbers = tmp_path / "trace.json", []

    def track(steps: Iterable[int], total: int) -> Iterator[int]:
        for step in steps:
            numbers.append((step + 1, total))
            yield step

    config = config_of(dataset, tmp_path / "run", CPU, batch=6)
    profile_training(config, steps=1, trace=trace, track=track)
    assert numbers == [(i, 10) for i in range(1, 11)]  # warm-up 3, steps 1, trace 2, densities 4
    events = json.loads(trace.read_text())["traceEvents"]
    forward = next(event for event in events if event["name"] == "omr: forward")
    assert {event["name"] for event in events} >= {f"omr: {name}" for name in PARTS}
    convolution = next(event for event in events if event["name"] == "aten::conv2d")
    assert 0 < convolution["ts"] - forward["ts"] < forward["dur"]


def test_a_step_trains_like_the_loop_of_ultralytics(dataset: Path, tmp_path: Path) -> None:
    config = config_of(dataset, tmp_path / "run", CPU)
    states = []
    for own in (True, False):
        with temporary_trainer(config) as trainer:
            batch = next(batches(trainer))
            if own:
                profiling.take_step(trainer, trainer.model.criterion, batch, lambda _part: None)
            else:
                take_step(trainer, trainer.preprocess_batch(batch))
            states.append(weights_of(trainer))
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_the_network_does_not_change(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = []

    class Profiler(profiling._Profiler):
        def _loader_steps(self, n: int) -> None:
            super()._loader_steps(n)
            parameters.append([p.detach().clone() for p in self._model.parameters()])

    monkeypatch.setattr(profiling, "_Profiler", Profiler)
    profile_training(config_of(dataset, tmp_path / "run", CPU), steps=2)
    warm, measured = parameters
    assert all(map(torch.equal, warm, measured))


def test_a_batch_that_ultralytics_cannot_hold(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Gpu(name="x", total_bytes=0, usable_bytes=10_000, bf16=False, device="cpu")
    monkeypatch.setattr(profiling, "present_device", lambda _device: tiny)
    result = profile_training(config_of(dataset, tmp_path / "run", CPU), steps=1)
    assert {one.reason for one in result.densities} == {
        "out of memory: its assigner takes 0.0 GiB, 0.0 GiB are free"
    }
    assert all(one.ultralytics is None for one in result.densities)


@pytest.mark.parametrize(("n_images", "batch"), [(1, 1), (1, 9), (3, 9)])
def test_more_images_than_there_are(n_images: int, batch: int, tmp_path: Path) -> None:
    labels = {f"train/{i}.png": [0, 1] for i in range(n_images)}
    data = write_yolo(tmp_path / "data", labels | {"val/a.png": [0]})
    result = profile_training(config_of(data, tmp_path / "run", CPU, batch=batch), steps=1)
    assert result.batch == n_images
    assert [one.name for one in result.densities] == ["medium"]


def test_data_without_symbols(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "data", {"train/a.png": [], "train/b.png": [], "val/c.png": [0]})
    with pytest.raises(InputError) as error:
        profile_training(config_of(data, tmp_path / "run", CPU), steps=1)
    assert str(error.value).endswith(
        "no symbols in any of 2 images: the label files are empty; add pages with symbols"
    )


def test_several_devices(dataset: Path, tmp_path: Path) -> None:
    config = replace(config_of(dataset, tmp_path / "run", CPU), device="0,1")
    with pytest.raises(ConfigError) as error:
        profile_training(config, steps=1)
    assert str(error.value) == (
        "omr profile: runs on one device; give one --device, without torchrun"
    )


def test_a_trace_that_does_not_fit_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(file: str) -> None:
        Path(file).write_text('{"traceEvents": [{')

    profiler = SimpleNamespace(export_chrome_trace=export)
    monkeypatch.setattr(profiling._Profiler, "_profiled", lambda *_arguments: profiler)
    with pytest.raises(OSError, match="No space left on device"):
        profiling._Profiler.__new__(profiling._Profiler)._write_trace(tmp_path / "t.json")
