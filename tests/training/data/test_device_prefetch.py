from collections.abc import Iterator

import pytest
import torch

from training.data import device_prefetch
from training.data.device_prefetch import Batch, DeviceLoader, one_ahead


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_results_keep_the_order(n: int) -> None:
    assert [*one_ahead(range(n), lambda i: i * 10, lambda i: i + 1)] == [
        i * 10 + 1 for i in range(n)
    ]


def test_an_element_is_started_before_its_predecessor_is_used() -> None:
    log = []

    def start(i: int) -> int:
        log.append(f"start {i}")
        return i

    def finish(i: int) -> int:
        log.append(f"finish {i}")
        return i

    for i in one_ahead(range(3), start, finish):
        log.append(f"use {i}")
    assert log == [
        *("start 0", "start 1", "finish 0", "use 0"),
        *("start 2", "finish 1", "use 1"),
        *("finish 2", "use 2"),
    ]


def test_an_error_of_the_source_is_raised() -> None:
    def sources() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(one_ahead(sources(), lambda i: i, lambda i: i))


class Recorded:
    """A side stream without a device: marks what it started and finished."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def start(self, batch: Batch) -> Batch:
        return batch | {"started": True}

    def finish(self, batch: Batch) -> Batch:
        return batch | {"device": self.device}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_epoch_has_its_own_batches(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = []

    def made(device: torch.device) -> Recorded:
        streams.append(Recorded(device))
        return streams[-1]

    monkeypatch.setattr(device_prefetch, "SideStream", made)
    samples = [{"value": torch.tensor(i)} for i in range(3)]
    loader = DeviceLoader(dataset=samples, device=torch.device(device), batch_size=2)
    for _ in range(2):
        batches = list(loader)
        assert [batch["value"].tolist() for batch in batches] == [[0, 1], [2]]
        for batch in batches:
            assert batch.get("device") == (torch.device("cuda") if device == "cuda" else None)
            assert ("started" in batch) == (device == "cuda")
    assert len(streams) == (device == "cuda"), "one stream for all epochs"
