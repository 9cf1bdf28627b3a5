"""Tests that the tests named in ``docs/promises.md`` exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = [
    line for line in (ROOT / "docs" / "promises.md").read_text("utf-8").splitlines() if "::" in line
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_the_tests_of_a_promise_exist(row: str) -> None:
    named = re.findall(r"`([^`]+)::([^`]+)`", row)
    assert len(named) == row.count("::")
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_names_a_test() -> None:
    text = (ROOT / "docs" / "promises.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert [row for row in rows if row not in ROWS] == ["| promise | tests |"] * text.count("\n## ")
