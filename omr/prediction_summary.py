"""Summary of a prediction, printed by ``omr predict``."""

from typing import TYPE_CHECKING

from rich.console import Console

from eval.html.number_format import counted
from omr.console import note, say, table

if TYPE_CHECKING:
    from omr.prediction import PredictionResult

MOST_PAGES, MOST_REMARKS = 20, 5
"""Maximum number of pages in the table, and of remarks."""


def print_summary(result: "PredictionResult", *, to: Console) -> None:
    """Print what was found on each page, and what to know about the pages.

    Args:
        result: Outcome of a prediction.
        to: Console for the results; notes go to stderr.
    """
    read = [page for page in result.pages if not page["error"]]
    n_symbols = sum(page["symbols"] for page in read)
    rows = [
        (
            page["image"],
            page["symbols"],
            "-" if page["staff_space"] is None else f"{page['staff_space']:.1f}",
            page["tiles"],
            f"{page['seconds']:.1f}",
        )
        for page in read[:MOST_PAGES]
    ]
    table("", ("page", "symbols", "staff space in px", "tiles", "s"), rows, to=to)
    if len(read) > MOST_PAGES:
        say(f"... and {counted(len(read) - MOST_PAGES, 'more page', 'more pages')}", to=to)
    say(
        f"{counted(n_symbols, 'symbol', 'symbols')} on {counted(len(read), 'page', 'pages')} in "
        f"{result.seconds:.1f} s",
        to=to,
    )
    for remark in result.remarks[:MOST_REMARKS]:
        note(remark)
    if len(result.remarks) > MOST_REMARKS:
        n = len(result.remarks) - MOST_REMARKS
        note(f"{counted(n, 'more note is', 'more notes are')} in manifest.json")
