"""The ``omr`` command, made of the modules in :mod:`omr.commands`.

These modules import heavy packages inside their functions, so that ``omr --help`` does not load
torch.
"""

import logging
import os
from collections.abc import Callable
from typing import Annotated

import typer
from rich.logging import RichHandler

from converters.versions import toolkit_version
from omr.commands.analyze_density import analyze_density
from omr.commands.classes import app as classes
from omr.commands.compare import compare
from omr.commands.convert import convert
from omr.commands.demo import demo
from omr.commands.engrave import engrave
from omr.commands.eval import evaluate
from omr.commands.export import export
from omr.commands.heads import app as heads
from omr.commands.lint import lint
from omr.commands.log import app as log
from omr.commands.predict import predict
from omr.commands.profile import profile
from omr.commands.runs import runs
from omr.commands.session import session
from omr.commands.sheet import sheet
from omr.commands.show import show
from omr.commands.split import split
from omr.commands.train import train
from omr.console import err, out
from omr.failures import CommandGroup, prepare_streams, reported_failures
from omr.help_layout import HelpCommand, HelpGroup

COMMANDS: dict[str, Callable[..., None]] = {
    "engrave": engrave,
    "convert": convert,
    "show": show,
    "lint": lint,
    "split": split,
    "sheet": sheet,
    "analyze-density": analyze_density,
    "profile": profile,
    "train": train,
    "session": session,
    "predict": predict,
    "eval": evaluate,
    "compare": compare,
    "runs": runs,
    "export": export,
    "demo": demo,
}
GROUPS = {"classes": classes, "heads": heads, "log": log}


def _help(command: Callable[..., None] | None) -> str:
    """Return a docstring with one line per paragraph, so that help fills the terminal's width.

    Every example keeps its line.
    """
    paragraphs = []
    for paragraph in (command.__doc__ or "").split("\n\n"):
        lines = [" ".join(line.split()) for line in paragraph.strip().splitlines()]
        paragraphs.append(("\n" if lines[0] == "Examples:" else " ").join(lines))
    return "\n\n".join(paragraphs)


app = typer.Typer(cls=CommandGroup, no_args_is_help=True, pretty_exceptions_enable=False)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name, cls=HelpGroup)
for _typer in (app, *GROUPS.values()):
    for _registered in _typer.registered_commands:
        _registered.cls = HelpCommand
        _registered.help = _help(_registered.callback)


def _print_version(requested: bool) -> None:
    if requested:
        out.print(f"omr {toolkit_version()}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log debug messages.")] = False,
) -> None:
    """From sheet music to a trained music-symbol detector.

    Typical order: engrave or convert, lint, train, eval, predict. `omr demo` runs most of them.
    """
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(console=err)])


def wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait for each other; takes effect before torch loads.

    By default the threads spin. If another program needs a core, a spinning thread keeps the core
    from the thread that it waits for. Sleeping threads make CPU training 1.9 times as fast next to
    one busy process, but a quarter slower on a quiet machine (``benchmarks.waiting``). Settings of
    the user take precedence.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def import_only_installed_modules() -> None:
    """Keep worker processes from importing modules from the current folder.

    ``python -m`` would search it first, so that a file such as ``random.py`` among a user's files
    would be executed instead of Python's module.
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")


def main() -> None:
    """Run the command; print user errors as one line with exit status 1, without traceback."""
    wait_without_spinning()
    import_only_installed_modules()
    prepare_streams()
    with reported_failures():
        app()
