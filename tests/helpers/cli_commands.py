"""List of all omr commands."""

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
