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
    from converters.splitting.plan import SplitOptions

MOST_LEAKS = 10
"""Maximum number of leaks of each kind in a table."""
MOST_DEVIATION = 0.05
"""Largest difference between the fraction of a split and its share that is not reported."""


def print_result(result: "SplitResult", out: Path, options: "SplitOptions", *, to: Console) -> None:
    """Print the sizes of the new splits, the classes that one of them lacks, and the leaks.

    Args:
        result: Counts of the new splits.
        out: Folder that was written.
        options: How the data set was divided.
        to: Console of the tables; warnings go to stderr.
    """
    counts = result.counts
    n_images, n_symbols = sum(counts.images.values()), _n_symbols(result).total()
    table(
        f"Divided into {out}",
        ("split", f"{options.by}s", "images", "share", "symbols", "share"),
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
    _note_deviations(result, options)
    if result.left_out:
        names = ", ".join(result.left_out)
        note(f"not in {out}: {names}; omr convert writes other formats and contact sheets")


def _note_deviations(result: "SplitResult", options: "SplitOptions") -> None:
    """Note fractions that whole units cannot reach, and leaks that the units allow."""
    counts, by = result.counts, options.by
    for split, fraction in options.fractions().items():
        actual = counts.images.get(split, 0) / max(1, _n_divided(result, options))
        if abs(actual - fraction) > MOST_DEVIATION:
            reason = f"instead of {share(fraction)}, because no {by} is divided"
            note(f"{split} has {share(actual)} of the images {reason}")
    for kind, n in Counter(leak.kind for leak in result.leaks).items():
        number = counted(n, kind, f"{kind}s")
        note(f"{number} in several splits, which --by {by} does not keep together")


def _n_divided(result: "SplitResult", options: "SplitOptions") -> int:
    """Count the images in the splits that are not kept."""
    divided = {"train", *options.fractions()}
    return sum(n for split, n in result.counts.images.items() if split in divided)


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
