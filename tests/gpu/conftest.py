"""Fixtures of the tests that run on a CUDA device: ``pytest -m gpu``.

``pytest -m gpu --gpu-device cpu`` runs the same tests on the CPU; ``-m "gpu and not slow"`` runs
the smallest models only.
"""

import contextlib
import importlib
import inspect
import sys
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch
from device_trainings import config_of
from drawn_data import make_dataset

from training.trainer import TrainResult, train

HERE = Path(__file__).parent
TOOL = 4
"""Tool number of ``sys.monitoring`` that is not reserved."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # CUDA brings warnings that our code cannot avoid, such as those about operations without
            # a deterministic form. They are listed in the summary and fail no test.
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Check that a test calls every function that its ``gpu`` marks name."""
    on_cuda = pyfuncitem.config.getoption("--gpu-device") == "cuda"
    names = [
        name
        for mark in pyfuncitem.iter_markers("gpu")
        for option in ("covers", *(["covers_on_cuda"] if on_cuda else []))
        for name in mark.kwargs.get(option, ())
    ]
    with uncalled({code_of(name): name for name in names}) as missing:
        result = yield
    assert not missing, f"named by the test, but never called: {', '.join(missing)}"
    return result


@contextlib.contextmanager
def uncalled(functions: dict[CodeType, str]) -> Iterator[Collection[str]]:
    """List the functions that a ``with`` block does not call; none before Python 3.12.

    There the interpreter reports the calls of chosen functions at no cost to all others. A profile
    function would make the prediction of memory ten times slower.
    """
    if sys.version_info < (3, 12):
        yield []
        return
    missing = dict(functions)
    events = sys.monitoring.events
    sys.monitoring.use_tool_id(TOOL, "omr")
    sys.monitoring.register_callback(
        TOOL, events.PY_START, lambda code, _offset: missing.pop(code, None) and None
    )
    for code in functions:
        sys.monitoring.set_local_events(TOOL, code, events.PY_START)
    try:
        yield missing.values()
    finally:
        for code in functions:
            sys.monitoring.set_local_events(TOOL, code, events.NO_EVENTS)
        sys.monitoring.free_tool_id(TOOL)


def code_of(name: str) -> CodeType:
    """Find the code of a function by a name such as ``training.runtime.distributed:leave``."""
    module, path = name.split(":")
    value: object = importlib.import_module(module)
    for part in path.split("."):
        value = inspect.getattr_static(value, part)
    code: CodeType = inspect.unwrap(value).__code__  # type: ignore[arg-type]
    return code


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    """Device under test: the first GPU, or the CPU."""
    if pytestconfig.getoption("--gpu-device") == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device; --gpu-device cpu runs the same tests on the CPU")
    return torch.device("cuda:0")


@pytest.fixture(autouse=True)
def _clean_device(device: torch.device) -> Iterator[None]:
    """Skip tests without a device, and restore switches that Ultralytics' trainings change."""
    yield
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
    if device.type == "cuda":
        torch.cuda.synchronize()  # so that an error in a kernel is reported with its own test


@pytest.fixture
def exact_fp32() -> Iterator[None]:
    """Compute in full single precision on the device, without TF32."""
    if not hasattr(torch.backends.cudnn, "conv"):  # torch 2.8
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
        return
    backends: Any = torch.backends
    switches = backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "ieee"
    yield
    for switch, precision in zip(switches, before, strict=True):
        switch.fp32_precision = precision


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of 96 px for training and six for validation."""
    return make_dataset(tmp_path_factory.mktemp("data") / "drawn")


@pytest.fixture(scope="session")
def trained(
    dataset: Path, device: torch.device, tmp_path_factory: pytest.TempPathFactory
) -> TrainResult:
    """Two epochs of the smallest model on the device."""
    return train(config_of(dataset, tmp_path_factory.mktemp("runs") / "run", device, epochs=2))
