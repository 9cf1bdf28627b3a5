"""Export of a trained model to ONNX.

The file contains the network, its head and the decoding of boxes, but no non-maximum suppression.
Every head has the same output as in torch: boxes as cxcywh in pixels and the scores of all classes,
shape ``(1, 4 + C, A)`` for C classes and A anchor points; a head with separate box branches outputs
the A best predictions of all groups.
"""

import contextlib
import copy
import importlib.util
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from ultralytics.engine.exporter import Exporter
from ultralytics.nn.tasks import DetectionModel

from class_maps import MissingExtraError
from reading.onnx_network import CHECKSUM_KEY, NO_CHECKSUM, seal
from training.runtime import offline
from training.runtime.library_loggers import quiet


def export_onnx(
    model: DetectionModel, file: Path, *, imgsz: int, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a model as ONNX, with the metadata that Ultralytics needs for prediction.

    Args:
        model: Detection model with one or more class groups; not changed.
        file: File to write, in an existing folder; an existing file is replaced at the end.
        imgsz: Side of the square input in pixels, a multiple of the model's largest stride.
        metadata: Further metadata.

    Raises:
        MissingExtraError: The package ``onnx`` is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingExtraError(
            "ONNX files need onnx, which is not installed; "
            "pip install 'omr-toolkit[export]' brings it"
        )
    offline.block_network()
    exporter = Exporter(
        overrides={
            "format": "onnx",
            "imgsz": imgsz,
            "batch": 1,
            "device": "cpu",
            "simplify": False,  # would need another package
        }
    )
    model = copy.deepcopy(model).cpu()
    model.task, model.args = "detect", {"data": ""}  # paths mean nothing on other machines
    with _temporary_folder(file.with_name(f".{file.name}")) as folder, _quiet(), _same_threads():
        model.pt_path = str(folder / "model.pt")  # determines the name of the new file
        written = Path(exporter(model))
        _add_metadata(written, {**(metadata or {}), CHECKSUM_KEY: NO_CHECKSUM})
        seal(written)
        written.replace(file)


def _add_metadata(file: Path, metadata: Mapping[str, str]) -> None:
    import onnx

    content = onnx.load(file)
    for key, value in metadata.items():
        content.metadata_props.add(key=key, value=value)
    onnx.save(content, file)


@contextlib.contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """Create a folder for the duration of the block, replacing one left by a killed process."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _same_threads() -> Iterator[None]:
    """Restore the number of torch's threads, which Ultralytics sets to one less than cores."""
    n_threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages about the moved file and tracing, and of errors that are raised as well."""
    with quiet(level=logging.CRITICAL), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
