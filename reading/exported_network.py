"""Networks in files of other formats, which are read without torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from reading.network import Network
from reading.onnx_network import OnnxNetwork
from reading.tflite_network import TfliteNetwork


class ExportedNetwork(Network, Protocol):
    """A network with the training record of its file."""

    record: str
    """Training record as JSON; empty if the file contains none."""


READERS: dict[str, Callable[..., ExportedNetwork]] = {
    ".onnx": OnnxNetwork,
    ".tflite": TfliteNetwork,
}
"""Class that runs the files of each suffix."""
LIBRARIES = ("onnxruntime", "ai-edge-litert")
"""Package of the library that runs each kind of file, in the order of ``READERS``."""


def is_exported(file: Path) -> bool:
    """Check whether a file is read without torch, by its suffix."""
    return file.suffix.lower() in READERS


def library_of(file: Path) -> str:
    """Return the package of the library that runs a file."""
    return dict(zip(READERS, LIBRARIES, strict=True))[file.suffix.lower()]


def open_exported(file: Path, *, device: str = "") -> ExportedNetwork:
    """Load a network.

    Args:
        file: File with a suffix of ``READERS``.
        device: ``cpu``, or a GPU index; empty for the first GPU that the library supports, or the
            CPU.

    Raises:
        ConfigError: The library does not support the device.
        InputError: The file is missing, damaged, or not a detection network.
        MissingExtraError: The library is not installed.
    """
    return READERS[file.suffix.lower()](file, device=device)
