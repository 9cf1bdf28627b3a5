"""Lists the commands of omr."""

import typer

from omr.cli import app


def commands() -> list[tuple[str, str]]:
    """Name and docstring of every command, those of groups too."""
    root = typer.main.get_command(app)
    found = []
    waiting = [("omr", root)]
    while waiting:
        name, command = waiting.pop()
        children = getattr(command, "commands", {})
        waiting += [(f"{name} {child}", c) for child, c in children.items()]
        if not children and command.callback is not None:
            found.append((name, str(command.callback.__doc__)))
    return sorted(found)
