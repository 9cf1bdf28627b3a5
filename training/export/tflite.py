"""Export of a trained model to TFLite, in float32, or in int8 for NPUs.

The file ends before the decoding of boxes by default, because int8 cannot represent it well: see
:mod:`reading.decoding`.
"""

import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.nn.tasks import DetectionModel

from class_maps import ConfigError, OmrError
from converters.files.hashes import sha256
from reading.decoding import Decoding, Level
from training.export import to_tflite
from training.export.cut_network import (
    CutNetwork,
    DecodedNetwork,
    bins,
    box_groups,
    channels,
    exported_program,
    levels,
)
from training.export.npu_tools import run_tool
from training.heads.grouped import SeparateDetect

Decode: TypeAlias = Literal["outside", "inside"]
CLASS_LOGITS = -8.0, 8.0
"""Range of class logits in int8, scores of 0.0003 to 0.9997.

The range in calibration images would be set by irrelevant logits as low as -80, and its upper end
would limit the scores of classes that are rare in these images. Box logits are in int16: with the
steps of int8, boxes of thin symbols are inexact, and those of one symbol so far apart that
duplicates are not suppressed.
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TfliteOptions:
    """Settings of an export to TFLite."""

    samples: NDArray[np.uint8] | None = None
    """RGB images that determine the ranges of int8 activations, shape ``(N, S, S, 3)``; None for a
    file in float32."""
    decode: Decode = "outside"
    """Whether the file contains the decoding."""


def export_tflite(
    model: DetectionModel,
    file: Path,
    description: Path,
    *,
    imgsz: int,
    options: TfliteOptions,
    training: dict[str, Any] | None = None,
) -> None:
    """Write a model as TFLite, and its description.

    Args:
        model: Detection model with one or more class groups; not changed.
        file: ``.tflite`` file to write.
        description: JSON file to write, see :class:`reading.decoding.Decoding`.
        imgsz: Side of the square input in pixels, a multiple of the model's largest stride.
        options: Settings.
        training: Training record.

    Raises:
        ConfigError: The head cannot be decoded inside the file.
        MissingExtraError: The tools for NPUs are not installed.
        OmrError: The conversion failed.
    """
    head: Any = model.model[-1]
    is_cut = options.decode == "outside"
    if not is_cut and isinstance(head, SeparateDetect):
        reason = "a head with separate box branches can only be decoded outside of the file"
        raise ConfigError(reason, option="--decode", value=options.decode)
    is_int8 = options.samples is not None
    network = CutNetwork(model, is_split=is_int8) if is_cut else DecodedNetwork(model)
    outputs = levels(head) if is_cut else ()
    file.write_bytes(_converted(network, imgsz, options.samples, outputs))
    decoding = Decoding(
        sha256=sha256(file),
        input=to_tflite.INPUT,
        imgsz=imgsz,
        classes=tuple(model.names[label] for label in range(len(model.names))),
        levels=outputs,
        bins=bins(head),
        groups=box_groups(head),
        channels=channels(head),
        training=training or {},
    )
    description.write_bytes(msgspec.json.format(msgspec.json.encode(decoding), indent=1) + b"\n")


def _converted(
    network: torch.nn.Module,
    imgsz: int,
    samples: NDArray[np.uint8] | None,
    outputs: Sequence[Level],
) -> bytes:
    """Convert a network with the tools for NPUs."""
    quantisation = {
        "ranges": {level.scores: CLASS_LOGITS for level in outputs},
        "precise": [level.boxes for level in outputs],
    }
    with tempfile.TemporaryDirectory(prefix="omr-tflite-") as temporary:
        folder = Path(temporary)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about anchor points that are parts of one tensor
            torch.export.save(exported_program(network, imgsz), folder / to_tflite.PROGRAM)
        if samples is not None:
            np.save(folder / to_tflite.SAMPLES, samples)
            (folder / to_tflite.OUTPUTS).write_text(json.dumps(quantisation), "utf-8")
        script = Path(to_tflite.__file__)
        run_tool([script, folder], task="converting to TFLite", folder=folder)
        result = folder / to_tflite.MODEL
        if not result.is_file():
            raise OmrError("converting to TFLite failed: no file was written")
        return result.read_bytes()
