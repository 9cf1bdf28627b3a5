"""Sizes of symbols on pages of several engravers, in staff spaces.

    python -m benchmarks.foreign.sizes engraved lilypond musescore

Reads data sets in the format of ``omr engrave``, and prints the median of the width and height of
each class with the range from the 5th to the 95th percentile. The first data set is the reference:
a figure is marked with * if there is a gap between its range and that of the reference.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from class_maps import load
from class_maps.catalogues import ENGRAVED

LEAST = 5
"""Least number of symbols of a class for which a size is printed."""
GAP = 0.02
"""Least gap between two ranges that is marked, in staff spaces: half a pixel on foreign pages."""
RANGE = (5, 50, 95)
"""Percentiles that are printed."""
AXES = ("width", "height")

Sizes = Mapping[str, NDArray[np.float64]]
"""Width and height of the symbols of each class in staff spaces, shape ``(N, 2)``."""
Table = Mapping[str, NDArray[np.float64]]
"""Percentiles of the width and height of each class, shape ``(3, 2)``."""


def read(folder: Path, classes: str) -> Sizes:
    """Read the sizes of the symbols of a data set, by class of a class map."""
    class_map = load(classes)
    class_of = class_map.source(ENGRAVED).class_of
    sizes: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in sorted(folder.glob("deepscores_*.json")):
        contents = msgspec.json.decode(path.read_bytes())
        names = {key: entry["name"] for key, entry in contents["categories"].items()}
        spaces = {str(image["id"]): image["staff_space"] for image in contents["images"]}
        for row in contents["annotations"].values():
            name = class_of.get(names[row["cat_id"][0]])
            if name is not None:
                x0, y0, x1, y1 = row["a_bbox"]
                space = spaces[row["img_id"]]
                sizes[name].append(((x1 - x0) / space, (y1 - y0) / space))
    return {name: np.array(sizes[name]) for name in class_map.names if name in sizes}


def summary(sizes: Sizes) -> Table:
    """Compute the percentiles of the classes with enough symbols."""
    return {
        name: np.percentile(values, RANGE, axis=0)
        for name, values in sizes.items()
        if len(values) >= LEAST
    }


def table(folders: Sequence[str], tables: Sequence[Table], axis: int) -> str:
    """Format the sizes along one axis as a table.

    Args:
        folders: Names of the data sets, the reference first.
        tables: Percentiles of each data set.
        axis: 0 for widths, 1 for heights.
    """
    reference, *others = tables
    rows = [f"| {AXES[axis]} | {' | '.join(folders)} |", "|---" * (len(folders) + 1) + "|"]
    for name, percentiles in reference.items():
        if not any(name in other for other in others):
            continue
        low, _, high = percentiles[:, axis]
        cells = [_cell(percentiles[:, axis])]
        for other in others:
            if name not in other:
                cells.append("")
                continue
            other_low, _, other_high = other[name][:, axis]
            apart = other_low > high + GAP or other_high < low - GAP
            cells.append(_cell(other[name][:, axis]) + (" *" if apart else ""))
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(percentiles: NDArray[np.float64]) -> str:
    low, middle, high = percentiles.tolist()
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    """Print the tables of widths and heights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", type=Path, help="data sets, the reference first")
    parser.add_argument("--classes", default="harmony", help="class map")
    arguments = parser.parse_args()
    tables = [summary(read(folder, arguments.classes)) for folder in arguments.data]
    names = [folder.name for folder in arguments.data]
    for axis in range(len(AXES)):
        print(table(names, tables, axis), end="\n\n")


if __name__ == "__main__":
    main()
