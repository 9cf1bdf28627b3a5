"""Tables of ``docs/files.md``: the files that each command may access."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cli_commands import commands

PAGE = Path(__file__).parents[2] / "docs" / "files.md"
NAME = r"[A-Z]{3,}"
PATTERN = re.compile(rf"`((?:\.?{NAME}|show-)[^` ]*)`")
"""Path in a cell of a table; starts with the name of an argument."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Paths that a command may access, as in the tables."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    temporary: tuple[str, ...]


def documented() -> dict[str, Access]:
    """Return the documented accesses of every command."""
    inputs, temporary = _tables(PAGE.read_text("utf-8"))
    rows = {_command(cells[0]): cells for cells in inputs}
    return {
        name: Access(
            reads=tuple(PATTERN.findall(cells[1])),
            writes=tuple(PATTERN.findall(cells[2])),
            temporary=tuple(
                path
                for paths, users, *_ in temporary
                if name.removeprefix("omr ") in users.split(", ")
                for path in PATTERN.findall(paths)
            ),
        )
        for name, cells in rows.items()
    }


def regex(pattern: str, paths: Mapping[str, Path]) -> str:
    """Convert a pattern to a regular expression for absolute paths; of no path if it has no value.

    Args:
        pattern: Path of a table.
        paths: Values of the names in capitals.
    """
    name = re.match(rf"(\.?)({NAME})(.*)", pattern)
    if name is None:
        folder, rest = paths["CURRENT"], f"/{pattern}"
    elif name[2] not in paths:
        return "(?!)"
    elif name[1]:
        path = paths[name[2]]
        folder, rest = path.parent, f"/.{path.name}{name[3]}"
    else:
        folder, rest = paths[name[2]], name[3]
    parts = {"*": "[^/]*", "?": "[^/]"}
    text = "".join(parts.get(c, re.escape(c)) for c in rest.removesuffix("/"))
    return f"{re.escape(str(folder))}{text}" + ("(/.*)?" if rest.endswith("/") else "")


def matches(path: str, patterns: Iterable[str], paths: Mapping[str, Path]) -> bool:
    """Return whether a path is one of the patterns."""
    return any(re.fullmatch(regex(pattern, paths), path) for pattern in patterns)


def _tables(text: str) -> list[list[list[str]]]:
    """Return the cells of all tables, without the heads."""
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return [
        [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]
        for table in tables
    ]


def _command(cell: str) -> str:
    words = cell.strip("`")
    return next(name for name, _ in commands() if f"{words} ".startswith(f"{name} "))
