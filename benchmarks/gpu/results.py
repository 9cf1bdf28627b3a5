"""Results of one step of the GPU run, kept on disk while the step is still running.

A step that is killed at its time limit keeps every row it has written so far.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

POLL_S = 0.1
Cell = str | int | float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """A target and the measured figure."""

    name: str
    """Measured quantity and its target, e.g. ``images/s on full pages, at least 5 times yolo``."""
    figure: str
    """Measured value with its unit; empty if it could not be measured."""
    met: bool | None
    """None if it was not measured, or is not meaningful on this device (a CPU)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows under one heading."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Cell]] = field(default_factory=list)


class Results:
    """Tables, goals and notes of a step; every change is written to the file at once.

    Args:
        path: JSON file to write. An existing one is replaced with the first change.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables: list[Table] = []
        self.goals: list[Goal] = []
        self.notes: list[str] = []

    def table(self, title: str, columns: Sequence[str]) -> Table:
        """Begin a table, to which the following rows belong."""
        self.tables.append(Table(title=title, columns=tuple(columns)))
        self._write()
        return self.tables[-1]

    def row(self, *cells: Cell) -> None:
        """Add a row to the last table."""
        table = self.tables[-1]
        if len(cells) != len(table.columns):
            raise ValueError(f"{table.title}: {len(cells)} cells for {len(table.columns)} columns")
        table.rows.append(cells)
        print(" | ".join(map(str, cells)), flush=True)
        self._write()

    def goal(self, name: str, figure: str, met: bool | None) -> None:
        """Record whether a target was met."""
        self.goals.append(Goal(name=name, figure=figure, met=met))
        self._write()

    def note(self, text: str) -> None:
        """Add a sentence that readers of the tables need."""
        self.notes.append(text)
        self._write()

    def _write(self) -> None:
        content = {
            "tables": [asdict(table) for table in self.tables],
            "goals": [asdict(goal) for goal in self.goals],
            "notes": self.notes,
        }
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(content, indent=1), "utf-8")
        part.replace(self.path)


def step_parser(description: str, small: str) -> argparse.ArgumentParser:
    """Create the argument parser of a step that needs no data.

    Args:
        description: First line of the step's help.
        small: Help for ``--small``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, help="results file to write")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help=small)
    parser.add_argument("--limit", type=float, default=70.0, help="seconds")
    return parser


def data_step_parser(description: str, small: str, limit: float | None) -> argparse.ArgumentParser:
    """Create the argument parser of a step that reads the data of ``benchmarks.gpu.data``.

    Args:
        description: First line of the step's help.
        small: Help for ``--small``.
        limit: Default of ``--limit`` in seconds; None if the step computes it.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, required=True, help="folder of benchmarks.gpu.data")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--small", action="store_true", help=small)
    parser.add_argument("--device", default="0", help="number of the GPU, cuda, or cpu")
    parser.add_argument("--limit", type=float, default=limit, help="seconds for everything")
    return parser


def wait_for_data(work: Path, names: Sequence[str], seconds: float) -> None:
    """Wait for data sets, which may still be created in the background.

    Raises:
        SystemExit: One was not ready in time.
    """
    latest = time.monotonic() + seconds
    while missing := [name for name in names if not (work / name).exists()]:
        if time.monotonic() > latest:
            sys.exit(
                f"{work}: no {' and no '.join(missing)} after {seconds:.0f} s; run "
                "benchmarks.gpu.data first"
            )
        time.sleep(POLL_S)


def read_results(path: Path) -> dict[str, Any]:
    """Read the results that a step has written so far; empty if there are none."""
    if not path.is_file():
        return {"tables": [], "goals": [], "notes": []}
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content
