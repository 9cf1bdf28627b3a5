"""Reading and writing of weights files.

Files of omr contain a plain description of the model and its tensors, and no code. A model is saved
as ``.pt``, which ``torch.load(..., weights_only=True)`` reads, and as ``.safetensors``, with the
description as JSON in its metadata::

    format: omr-detector
    version: 1
    model: {nc: 42, scale: n, backbone: [...], head: [...]}   # Ultralytics' model file
    names: [noteheadBlack, stem, ...]                         # a label is an index in this list
    heads: {groups: [...], ...}                               # a head config, or null
    stride: [8.0, 16.0, 32.0]
    end2end: false
    max_det: 300
    args: {task: detect, imgsz: 640}
    state_dict: {...}                                         # in single precision; .pt only

Pickled checkpoints of Ultralytics are read too, see :mod:`training.models.safe_pickle`.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from class_maps import InputError
from converters.files.atomic_files import atomic_file
from training.heads import head_config
from training.models.description import ModelDescription, describe, rebuild
from training.models.safe_pickle import (
    UNREADABLE,
    is_damaged,
    is_pickle,
    no_model,
    read_plain,
    rebuilt,
    run_pickle,
)

FORMAT = "omr-detector"
VERSION = 1
SUFFIXES = (".pt", ".safetensors")
"""Suffixes of weights files."""


def save_weights(model: DetectionModel, file: Path, *, train_args: Mapping[str, Any]) -> None:
    """Write a model as ``.pt`` and as ``.safetensors``, each of them atomically.

    Args:
        model: Model with a single head or with several class groups; not changed.
        file: ``.pt`` file; the other one has the same path apart from its suffix.
        train_args: Ultralytics' arguments; those needed for prediction are saved.

    Raises:
        OSError: A file cannot be written; an existing file is kept.
    """
    content = _to_dict(describe(model, train_args))
    state = {name: _stored(tensor) for name, tensor in model.state_dict().items()}
    buffer = io.BytesIO()  # torch and safetensors raise different errors if the disk is full
    torch.save(content | {"state_dict": state}, buffer)
    with atomic_file(file) as part:
        part.write_bytes(buffer.getvalue())
    sidecar = safetensors.torch.save(state, {FORMAT: json.dumps(content)})
    with atomic_file(file.with_suffix(".safetensors")) as part:
        part.write_bytes(sidecar)


def is_weights(name: str) -> bool:
    """Return whether a name refers to a weights file rather than a model."""
    return name.endswith(SUFFIXES)


def load_weights(file: Path, *, trust: bool = False) -> DetectionModel:
    """Read a model from a weights file of omr or a checkpoint of Ultralytics.

    Args:
        file: ``.pt`` or ``.safetensors`` file.
        trust: Whether a pickle that cannot be read otherwise may execute its code.

    Returns:
        Model on the CPU in single precision, for prediction, with ``names`` and ``args``.

    Raises:
        InputError: The file is missing, damaged, or contains no detection model; or reading it
            would execute code and ``trust`` is not set.
    """
    if not file.is_file():
        raise InputError("no such weights; give a run's weights/best.pt", path=file)
    if file.suffix == ".safetensors":
        description, state = _read_safetensors(file)
        return _rebuild(description, state, file)
    if file.suffix != ".pt" or not is_pickle(file):
        raise no_model(file)
    content = _read_pickle(file, trust=trust)
    if isinstance(content, DetectionModel):
        return content
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise no_model(file)
    return _rebuild(content, content.get("state_dict"), file)


def _read_pickle(file: Path, *, trust: bool) -> object:
    """Read a ``.pt`` file: the model of a foreign checkpoint, or the content of a file of omr."""
    try:
        content, foreign = read_plain(file)
        return rebuilt(content) if foreign else content
    except NotImplementedError as error:
        raise no_model(file) from error
    except (*UNREADABLE, InputError) as error:
        if is_damaged(file):
            raise _damaged(file, "wrong checksums") from error
        if trust:
            return run_pickle(file)
        raise _refused(file) from error


def _stored(tensor: Tensor) -> Tensor:
    """Convert a tensor to the form in which it is stored."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor.float() if tensor.is_floating_point() else tensor


def _to_dict(description: ModelDescription) -> dict[str, Any]:
    heads = description.heads
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": description.yaml,
        "names": list(description.names),
        "heads": head_config.to_dict(heads) if heads else None,
        "stride": list(description.stride),
        "end2end": description.end2end,
        "max_det": description.max_det,
        "args": description.args,
    }


def _rebuild(content: object, state: object, file: Path) -> DetectionModel:
    """Build the model in a weights file of omr."""
    if not isinstance(content, dict):
        raise no_model(file)
    if content.get("version") != VERSION:
        raise InputError(
            f"version {content.get('version')} of the format is not supported, expected {VERSION}; "
            "update omr",
            path=file,
        )
    try:
        heads = content["heads"]
        description = ModelDescription(
            yaml=content["model"],
            names=tuple(content["names"]),
            stride=tuple(content["stride"]),
            heads=head_config.from_dict(heads, file) if heads else None,
            end2end=content["end2end"],
            max_det=content["max_det"],
            args=content["args"],
        )
        if not isinstance(state, dict):
            raise TypeError("no tensors")
        return rebuild(description, state)
    except UNREADABLE as error:
        raise _damaged(file, " ".join(str(error).split())[:200]) from error


def _read_safetensors(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the description and the tensors."""
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            content = json.loads((stored.metadata() or {})[FORMAT])
            return content, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except KeyError:
        raise no_model(file) from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: Path, reason: str) -> InputError:
    return InputError(f"damaged: {reason}; use another copy of the file", path=file)


def _refused(file: Path) -> InputError:
    return InputError(
        "a pickle that can execute code when it is loaded; give --trust if you trust its source",
        path=file,
    )
