"""Summary of a conversion on the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from converters.tally import NOT_IN_CLASS_MAP, most_frequent_first, with_counts
from eval.html.number_format import counted
from omr.console import note, paragraph, say, say_names, table

if TYPE_CHECKING:
    from converters.conversion import MadeShard


def print_shard(shard: str, made: "MadeShard", out: Path, *, to: Console) -> None:
    """Print what a job has converted.

    Args:
        shard: Value of ``--shard``.
        made: What was converted.
        out: Folder that all jobs will be merged to.
        to: Console of the result.
    """
    before = f" ({made.n_before} of them before)" if made.n_before else ""
    parts = counted(made.n_parts, "part", "parts")
    say(f"shard {shard} of {out}: {parts} of {made.n_in_all} converted{before}", to=to)
    paragraph(
        "When all jobs are done, merge them: the same command with --merge instead of --shard.",
        to=to,
    )


def print_summary(summary: dict[str, Any], out: Path, *, to: Console) -> None:
    """Print the numbers of symbols read, written and dropped as tables, and all warnings.

    Args:
        summary: Counts as returned by :func:`converters.conversion.convert`.
        out: Folder that was written.
        to: Console of the tables; warnings go to stderr.
    """
    symbols = summary["symbols"]
    rows = [
        ("pages", summary["pages"]),
        ("images", summary["images"]),
        ("  without symbols", sum(split["empty_images"] for split in summary["splits"].values())),
        ("symbols read", symbols["read"]),
        ("  written", symbols["written"]),
        *((f"  dropped: {reason}", n) for reason, n in summary["dropped_by_reason"].items()),
        ("labels in all images", symbols["labels"]),
        ("  cut at the border of a tile", symbols["cut"]),
        *((change, sum(by_class.values())) for change, by_class in summary["changed"].items()),
        *(
            (f"same box, two classes: {classes}", n)
            for classes, n in summary["same_box_two_classes"].items()
        ),
    ]
    table(f"Converted to {out}", ("", "count"), [row for row in rows if row[1]], to=to)
    present = [row for row in summary["classes"] if row["written"]]
    table(
        "Classes",
        ("class", "symbols", "labels"),
        [(row["name"], row["written"], row["labels"]) for row in present],
        to=to,
    )
    absent = [row["name"] for row in summary["classes"] if not row["written"]]
    say_names("classes without symbols", absent, to=to)
    dropped = summary["dropped"].get(NOT_IN_CLASS_MAP, {})
    unmapped = [with_counts(most_frequent_first(dropped))] if dropped else []
    say_names("not in the class map", unmapped, to=to)
    for warning in summary["warnings"]:
        note(warning)
