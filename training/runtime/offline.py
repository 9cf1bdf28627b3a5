"""Blocking of Ultralytics' network access and of its files outside the run folder.

Requests during training and prediction, and their replacements:

* DNS query on import, to detect whether it is online ......... skipped: it counts as offline
* Arial.ttf, when a data set is read .......................... no font: nothing is drawn
* yolo26n.pt, to try mixed precision on a CUDA device ......... decided by the device's name
* usage statistics after training or validation .............. off
* Platform, ClearML, Comet, MLflow, Weights & Biases .......... off: results are in the run folder
* pip, when a package is missing .............................. an ordinary ImportError

Files and their replacements:

* settings.json in the user's config folder, on import ........ in a temporary folder
* hash of the network card's address in these settings ........ of 0, without opening a socket
* empty folder of torch's compiler in the temporary folder .... removed when the process ends

:func:`block_network` may run before or after other code imports Ultralytics; the files are only
avoided if it runs before.
"""

import atexit
import contextlib
import json
import logging
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from PIL import Image

if TYPE_CHECKING:
    from torch import nn

# GPUs with NaN losses in half precision, from Ultralytics' own check (utils/checks.py).
NO_AMP = re.compile(
    r"\b(GTX 16\d0|T400|T550|T600|T1000|T1200|T2000|K40m|Quadro T\d000)\b", re.IGNORECASE
)

CONFIG_VARIABLE = "YOLO_CONFIG_DIR"
"""Environment variable with the parent of Ultralytics' settings folder."""
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable with the folder for code that torch has compiled."""


def block_network() -> None:
    """Disable every network access of Ultralytics; repeated calls have no further effect."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    # Not at the top of the file: this import reads the environment, so that must be set first. Its
    # output must not mix with a command's result.
    plain_open = Image.open
    with contextlib.redirect_stdout(sys.stderr), _temporary_settings():
        from ultralytics.data import utils as data_utils
        from ultralytics.engine import trainer
        from ultralytics.utils import SETTINGS, callbacks, checks, downloads, events, patches

    # With this message, an export would run a program and write the settings.
    dict.update(SETTINGS, openvino_msg=False)
    if CACHE_VARIABLE not in os.environ:
        atexit.register(_remove_empty_cache)
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


@contextlib.contextmanager
def process_launch() -> Iterator[None]:
    """Create a temporary folder for the files with which Ultralytics starts one process per GPU."""
    from ultralytics.utils import SETTINGS, dist

    stock = dist.USER_CONFIG_DIR
    with _config_folder() as folder:
        (folder / "settings.json").write_text(json.dumps(SETTINGS), "utf-8")
        dist.USER_CONFIG_DIR = folder
        try:
            yield
        finally:
            dist.USER_CONFIG_DIR = stock


@contextlib.contextmanager
def _temporary_settings() -> Iterator[None]:
    """Give Ultralytics temporary default settings, unless it is already imported."""
    if "ultralytics" in sys.modules:
        yield
        return
    log_level, node = logging.root.manager.disable, uuid.getnode
    logging.disable(logging.INFO)  # the message that settings were created
    uuid.getnode = lambda: 0
    try:
        with _config_folder():
            yield
    finally:
        uuid.getnode = node
        logging.disable(log_level)


@contextlib.contextmanager
def _config_folder() -> Iterator[Path]:
    """Create Ultralytics' config folder in a temporary folder, for imports during the block."""
    before = os.environ.get(CONFIG_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="omr-") as folder:
        os.environ[CONFIG_VARIABLE] = folder
        config = Path(folder) / "Ultralytics"
        config.mkdir()
        try:
            yield config
        finally:
            os.environ.pop(CONFIG_VARIABLE)
            if before is not None:
                os.environ[CONFIG_VARIABLE] = before


def _remove_empty_cache() -> None:
    """Remove the folder that torch creates when it loads its compiler, which omr does not use."""
    folder = os.environ.get(CACHE_VARIABLE)  # set by torch
    if folder:
        with contextlib.suppress(OSError):  # not empty: code was compiled by the caller
            Path(folder).rmdir()


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
