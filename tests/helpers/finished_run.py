"""Files of a finished training."""

from pathlib import Path

WEIGHTS = ["best.pt", "best.safetensors", "last.pt", "last.safetensors"]


def rows(run: Path) -> list[list[str]]:
    """``results.csv`` without its column of time."""
    lines = (run / "results.csv").read_text().splitlines()
    return [line.split(",")[:1] + line.split(",")[2:] for line in lines]
