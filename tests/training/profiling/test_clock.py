import time
from types import SimpleNamespace

import pytest
import torch

from training.profiling.clock import PhaseClock, phase_totals


@pytest.mark.parametrize(
    ("names", "times", "expected"),
    [
        ([], [], {}),
        (["load"], [5.0], {}),
        (["load", "forward", "load"], [0.0, 2.0, 7.0], {"load": 2.0, "forward": 5.0}),
        (["load", None, "load"], [0.0, 2.0, 7.0], {"load": 2.0}),
        (["load", None, "load", None], [0.0, 2.0, 7.0, 8.0], {"load": 3.0}),
        (
            ["loss", "assign", "loss", "load"],
            [0.0, 1.0, 4.0, 6.0],
            {"loss": 3.0, "assign": 3.0},
        ),
    ],
    ids=["none", "unfinished", "two phases", "pause", "after a pause", "nested"],
)
def test_phases_add_up(
    names: list[str | None], times: list[float], expected: dict[str, float]
) -> None:
    assert phase_totals(names, times) == expected


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clock of the host that advances by a second per reading."""
    now = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))


@pytest.mark.usefixtures("ticks")
def test_a_cpu_is_timed_by_the_clock_of_the_host() -> None:
    clock = PhaseClock(torch.device("cpu"))
    assert clock.totals() == {}
    for phase in ("load", "forward", "load"):
        clock.begin(phase)
    clock.pause()
    assert clock.totals() == {"load": 2000.0, "forward": 1000.0}
    assert clock.totals() == {}  # the times above are discarded


def test_a_gpu_is_timed_by_events_that_are_read_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.ms = 5.0 * log.count("record") ** 2
            log.append("record")

        def elapsed_time(self, later: "Event") -> float:
            log.append("read")
            return later.ms - self.ms

    monkeypatch.setattr(
        torch, "cuda", SimpleNamespace(Event=Event, synchronize=lambda: log.append("wait"))
    )
    clock = PhaseClock(torch.device("cuda"))
    clock.begin("forward")
    clock.begin("backward")
    clock.pause()
    assert log == ["record"] * 3
    assert clock.totals() == {"forward": 5.0, "backward": 15.0}
    assert log == ["record"] * 3 + ["wait"] + ["read"] * 3
