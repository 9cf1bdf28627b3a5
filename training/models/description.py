"""Plain descriptions of detection models, and models rebuilt from them.

A description consists of dicts, lists, strings and numbers. However, Ultralytics looks up layer
names among all attributes of one of its modules, and evaluates the activation as code. Therefore
only names of layers are accepted, and only activations with plain numbers.
"""

import contextlib
import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn import modules as layers
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.modules.head import Detect, v10Detect
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError
from training.heads.distance_bins import bin_values, set_bins
from training.heads.grouped import GroupedDetect, clones_towers, divided, widen_towers
from training.heads.head_config import HeadConfig

HEADS = Detect, v10Detect
"""Ultralytics' heads that predict only boxes and classes."""
FETCHING = {"TorchVision"}
"""Layers that may download weights."""
ACTIVATION = re.compile(r"(torch\.)?nn\.(?P<name>\w+)\(([\w\s.,=-]*)\)")
KEPT_ARGS = ("task", "imgsz", "single_cls")
"""Training arguments that Ultralytics reads again for prediction."""

UNBUILDABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ConfigError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of layers with invalid arguments, or of tensors of another model."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ModelDescription:
    """Description of a model without the values of its tensors."""

    yaml: dict[str, Any]
    """Content of Ultralytics' model file."""
    names: tuple[str, ...]
    """Class names; the index is the label."""
    stride: tuple[float, ...]
    """Pixels per cell of each level, finest first."""
    heads: HeadConfig | None = None
    """Groups of classes, each with its own head; None for a single head."""
    end2end: bool = False
    """Whether the model predicts with the branch that needs no non-maximum suppression."""
    max_det: int = 300
    """Largest number of symbols per image in the branch without suppression."""
    args: dict[str, Any]
    """Training arguments listed in ``KEPT_ARGS``."""

    def __post_init__(self) -> None:
        imgsz = self.args.get("imgsz", 1)
        numbers = {"max_det": self.max_det, "imgsz": imgsz}
        invalid = [f"{name} is {n}" for name, n in numbers.items() if type(n) is not int or n < 1]
        if invalid or type(self.end2end) is not bool:
            raise ValueError(", ".join(invalid) or f"end2end is {self.end2end}")


def describe(model: DetectionModel, train_args: Mapping[str, Any]) -> ModelDescription:
    """Describe a model.

    Args:
        model: Model with a single head or with several class groups.
        train_args: Ultralytics' arguments; those needed for prediction are kept.
    """
    head = model.model[-1]
    plain = json.loads(json.dumps(model.yaml))
    if "yaml_file" in plain:  # remove the path, which is specific to the machine
        plain["yaml_file"] = Path(plain["yaml_file"]).name
    return ModelDescription(
        yaml=plain,
        names=tuple(str(model.names[label]) for label in range(len(model.names))),
        stride=tuple(model.stride.tolist()),
        heads=head.config if isinstance(head, GroupedDetect) else None,
        end2end=bool(model.end2end),
        max_det=int(head.max_det),
        args={name: train_args[name] for name in KEPT_ARGS if name in train_args},
    )


def rebuild(description: ModelDescription, state: Mapping[str, Tensor]) -> DetectionModel:
    """Build a model from its description.

    Args:
        description: Description of the model.
        state: All tensors of the model, by their names in it.

    Returns:
        Model on the CPU in single precision, for prediction.

    Raises:
        ValueError: A layer is unknown, or the tensors do not match the description.
    """
    _check_layers(description.yaml)
    yaml, names = copy.deepcopy(description.yaml), description.names
    # A training that loads weights must draw the same random numbers as one that does not.
    with torch.random.fork_rng(devices=[]), activation_kept():
        try:
            model = DetectionModel(yaml, ch=yaml.get("channels", 3), nc=len(names), verbose=False)
            _fit_head(model, description.heads, state)
            if description.heads:
                labels = description.heads.labels(names)
                model.model[-1] = divided(model.model[-1], labels, description.heads)
            model.load_state_dict(dict(state))
        except UNBUILDABLE as error:
            raise ValueError(" ".join(str(error).split())) from error
    bins = bin_values(model.model[-1])
    if not (bins.isfinite().all() and (bins.diff() > 0).all()):
        raise ValueError("distance bins that do not increase")
    if tuple(model.stride.tolist()) != description.stride:
        raise ValueError(
            f"expected strides {list(description.stride)}, got {model.stride.tolist()}"
        )
    model.names = dict(enumerate(names))
    if model.end2end != description.end2end:
        model.end2end = description.end2end
    model.model[-1].max_det = description.max_det
    model.task, model.args = "detect", dict(description.args)
    return model.float().eval()


@contextlib.contextmanager
def activation_kept() -> Iterator[None]:
    """Limit the activation named in a model file to its own model.

    The oldest Ultralytics uses it for every model that the process builds afterwards.
    """
    before = Conv.default_act
    try:
        yield
    finally:
        Conv.default_act = before


def _fit_head(model: DetectionModel, heads: HeadConfig | None, state: Mapping[str, Tensor]) -> None:
    """Give a new single head the bins and the width of class branches of the tensors."""
    head, prefix = model.model[-1], f"model.{len(model.model) - 1}"
    values = state.get(f"{prefix}.dfl.conv.weight")
    if values is not None and not torch.equal(values.flatten().float(), bin_values(head)):
        set_bins(head, values.flatten().float())
    last = len(head.cv3[0]) - 1
    tower = ".towers.0" if heads else ""
    if heads is None or clones_towers(head.cv3[0], heads):
        widen_towers(head, state[f"{prefix}.cv3.0{tower}.{last}.weight"].shape[1])


def _check_layers(yaml: Mapping[str, Any]) -> None:
    """Check that a model file contains only known layers.

    Raises:
        ValueError: A layer is unknown, or the model is not a detection model.
    """
    try:
        rows = [row[2] for row in (*yaml["backbone"], *yaml["head"])]
    except (KeyError, TypeError, IndexError):
        raise ValueError("no layers") from None
    known = _known_layers()
    if unknown := sorted({str(name) for name in rows if name not in known}):
        raise ValueError(f"unknown layers: {', '.join(unknown)}")
    if rows[-1] not in {head.__name__ for head in HEADS}:
        raise ValueError(f"expected a detection head, got {rows[-1]}")
    activation = yaml.get("activation")
    if activation:
        match = ACTIVATION.fullmatch(str(activation))
        if not match or f"nn.{match['name']}" not in known:
            raise ValueError(f"unknown activation: {activation}")


@cache
def _known_layers() -> frozenset[str]:
    """Return the names of layers that a model file may contain."""
    return frozenset(
        f"{prefix}{name}"
        for prefix, module in (("", layers), ("nn.", nn))
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and name not in FETCHING
    )
