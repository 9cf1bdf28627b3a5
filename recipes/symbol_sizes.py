"""Table of symbol sizes in staff spaces that ``omr lint`` ships, learnt from engraved pages.

    omr engrave engraved --pages 48
    omr convert engraved harmony --classes harmony
    omr convert engraved deepscores --classes deepscores
    python -m recipes.symbol_sizes harmony deepscores --out eval/lint/symbol_sizes.json

If several data sets have a class of the same name, the sizes of the last one are taken.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.files.atomic_files import output_files
from converters.formats.yolo_dataset import open_dataset
from eval.lint.pages import lint_pages

QUANTILES = (0.001, 0.5, 0.999)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("data", nargs="+", type=Path, help="converted data sets of whole pages")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(arguments)
    sizes: dict[str, NDArray[np.float64]] = {}
    for folder in options.data:
        sizes |= _sizes(folder)
    lines = [f"{json.dumps(name)}: {json.dumps(_entry(sizes[name]))}" for name in sorted(sizes)]
    with output_files(options.out, force=True) as (part,):
        part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _sizes(folder: Path) -> dict[str, NDArray[np.float64]]:
    """Return width and height of the boxes of each class in staff spaces, shape ``(N, 2)``."""
    dataset = open_dataset(folder)
    sizes = defaultdict(list)
    for page in lint_pages(dataset):
        if page.staff_space:
            for label in np.unique(page.page.labels).tolist():
                of_class = page.sides[page.page.labels == label]
                sizes[dataset.names[label]].append(of_class / page.staff_space)
    return {name: np.concatenate(parts) for name, parts in sizes.items()}


def _entry(sizes: NDArray[np.float64]) -> dict[str, object]:
    columns = {
        "width": sizes[:, 0],
        "height": sizes[:, 1],
        "aspect": sizes[:, 0] / sizes[:, 1],
    }
    quantiles = {
        name: dict(
            zip(
                ("low", "median", "high"),
                np.quantile(values, QUANTILES).round(3).tolist(),
                strict=True,
            )
        )
        for name, values in columns.items()
    }
    return {"n": len(sizes), **quantiles}


if __name__ == "__main__":
    main()
