"""Export: writes a trained model in the format of another program."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from class_maps import ConfigError
from converters.files.atomic_files import output_files
from converters.files.overwriting import check_files
from reading.network import RECORD_KEY
from training.export.graph_activations import NO_ACTIVATION, graph_activations
from training.export.onnx import export_onnx
from training.models.activations import (
    activation_counts,
    activation_uses,
    check_uses,
    counts_of,
)
from training.models.checkpoints import DEFAULT_IMGSZ, Weights, open_weights, write_half
from training.models.safe_pickle import write_pickle

ExportFormat: TypeAlias = Literal["onnx", "safetensors", "ultralytics"]

SUFFIXES: dict[ExportFormat, str] = {
    "onnx": ".onnx",
    "safetensors": ".safetensors",
    "ultralytics": ".pt",
}
"""File name suffix of each format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """Properties of an exported model."""

    names: tuple[str, ...]
    """Class names; the index is the label."""
    imgsz: int
    """Side of the input of an ONNX file in pixels."""
    activations: dict[str, dict[str, int]]
    """Uses of each activation function by part: in the graph of an ONNX file, otherwise in the
    model."""
    imgsz_of_training: int | None
    """Side of the network input in training, in pixels; None if it is unknown."""


def export_model(
    weights: Path,
    out: Path,
    export_format: ExportFormat,
    *,
    imgsz: int | None = None,
    trust: bool = False,
    force: bool = False,
) -> ExportResult:
    """Write a model for another program, or to share it.

    Args:
        weights: Checkpoint of a detection model.
        out: File to write; missing folders are created.
        export_format: ``onnx``, ``ultralytics`` for a checkpoint that ``YOLO(FILE)`` loads, or
            ``safetensors`` for weights of omr in half precision.
        imgsz: Side of the square input of an ONNX file in pixels; None for the training size.
        trust: Load pickled weights even though doing so can run code they contain.
        force: Overwrite ``out``.

    Raises:
        ConfigError: ``out`` has the wrong suffix, must not be overwritten or cannot be written, or
            ``imgsz`` is not a multiple of the model's largest stride.
        InputError: The weights cannot be read.
        MissingExtraError: The ``onnx`` package is not installed.
    """
    _check_out(out, export_format, weights, force=force)
    with output_files(out, force=force) as (part,):
        trained = open_weights(weights, trust=trust)
        activations = activation_counts(trained.model)
        side = imgsz or trained.imgsz or DEFAULT_IMGSZ
        _check_imgsz(side, int(trained.model.stride.max()))
        if export_format == "onnx":
            export_onnx(trained.model, part, imgsz=side, metadata=_metadata(trained))
            activations = _checked_activations(trained.model, part, out)
        elif export_format == "safetensors":
            write_half(trained, weights, part)
        else:
            write_pickle(trained.model, part, trained.training)
    return ExportResult(
        names=trained.names,
        imgsz=side,
        activations=activations,
        imgsz_of_training=trained.imgsz,
    )


def _check_out(out: Path, export_format: ExportFormat, weights: Path, *, force: bool) -> None:
    suffix = SUFFIXES[export_format]
    if out.suffix != suffix:
        reason = f"expected a file name ending in {suffix} for --format {export_format}"
        raise ConfigError(reason, option="--out", value=out)
    check_files(out, force=force, inputs=[weights])
    if out.exists() and out.with_suffix(".safetensors").exists():
        reason = "contains the weights of a run; choose another file"
        raise ConfigError(reason, option="--out", value=out)


def _check_imgsz(imgsz: int, largest_stride: int) -> None:
    if imgsz % largest_stride:
        multiple = -(-imgsz // largest_stride) * largest_stride
        reason = f"must be a multiple of {largest_stride}; use {multiple}"
        raise ConfigError(reason, option="--imgsz", value=imgsz)


def _checked_activations(model: Any, file: Path, out: Path) -> dict[str, dict[str, int]]:  # noqa: ANN401
    """Count the activation functions in an ONNX graph, which must be those of the model."""
    graph, uses = graph_activations(file), activation_uses(model)
    check_uses(graph, model.yaml, dict.fromkeys(graph, NO_ACTIVATION) | uses, str(out))
    exported = {layer: name for layer, name in graph.items() if name != NO_ACTIVATION}
    if uses and not exported:
        raise ConfigError(f"{out}: the graph has no activations, expected {len(uses)}")
    return counts_of(exported, model.yaml)


def _metadata(weights: Weights) -> dict[str, str]:
    """Return the training record as metadata of an ONNX file."""
    return {RECORD_KEY: weights.training.to_json()} if weights.training else {}
