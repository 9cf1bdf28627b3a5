"""Models by name and by checkpoint."""

import contextlib
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils import ROOT

from class_maps import ConfigError, InputError, with_nearest

FAMILIES = re.compile(r"yolo(v8|11|12|26)(-p\d)?")
"""Ultralytics' model files that have a plain detection head."""
OWN = Path(__file__).parent / "architectures"
"""Model files of this package."""


def known_models() -> list[str]:
    """List the names that can be trained from scratch, such as ``omr-tiny`` and ``yolov8s-p2``."""
    names = sorted(file.stem for file in OWN.glob("*.yaml"))
    for file in sorted((Path(ROOT) / "cfg" / "models").rglob("*.yaml")):
        match = FAMILIES.fullmatch(file.stem)
        if match:
            scales = yaml.safe_load(file.read_text("utf-8"))["scales"]
            family, suffix = match.group(1), match.group(2) or ""
            names += [f"yolo{family}{scale}{suffix}" for scale in scales]
    return names


def model_file(model: str) -> str:
    """Find what Ultralytics builds a model from; weights are never downloaded.

    Args:
        model: A name of :func:`known_models`, or the path of a ``.pt`` file.

    Returns:
        ``NAME.yaml``, the path of our own or of the weights, as Ultralytics takes it.

    Raises:
        ConfigError: No such model.
        InputError: No such file, or no detection model in it.
    """
    if model.endswith(".pt"):
        if not Path(model).is_file():
            raise InputError(
                "no such weights; a name without .pt trains from scratch", path=Path(model)
            )
        read_checkpoint(Path(model))
        return model
    names = known_models()
    if model not in names:
        raise ConfigError(
            f"model: unknown: {with_nearest([model], names)}; "
            "take yolov8, yolo11, yolo12 or yolo26 with a size of n, s, m, l or x, omr-tiny, "
            "yolov7-tiny, or a .pt file"
        )
    own = OWN / f"{model}.yaml"
    return str(own) if own.is_file() else own.name


@contextlib.contextmanager
def activation_kept() -> Iterator[None]:
    """Let a model file name an activation for its own model only.

    The oldest Ultralytics gives it to every model that the process builds from then on.
    """
    before = Conv.default_act
    try:
        yield
    finally:
        Conv.default_act = before


def read_checkpoint(weights: Path) -> tuple[Any, dict[str, Any]]:
    """Load a checkpoint. It is a pickle: load only files that you trust.

    Args:
        weights: A file that a training wrote.

    Returns:
        The model on the CPU in single precision, and the whole checkpoint.

    Raises:
        InputError: The file is missing, or no checkpoint of a detection model.
    """
    if not weights.is_file():
        raise InputError("no such weights; give a run's weights/best.pt", path=weights)
    foreign = InputError(
        "holds no Ultralytics detection model; give a run's weights/best.pt", path=weights
    )
    if weights.suffix != ".pt":
        raise foreign
    try:
        model, checkpoint = load_checkpoint(str(weights))
    except (
        AttributeError,
        EOFError,
        ImportError,
        KeyError,
        RuntimeError,
        TypeError,
        pickle.UnpicklingError,
    ):
        raise foreign from None
    if getattr(model, "task", None) != "detect":
        raise foreign
    return model, checkpoint
