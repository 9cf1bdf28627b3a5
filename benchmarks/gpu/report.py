"""Tables of a run as Markdown: ``python -m benchmarks.gpu.report gpu.json --into docs/gpu.md``."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

JSON_FILE, TABLE_FILE = "gpu.json", "table.md"
BEGIN, END = "<!-- tables of the last run: begin -->", "<!-- tables of the last run: end -->"
STEP_TITLES = {
    "data": "Data for the last steps",
    "tests": "Tests on the device",
    "assigner": "Assigners and losses",
    "memory": "Memory",
    "throughput": "Throughput",
    "prediction": "Prediction",
    "learning": "Learning",
}
"""Steps that a report shows, in order."""
MISSING = "Not measured on a GPU yet."
MET = {True: "met", False: "**missed**", None: "not measured"}


def write(content: Mapping[str, Any], folder: Path) -> None:
    """Write ``gpu.json`` and ``table.md`` atomically."""
    for name, text in ((JSON_FILE, json.dumps(content, indent=1)), (TABLE_FILE, markdown(content))):
        part = folder / f"{name}.part"
        part.write_text(text, "utf-8")
        part.replace(folder / name)


def markdown(content: Mapping[str, Any]) -> str:
    """Format a run: machine, goals, and the tables of each step.

    Args:
        content: Content of ``gpu.json``; empty if there has not been a run.
    """
    lines = [*_machine(content.get("machine", {}))]
    steps = content.get("steps", {})
    lines += _goals(steps)
    for name, title in STEP_TITLES.items():
        lines += ["", f"### {title}", ""]
        lines += _step(steps[name]) if name in steps else [MISSING]
    return "\n".join(lines).strip() + "\n"


def _machine(machine: Mapping[str, str]) -> Iterator[str]:
    if machine:
        yield "; ".join(f"{name} {value}" for name, value in machine.items()) + "."


def _goals(steps: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (STEP_TITLES[name], goal["name"], goal["figure"], MET[goal["met"]])
        for name in STEP_TITLES
        for goal in steps.get(name, {}).get("goals", [])
    ]
    if rows:
        yield ""
        yield from table(("step", "goal", "measured", ""), rows)


def _step(step: Mapping[str, Any]) -> Iterator[str]:
    if step["status"] != "done":
        yield f"{step['status'].capitalize()} after {step['seconds']} s; see log.txt."
        yield ""
    for one in step["tables"]:
        yield f"**{one['title']}**"
        yield ""
        yield from table(one["columns"], one["rows"])
        yield ""
    for note in step["notes"]:
        yield f"* {note}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Format a Markdown table, with empty cells for None."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(value: object) -> str:
    if value is None:
        return ""
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(shown.split()).replace("|", "\\|")


def replaced(page: str, tables: str) -> str:
    """Insert tables between the marks of a page.

    Raises:
        ValueError: The page lacks the marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def main() -> None:
    """Print the tables of a run, or insert them into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="gpu.json of a run")
    parser.add_argument("--into", type=Path, metavar="PAGE.md", help="page with marks for tables")
    options = parser.parse_args()
    content = json.loads(options.run.read_text("utf-8"))
    if options.into is None:
        print(markdown(content))
        return
    if content["small"]:
        sys.exit(f"{options.run}: made with --small, which measures nothing; run without it")
    page = options.into.read_text("utf-8")
    options.into.write_text(replaced(page, markdown(content)), "utf-8")


if __name__ == "__main__":
    main()
