"""Demo on small tiles, which takes seconds."""

import pytest
from shared_recording import share_recording

from omr.demo import options


def shrink_demo(patch: pytest.MonkeyPatch) -> None:
    """Let ``omr demo`` work on tiles of 96 px instead of 320, and few shapes."""
    patch.setattr(options, "SIZE", "800x500")
    patch.setattr(options, "SHAPES", {"n_train": 4, "n_val": 2})
    patch.setattr(options, "STAFF_SPACE", 2)
    patch.setattr(options, "TILE", 96)
    share_recording(patch)
    patch.setattr("training.density.simulated_augmentation.FEWEST_DRAWS", 100)
