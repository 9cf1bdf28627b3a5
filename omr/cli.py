"""Builds the ``omr`` command out of the modules in :mod:`omr.commands`.

Those import what they need inside their functions: ``omr --help`` must not wait for torch.
"""

import logging
import sys
from typing import Annotated

import typer
from rich.logging import RichHandler
from rich.markup import escape

from class_maps import OmrError
from converters.versions import toolkit_version
from omr.commands.analyze_density import analyze_density
from omr.commands.classes import app as classes
from omr.commands.convert import convert
from omr.commands.demo import demo
from omr.commands.engrave import engrave
from omr.commands.eval import evaluate
from omr.commands.export import export
from omr.commands.heads import app as heads
from omr.commands.show import show
from omr.commands.train import train
from omr.console import err, out

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(classes, name="classes")
app.add_typer(heads, name="heads")
app.command()(engrave)
app.command()(convert)
app.command()(show)
app.command()(analyze_density)
app.command()(train)
app.command("eval")(evaluate)
app.command()(export)
app.command()(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"omr {toolkit_version()}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
) -> None:
    """From score pages to a trained music-symbol detector: convert, check, train, score.

    The usual way: omr convert, omr analyze-density, omr train, omr eval. Try it: omr demo.
    """
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(console=err)])


def main() -> None:
    """Run the command; a user's mistake is one line and exit status 1, not a traceback."""
    try:
        app()
    except OmrError as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)
