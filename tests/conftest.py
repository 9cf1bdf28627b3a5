"""Settings of all tests."""

import os

import pytest
from hypothesis import settings

# The networks of the tests are tiny: a second thread gains nothing, and where another process has
# its core, every step waits for it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shared machines are slow at times, which says nothing about the code; and a build that fails must
# fail again when it is repeated.
settings.register_profile("omr", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("omr")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gpu-device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="device of the tests marked gpu; on the CPU they test themselves (default: cuda)",
    )
