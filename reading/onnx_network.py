"""A network in ONNX format, run with onnxruntime."""

import ast
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, InputError, MissingExtraError
from converters.images import Pixels
from reading.network import RECORD_KEY, TileSymbols
from reading.suppression import symbols_of
from reading.training_facts import training_facts

NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
"""Environment variables of newer and older versions that keep onnxruntime from writing a device id
to the user's cache and from sending events to Microsoft; it reads them when it is imported."""


CHECKSUM_KEY = "omr-sha256"
"""Metadata key of the checksum in files of ``omr export``."""
NO_CHECKSUM = "sha256:" + 64 * "0"
"""Value with which the checksum is computed."""


def seal(file: Path) -> None:
    """Replace ``NO_CHECKSUM`` in an ONNX file by the checksum of the file."""
    content = file.read_bytes()
    file.write_bytes(content.replace(NO_CHECKSUM.encode(), _checksum(content).encode(), 1))


def _check_sum(metadata: Mapping[str, str], file: Path) -> None:
    stored = metadata.get(CHECKSUM_KEY)
    if stored:
        content = file.read_bytes().replace(stored.encode(), NO_CHECKSUM.encode(), 1)
        if stored != _checksum(content):
            raise InputError("damaged: wrong checksum; use another copy of the file", path=file)


def _checksum(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class OnnxNetwork:
    """A detection network that ``omr export --format onnx`` or Ultralytics wrote."""

    def __init__(self, file: Path, *, device: str = "") -> None:
        """Load a network.

        Args:
            file: ONNX file.
            device: ``cpu``, or a GPU index; empty for the first GPU that onnxruntime supports, or
                the CPU.

        Raises:
            ConfigError: The device is not one of onnxruntime's.
            MissingExtraError: onnxruntime is not installed.
            InputError: The file is missing, damaged, or not a detection network.
        """
        os.environ.update(NO_TELEMETRY)
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError(
                "reading pages with an ONNX file needs onnxruntime, which is not installed; run "
                "pip install 'omr-toolkit[export]'"
            ) from error
        if not file.is_file():
            raise InputError("no such weights", path=file)
        onnxruntime.set_default_logger_severity(4)
        # Tiles are computed in parallel: threads that share a tile spin while they wait.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(file),
                options,
                providers=_providers(device, onnxruntime.get_available_providers()),
            )
        except ConfigError:
            raise
        except Exception as error:  # classes of its own, without a common one
            raise InputError(f"is not a valid ONNX file: {_first_line(error)}", path=file) from None
        self._file = file
        metadata = self._session.get_modelmeta().custom_metadata_map
        _check_sum(metadata, file)
        self._input = self._session.get_inputs()[0]
        self.names = _names(metadata, file)
        self.imgsz = _imgsz(self._input.shape, file)
        n_rows = self._session.get_outputs()[0].shape[1]
        if n_rows != 4 + len(self.names):
            raise InputError(
                f"expected an output of {4 + len(self.names)} rows for its classes, got {n_rows}; "
                "export it with omr export",
                path=file,
            )
        self.record = metadata.get(RECORD_KEY, "")
        """Training record as JSON; empty if the file contains none."""
        facts = training_facts(self.record, len(self.names), file)
        self.preparations = facts.preparations
        self.conf, self.class_confs = facts.conf, facts.class_confs

    def find(self, tiles: Pixels, *, score_thresh: float) -> Sequence[TileSymbols]:
        """Find the symbols of tiles, see :meth:`reading.network.Network.find`."""
        inputs = np.ascontiguousarray(tiles[..., ::-1].transpose(0, 3, 1, 2), np.float32) / 255

        def find_one(tile: NDArray[np.float32]) -> TileSymbols:
            try:
                output = self._session.run(None, {self._input.name: tile[None]})[0]
            except Exception as error:  # as in __init__
                reason = f"cannot be run: {_first_line(error)}"
                raise InputError(reason, path=self._file) from None
            return symbols_of(output[0], score_thresh=score_thresh)

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(find_one, inputs))


def _providers(device: str, available: Sequence[str]) -> list[Any]:
    """Choose the execution providers of onnxruntime for a device."""
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    if device == "cpu" or (not device and cuda not in available):
        return [cpu]
    if cuda not in available:
        reason = "onnxruntime does not support it here; install onnxruntime-gpu, or use cpu"
        raise ConfigError(reason, option="--device", value=device)
    if device and not device.isdecimal():
        raise ConfigError("expected cpu or a GPU index", option="--device", value=device)
    return [(cuda, {"device_id": int(device or 0)}), cpu]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _names(metadata: Mapping[str, str], file: Path) -> tuple[str, ...]:
    try:
        names = ast.literal_eval(metadata["names"])
        return tuple(str(names[label]) for label in range(len(names)))
    except (KeyError, ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InputError("names no classes; export it with omr export", path=file) from None


def _imgsz(shape: Sequence[Any], file: Path) -> int:
    batch, channels, height, width = (*shape, None, None, None, None)[:4]
    if (batch, channels) != (1, 3) or height != width or not isinstance(height, int):
        text = " x ".join(map(str, shape))
        raise InputError(
            f"expected an input of 1 x 3 x S x S, got {text}; export it with omr export", path=file
        )
    return height
