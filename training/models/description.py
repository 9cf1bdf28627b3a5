"""Plain descriptions of detection models, and models rebuilt from them.

A description consists of dicts, lists, strings and numbers. However, Ultralytics looks up layer
names among all attributes of one of its modules, and evaluates the activation as code. Therefore
only names of layers are accepted, and only activations with plain numbers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn import modules as layers
from ultralytics.nn.modules.block import DFL
from ultralytics.nn.modules.head import Detect, v10Detect
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, short_list
from settings.activations import PARTS
from settings.head_config import HeadConfig
from training.heads.distance_bins import bin_values, set_bins
from training.heads.grouped import GroupedDetect, clones_towers, divided, widen_towers
from training.models.activations import (
    activation_uses,
    activations_of,
    check_activations,
    common_code,
    set_activations,
)
from training.models.building import build_network
from training.models.meta_tensors import MetaTensors, SizeLimit

HEADS = Detect, v10Detect
"""Ultralytics' heads that predict only boxes and classes."""
FETCHING = {"TorchVision"}
"""Layers that may download weights."""
ACTIVATION = re.compile(r"(torch\.)?nn\.(?P<name>\w+)\(([\w\s.,=-]*)\)")
KEPT_ARGS = ("task", "imgsz", "single_cls")
"""Training arguments that Ultralytics reads again for prediction."""

CALLS_PER_TENSOR, FREE_CALLS = 50, 10_000
"""Calls of torch's functions that building a model may take; known models take 7 per tensor."""
FREE_VALUES = 2**24
"""Number of values that any tensor may have; a network input for measuring strides has 200,000."""

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
    activations: dict[str, str] = field(default_factory=dict)
    """Activation functions by part, see :mod:`training.models.activations`; empty for those of the
    model file, as in earlier versions."""

    def __post_init__(self) -> None:
        imgsz = self.args.get("imgsz", 1)
        numbers = {"max_det": self.max_det, "imgsz": imgsz}
        invalid = [f"{name} is {n}" for name, n in numbers.items() if type(n) is not int or n < 1]
        if invalid or type(self.end2end) is not bool:
            raise ValueError(", ".join(invalid) or f"end2end is {self.end2end}")
        if not all(isinstance(name, str) for name in self.activations.values()):
            raise ValueError("activations that are not names")


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
    activations = activations_of(model)
    if code := common_code(activations):  # for other programs
        plain["activation"] = code
    return ModelDescription(
        yaml=plain,
        names=tuple(str(model.names[label]) for label in range(len(model.names))),
        stride=tuple(model.stride.tolist()),
        heads=head.config if isinstance(head, GroupedDetect) else None,
        end2end=bool(model.end2end),
        max_det=int(head.max_det),
        args={name: train_args[name] for name in KEPT_ARGS if name in train_args},
        activations=activations,
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
    _check_tensors(state)
    try:
        # A run that loads weights must draw the same random numbers as one that does not.
        with torch.random.fork_rng(devices=[]):
            model = _built(description, state)
        _set_activations(model, description.activations)
        _load(model, state)
    except UNBUILDABLE as error:
        raise ValueError(" ".join(str(error).split())) from error
    bins = bin_values(model.model[-1])
    if not (bins.isfinite().all() and (bins.diff() > 0).all()):
        raise ValueError("distance bins that do not increase")
    if tuple(model.stride.tolist()) != description.stride:
        raise ValueError(
            f"expected strides {list(description.stride)}, got {model.stride.tolist()}"
        )
    model.names = dict(enumerate(description.names))
    if model.end2end != description.end2end:
        model.end2end = description.end2end
    model.model[-1].max_det = description.max_det
    model.task, model.args = "detect", dict(description.args)
    return model.float().eval()


def _built(description: ModelDescription, state: Mapping[str, Tensor]) -> DetectionModel:
    """Build a model without values, up to the size of its tensors."""
    yaml, names = description.yaml, description.names
    _check_repeats(yaml, len(state))
    storages = [tensor.untyped_storage() for tensor in state.values()]
    n_bytes = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    limit = SizeLimit(
        calls=CALLS_PER_TENSOR * len(state) + FREE_CALLS,
        values=n_bytes + FREE_VALUES,
        most=max(FREE_VALUES, *(tensor.numel() for tensor in state.values())),
    )
    with MetaTensors({torch.tensor}, limit):
        model = build_network(yaml, len(names))
    head, prefix = model.model[-1], f"model.{len(model.model) - 1}"
    head.anchors, head.strides = torch.empty(0), torch.empty(0)
    _fit_bins(head, state.get(f"{prefix}.dfl.conv.weight"))
    with MetaTensors({torch.tensor, torch.ones}, limit):
        _fit_towers(head, description.heads, state, prefix)
        if description.heads:
            labels = description.heads.labels(names)
            model.model[-1] = divided(head, labels, description.heads)
    return model


def _load(model: DetectionModel, state: Mapping[str, Tensor]) -> None:
    """Give a model without values copies of the tensors."""
    expected = model.state_dict()
    copies = {
        name: tensor.detach().to(expected[name].dtype, copy=True).contiguous()
        for name, tensor in state.items()
        if name in expected and tensor.shape == expected[name].shape
    }
    model.load_state_dict({**state, **copies}, assign=True)


def _set_activations(model: DetectionModel, activations: Mapping[str, str]) -> None:
    """Give a model its activation functions."""
    if unknown := activations.keys() - activation_uses(model).keys() - {*PARTS}:
        raise ValueError(f"activations of unknown layers: {short_list(sorted(unknown), 1)}")
    set_activations(model, activations)
    check_activations(model, activations, "the weights")


def _fit_bins(head: Detect, values: Tensor | None) -> None:
    """Give a new single head the distance bins of the tensors."""
    if head.reg_max > 1:
        head.dfl = DFL(head.reg_max)  # with values, because the next line reads them
    if values is not None and not torch.equal(values.flatten().float(), bin_values(head)):
        set_bins(head, values.flatten().float())


def _fit_towers(
    head: Detect, heads: HeadConfig | None, state: Mapping[str, Tensor], prefix: str
) -> None:
    """Give a new single head the width of the tensors' class branches."""
    last = len(head.cv3[0]) - 1
    tower = ".towers.0" if heads else ""
    if heads is None or clones_towers(head.cv3[0], heads):
        widen_towers(head, state[f"{prefix}.cv3.0{tower}.{last}.weight"].shape[1])


def _check_tensors(state: Mapping[str, Tensor]) -> None:
    """Check that every tensor has its values in main memory, each stored once."""
    for name, tensor in state.items():
        is_plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
        if not is_plain or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise ValueError(f"{name} has fewer values than its shape")


def _check_repeats(yaml: Mapping[str, Any], n_tensors: int) -> None:
    """Check that a model file does not repeat layers more often than there are tensors.

    Layers without tensors, such as activations, do not count towards the limit of a model's size.
    """
    scales = yaml.get("scales") or {}
    depth = max([yaml.get("depth_multiple", 1), *(scale[0] for scale in scales.values())])
    rows = [*yaml["backbone"], *yaml["head"]]
    if len(rows) > n_tensors or depth * sum(row[1] for row in rows) > n_tensors:
        raise ValueError("describes more layers than there are tensors")


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
