"""Turns a trained model into a file for other runtimes.

The network, its head and the decoding of boxes are in the file; suppression is not. Every head
gives what it gives in torch: boxes as cxcywh in pixels and the scores of all classes, shape
``(1, 4 + C, A)`` for C classes and A anchor points; a head of separate boxes the A best of all
groups.
"""

import contextlib
import copy
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from ultralytics.engine.exporter import Exporter
from ultralytics.nn.tasks import DetectionModel

from class_maps import MissingExtraError
from training.runtime import offline
from training.runtime.library_loggers import quiet


def export_onnx(model: DetectionModel, file: Path, *, imgsz: int) -> None:
    """Write a model as ONNX, with what Ultralytics needs to know to predict with it.

    Args:
        model: A detection model with a head of one group or of several; it is left as it is.
        file: To write; its folder must be there. What is there already is replaced at the end.
        imgsz: Side of the square input in pixels, a multiple of the model's largest stride.

    Raises:
        MissingExtraError: There is no ``onnx``.
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
            "simplify": False,  # wants one more package
        }
    )
    model = copy.deepcopy(model).cpu()
    model.task, model.args = "detect", {"data": ""}  # a folder of this machine tells nobody else
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, _quiet():
        model.pt_path = str(Path(folder) / "model.pt")  # the new file's name is made of it
        Path(exporter(model)).replace(file)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Say nothing of a file that is moved, nor that tracing, which Ultralytics does, is old."""
    with quiet(level=logging.ERROR), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
