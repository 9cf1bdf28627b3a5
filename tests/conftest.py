"""Settings of all tests."""

import os

from hypothesis import settings

# The networks of the tests are tiny: a second thread gains nothing, and where another process has
# its core, every step waits for it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shared machines are slow at times, which says nothing about the code; and a build that fails must
# fail again when it is repeated.
settings.register_profile("omr", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("omr")
