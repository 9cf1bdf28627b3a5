"""Error of the staff space measured from pixels, by kind of degradation, and CPU time per page.

    python -m benchmarks.staff_space [--pages 200] [--images FILE ...] [--out FILE.md]

Engraves pages with ``--degrade mixed`` and resizes each to a staff space drawn evenly from 16 to
60 px, as of small and large staves at 300 dpi. The truth is the recorded staff space.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters import images
from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions
from converters.prepare.staff_lines import measure_staff_space

SEED = 8001
SPACES_PX = (16.0, 60.0)
GOAL = 0.03
"""Relative error that the estimate should not exceed."""
MAX_SIDE_PX = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Measurement of one page."""

    groups: tuple[str, ...]
    """Capture and effects of the page."""
    space_px: float
    """True staff space."""
    error: float | None
    """Relative error; None if no staves were found."""
    seconds: float
    """CPU time."""


def measure(folder: Path) -> list[Measured]:
    """Measure all pages of an engraved data set."""
    content = json.loads((folder / "deepscores_train.json").read_text("utf-8"))
    rng = np.random.default_rng(SEED)
    results = []
    for entry in content["images"]:
        grey = images.read(folder / "images" / entry["filename"])
        grey = grey if grey.ndim == 2 else np.asarray(grey.mean(axis=2), np.uint8)
        space = float(entry["staff_space"])
        factor = float(rng.uniform(*SPACES_PX)) / space
        factor = min(factor, MAX_SIDE_PX / max(grey.shape))
        page = images.scaled(grey, round(grey.shape[1] * factor), round(grey.shape[0] * factor))
        started = time.process_time()
        found = measure_staff_space(page)
        seconds = time.process_time() - started
        degradation = entry.get("degradation") or {"capture": "clean", "effects": []}
        results.append(
            Measured(
                groups=("all", degradation["capture"], *degradation["effects"]),
                space_px=space * factor,
                error=None if found is None else found.most / (space * factor) - 1,
                seconds=seconds,
            )
        )
    return results


def table(results: list[Measured]) -> str:
    """Format one row for all pages, and one for each capture and effect."""
    by_group = defaultdict[str, list[Measured]](list)
    for result in results:
        for group in result.groups:
            by_group[group].append(result)
    lines = [
        f"| pages | number | within {GOAL:.0%} | no staves found | median error | largest error | "
        "CPU ms per page |",
        "|---|---|---|---|---|---|---|",
    ]
    for group, rows in by_group.items():
        errors = [abs(row.error) for row in rows if row.error is not None]
        cells = [
            group,
            f"{len(rows)}",
            f"{sum(error <= GOAL for error in errors)}",
            f"{len(rows) - len(errors)}",
            f"{statistics.median(errors):.2%}" if errors else "-",
            f"{max(errors):.2%}" if errors else "-",
            f"{1000 * statistics.median(row.seconds for row in rows):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Engrave the pages, measure them, and print or write the table."""
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1, help="processes that engrave")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="further pages to show")
    parser.add_argument("--out", type=Path, help="Markdown file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "pages"
        page = PageOptions(seed=SEED, degrade="mixed", style="mixed")
        engrave(folder, EngravingOptions(pages=options.pages, page=page), workers=options.workers)
        results = measure(folder)
    text = table(results)
    for path in options.images:
        image = images.read(path)
        grey = image if image.ndim == 2 else np.asarray(image.mean(axis=2), np.uint8)
        found = measure_staff_space(grey)
        text += f"\n{path.name}: {'no staves' if found is None else f'{found.most:.2f} px'}\n"
    sys.stdout.write(text)
    if options.out:
        command = " ".join(["python", *sys.orig_argv[1:]])
        heading = f"# Staff space measured from pixels\n\n    {command}\n\n"
        options.out.write_text(heading + text, "utf-8")


if __name__ == "__main__":
    main()
