"""Models that can be trained, by name or by weights file."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from ultralytics.utils import ROOT

from class_maps import ConfigError, InputError, with_nearest
from settings.activations import parse_activations
from settings.published import DEFAULT_WEIGHTS, PUBLISHED
from training.models.activations import (
    activation_uses,
    activations_of,
    overridden,
    set_activations,
)
from training.models.building import build_network
from training.models.checkpoints import load_weights, weights_file
from training.models.meta_tensors import MetaTensors
from training.models.variants import DEPTHWISE, VARIANTS, has_variant, split_variant, varied

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
    base, variant = split_variant(model)
    names = known_models()
    if base not in names:
        raise ConfigError(
            f"--model: unknown: {with_nearest([model], [*names, *PUBLISHED, *variants()])}; "
            "use yolov8, yolo11, yolo12 or yolo26 with a size of n, s, m, l or x, omr-tiny, "
            f"yolov7-tiny, {DEFAULT_WEIGHTS} (trained), or a .pt file"
        )
    own_file = ARCHITECTURES / f"{model}.yaml"
    file = str(own_file) if own_file.is_file() else own_file.name
    if variant:
        read_model(file)  # checks that the model has the blocks
    return file


def read_model(file: str) -> dict[str, Any]:
    """Read a model file; Ultralytics would prefer a file of this name in the current folder.

    Args:
        file: Result of :func:`model_file` for the name of a model.

    Returns:
        Content, with the keys ``scale`` and ``yaml_file`` that Ultralytics adds.

    Raises:
        ConfigError: The model does not have the blocks that a variant replaces.
    """
    stem, variant = split_variant(Path(file).stem)
    scale = SCALE.search(stem)
    name = f"{SCALE.sub('', stem)}.yaml"
    path = next(ULTRALYTICS.rglob(name)) if scale else ARCHITECTURES / name
    content: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    if variant:
        content = varied(content, stem + variant)
    return content | {"scale": scale.group() if scale else "", "yaml_file": file}


def network_key(model: str, activation: str = "", *, trust: bool = False) -> str:
    """Return a text that two choices share exactly if they build the same network.

    Values of tensors do not count, and neither do the classes of the data.

    Args:
        model: Value of ``omr train --model``: a name, or weights.
        activation: Value of ``--activation``.
        trust: Whether loading weights may execute their code.

    Raises:
        ConfigError: The model or an activation function is unknown, or a variant does not fit.
        InputError: The weights cannot be read.
    """
    file, chosen = model_file(model), parse_activations(activation)
    if weights := weights_file(model):
        network = load_weights(weights, trust=trust)
        set_activations(network, overridden(activations_of(network), chosen, network.yaml))
    else:
        with MetaTensors({torch.tensor}):
            network = build_network(read_model(file), 1, chosen)
    content, head = network.yaml, network.model[-1]
    sizes = (content.get("scales") or {}).get(content.get("scale"))
    settings = [content.get(name) for name in ("end2end", "reg_max", DEPTHWISE)]
    groups = str(getattr(head, "config", None))
    rows = [*content["backbone"], *content["head"][:-1], content["head"][-1][:3]]
    return json.dumps([rows, sizes, settings, groups, activation_uses(network)], sort_keys=True)


@cache
def variants() -> tuple[str, ...]:
    """List the names of all structure variants, such as ``yolo11n-c2f``."""
    return tuple(
        name + variant
        for name in known_models()
        for content in [read_model(f"{name}.yaml")]
        for variant in VARIANTS
        if has_variant(content, variant)
    )
