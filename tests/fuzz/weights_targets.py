"""Readers of weights, given their descriptions: the tensors follow from the seeds."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from ultralytics.nn.tasks import DetectionModel

from training.models.checkpoints import CHECKSUM, FORMAT, open_weights, save_weights
from training.models.zoo import model_file
from training.runs import resume_state


@dataclass(frozen=True, kw_only=True, slots=True)
class SafetensorsTarget:
    """Reader of safetensors files, of which only the header is changed."""

    file: Path
    """Valid file."""
    name: str = "safetensors"

    def seeds(self) -> Iterator[bytes]:
        """Yield the header, without the checksum that would refuse each change."""
        content = self.file.read_bytes()
        header = json.loads(content[8 : 8 + _header_bytes(content)])
        description = json.loads(header["__metadata__"][FORMAT])
        del description[CHECKSUM]
        yield json.dumps(header | {"__metadata__": {FORMAT: json.dumps(description)}}).encode()

    def run(self, data: bytes, folder: Path) -> None:
        """Read a file with this header."""
        content, path = self.file.read_bytes(), folder / "a.safetensors"
        tensors = content[8 + _header_bytes(content) :]
        path.write_bytes(len(data).to_bytes(8, "little") + data + tensors)
        open_weights(path)


def _header_bytes(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


@dataclass(frozen=True, kw_only=True, slots=True)
class PickleTarget:
    """Reader of archives of torch, of which only the pickle is changed."""

    file: Path
    """Valid file."""
    is_state: bool = False
    """Whether the file is a resume state."""
    name: str = "pickle"

    def seeds(self) -> Iterator[bytes]:
        """Yield the pickle."""
        with zipfile.ZipFile(self.file) as archive:
            yield archive.read(
                f"{self.file.stem}/data.pkl" if self.is_state else "archive/data.pkl"
            )

    def run(self, data: bytes, folder: Path) -> None:
        """Read an archive with this pickle, whose checksums are right."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(self.file) as old, zipfile.ZipFile(buffer, "w") as new:
            for entry in old.infolist():
                is_pickle = entry.filename.endswith("data.pkl")
                new.writestr(entry.filename, data if is_pickle else old.read(entry))
        path = folder / "a.pt"
        path.write_bytes(buffer.getvalue())
        if self.is_state:
            resume_state.read(path)
        else:
            open_weights(path)


def weights_targets(folder: Path) -> list[SafetensorsTarget | PickleTarget]:
    """Write a small model and a resume state, and return the targets that start from them."""
    model = DetectionModel(model_file("omr-tiny"), nc=2, verbose=False)
    model.names = {0: "stem", 1: "beam"}
    save_weights(model, folder / "best.pt", train_args={"imgsz": 64})
    torch.save({"version": resume_state.VERSION, "epochs_done": 1}, folder / "state.pt")
    return [
        SafetensorsTarget(file=folder / "best.safetensors"),
        PickleTarget(file=folder / "best.pt"),
        PickleTarget(file=folder / "state.pt", is_state=True, name="state"),
    ]
