"""List of all omr commands."""

import re

import typer

from omr.cli import app


def commands() -> list[tuple[str, str]]:
    """Return the name and docstring of every command, including those of command groups."""
    root = typer.main.get_command(app)
    leaves = []
    pending = [("omr", root)]
    while pending:
        name, command = pending.pop()
        children = getattr(command, "commands", {})
        pending += [(f"{name} {child}", c) for child, c in children.items()]
        if not children and command.callback is not None:
            leaves.append((name, str(command.callback.__doc__)))
    return sorted(leaves)


def examples(text: str) -> list[str]:
    """Return the command lines of the examples at the end of a docstring."""
    match = re.search(r"\n\n *Examples:\n((?: +omr .*\n)+) *$", text)
    return [line.strip() for line in match[1].splitlines()] if match else []
