"""Models from pickled checkpoints, read without executing their code.

A pickle names classes and functions, which are called when it is loaded. Here torch reads the file
with ``weights_only=True``, and a placeholder replaces every name that torch does not accept as
plain data. A placeholder stores its arguments and does nothing else. The placeholders yield the
description and the tensors of an Ultralytics model, from which the model is rebuilt. Models with
custom or fused layers cannot be rebuilt from their description, and are rejected.
"""

import copy
import io
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ultralytics import __version__
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel, load_checkpoint

from class_maps import InputError
from reading.network import RECORD_KEY
from settings import head_config
from training.heads.grouped import GroupedDetect, SeparateDetect
from training.models.activations import activation_name, described, is_activation
from training.models.description import HEADS, KEPT_ARGS, UNBUILDABLE, ModelDescription, rebuild
from training.models.training_record import TrainingRecord, from_dict

KNOWN_HEADS = (*HEADS, GroupedDetect, SeparateDetect)
"""Accepted heads; classes derived from them output more than boxes and scores."""
UNREADABLE = (*UNBUILDABLE, EOFError, ImportError, pickle.UnpicklingError, struct.error)
"""Errors raised by torch or by missing content if a file is not a checkpoint."""


class Placeholder:
    """Replacement for a class or function that only stores its state."""

    called = ""
    """Name of the class or function it replaces."""
    state: Any = None

    def __new__(cls, *_args: object, **_options: object) -> "Placeholder":
        """Accept any arguments."""
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Store the attributes."""
        self.state = state


def read_plain(file: Path) -> tuple[Any, set[str]]:
    """Read a file of torch, with placeholders for everything that is not plain data.

    Returns:
        Content of the file, and the names that placeholders replace.

    Raises:
        pickle.UnpicklingError: The file uses a name that torch never allows. Other errors of
            ``UNREADABLE``: the file is not in torch's format.
    """
    names = torch.serialization.get_unsafe_globals_in_checkpoint(str(file))
    placeholders: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (type("Named", (Placeholder,), {"called": name.rpartition(".")[2]}), name) for name in names
    ]
    with torch.serialization.safe_globals(placeholders):
        return torch.load(file, map_location="cpu", weights_only=True), set(names)


def rebuilt(content: dict[str, Any]) -> DetectionModel:
    """Rebuild the model of an Ultralytics checkpoint.

    Args:
        content: Content of the checkpoint, with placeholders.

    Raises:
        ValueError: The model differs from its description. Other errors of ``UNREADABLE``: there is
            no model.
    """
    stored = content.get("ema") or content["model"]
    kind = type(stored).called
    if hasattr(tasks, kind) and kind != DetectionModel.__name__:
        raise NotImplementedError(f"a {kind}")
    state = stored.state
    head = _head(stored)
    args = content.get("train_args") or {}
    heads = state["yaml"].get("heads")
    description = ModelDescription(
        yaml=state["yaml"],
        names=tuple(str(state["names"][label]) for label in range(len(state["names"]))),
        stride=tuple(state["stride"].tolist()),
        heads=head_config.from_dict(heads, Path("heads")) if heads else None,
        end2end=bool(head.get("_end2end", False)),
        max_det=head.get("max_det", 300),
        args={name: args[name] for name in KEPT_ARGS if isinstance(args.get(name), str | int)},
        activations=described(_activation_uses(stored), state["yaml"]),
    )
    model = rebuild(description, dict(_tensors(stored, "")))
    modules = model.named_modules(remove_duplicate=False)
    kinds = {name: type(module).__name__ for name, module in modules}
    if others := [
        f"{name} is a {child.called}"
        for name, child, _ in _modules(stored, "")
        if kinds.get(name) != child.called
    ]:
        raise ValueError(f"the model differs from its description: {others[0]}")
    return model


def write_pickle(model: DetectionModel, file: Path, training: TrainingRecord | None = None) -> None:
    """Write an ordinary Ultralytics checkpoint, which ``YOLO(FILE)`` reads.

    It is a pickle: loading it requires Ultralytics and, for several class groups, omr as well.

    Args:
        model: Model returned by :func:`training.models.checkpoints.load_weights`; not changed.
        file: File to write, in an existing folder; not written atomically.
        training: Training record; Ultralytics ignores it.

    Raises:
        OSError: The file cannot be written.
    """
    model = copy.deepcopy(model)
    if isinstance(model.model[-1], GroupedDetect):  # read by rebuilt()
        model.yaml["heads"] = head_config.to_dict(model.model[-1].config)
    content = {"model": model, "train_args": model.args, "epoch": -1, "version": __version__}
    if training:
        content[RECORD_KEY] = training.to_dict()
    buffer = io.BytesIO()
    torch.save(content, buffer)
    file.write_bytes(buffer.getvalue())


def is_pickle(file: Path) -> bool:
    """Return whether a file may be a bare pickle."""
    with file.open("rb") as stream:
        return stream.read(1) == pickle.PROTO


def training_of(content: Mapping[str, Any]) -> TrainingRecord | None:
    """Return the training record that :func:`write_pickle` added to a checkpoint, if any.

    Raises:
        ValueError: The record is malformed.
    """
    own = content.get(RECORD_KEY)
    return from_dict(own) if isinstance(own, dict) else None


def run_pickle(file: Path) -> DetectionModel:
    """Load a pickled checkpoint with Ultralytics, which executes its code.

    Raises:
        InputError: The file contains no detection model.
    """
    try:
        model, _ = load_checkpoint(str(file))
    except UNREADABLE:
        model = None
    if not isinstance(model, DetectionModel) or type(model.model[-1]) not in KNOWN_HEADS:
        raise no_model(file)
    return model


def no_model(file: Path) -> InputError:
    """Return the error for a file without a detection model."""
    return InputError(
        "contains no Ultralytics detection model; give the weights/best.pt of a run", path=file
    )


def _head(model: Placeholder) -> dict[str, Any]:
    """Return the attributes of the last layer."""
    layers = model.state["_modules"]["model"].state["_modules"]
    attributes: dict[str, Any] = layers[next(reversed(layers))].state
    return attributes


def _tensors(module: Placeholder, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the entries of a module's state dict."""
    attributes = module.state
    for name, tensor in attributes["_parameters"].items():
        if tensor is not None:
            yield prefix + name, tensor.detach()
    for name, tensor in attributes["_buffers"].items():
        if tensor is not None and name not in attributes.get("_non_persistent_buffers_set", ()):
            yield prefix + name, tensor
    for name, child in attributes["_modules"].items():
        if child is not None:
            yield from _tensors(child, f"{prefix}{name}.")


def _modules(module: Placeholder, prefix: str) -> Iterator[tuple[str, Placeholder, Placeholder]]:
    """Yield the name of every submodule, the submodule and its parent."""
    for name, child in module.state["_modules"].items():
        if child is not None and name != "criterion":
            yield f"{prefix}{name}", child, module
            yield from _modules(child, f"{prefix}{name}.")


def _activation_uses(model: Placeholder) -> dict[str, str]:
    """List every use of an activation function: it may differ from the description.

    Ultralytics copies class branches for another number of classes with their activation.
    """
    return {
        name: activation_name(child.called, child.state.get("negative_slope", 0.0))
        for name, child, parent in _modules(model, "")
        if is_activation(name.rpartition(".")[2], child.called, parent.called)
    }
