"""Settings that apply to all tests."""

import gc
import os

import pytest
from hypothesis import settings

from reading.onnx_network import NO_TELEMETRY

os.environ.update(NO_TELEMETRY)  # some tests import onnxruntime themselves
# The test networks are tiny: a second thread gains nothing, and every step waits for it when another
# process occupies its core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Flushing to the disk takes 5 ms per file and matters only if the machine loses power.
os.fsync = lambda fd: None

# No deadline, because shared machines are slow at times; derandomised, so that a failing build fails
# again when it is repeated.
settings.register_profile("omr", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("omr")


def pytest_collection_finish() -> None:
    """Exempt the imported modules from garbage collection, which each training runs several times."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # or triton reports at exit what was not collected


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gpu-device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="device of tests marked gpu; cpu only checks that the tests run (default: cuda)",
    )
