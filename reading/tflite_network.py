"""A network in TFLite format, run with LiteRT.

Shapes: S side of the network's input in pixels.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from class_maps import ConfigError, InputError, MissingExtraError, one_line, shortened
from converters.files.hashes import sha256
from converters.images import Pixels
from reading.decoding import Decoding, decode, decoding_file, read_decoding
from reading.network import TileSymbols
from reading.suppression import symbols_of
from reading.training_facts import training_facts


class TfliteNetwork:
    """A detection network that ``omr export --format tflite`` wrote, on the CPU."""

    def __init__(self, file: Path, *, device: str = "") -> None:
        """Load a network.

        Args:
            file: ``.tflite`` file, with its description ``FILE.json`` in the same folder.
            device: ``cpu``, or empty.

        Raises:
            ConfigError: The device is not the CPU.
            MissingExtraError: LiteRT is not installed.
            InputError: The file or its description is missing or damaged, or they do not belong
                together.
        """
        if device not in ("", "cpu"):
            reason = "a .tflite file is run on the CPU; use cpu"
            raise ConfigError(reason, option="--device", value=device)
        if not file.is_file():
            raise InputError("no such weights", path=file)
        self._decoding = decoding = read_decoding(file)
        if sha256(file) != decoding.sha256:  # also keeps LiteRT from reading damaged files
            raise InputError(
                f"is damaged, or not the file that {decoding_file(file).name} describes; export "
                "the weights again",
                path=file,
            )
        self._run = _runner(file)
        self._input = self._run.get_input_details().get(decoding.input)
        self._outputs: Mapping[str, Any] = self._run.get_output_details()
        self._check_shapes(file)
        self.names, self.imgsz = decoding.classes, decoding.imgsz
        self.record = json.dumps(decoding.training) if decoding.training else ""
        """Training record as JSON; empty if the weights contained none."""
        facts = training_facts(self.record, len(self.names), decoding_file(file))
        self.preparations = facts.preparations
        self.conf, self.class_confs = facts.conf, facts.class_confs

    def _check_shapes(self, file: Path) -> None:
        """Check that the file has the input and the outputs that its description lists."""
        decoding: Decoding = self._decoding
        side = decoding.imgsz
        expected = {"input": (1, side, side, 3), **decoding.shapes()}
        details = {"input": self._input or {"shape": ()}, **self._outputs}
        actual = {name: tuple(map(int, detail["shape"])) for name, detail in details.items()}
        for name, shape in expected.items():
            if actual.get(name) != shape:
                raise InputError(
                    f"{name}: expected shape {shape}, got {actual.get(name, 'none')}; export the "
                    "weights again",
                    path=file,
                )

    def find(self, tiles: Pixels, *, score_thresh: float) -> Sequence[TileSymbols]:
        """Find the symbols of tiles, see :meth:`reading.network.Network.find`."""
        return [
            symbols_of(self._output(tile), score_thresh=score_thresh)
            for tile in np.ascontiguousarray(tiles[..., ::-1])
        ]

    def _output(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network on an RGB tile, shape ``(S, S, 3)``, and decode its output."""
        pixels = _quantized(np.asarray(tile[None] / 255, np.float32), self._input)
        outputs = self._run(**{self._decoding.input: pixels})
        values = {name: _dequantized(outputs[name], self._outputs[name]) for name in outputs}
        return decode(values, self._decoding)


def _runner(file: Path) -> Any:  # noqa: ANN401
    """Load a file into an interpreter, and return the function that runs it."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError(
            "reading pages with a .tflite file needs ai-edge-litert, which is not installed; run "
            "pip install 'omr-toolkit[tflite]'"
        ) from error
    try:
        interpreter = Interpreter(model_path=str(file), num_threads=os.cpu_count())
        return interpreter.get_signature_runner()
    except (ValueError, RuntimeError) as error:
        reason = f"is not a valid TFLite file: {shortened(one_line(str(error)))}"
        raise InputError(reason, path=file) from None


def _quantized(values: NDArray[np.float32], details: Any) -> NDArray[Any]:  # noqa: ANN401
    """Convert values to the type of an input."""
    scale, zero_point = details["quantization"]
    if not scale:
        return values
    limits = np.iinfo(details["dtype"])
    levels = np.rint(values / scale) + zero_point
    return np.asarray(levels.clip(limits.min, limits.max), details["dtype"])


def _dequantized(levels: NDArray[Any], details: Any) -> NDArray[np.float32]:  # noqa: ANN401
    """Convert the values of an output to float32."""
    scale, zero_point = details["quantization"]
    if not scale:
        return np.asarray(levels, np.float32)
    return np.asarray((levels.astype(np.float32) - zero_point) * scale, np.float32)
