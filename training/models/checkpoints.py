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
    activations: {backbone: relu, neck: silu, head: silu}     # see activations
    args: {task: detect, imgsz: 640}
    training: {is_complete: true, preparations: [...], conf: 0.31}   # see training_record
    image_hashes: [...]                                       # a tensor
    state_dict: {...}                                         # in single precision; .pt only

Pickled checkpoints of Ultralytics are read too, see :mod:`training.models.safe_pickle`.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from class_maps import InputError, short_list
from converters.files.atomic_files import atomic_file
from settings import head_config
from settings.published import DEFAULT_WEIGHTS, weights_path
from training.models.archives import check_archive, check_header, damaged
from training.models.description import ModelDescription, describe, rebuild
from training.models.safe_pickle import (
    UNREADABLE,
    is_pickle,
    no_model,
    read_plain,
    rebuilt,
    run_pickle,
    training_of,
)
from training.models.training_record import TENSORS, TrainingRecord, from_dict

FORMAT = "omr-detector"
VERSION = 1
MIXED_VERSION = 2
"""Version of files whose model has several activation functions: earlier versions of omr would
build the model with one."""
DEFAULT_IMGSZ = 640
"""Side of the network input in pixels for weights that do not record it."""
CHECKSUM = "sha256"
"""Key of the checksum in the description of a safetensors file; torch's archives have their own."""
SUFFIXES = (".pt", ".safetensors")
"""Suffixes of weights files."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weights:
    """Content of a weights file."""

    model: DetectionModel
    """Model on the CPU in single precision, for prediction, with ``names`` and ``args``."""
    training: TrainingRecord | None
    """Training record; None if the file has none, for example a file of another program."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names; the index is the label."""
        return tuple(self.model.names[label] for label in range(len(self.model.names)))

    @property
    def imgsz(self) -> int | None:
        """Side of the network input in training, in pixels; None if it is unknown."""
        imgsz = dict(self.model.args).get("imgsz")
        return imgsz if isinstance(imgsz, int) else None


def save_weights(
    model: DetectionModel,
    *files: Path,
    train_args: Mapping[str, Any],
    training: TrainingRecord | None = None,
) -> None:
    """Write a model as ``.pt`` and as ``.safetensors``, each replaced atomically.

    Args:
        model: Model with a single head or with several class groups; not changed.
        files: ``.pt`` files with the same content; each other file differs in its suffix only.
        train_args: Ultralytics' arguments; those needed for prediction are saved.
        training: Training record.

    Raises:
        OSError: A file cannot be written; an existing file is kept.
    """
    content = _to_dict(describe(model, train_args))
    record = training.to_dict() if training else {}
    state = _state(model, torch.float32)
    buffer = io.BytesIO()  # torch and safetensors raise different errors if the disk is full
    torch.save(content | record | {"state_dict": state}, buffer)
    contents = {".pt": buffer.getvalue(), ".safetensors": _safetensors(content, record, state)}
    for file in files:
        for suffix, data in contents.items():
            with atomic_file(file.with_suffix(suffix)) as part:
                part.write_bytes(data)


def write_half(weights: Weights, source: Path, file: Path) -> None:
    """Write a model as ``.safetensors`` in half precision, which halves its size.

    Args:
        weights: Model and training record.
        source: File of the weights, for the error message.
        file: File to write.

    Raises:
        InputError: A value of the model is too large for half precision.
    """
    state = _state(weights.model, torch.float16)
    if others := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise InputError(
            f"values beyond the range of half precision in {short_list(others, 1)}", path=source
        )
    content = _to_dict(describe(weights.model, dict(weights.model.args)))
    record = weights.training.to_dict() if weights.training else {}
    file.write_bytes(_safetensors(content, record, state))


def _safetensors(
    content: Mapping[str, Any], record: Mapping[str, Any], state: Mapping[str, Tensor]
) -> bytes:
    """Return a safetensors file with the description and the training record of a model."""
    tensors = dict(state) | {name: record[name] for name in TENSORS if name in record}
    metadata = dict(content) | {key: record[key] for key in record if key not in TENSORS}
    metadata[CHECKSUM] = _checksum(metadata, tensors)
    return bytes(safetensors.torch.save(tensors, {FORMAT: json.dumps(metadata)}))


def weights_file(name: str) -> Path | None:
    """Return the weights that a name or path refers to; None for a model to train from scratch."""
    path = weights_path(name)
    return path if path.suffix in SUFFIXES else None


def load_weights(file: Path, *, trust: bool = False) -> DetectionModel:
    """Read only the model of a weights file, as :func:`open_weights`.

    Args:
        file: ``.pt`` or ``.safetensors`` file.
        trust: Whether a pickle that cannot be read otherwise may execute its code.

    Raises:
        InputError: The file does not contain a usable detection model.
    """
    return open_weights(file, trust=trust).model


def open_weights(file: Path, *, trust: bool = False) -> Weights:
    """Read a model and its training record.

    Args:
        file: ``.pt`` or ``.safetensors`` file.
        trust: Whether a pickle that cannot be read otherwise may execute its code.

    Raises:
        InputError: The file is missing, damaged, or contains no detection model or a value that is
            not finite; or reading it would execute code and ``trust`` is not set.
    """
    if not file.is_file():
        remedy = f"give a run's weights/best.pt, or {DEFAULT_WEIGHTS}"
        raise InputError(f"no such weights; {remedy}", path=file)
    if file.suffix == ".safetensors":
        weights = _read_safetensors(file)
    elif file.suffix == ".pt":
        weights = _read_pickle(file, trust=trust)
    else:
        raise no_model(file)
    _check_finite(weights.model, file)
    return weights


def recorded_imgsz(file: Path) -> int | None:
    """Read the side of the network input in training without building the model.

    No code of a pickle is executed.

    Args:
        file: Weights file, which :func:`open_weights` checks later.

    Returns:
        Pixels; None if the file does not record them or cannot be read.
    """
    if not file.is_file():
        return None
    try:
        if file.suffix == ".safetensors":
            check_header(file)
            with safetensors.safe_open(file, framework="pt") as stored:
                content = json.loads((stored.metadata() or {})[FORMAT])
        else:
            check_archive(file)
            content, _ = read_plain(file)
        imgsz = content.get("args", content.get("train_args"))["imgsz"]
    except (*UNREADABLE, InputError, OSError, safetensors.SafetensorError):
        return None
    return imgsz if isinstance(imgsz, int) else None


def _read_pickle(file: Path, *, trust: bool) -> Weights:
    """Read a ``.pt`` file, a file of omr or a foreign checkpoint."""
    if not zipfile.is_zipfile(file):
        if not is_pickle(file):
            raise no_model(file)
        return _trusted(file, trust=trust)  # its size and checksums are unknown
    check_archive(file)
    try:
        content, foreign = read_plain(file)
        if foreign:
            return Weights(model=rebuilt(content), training=training_of(content))
    except NotImplementedError as error:
        raise no_model(file) from error
    except (*UNREADABLE, InputError) as error:
        return _trusted(file, trust=trust, error=error)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise no_model(file)
    return _from_content(content, content.get("state_dict"), file)


def _trusted(file: Path, *, trust: bool, error: Exception | None = None) -> Weights:
    """Read a pickle by executing its code, if that is allowed."""
    if not trust:
        reason = "a pickle that can execute code when it is loaded; give --trust if you trust its"
        raise InputError(f"{reason} source", path=file) from error
    return Weights(model=run_pickle(file), training=None)


def _read_safetensors(file: Path) -> Weights:
    check_header(file)
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            content = json.loads((stored.metadata() or {})[FORMAT])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except KeyError:
        raise no_model(file) from None
    except (safetensors.SafetensorError, RecursionError, ValueError) as error:
        raise damaged(file, str(error)) from error
    if not isinstance(content, dict):
        raise no_model(file)
    checksum = content.pop(CHECKSUM, None)
    if checksum not in (None, _checksum(content, tensors)):
        raise damaged(file, "wrong checksum")
    record = {name: tensors.pop(name) for name in TENSORS if name in tensors}
    return _from_content(content | record, tensors, file)


def _checksum(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Hash everything that a safetensors file contains."""
    digest = hashlib.sha256(json.dumps(content).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {[*tensor.shape]}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _check_finite(model: DetectionModel, file: Path) -> None:
    """Check that a model contains only finite values; otherwise it would detect nothing."""
    tensors = model.state_dict().items()
    if others := [n for n, t in tensors if t.is_floating_point() and not t.isfinite().all()]:
        raise InputError(
            f"NaN or Inf in {short_list(others, 1)}; use the weights of another epoch", path=file
        )


def _state(model: DetectionModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the tensors of a model in the form in which they are stored."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    return {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}


def _to_dict(description: ModelDescription) -> dict[str, Any]:
    heads = description.heads
    return {
        "format": FORMAT,
        "version": MIXED_VERSION if len({*description.activations.values()}) > 1 else VERSION,
        "model": description.yaml,
        "names": list(description.names),
        "heads": head_config.to_dict(heads) if heads else None,
        "stride": list(description.stride),
        "end2end": description.end2end,
        "max_det": description.max_det,
        "activations": description.activations,
        "args": description.args,
    }


def _from_content(content: Mapping[str, Any], state: object, file: Path) -> Weights:
    """Build the model of a weights file of omr."""
    if content.get("version") not in (VERSION, MIXED_VERSION):
        raise InputError(
            f"version {content.get('version')} of the format is not supported, expected "
            f"{MIXED_VERSION} or earlier; update omr",
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
            activations=dict(content.get("activations", {})),
        )
        if not isinstance(state, dict):
            raise TypeError("no tensors")
        training = from_dict(content)
        if training and len(training.class_confs) not in (0, len(description.names)):
            raise ValueError("as many thresholds as classes were expected")
        return Weights(model=rebuild(description, state), training=training)
    except UNREADABLE as error:
        raise damaged(file, " ".join(str(error).split())[:200]) from error
