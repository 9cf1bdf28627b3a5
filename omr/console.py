"""Terminal output: results go to stdout, progress and messages to stderr."""

import codecs
import contextlib
import json
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from operator import length_hint
from pathlib import Path
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.control import Control
from rich.markup import escape
from rich.progress import track
from rich.segment import ControlType
from rich.table import Table

T = TypeVar("T")

out = Console(emoji=False)
"""Console of results; without emoji codes, because paths and names may contain ``:x:``."""
err = Console(stderr=True, emoji=False)
"""Console of progress and messages."""

LIVE_INTERVAL_S, PLAIN_INTERVAL_S = 0.25, 10.0
"""Seconds between two updates of the progress: in place on a terminal, and as lines elsewhere."""
NUMBER = re.compile(r"[-+]?[\d.,]*( ?%)?")
"""Cell of a table with a number, a dash or nothing."""
NATURAL_WIDTH = 10_000
"""Width of tables outside of terminals, where no line is folded."""

_results: ContextVar[Console] = ContextVar("_results", default=out)


def results(*, as_json: bool = False) -> Console:
    """Return the console of a command's results.

    Args:
        as_json: Whether stdout is reserved for JSON, so that other results go to stderr.
    """
    return err if as_json else _results.get()


@contextlib.contextmanager
def results_on_stderr() -> Iterator[None]:
    """Print the results of commands on stderr, as steps of another command."""
    token = _results.set(err)
    try:
        yield
    finally:
        _results.reset(token)


def is_live() -> bool:
    """Return whether stderr is a terminal that progress can be updated on in place."""
    return err.is_interactive and sys.stderr.isatty()


@contextlib.contextmanager
def loading_torch(*, as_json: bool = False) -> Iterator[None]:
    """Show a line on a terminal while the block imports PyTorch, which can take ten seconds.

    Args:
        as_json: Whether the command prints JSON, so that it shows nothing.
    """
    if as_json or not is_live() or "torch" in sys.modules:
        yield
        return
    err.print("Loading PyTorch ...", end="", highlight=False)
    try:
        yield
    finally:
        err.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))


class Pace:
    """Limit on how often the progress is shown.

    Args:
        interval_s: Least seconds between two updates.
        at_once: Whether the first update may be shown immediately.
    """

    def __init__(self, interval_s: float, *, at_once: bool = False) -> None:
        self._interval_s = interval_s
        self._next = time.monotonic() + (0.0 if at_once else interval_s)

    def is_due(self) -> bool:
        """Return whether an update may be shown now."""
        return time.monotonic() >= self._next

    def restart(self) -> None:
        """Start the interval that follows an update."""
        self._next = time.monotonic() + self._interval_s


def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield items while showing progress on stderr: as a bar on a terminal, else as lines.

    Args:
        items: Items to pass through.
        description: Text before the bar, such as ``Converting``.
        total: Number of items, if ``items`` has no length.
    """
    if not is_live():
        return _plain_progress(items, description, total)
    return iter(
        track(
            items,
            description,
            total=total,
            console=err,
            transient=True,
            refresh_per_second=1 / LIVE_INTERVAL_S,
        )
    )


def _plain_progress(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    pace = Pace(PLAIN_INTERVAL_S)
    total = total or length_hint(items)
    of_total = f" of {total:,}" if total else ""
    for done, item in enumerate(items, 1):
        yield item
        if pace.is_due():
            say(f"{description}: {done:,}{of_total}")
            pace.restart()


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    totals: Iterable[Sequence[object]] = (),
    *,
    to: Console,
) -> None:
    """Print a table; columns of numbers are right-aligned.

    Args:
        title: Text above the table.
        columns: Column headings.
        rows: Cells of each row; integers get thousands separators.
        totals: Rows below a rule, in the same form.
        to: Console to print on.
    """
    to.print(title, style="bold", soft_wrap=True, highlight=False, markup=False)
    grid = Table(box=box.SIMPLE_HEAD)
    cells = [[*map(_cell, row)] for row in rows]
    total_cells = [[*map(_cell, row)] for row in totals]
    for i, column in enumerate(columns):
        is_numeric = all(NUMBER.fullmatch(row[i]) for row in (*cells, *total_cells))
        grid.add_column(column, justify="right" if is_numeric else "left", overflow="fold")
    for row in cells:
        grid.add_row(*row)
    grid.add_section()
    for row in total_cells:
        grid.add_row(*row)
    unfolded = to if to.is_terminal else Console(file=to.file, width=NATURAL_WIDTH, emoji=False)
    unfolded.print(grid)


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
        paragraph(f"{label}: {', '.join(names)}", to=to)


def say_written(target: Path, *contents: str) -> None:
    """Print where output was written: ``report.json, page.png -> OUT``.

    Args:
        target: File or folder that was written.
        *contents: Names of the files in it, or descriptions of its contents.
    """
    say(f"{', '.join(contents)} -> {target}")


def entry(text: str, *, to: Console) -> None:
    """Print a list item, wrapped between words on a terminal."""
    paragraph(f"- {text}", to=to)


def paragraph(text: str, *, to: Console = err) -> None:
    """Print a sentence, wrapped between words with indented continuation lines on a terminal."""
    say(_wrapped(text, to), to=to)


def note(text: str) -> None:
    """Print a warning on stderr, wrapped between words if stderr is a terminal."""
    wrapped = _wrapped(f"note: {text}", err).removeprefix("note:")
    err.print(f"[yellow]note:[/]{escape(wrapped)}", soft_wrap=True, highlight=False)


def _wrapped(text: str, to: Console) -> str:
    """Wrap a sentence to the width of a terminal; in a file it stays on one line."""
    if not to.is_terminal:
        return text
    lines = textwrap.wrap(text, to.width, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def print_json(result: Mapping[str, object]) -> None:
    """Print a result as JSON, the only output on stdout."""
    is_utf8 = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    json.dump(result, sys.stdout, indent=1, ensure_ascii=not is_utf8)
    sys.stdout.write("\n")
