"""Profile of training steps: CUDA events, kernels and a trace."""

import json
from pathlib import Path

import pytest
import torch
from device_trainings import config_of

from training.profiling.profile import profile_training
from training.profiling.times import PARTS


@pytest.mark.gpu(
    covers=[
        "training.profiling.clock:PhaseClock.__init__",
        "training.profiling.clock:PhaseClock.totals",
        "training.profiling.clock:PhaseClock._stamp",
        "training.profiling.profile:_Profiler.profile",
        "training.profiling.profile:_Profiler._situation",
    ]
)
def test_steps_are_profiled(device: torch.device, dataset: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    config = config_of(dataset, tmp_path / "run", device)
    result = profile_training(config, steps=4, trace=trace)
    assert [part.name for part in result.times.parts] == list(PARTS)
    assert all(part.ms > 0 for part in result.times.parts)
    assert sum(part.ms for part in result.times.parts) == pytest.approx(result.times.step_ms)
    assert all(one.ultralytics and one.ultralytics.ms("assigner") > 0 for one in result.densities)
    names = {event["name"] for event in json.loads(trace.read_text())["traceEvents"]}
    assert names >= {f"omr: {name}" for name in PARTS}
    if device.type == "cpu":
        assert result.gpu_busy is None
    else:
        assert result.gpu_busy is None or 0 < result.gpu_busy <= 1  # None: no access to its events
