from collections.abc import Callable

import numpy as np
import pytest
import torch
from host_syncs import HostSyncs
from torch import Tensor
from torchvision.ops import nms

CPU = torch.device("cpu")
"""Plays the device."""
VALUES = torch.tensor([3.0, 0.0, 2.0, 5.0])
MASK = torch.tensor([True, False, True, True])
INDICES = torch.tensor([0, 2])
LENGTHS = torch.tensor([1, 2, 0, 2])
BOX, SCORE = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1)


def set_item(target: Tensor, index: object, value: object) -> None:
    target[index] = value  # type: ignore[index, assignment]


NO_SYNC: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "arithmetic": lambda: (VALUES * 2 + 1).sum(),
    "fill under a mask": lambda: VALUES.clone().masked_fill_(MASK, 0),
    "number under a mask": lambda: set_item(VALUES.clone(), MASK, 1.0),
    "number in a slice": lambda: set_item(VALUES.clone(), slice(1, 3), 1.0),
    "index on the device": lambda: VALUES[INDICES],
    "put on the device": lambda: set_item(VALUES.clone(), INDICES, VALUES[:2]),
    "where": lambda: torch.where(MASK, VALUES, 0.0),
    "topk": lambda: VALUES.topk(2),
    "shape": lambda: VALUES.new_zeros(len(VALUES)),
    "made on the device": lambda: torch.arange(4, device=CPU) + INDICES.sum(),
    "cast": lambda: VALUES.to(torch.float64),
    "same device": lambda: VALUES.to(CPU),
    "from the host without waiting": lambda: torch.tensor([1, 2]).to(CPU, non_blocking=True),
    "copied without waiting": lambda: VALUES.clone().copy_(torch.zeros(4), non_blocking=True),
    "number read on the host": lambda: torch.tensor([1.0, 2.0]).sum().item(),
    "array on the host": lambda: torch.from_numpy(np.ones(3))[[0, 1]].numpy(),
    "host of a host": lambda: torch.zeros(3).cpu(),
    "known length": lambda: VALUES.repeat_interleave(LENGTHS, output_size=5),
}

ONE_SYNC: dict[str, tuple[str, Callable[[], object]]] = {
    "item": ("item", lambda: VALUES.sum().item()),
    "float": ("item", lambda: float(VALUES.max())),
    "truth": ("item", lambda: 1 if MASK.any() else 0),
    "format": ("item", lambda: f"{VALUES.sum():.3f}"),
    "old format": ("item", lambda: "%.3f" % VALUES.sum()),  # noqa: UP031
    "as an index": ("item", lambda: [1, 2, 3][INDICES[1]]),
    "nonzero": ("nonzero", lambda: VALUES.nonzero()),
    "where without values": ("nonzero", lambda: torch.where(MASK)),
    "masked select": ("masked_select", lambda: VALUES.masked_select(MASK)),
    "mask as index": ("index", lambda: VALUES[MASK]),
    "list as index": ("index", lambda: VALUES[[0, 1]]),
    "array as index": ("index", lambda: VALUES[np.array([0, 1])]),
    "index from the host": ("index", lambda: VALUES[torch.tensor([0, 1])]),
    "put under a mask": ("index_put", lambda: set_item(VALUES.clone(), MASK, VALUES[:3])),
    "number by index": ("index_put", lambda: set_item(VALUES.clone(), INDICES, 1.0)),
    "values from the host": (
        "index_put",
        lambda: set_item(VALUES.clone(), slice(0, 2), torch.zeros(2)),
    ),
    "unique": ("unique", lambda: INDICES.unique()),
    "bincount": ("bincount", lambda: INDICES.bincount()),
    "equal": ("equal", lambda: VALUES.equal(VALUES)),
    "unknown length": ("repeat_interleave", lambda: VALUES.repeat_interleave(LENGTHS)),
    "nms": ("nms", lambda: nms(BOX, SCORE, 0.5)),
    "cpu": ("cpu", lambda: VALUES.cpu()),
    "to the host": ("to", lambda: VALUES.to("cpu")),
    "list": ("tolist", lambda: VALUES.tolist()),
    "array": ("numpy", lambda: VALUES.numpy()),
    "array of numpy": ("__array__", lambda: np.asarray(VALUES)),
    "print": ("__repr__", lambda: repr(VALUES)),
    "new tensor": ("tensor", lambda: torch.tensor([1.0], device=CPU)),
    "new tensor like": ("new_tensor", lambda: VALUES.new_tensor([1.0])),
    "as tensor": ("as_tensor", lambda: torch.as_tensor([1.0], device=VALUES.device)),
    "from the host": ("to", lambda: torch.tensor([1, 2]).to(CPU)),
    "copied from the host": ("copy_", lambda: VALUES.clone().copy_(torch.zeros(4))),
}


@pytest.mark.parametrize("case", NO_SYNC)
def test_what_stays_on_the_device_is_not_recorded(case: str) -> None:
    with HostSyncs() as syncs:
        NO_SYNC[case]()
    assert syncs.records == []


@pytest.mark.parametrize("case", ONE_SYNC)
def test_each_kind_of_wait_is_recorded_once(case: str) -> None:
    name, function = ONE_SYNC[case]
    with HostSyncs() as syncs:
        function()
    assert syncs.names() == [name]


def test_a_record_names_the_line() -> None:
    with HostSyncs() as syncs:
        float(VALUES[0])
    line = test_a_record_names_the_line.__code__.co_firstlineno + 2
    assert syncs.records[0].place == f"tests/training/engine/test_host_syncs.py:{line}"


def test_a_caller_in_a_library_is_named_beside_the_line() -> None:
    with HostSyncs() as syncs:
        np.allclose(VALUES, 1.0)
    assert syncs.names() == ["__array__"]
    assert syncs.records[0].place.startswith("tests/training/engine/test_host_syncs.py:")
    assert "numpy" in syncs.records[0].caller


def test_host_tensors_from_before_the_block_can_be_named() -> None:
    steps = torch.tensor(3.0)
    with HostSyncs(host=[steps]) as syncs:
        (steps + 1).item()
    assert syncs.records == []


def test_the_backward_pass_is_watched() -> None:
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: object, *gradients: Tensor) -> Tensor:
            return gradients[0] * gradients[0].sum().item()

    weight = torch.ones(2, requires_grad=True)
    with HostSyncs() as syncs:
        Reads.apply(weight).sum().backward()
    assert syncs.names() == ["item"]


def test_nothing_is_recorded_after_the_block() -> None:
    with HostSyncs() as syncs:
        pass
    VALUES.sum().item()
    assert syncs.records == []
