"""Blocking of Ultralytics' network access.

Requests during training and prediction, and their replacements:

* DNS query on import, to detect whether it is online ......... skipped: it counts as offline
* Arial.ttf, when a data set is read .......................... no font: nothing is drawn
* yolo26n.pt, to try mixed precision on a CUDA device ......... decided by the device's name
* usage statistics after a training or a validation ........... off
* Platform, ClearML, Comet, MLflow, Weights & Biases .......... off: results are in the run folder
* pip, when a package is missing .............................. an ordinary ImportError

:func:`block_network` may run before or after other code imports Ultralytics.
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

# GPUs with NaN losses in half precision, from Ultralytics' own check (utils/checks.py).
NO_AMP = re.compile(
    r"\b(GTX 16\d0|T400|T550|T600|T1000|T1200|T2000|K40m|Quadro T\d000)\b", re.IGNORECASE
)


def block_network() -> None:
    """Disable every network access of Ultralytics; repeated calls have no further effect."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ.setdefault("YOLO_CONFIG_DIR", str(_config_folder()))
    # Not at the top of the file: this import reads the environment, so that must be set first. Its
    # output must not mix with a command's result.
    plain_open = Image.open
    with contextlib.redirect_stdout(sys.stderr):
        from ultralytics.data import utils as data_utils
        from ultralytics.engine import trainer
        from ultralytics.utils import callbacks, checks, downloads, events, patches

    # Ultralytics' replacement imports pi_heif, and runs pip, whenever a file is not an image.
    Image.open = getattr(patches, "_image_open", plain_open)
    checks.ONLINE = False
    events.ONLINE = False
    events.events.enabled = False
    downloads.is_online = _is_offline
    for module in (checks, data_utils):
        module.check_font = _no_font
    trainer.check_amp = amp_works
    callbacks.add_integration_callbacks = _add_no_callbacks
    logger = logging.getLogger("ultralytics")
    for handler in list(logger.handlers):
        if type(handler) is logging.StreamHandler:  # neither a file nor a handler of the caller
            replacement = _Stderr(handler.level)
            replacement.setFormatter(_MarkedFormatter())
            logger.removeHandler(handler)
            logger.addHandler(replacement)


def _config_folder() -> Path:
    """Return the folder of Ultralytics' settings, separate from the user's own.

    A cache folder that is not absolute counts as not set.

    Source: https://specifications.freedesktop.org/basedir-spec/latest/
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "omr"


def amp_works(model: "nn.Module") -> bool:
    """Return whether the model's device can train in half precision, judged by its name alone.

    Args:
        model: Module whose first parameter is on the device.
    """
    import torch

    device = next(model.parameters()).device
    if device.type in {"cpu", "mps"}:
        return False
    return device.type != "cuda" or not NO_AMP.search(torch.cuda.get_device_name(device))


class _MarkedFormatter(logging.Formatter):
    """Formatter that marks warnings and errors as the messages of omr are marked."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message of a record."""
        message = super().format(record)
        if record.levelno < logging.WARNING:
            return message
        return f"{'note' if record.levelno < logging.ERROR else 'error'}: {message}"


class _Stderr(logging.StreamHandler[TextIO]):
    """Handler that writes to the current stderr: stdout is for a command's results."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)

    @property
    def stream(self) -> TextIO:
        """The process's stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("always stderr")


def _is_offline() -> bool:
    return False


def _no_font(_font: str = "") -> None:
    return None


def _add_no_callbacks(_instance: object) -> None:
    return None
