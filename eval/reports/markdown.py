"""Text and tables in Markdown, as GitHub renders it."""

import re

from eval.html.page import Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def escaped(text: str) -> str:
    """Return text in one line, with the characters escaped that Markdown or HTML interpret."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown_table(table: Table) -> str:
    """Return a table in GitHub's format."""
    texts = {0, *table.texts}
    rule = [":--" if i in texts else "--:" for i in range(len(table.columns))]
    cells = [[escaped(cell) for cell in row] for row in (table.columns, *table.rows)]
    cells.insert(1, rule)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
