"""Models that can be trained, by name or by weights file."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ultralytics.utils import ROOT

from class_maps import ConfigError, InputError, with_nearest
from settings.published import DEFAULT_WEIGHTS, PUBLISHED
from training.models.checkpoints import weights_file

FAMILIES = re.compile(r"yolo(v8|11|12|26)(-p\d)?")
"""Names of Ultralytics' model files with a plain detection head."""
SCALE = re.compile(r"(?<=\d)[nslmx](?=$|-)")
"""Size letter in the name of a model; Ultralytics has one file for all sizes."""
ARCHITECTURES = Path(__file__).parent / "architectures"
"""Folder with the model files of this package."""
ULTRALYTICS = Path(ROOT) / "cfg" / "models"
"""Folder with Ultralytics' model files."""


@cache
def known_models() -> tuple[str, ...]:
    """List the names that can be trained from scratch, such as ``omr-tiny`` and ``yolov8s-p2``."""
    names = sorted(file.stem for file in ARCHITECTURES.glob("*.yaml"))
    for file in sorted(ULTRALYTICS.rglob("*.yaml")):
        match = FAMILIES.fullmatch(file.stem)
        if match:
            scales = yaml.safe_load(file.read_text("utf-8"))["scales"]
            family, suffix = match.group(1), match.group(2) or ""
            names += [f"yolo{family}{scale}{suffix}" for scale in scales]
    return tuple(names)


def model_file(model: str) -> str:
    """Find the file that a model is built from; nothing is downloaded.

    Args:
        model: Name from :func:`known_models`, name of published weights, or path of a weights
            file.

    Returns:
        Path of a model file of omr, name of a model file of Ultralytics, or path of the weights.

    Raises:
        ConfigError: The name is unknown.
        InputError: The weights file is missing.
    """
    if weights := weights_file(model):
        if not weights.is_file():
            raise InputError(
                "no such weights; a name without .pt trains from scratch", path=weights
            )
        return str(weights)
    names = known_models()
    if model not in names:
        raise ConfigError(
            f"--model: unknown: {with_nearest([model], [*names, *PUBLISHED])}; "
            "use yolov8, yolo11, yolo12 or yolo26 with a size of n, s, m, l or x, omr-tiny, "
            f"yolov7-tiny, {DEFAULT_WEIGHTS} (trained), or a .pt file"
        )
    own_file = ARCHITECTURES / f"{model}.yaml"
    return str(own_file) if own_file.is_file() else own_file.name


def read_model(file: str) -> dict[str, Any]:
    """Read a model file; Ultralytics would prefer a file of this name in the current folder.

    Args:
        file: Result of :func:`model_file` for the name of a model.

    Returns:
        Content, with the keys ``scale`` and ``yaml_file`` that Ultralytics adds.
    """
    stem = Path(file).stem
    scale = SCALE.search(stem)
    path = next(ULTRALYTICS.rglob(f"{SCALE.sub('', stem)}.yaml")) if scale else Path(file)
    content: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return content | {"scale": scale.group() if scale else "", "yaml_file": file}
