"""Results of ``omr split`` on the terminal."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from eval.html.number_format import counted, share
from omr.console import note, say, say_names, table

if TYPE_CHECKING:
    from converters.splitting.dataset import SplitResult
    from converters.splitting.leaks import Leak

MOST_LEAKS = 10
"""Maximum number of leaks of each kind in a table."""


def print_result(result: "SplitResult", out: Path, by: str, *, to: Console) -> None:
    """Print the sizes of the new splits, the classes that one of them lacks, and the leaks.

    Args:
        result: Counts of the new splits.
        out: Folder that was written.
        by: Unit that was not divided.
        to: Console of the tables; warnings go to stderr.
    """
    counts = result.counts
    n_images, n_symbols = sum(counts.images.values()), _n_symbols(result).total()
    table(
        f"Divided into {out}",
        ("split", f"{by}s", "images", "share", "symbols", "share"),
        [
            (
                split,
                counts.groups[split],
                n,
                share(n / n_images),
                _n_symbols(result)[split],
                share(_n_symbols(result)[split] / max(1, n_symbols)),
            )
            for split, n in counts.images.items()
        ],
        to=to,
    )
    totals = sum((Counter(symbols) for symbols in counts.symbols.values()), Counter[str]())
    for split, symbols in counts.symbols.items():
        say_names(f"classes missing in {split}", [c for c in totals if not symbols[c]], to=to)
    for kind, n in Counter(leak.kind for leak in result.leaks).items():
        number = counted(n, kind, f"{kind}s")
        note(f"{number} in several splits, which --by {by} does not keep together")
    if result.left_out:
        note(f"not in {out}: {', '.join(result.left_out)}; to write other formats, convert {out}")


def to_json(result: "SplitResult") -> dict[str, Any]:
    """Return the result as in ``omr split --json``."""
    counts = asdict(result.counts)
    leaks = [leak.to_json() for leak in result.leaks]
    return {**counts, "leaks": leaks, "left_out": list(result.left_out)}


def _n_symbols(result: "SplitResult") -> Counter[str]:
    """Return the number of symbols of each split."""
    return Counter({s: sum(symbols.values()) for s, symbols in result.counts.symbols.items()})


def print_leaks(
    leaks: Sequence["Leak"], splits: Sequence[str], n_images: int, *, to: Console
) -> None:
    """Print what occurs in several splits.

    Args:
        leaks: Leaks.
        splits: Splits of the data set.
        n_images: Number of its images.
        to: Console of the tables.
    """
    kinds = dict.fromkeys(leak.kind for leak in leaks)
    for kind in kinds:
        of_kind = [leak for leak in leaks if leak.kind == kind]
        rows = [
            (leak.key, *(str(leak.images.get(split, "-")) for split in splits))
            for leak in of_kind[:MOST_LEAKS]
        ]
        number = counted(len(of_kind), kind, f"{kind}s")
        table(f"In several splits: {number}", (kind, *splits), rows, to=to)
    images = counted(n_images, "image", "images")
    names = ", ".join(splits)
    if leaks:
        say(f"{counted(len(leaks), 'leak', 'leaks')} in {images} of {names}", to=to)
    elif len(splits) == 1:
        say(f"no leak, because there is a single split: {images} of {names}", to=to)
    else:
        say(f"no leak in {images} of {names}", to=to)
