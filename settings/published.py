"""Weights that come with omr, by name; does not import torch."""

from pathlib import Path

DEFAULT_WEIGHTS = "harmony-tiny"
"""Weights that read pages if no others are given."""
PUBLISHED = (DEFAULT_WEIGHTS,)
"""Names of the weights that come with omr."""
FOLDER = Path(__file__).parents[1] / "training" / "models" / "weights"


def published_file(name: str) -> Path | None:
    """Return the file of the weights of this name; None if omr comes with no such weights."""
    return FOLDER / f"{name}.safetensors" if name in PUBLISHED else None


def weights_path(name: str | Path) -> Path:
    """Return the path of a weights file, given as a name from ``PUBLISHED`` or as a path."""
    return published_file(str(name)) or Path(name)
