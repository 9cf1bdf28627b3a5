"""Settings of all tests."""

from hypothesis import settings

# Shared machines are slow at times, which says nothing about the code; and a build that fails must
# fail again when it is repeated.
settings.register_profile("omr", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("omr")
