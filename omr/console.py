"""Terminal output: results go to stdout, progress and messages to stderr."""

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

T = TypeVar("T")

out = Console()
"""Console of results: tables that were asked for."""
err = Console(stderr=True)
"""Console of progress and messages."""


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield items while drawing a progress bar on stderr, if stderr is a terminal.

    Args:
        items: Items to pass through.
        description: Text before the bar, such as ``Converting``.
        total: Number of items, if ``items`` has no length.
    """
    return iter(
        track(
            items,
            description,
            total=total,
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
    )


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    totals: Iterable[Sequence[object]] = (),
    *,
    to: Console = err,
) -> None:
    """Print a table with a left-aligned first column and right-aligned others.

    Args:
        title: Text above the table.
        columns: Column headings.
        rows: Cells of each row; integers get thousands separators.
        totals: Rows below a rule, in the same form.
        to: Console to print on.
    """
    grid = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        grid.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(_cell, row))
    grid.add_section()
    for row in totals:
        grid.add_row(*map(_cell, row))
    to.print(grid)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def say(text: str, *, to: Console = err) -> None:
    """Print a line verbatim, without wrapping or markup."""
    to.print(text, soft_wrap=True, highlight=False, markup=False)


def heading(text: str) -> None:
    """Print a line across the terminal on stderr that starts with a text."""
    err.rule(f"[bold]{escape(text)}", align="left")


def say_names(label: str, names: Sequence[str], *, to: Console = err) -> None:
    """Print a labelled list, ``label: a, b, c``; print nothing if the list is empty."""
    if names:
        say(f"{label}: {', '.join(names)}", to=to)


def say_written(target: Path, *contents: str) -> None:
    """Print where output was written: ``report.json, page.png -> OUT``.

    Args:
        target: File or folder that was written.
        *contents: Names of the files in it, or descriptions of its contents.
    """
    say(f"{', '.join(contents)} -> {target}")


def entry(text: str) -> None:
    """Print a list item on stderr, wrapped between words if stderr is a terminal."""
    say(_wrapped(f"- {text}"))


def note(text: str) -> None:
    """Print a warning on stderr, wrapped between words if stderr is a terminal."""
    wrapped = _wrapped(f"note: {text}").removeprefix("note:")
    err.print(f"[yellow]note:[/]{escape(wrapped)}", soft_wrap=True, highlight=False)


def _wrapped(text: str) -> str:
    """Wrap a sentence to the width of the terminal; in a file it stays on one line."""
    if not err.is_terminal:
        return text
    lines = textwrap.wrap(text, err.width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def print_json(result: Mapping[str, object]) -> None:
    """Print a result as JSON, the only output on stdout."""
    json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
