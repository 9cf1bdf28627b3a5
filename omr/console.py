"""Everything a person sees: progress, tables and messages go to stderr, results to stdout."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

T = TypeVar("T")

err = Console(stderr=True)


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` and draw a bar on stderr, or nothing where that is no terminal."""
    return iter(
        track(items, what, total=total, console=err, transient=True, disable=not err.is_terminal)
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stderr; the first column is text, the others are numbers."""
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        shown.add_column(column, justify="right" if i else "left")
    for row in rows:
        shown.add_row(*(f"{v:,}" if isinstance(v, int) else str(v) for v in row))
    err.print(shown)


def print_json(result: Mapping[str, object]) -> None:
    """Print a result for machines, the only thing on stdout."""
    json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
