"""Turns a trained model into a file for other runtimes.

The network, its head and the decoding of boxes are in the file; suppression is not. Every head gives
what it gives in torch: boxes as cxcywh in pixels and the scores of all classes, shape
``(1, 4 + C, A)`` for C classes and A anchor points; a head of separate boxes the A best of all
groups.
"""

import copy
import importlib.util
import tempfile
import warnings
from pathlib import Path

from ultralytics.engine.exporter import Exporter
from ultralytics.nn.tasks import DetectionModel

from class_maps import MissingExtraError
from training import offline


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
        raise MissingExtraError("ONNX files need onnx: pip install 'omr-toolkit[export]'")
    offline.shut()
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
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, warnings.catch_warnings():
        # It traces, which torch would have replaced by something newer; shapes are fixed here.
        warnings.simplefilter("ignore")
        model.pt_path = str(Path(folder) / "model.pt")  # the new file's name is made of it
        Path(exporter(model)).replace(file)
