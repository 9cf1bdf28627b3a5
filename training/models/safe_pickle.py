"""Reads the models in pickled checkpoints without running what stands in them.

A pickle names classes and functions, and calls them when it is loaded. Here every one of them that
torch does not know as plain data is replaced by a stand-in which keeps what it is given and does
nothing; torch reads the file with ``weights_only=True``. From the stand-ins the description and the
tensors of an Ultralytics model are taken, and the model is built anew. A model that is not rebuilt
out of its description (layers of somebody's own, fused layers) cannot be read like that.
"""

import copy
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ultralytics import __version__
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel, load_checkpoint

from class_maps import InputError
from converters.files.atomic_files import atomic_file
from training.heads import head_config
from training.heads.grouped import GroupedDetect, SeparateDetect
from training.models.description import HEADS, KEPT_ARGS, UNBUILDABLE, ModelDescription, rebuild

KNOWN_HEADS = (*HEADS, GroupedDetect, SeparateDetect)
"""Those derived from them give more than boxes and scores."""
UNREADABLE = (*UNBUILDABLE, EOFError, ImportError, pickle.UnpicklingError, struct.error)
"""What torch, and reading of what is not there, raise for a file that is not a checkpoint."""


class StandIn:
    """Takes the place of a class or function, and only keeps what it is given."""

    called = ""
    """Name of what it stands for."""
    state: Any = None

    def __new__(cls, *_args: object, **_options: object) -> "StandIn":
        """Take any arguments."""
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Keep the attributes."""
        self.state = state


def read_plain(file: Path) -> tuple[Any, set[str]]:
    """Read a file that torch wrote, with stand-ins for everything that is no plain data.

    Returns:
        What it holds, and what stand-ins were made for.

    Raises:
        pickle.UnpicklingError: It names what torch never allows. Other errors of ``UNREADABLE``: it
            is no file of torch.
    """
    names = torch.serialization.get_unsafe_globals_in_checkpoint(str(file))
    stand_ins: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (type("Named", (StandIn,), {"called": name.rpartition(".")[2]}), name) for name in names
    ]
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(file, map_location="cpu", weights_only=True), set(names)


def rebuilt(content: dict[str, Any]) -> DetectionModel:
    """Build the model of an Ultralytics checkpoint anew.

    Args:
        content: The checkpoint, with stand-ins.

    Raises:
        ValueError: It is another one than its description says. Other errors of ``UNREADABLE``:
            there is none.
    """
    of_model = content.get("ema") or content["model"]
    kind = type(of_model).called
    if hasattr(tasks, kind) and kind != DetectionModel.__name__:
        raise NotImplementedError(f"a {kind}")
    own = of_model.state
    head = _head(of_model)
    args = content.get("train_args") or {}
    heads = own["yaml"].get("heads")
    description = ModelDescription(
        yaml=own["yaml"],
        names=tuple(str(own["names"][label]) for label in range(len(own["names"]))),
        stride=tuple(own["stride"].tolist()),
        heads=head_config.from_dict(heads, Path("heads")) if heads else None,
        end2end=bool(head.get("_end2end", False)),
        max_det=head.get("max_det", 300),
        args={name: args[name] for name in KEPT_ARGS if isinstance(args.get(name), str | int)},
    )
    model = rebuild(description, dict(_tensors(of_model, "")))
    places = model.named_modules(remove_duplicate=False)
    kinds = {place: type(module).__name__ for place, module in places}
    if others := [
        f"{place} is a {kind}" for place, kind in _kinds(of_model, "") if kinds.get(place) != kind
    ]:
        raise ValueError(f"another model than it says: {others[0]}")
    return model


def write_pickle(model: DetectionModel, file: Path) -> None:
    """Write an ordinary Ultralytics checkpoint, which ``YOLO(FILE)`` reads.

    It is a pickle: whoever loads it needs Ultralytics, and for several groups this package, too.

    Args:
        model: Of :func:`training.models.checkpoints.load_weights`; it stays as it is.
        file: To make or to replace; its folder is there.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    model = copy.deepcopy(model)
    if isinstance(model.model[-1], GroupedDetect):  # for us, when we read it back
        model.yaml["heads"] = head_config.to_dict(model.model[-1].config)
    content = {"model": model, "train_args": model.args, "epoch": -1, "version": __version__}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_file(file) as part:
        part.write_bytes(buffer.getvalue())


def is_pickle(file: Path) -> bool:
    """Tell whether a file may be a pickle, in torch's archive or bare."""
    with file.open("rb") as stream:
        return zipfile.is_zipfile(file) or stream.read(1) == pickle.PROTO


def is_damaged(file: Path) -> bool:
    """Tell whether parts of torch's archive do not have the sums that they were written with."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is not None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, zlib.error):
        return zipfile.is_zipfile(file)  # a bare pickle has no sums


def run_pickle(file: Path) -> DetectionModel:
    """Load a pickled checkpoint with Ultralytics: code in it runs.

    Raises:
        InputError: It holds no detection model.
    """
    try:
        model, _ = load_checkpoint(str(file))
    except UNREADABLE:
        model = None
    if not isinstance(model, DetectionModel) or type(model.model[-1]) not in KNOWN_HEADS:
        raise no_model(file)
    return model


def no_model(file: Path) -> InputError:
    """Make the error of a file that is nothing of ours."""
    return InputError(
        "holds no Ultralytics detection model; give a run's weights/best.pt", path=file
    )


def _head(model: StandIn) -> dict[str, Any]:
    """Attributes of the last layer."""
    layers = model.state["_modules"]["model"].state["_modules"]
    attributes: dict[str, Any] = layers[next(reversed(layers))].state
    return attributes


def _tensors(module: StandIn, place: str) -> Iterator[tuple[str, Tensor]]:
    """List what would stand in a module's state."""
    own = module.state
    for name, tensor in own["_parameters"].items():
        if tensor is not None:
            yield place + name, tensor.detach()
    for name, tensor in own["_buffers"].items():
        if tensor is not None and name not in own.get("_non_persistent_buffers_set", ()):
            yield place + name, tensor
    for name, child in own["_modules"].items():
        if child is not None:
            yield from _tensors(child, f"{place}{name}.")


def _kinds(module: StandIn, place: str) -> Iterator[tuple[str, str]]:
    """List the places of all modules inside one, and the names of their classes."""
    for name, child in module.state["_modules"].items():
        if child is not None and name != "criterion":
            yield f"{place}{name}", child.called
            yield from _kinds(child, f"{place}{name}.")
