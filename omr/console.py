"""Everything a person sees: what was asked for on stdout, what is said by the way on stderr."""

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

T = TypeVar("T")

out = Console()
"""For a table that was asked for, and for JSON."""
err = Console(stderr=True)
"""For what is said by the way."""


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` and draw a bar on stderr, or nothing where that is no terminal."""
    return iter(
        track(items, what, total=total, console=err, transient=True, disable=not err.is_terminal)
    )


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    totals: Iterable[Sequence[object]] = (),
    *,
    to: Console = err,
) -> None:
    """Print a table; the first column is text, the others are figures."""
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        shown.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in rows:
        shown.add_row(*map(_cell, row))
    shown.add_section()
    for row in totals:
        shown.add_row(*map(_cell, row))
    to.print(shown)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def say(text: str, *, to: Console = err) -> None:
    """Print a sentence as it is."""
    to.print(text, soft_wrap=True, highlight=False, markup=False)


def entry(text: str) -> None:
    """Print an entry of a list on stderr; lines are broken between words where that is a terminal.

    Args:
        text: A sentence.
    """
    say(_broken(f"- {text}"))


def note(text: str) -> None:
    """Print on stderr what should not be overlooked."""
    shown = _broken(f"note: {text}").removeprefix("note:")
    err.print(f"[yellow]note:[/]{escape(shown)}", soft_wrap=True, highlight=False)


def _broken(text: str) -> str:
    """Break a sentence between words where it goes to a terminal; in a file it stays a line."""
    if not err.is_terminal:
        return text
    lines = textwrap.wrap(text, err.width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def print_json(result: Mapping[str, object]) -> None:
    """Print a result for machines, the only thing on stdout."""
    json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
