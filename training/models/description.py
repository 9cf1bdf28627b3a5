"""Describes a detection model in plain words, and builds it again from them.

A description is data: dicts, lists, words and numbers. But Ultralytics looks up the names of layers
among everything that one of its modules holds, and runs the activation as code. So only layers are
let through, and only an activation with plain numbers.
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
"""Ultralytics' heads that find boxes and nothing else."""
FETCHING = {"TorchVision"}
"""Layers that may ask the network for their weights."""
ACTIVATION = re.compile(r"(torch\.)?nn\.(?P<name>\w+)\(([\w\s.,=-]*)\)")
KEPT_ARGS = ("task", "imgsz", "single_cls")
"""What of a training's arguments Ultralytics reads again when it predicts."""

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
"""What layers with senseless arguments, or tensors of another model, can raise."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ModelDescription:
    """Everything about a model but the values of its tensors."""

    yaml: dict[str, Any]
    """What stands in Ultralytics' model file."""
    names: tuple[str, ...]
    """Of the classes; a label is a place in this list."""
    stride: tuple[float, ...]
    """Pixels per cell of each level, finest first."""
    heads: HeadConfig | None = None
    """Groups of classes with a head each; None for a single head."""
    end2end: bool = False
    """Whether it predicts with the branch that needs no suppression."""
    max_det: int = 300
    """Most symbols that the branch without suppression gives for an image."""
    args: dict[str, Any]
    """Arguments of its training, those of ``KEPT_ARGS``."""

    def __post_init__(self) -> None:
        imgsz = self.args.get("imgsz", 1)
        numbers = {"max_det": self.max_det, "imgsz": imgsz}
        wrong = [f"{name} is {n}" for name, n in numbers.items() if type(n) is not int or n < 1]
        if wrong or type(self.end2end) is not bool:
            raise ValueError(", ".join(wrong) or f"end2end is {self.end2end}")


def describe(model: DetectionModel, train_args: Mapping[str, Any]) -> ModelDescription:
    """Describe a model.

    Args:
        model: With a single head, or one of several groups.
        train_args: Ultralytics' arguments; those that prediction needs are kept.
    """
    head = model.model[-1]
    plain = json.loads(json.dumps(model.yaml))
    if "yaml_file" in plain:  # a path of the machine that it was trained on
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
        description: Of the model.
        state: All its tensors, by their names in the model.

    Returns:
        The model on the CPU in single precision, for prediction.

    Raises:
        ValueError: A layer that is none, or the tensors are not those of such a model.
    """
    _check_layers(description.yaml)
    yaml, names = copy.deepcopy(description.yaml), description.names
    # A training that loads weights must draw the same numbers as one that does not.
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
        raise ValueError("bins of distances that do not rise")
    if tuple(model.stride.tolist()) != description.stride:
        raise ValueError(f"strides of {model.stride.tolist()}, not {list(description.stride)}")
    model.names = dict(enumerate(names))
    if model.end2end != description.end2end:
        model.end2end = description.end2end
    model.model[-1].max_det = description.max_det
    model.task, model.args = "detect", dict(description.args)
    return model.float().eval()


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


def _fit_head(model: DetectionModel, heads: HeadConfig | None, state: Mapping[str, Tensor]) -> None:
    """Give a new single head the bins and the width of class branches that the tensors have."""
    head, place = model.model[-1], f"model.{len(model.model) - 1}"
    values = state.get(f"{place}.dfl.conv.weight")
    if values is not None and not torch.equal(values.flatten().float(), bin_values(head)):
        set_bins(head, values.flatten().float())
    last = len(head.cv3[0]) - 1
    tower = ".towers.0" if heads else ""
    if heads is None or clones_towers(head.cv3[0], heads):
        widen_towers(head, state[f"{place}.cv3.0{tower}.{last}.weight"].shape[1])


def _check_layers(yaml: Mapping[str, Any]) -> None:
    """Make sure that a model file names nothing but layers.

    Raises:
        ValueError: It does, or is no model file of a detection model.
    """
    try:
        rows = [row[2] for row in (*yaml["backbone"], *yaml["head"])]
    except (KeyError, TypeError, IndexError):
        raise ValueError("no layers") from None
    known = _known_layers()
    if wrong := sorted({str(name) for name in rows if name not in known}):
        raise ValueError(f"unknown layers: {', '.join(wrong)}")
    if rows[-1] not in {head.__name__ for head in HEADS}:
        raise ValueError(f"no detection head: {rows[-1]}")
    activation = yaml.get("activation")
    if activation:
        match = ACTIVATION.fullmatch(str(activation))
        if not match or f"nn.{match['name']}" not in known:
            raise ValueError(f"unknown activation: {activation}")


@cache
def _known_layers() -> frozenset[str]:
    """Names of layers, as they stand in a model file."""
    return frozenset(
        f"{prefix}{name}"
        for prefix, module in (("", layers), ("nn.", nn))
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and name not in FETCHING
    )
