"""Export: writes a trained model in the format of another program."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from class_maps import ConfigError
from converters.files.atomic_files import output_files
from converters.files.overwriting import check_files
from omr.calibration import calibration_images
from reading.decoding import decoding_file
from reading.network import RECORD_KEY
from training.export.graph_activations import NO_ACTIVATION, graph_activations
from training.export.npu_tools import tools_folder
from training.export.onnx import export_onnx
from training.export.tflite import Decode, TfliteOptions, export_tflite
from training.models.activations import (
    activation_counts,
    activation_uses,
    check_uses,
    counts_of,
)
from training.models.checkpoints import DEFAULT_IMGSZ, Weights, open_weights, write_half
from training.models.safe_pickle import write_pickle

ExportFormat: TypeAlias = Literal["onnx", "safetensors", "tflite", "ultralytics"]

SUFFIXES: dict[ExportFormat, str] = {
    "onnx": ".onnx",
    "safetensors": ".safetensors",
    "tflite": ".tflite",
    "ultralytics": ".pt",
}
"""File name suffix of each format."""
DEFAULT_CALIBRATION_IMAGES = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Options:
    """Images that determine the ranges of activations in int8."""

    data: Path
    """YOLO folder, whose training images are used."""
    n_images: int = DEFAULT_CALIBRATION_IMAGES


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """Properties of an exported model."""

    names: tuple[str, ...]
    """Class names; the index is the label."""
    imgsz: int
    """Side of the input of an ONNX or TFLite file in pixels."""
    activations: dict[str, dict[str, int]]
    """Uses of each activation function by part: in the graph of an ONNX file, otherwise in the
    model."""
    imgsz_of_training: int | None
    """Side of the network input in training, in pixels; None if it is unknown."""
    n_calibration_images: int = 0
    """Number of images that determined the ranges of activations in int8."""
    differences: tuple[str, ...] = ()
    """Differences between the preparation of these images and that of the training images."""


def export_model(
    weights: Path,
    out: Path,
    export_format: ExportFormat,
    *,
    imgsz: int | None = None,
    int8: Int8Options | None = None,
    decode: Decode = "outside",
    trust: bool = False,
    force: bool = False,
) -> ExportResult:
    """Write a model for another program, or to share it.

    Args:
        weights: Checkpoint of a detection model.
        out: File to write; missing folders are created. A ``.tflite`` file is described in
            ``OUT.json``.
        export_format: ``onnx``, ``tflite``, ``ultralytics`` for a checkpoint that ``YOLO(FILE)``
            loads, or ``safetensors`` for weights of omr in half precision.
        imgsz: Side of the square input of an ONNX or TFLite file in pixels; None for the training
            size.
        int8: Images with which a TFLite file is quantised; None for a file in float32.
        decode: Whether a TFLite file contains the decoding of boxes.
        trust: Load pickled weights even though doing so can run code they contain.
        force: Overwrite ``out``.

    Raises:
        ConfigError: ``out`` has the wrong suffix, must not be overwritten or cannot be written,
            ``imgsz`` is not a multiple of the model's largest stride, or the images have other
            classes than the weights.
        InputError: The weights or the images cannot be read.
        MissingExtraError: The ``onnx`` package or the tools for NPUs are not installed.
        OmrError: The conversion to TFLite failed.
    """
    files = _check_out(out, export_format, weights, force=force)
    with output_files(*files, force=force) as parts:
        trained = open_weights(weights, trust=trust)
        side = imgsz or trained.imgsz or DEFAULT_IMGSZ
        check_imgsz(side, int(trained.model.stride.max()))
        result = ExportResult(
            names=trained.names,
            imgsz=side,
            activations=activation_counts(trained.model),
            imgsz_of_training=trained.imgsz,
        )
        if export_format == "tflite":
            return _write_tflite(trained, parts, result, int8, decode)
        if export_format == "onnx":
            export_onnx(trained.model, parts[0], imgsz=side, metadata=_metadata(trained))
            activations = _checked_activations(trained.model, parts[0], out)
            result = replace(result, activations=activations)
        elif export_format == "safetensors":
            write_half(trained, weights, parts[0])
        else:
            write_pickle(trained.model, parts[0], trained.training)
    return result


def _write_tflite(
    trained: Weights,
    parts: tuple[Path, ...],
    result: ExportResult,
    int8: Int8Options | None,
    decode: Decode,
) -> ExportResult:
    """Write a model as TFLite, with its description."""
    tools_folder()  # before images are read
    images = None
    if int8 is not None:
        images = calibration_images(trained, int8.data, int8.n_images, result.imgsz)
    file, description = parts
    export_tflite(
        trained.model,
        file,
        description,
        imgsz=result.imgsz,
        options=TfliteOptions(samples=images.samples if images else None, decode=decode),
        training=_record(trained),
    )
    if images is None:
        return result
    return replace(result, n_calibration_images=len(images.samples), differences=images.differences)


def _check_out(
    out: Path, export_format: ExportFormat, weights: Path, *, force: bool
) -> tuple[Path, ...]:
    """Check whether the output can be written, and return its files."""
    suffix = SUFFIXES[export_format]
    if out.suffix != suffix:
        reason = f"expected a file name ending in {suffix} for --format {export_format}"
        raise ConfigError(reason, option="--out", value=out)
    files = (out, decoding_file(out)) if export_format == "tflite" else (out,)
    check_files(*files, force=force, inputs=[weights])
    if out.exists() and out.with_suffix(".safetensors").exists():
        reason = "contains the weights of a run; choose another file"
        raise ConfigError(reason, option="--out", value=out)
    return files


def check_imgsz(imgsz: int, largest_stride: int) -> None:
    """Check the side of a network's input.

    Raises:
        ConfigError: It is not a multiple of the model's largest stride.
    """
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


def _record(weights: Weights) -> dict[str, Any] | None:
    """Return the training record for the description of a TFLite file."""
    return dict(json.loads(weights.training.to_json())) if weights.training else None
