"""Speed and memory of models on NPUs."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np

from omr.exporting import check_imgsz
from training.export.npu_tools import tools_folder
from training.export.tflite import TfliteOptions, export_tflite
from training.export.vela import NpuFigures, Target, npu_figures
from training.models.checkpoints import DEFAULT_IMGSZ, SUFFIXES, open_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFigures:
    """Figures of one file on all targets."""

    source: Path
    targets: tuple[NpuFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts, lists and numbers."""
        return {"source": str(self.source), "targets": [t.to_json() for t in self.targets]}


def model_figures(
    sources: Sequence[Path],
    targets: Sequence[Target],
    *,
    imgsz: int | None = None,
    trust: bool = False,
    converting: Callable[[Path], None] = lambda _: None,
) -> list[ModelFigures]:
    """Compile models for NPUs.

    Weights are converted to int8 with noise as calibration images. The values of activations do not
    affect the figures, so that no data are needed.

    Args:
        sources: ``.tflite`` files in int8, and weights.
        targets: NPUs.
        imgsz: Side of the network's input in pixels; None for the training size.
        trust: Load pickled weights even though doing so can run code they contain.
        converting: Called with each weights file before it is converted.

    Raises:
        ConfigError: ``imgsz`` is not a multiple of a model's largest stride.
        InputError: A file cannot be read or compiled.
        MissingExtraError: The tools for NPUs are not installed.
        OmrError: The conversion of weights failed.
    """
    tools_folder()
    return [
        _figures(source, targets, imgsz=imgsz, trust=trust, converting=converting)
        for source in sources
    ]


def model_names(sources: Sequence[Path]) -> list[str]:
    """Name files: by their file names, or by the part of their paths in which they differ.

    Args:
        sources: One file or more; ``runs/a/weights/best.pt`` beside ``runs/b/weights/best.pt`` is
            called ``a``.
    """
    names = [source.name for source in sources]
    if len({*sources}) == len({*names}):
        return names
    folder = commonpath(source.absolute().parent for source in sources)
    parts = [list(source.absolute().relative_to(folder).parts) for source in sources]
    while len({path[-1] for path in parts}) == 1 and all(len(path) > 1 for path in parts):
        parts = [path[:-1] for path in parts]
    return ["/".join(path) for path in parts]


def _figures(
    source: Path,
    targets: Sequence[Target],
    *,
    imgsz: int | None,
    trust: bool,
    converting: Callable[[Path], None],
) -> ModelFigures:
    if source.suffix not in SUFFIXES:
        return ModelFigures(source=source, targets=_on_targets(source, targets))
    weights = open_weights(source, trust=trust)
    side = imgsz or weights.imgsz or DEFAULT_IMGSZ
    check_imgsz(side, int(weights.model.stride.max()))
    converting(source)
    noise = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), np.uint8)
    with tempfile.TemporaryDirectory(prefix="omr-npu-") as temporary:
        file = Path(temporary, "model.tflite")
        export_tflite(
            weights.model,
            file,
            file.with_suffix(".json"),
            imgsz=side,
            options=TfliteOptions(samples=noise),
        )
        return ModelFigures(source=source, targets=_on_targets(file, targets))


def _on_targets(file: Path, targets: Sequence[Target]) -> tuple[NpuFigures, ...]:
    return tuple(npu_figures(file, target) for target in targets)
