"""Summary of the engraved pages, printed by ``omr engrave``."""

from pathlib import Path
from typing import Any

from rich.console import Console

from class_maps import short_list
from eval.html.number_format import counted
from omr.console import note, say, table

N_CHARACTERS = 5
"""Number of missing characters to print."""
N_CLASSES = 20
"""Number of classes with too few symbols to print."""
N_FILES = 20
"""Number of unusable files to print."""


def print_summary(manifest: dict[str, Any], out: Path, *, to: Console) -> None:
    """Print what was engraved, and what could not be.

    Args:
        manifest: Content of ``manifest.json``.
        out: Folder that was created.
        to: Console for the results; notes go to stderr.
    """
    splits = manifest["splits"]
    table(
        f"Engraved to {out}",
        ("", "pages", "pieces", "symbols"),
        [(name, s["pages"], s["works"], s["symbols"]) for name, s in splits.items()],
        to=to,
    )
    counts = sorted(manifest["categories"].items(), key=lambda item: -item[1])
    table("Categories", ("category", "symbols"), [row for row in counts if row[1]], to=to)
    absent = counted(sum(not n for _, n in counts), "category does", "categories do")
    say(f"{absent} not occur; manifest.json lists them", to=to)
    fraction = manifest["collisions"] / manifest["symbols"]
    say(f"overlapping symbols: {manifest['collisions']} ({fraction:.2%})", to=to)
    if goal := manifest["balance"]:
        _show_balance(goal, to)
    _show_missing(manifest["characters_not_drawn"])
    for reason, n in manifest["rejected"].items():
        say(f"re-drawn {counted(n, 'time', 'times')}: {reason}", to=to)
    _show_unused(manifest, to)
    if (val := manifest["engraved"]["val"]) and "val" not in splits:
        note(f"--val {val:g}: too few pages to hold any out; all pages are in the training split")


def _show_balance(goal: dict[str, Any], to: Console) -> None:
    """Print the symbols of each class, and report the classes with too few."""
    counts: dict[str, int] = goal["classes"]
    least: int = goal["least"]
    rows = sorted(counts.items(), key=lambda row: row[1])
    table("Classes", ("class", "symbols"), rows, to=to)
    if goal["below"]:
        names = short_list([f"{name} ({counts[name]})" for name in goal["below"]], N_CLASSES)
        fewest = counted(least, "symbol", "symbols")
        note(f"--balance: classes with fewer than {fewest}: {names}")


def _show_missing(characters: dict[str, int]) -> None:
    if not characters:
        return
    names = short_list([f"{name} ({n})" for name, n in characters.items()], N_CHARACTERS)
    note(
        f"characters that the text typeface lacks, and that are not drawn: {names}; "
        "manifest.json lists them"
    )


def _show_unused(manifest: dict[str, Any], to: Console) -> None:
    """Report the files from which no page is engraved."""
    failures = manifest["failures"]
    for name, error in list(failures.items())[:N_FILES]:
        note(f"{name}: {error}")
    if len(failures) > N_FILES:
        more = counted(len(failures) - N_FILES, "more file", "more files")
        note(f"{more} could not be used; manifest.json lists them")
    if warnings := manifest["warnings"]:
        name, (first, *_) = next(iter(warnings.items()))
        note(
            f"scores that verovio reads with warnings: {len(warnings)}, e.g. {name}: {first}; "
            "manifest.json lists them"
        )
    if unused := manifest["not_drawn"]:
        n_used = len(manifest["works"])
        say(
            f"scores not drawn: {len(unused)} (manifest.json lists them); pieces drawn: {n_used}",
            to=to,
        )
    if others := manifest["other_files"]:
        say(f"files of other types: {', '.join(f'{s} ({n})' for s, n in others.items())}", to=to)
