"""Keeps Ultralytics away from the network.

What it asks for in a training or a prediction, and what happens here instead:

* a DNS look-up on import, to learn whether it is online ....... told that it is not
* Arial.ttf, when a data set is read .......................... no font: nothing is drawn
* yolo26n.pt, to try mixed precision on a CUDA device ......... the device's name is looked at
* usage statistics after a training or a validation ........... off
* Platform, ClearML, Comet, MLflow, Weights & Biases, ......... off: results are in the run folder
* pip, when a package is missing .............................. an ordinary ImportError

:func:`shut` may run before or after somebody else imported Ultralytics.
"""

import contextlib
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from PIL import Image

if TYPE_CHECKING:
    from torch import nn

CONFIG_FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "omr"
"""Where Ultralytics keeps its settings, away from a person's own; YOLO_CONFIG_DIR overrides it."""

# Half precision gives NaN losses on these, says Ultralytics' own check (utils/checks.py).
NO_AMP = re.compile(
    r"\b(GTX 16\d0|T400|T550|T600|T1000|T1200|T2000|K40m|Quadro T\d000)\b", re.IGNORECASE
)


def shut() -> None:
    """Close every way to the network that Ultralytics knows; calling it again does no harm."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ.setdefault("YOLO_CONFIG_DIR", str(CONFIG_FOLDER))
    # After the environment is set, not at the head of the file: reading it is the first thing
    # that this import does. What it prints is not a command's result.
    plain_open = Image.open
    with contextlib.redirect_stdout(sys.stderr):
        from ultralytics.data import utils as data_utils
        from ultralytics.engine import trainer
        from ultralytics.utils import callbacks, checks, downloads, events, patches

    # Ultralytics' own asks for pi_heif, and for pip, whenever a file is no image.
    Image.open = getattr(patches, "_image_open", plain_open)
    checks.ONLINE = False
    events.ONLINE = False
    events.events.enabled = False
    downloads.is_online = _no
    for module in (checks, data_utils):
        module.check_font = _no_font
    trainer.check_amp = amp_works
    callbacks.add_integration_callbacks = _add_nothing
    logger = logging.getLogger("ultralytics")
    for handler in list(logger.handlers):
        if type(handler) is logging.StreamHandler:  # not a file, nor what a caller added
            replacement = _Stderr(handler.level)
            replacement.setFormatter(handler.formatter)
            logger.removeHandler(handler)
            logger.addHandler(replacement)


def amp_works(model: "nn.Module") -> bool:
    """Tell whether the model's device can train in half precision, by its name alone.

    Args:
        model: A module; the device of its first parameter counts.
    """
    import torch

    device = next(model.parameters()).device
    if device.type in {"cpu", "mps"}:
        return False
    return device.type != "cuda" or not NO_AMP.search(torch.cuda.get_device_name(device))


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is at that moment: stdout belongs to a command's results."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)

    @property
    def stream(self) -> TextIO:
        """The process's stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("always stderr")


def _no() -> bool:
    return False


def _no_font(_font: str = "") -> None:
    return None


def _add_nothing(_instance: object) -> None:
    return None
