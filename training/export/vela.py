"""Compilation of TFLite files for Arm Ethos-U NPUs with Vela, and its estimate of their speed."""

import csv
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from class_maps import ConfigError, InputError, OmrError, with_nearest
from training.export.npu_tools import run_tool, tools_folder

CONFIG = "Arm/vela.ini"
"""File with the systems and memory modes, which comes with Vela."""
SYSTEMS = {
    "u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "u65": ("Ethos_U65_High_End", "Dedicated_Sram_384KB"),
    "u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_512KB"),
}
"""System and memory mode of each NPU. A U55 keeps activations in SRAM and reads weights from flash;
the others keep both in DRAM and use SRAM as a cache."""
MACS_PER_CYCLE = {
    "u55": (32, 64, 128, 256),
    "u65": (256, 512),
    "u85": (128, 256, 512, 1024, 2048),
}
IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of a TFLite file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """NPU in a system with memories."""

    name: str
    """Name without ``ethos-``, such as ``u55-256``: the NPU, and its MACs per cycle."""

    @property
    def accelerator(self) -> str:
        """Name of the NPU in Vela."""
        return f"ethos-{self.name}"

    @property
    def system(self) -> str:
        """Clock and memory bandwidths, as a section of Vela's file."""
        return SYSTEMS[self.name[:3]][0]

    @property
    def memory_mode(self) -> str:
        """Memories of weights and activations, as a section of Vela's file."""
        return SYSTEMS[self.name[:3]][1]


TARGETS = {
    target.accelerator: target
    for npu, sizes in MACS_PER_CYCLE.items()
    for target in (Target(name=f"{npu}-{size}") for size in sizes)
}
"""NPUs by name, such as ``ethos-u55-256``."""
DEFAULT_TARGETS = ("ethos-u55-256", "ethos-u65-512", "ethos-u85-2048")


def parse_targets(names: list[str]) -> list[Target]:
    """Return the targets of names with or without ``ethos-``.

    Raises:
        ConfigError: A name is unknown.
    """
    full = {name: name if name.startswith("ethos-") else f"ethos-{name}" for name in names}
    if unknown := [name for name, target in full.items() if target not in TARGETS]:
        known = [*TARGETS, *(target.name for target in TARGETS.values())]
        reason = f"unknown NPU: {with_nearest(unknown, known)}; known: {', '.join(TARGETS)}"
        raise ConfigError(reason, option="--target", value=", ".join(unknown))
    return [TARGETS[name] for name in dict.fromkeys(full.values())]


@dataclass(frozen=True, kw_only=True, slots=True)
class NpuFigures:
    """Vela's estimate for one inference."""

    target: Target
    npu_operators: Mapping[str, int]
    """Number of operators that run on the NPU, by name."""
    cpu_operators: Mapping[str, int]
    """Number of operators that the NPU leaves to the CPU, by name; their time is not included."""
    ms: float
    """Milliseconds on the NPU."""
    sram_kib: float
    dram_kib: float
    flash_kib: float
    """Size of the compiled file."""
    macs: int
    """Multiply-accumulate operations on the NPU."""

    def to_json(self) -> dict[str, Any]:
        """Return nested dicts and numbers."""
        return {
            "name": self.target.accelerator,
            "system": self.target.system,
            "memory_mode": self.target.memory_mode,
            "npu_operators": dict(self.npu_operators),
            "cpu_operators": dict(self.cpu_operators),
            "ms": self.ms,
            "sram_kib": self.sram_kib,
            "dram_kib": self.dram_kib,
            "flash_kib": self.flash_kib,
            "macs": self.macs,
        }


def npu_figures(file: Path, target: Target) -> NpuFigures:
    """Compile a TFLite file for an NPU, and read Vela's estimate.

    Args:
        file: TFLite file in int8.
        target: NPU and system.

    Raises:
        InputError: The file is not a TFLite file, damaged, or no operator runs on the NPU.
        MissingExtraError: The tools for NPUs are not installed.
    """
    tools_folder()
    _check_identifier(file)
    with tempfile.TemporaryDirectory(prefix="omr-vela-") as temporary:
        folder = Path(temporary)
        try:
            run_tool(_command(file, target, folder), task="Vela", folder=folder)
        except OmrError as error:
            raise InputError(f"cannot be compiled for an NPU: {error}", path=file) from error
        rows = list(_rows(folder, "*_per-layer.csv", file))
        summary = next(_rows(folder, "*_summary_*.csv", file))
        (compiled,) = folder.glob("*_vela.tflite")
        flash_bytes = compiled.stat().st_size
    operators = Counter((row["Target"].strip(), row["Original Operator"].strip()) for row in rows)
    npu, cpu = (
        {name: n for (where, name), n in sorted(operators.items()) if where == unit}
        for unit in ("NPU", "CPU")
    )
    if not npu:
        raise InputError(
            "no operator runs on the NPU; use a file in int8, written by omr export --format "
            "tflite --int8",
            path=file,
        )
    return NpuFigures(
        target=target,
        npu_operators=npu,
        cpu_operators=cpu,
        ms=round(float(summary["inference_time"]) * 1e3, 3),
        sram_kib=round(float(summary["sram_memory_used"]), 1),
        dram_kib=round(float(summary["dram_memory_used"]), 1),
        flash_kib=round(flash_bytes / 1024, 1),
        macs=int(float(summary["nn_macs"])),
    )


def _check_identifier(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=file) from error
    if start[4:] != IDENTIFIER:
        raise InputError("is not a TFLite file", path=file)


def _command(file: Path, target: Target, folder: Path) -> list[str | Path]:
    return [
        *("-m", "ethosu.vela", file.resolve(), "--output-dir", folder),
        *("--config", CONFIG, "--accelerator-config", target.accelerator),
        *("--system-config", target.system, "--memory-mode", target.memory_mode),
        "--verbose-performance",
    ]


def _rows(folder: Path, pattern: str, file: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that Vela wrote."""
    tables = list(folder.glob(pattern))
    if len(tables) != 1:
        raise InputError("cannot be compiled for an NPU: Vela wrote no figures", path=file)
    with tables[0].open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)
