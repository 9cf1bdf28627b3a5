"""Rendering of reports as self-contained HTML pages that load nothing when opened."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Figure that is shown in large type."""

    label: str
    figure: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Table that scrolls if it is wider than the page."""

    label: str
    """Description for screen readers."""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    """Cells per row; the first cell names the row."""
    texts: Sequence[int] = ()
    """Columns with text, which is aligned left as in the first column."""
    tall: bool = False
    """Whether the table also scrolls vertically, so that its header stays visible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """Plot with an optional heading."""

    svg: Markup
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlotGroup:
    """Plots side by side; the last ones may be hidden until the reader opens them."""

    name: str
    """Element id."""
    plots: Sequence[Plot]
    hidden: Sequence[Plot] = ()
    hidden_title: str = ""


def render(template: str, **context: object) -> str:
    """Render a template of this folder; all text is escaped except markup.

    Args:
        template: File name of the template.
        context: Variables of the template.

    Raises:
        jinja2.UndefinedError: The template uses a variable that ``context`` does not contain.
    """
    return "".join(stream(template, **context))


def stream(template: str, **context: object) -> Iterator[str]:
    """Render a template piece by piece, for pages that are too large for one string.

    Iterables in ``context`` may be generators; the template takes their items one at a time.

    Args:
        template: File name of the template.
        context: Variables of the template.

    Raises:
        jinja2.UndefinedError: The template uses a variable that ``context`` does not contain.
    """
    return _environment().get_template(template).generate(**context)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
