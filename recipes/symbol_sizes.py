"""Tables of symbol sizes, shapes and ink that ``omr lint`` ships, learnt from engraved pages.

    omr engrave engraved --pages 48
    omr convert engraved deepscores --classes deepscores
    omr convert engraved harmony --classes harmony
    python -m recipes.symbol_sizes deepscores harmony --out eval/lint

If several data sets have a class of the same name, the symbols of the last one are taken.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from converters.files.atomic_files import output_files
from converters.formats.datasets import open_dataset
from eval.lint import ink_shares, symbol_shapes, symbol_sizes
from eval.lint.pages import lint_pages

QUANTILES = (0.001, 0.5, 0.999)
MIN_SYMBOLS = 20
"""Minimum number of symbols from which a shape is learnt."""
MAX_SPREAD = 2.6
"""Largest factor between the sides of symbols of a class that counts as a glyph."""
N_SHAPES, N_TRAINED = 6, 4000
"""Maximum number of shapes of a class, and of the symbols that they are learnt from."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("data", nargs="+", type=Path, help="converted data sets of whole pages")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    symbols: dict[str, NDArray[np.float64]] = {}
    ink: dict[str, float] = {}
    for folder in options.data:
        symbols |= _features(folder)
        ink |= _ink_shares(folder)
    sizes = {name: _size(2.0 ** described[:, -2:]) for name, described in symbols.items()}
    shapes = {
        name: _shape(described) for name, described in symbols.items() if _is_glyph(described)
    }
    modules = (symbol_sizes, symbol_shapes, ink_shares)
    files = [options.out / module.FILE.name for module in modules]
    with output_files(*files, force=True) as parts:
        tables: tuple[Mapping[str, Any], ...] = (sizes, shapes, ink)
        for part, table in zip(parts, tables, strict=True):
            _write(table, part)


def _features(folder: Path) -> dict[str, NDArray[np.float64]]:
    """Return the features of the symbols of each class, shape ``(N, F)``."""
    dataset = open_dataset(folder)
    symbols = defaultdict(list)
    for page in lint_pages(dataset):
        if page.ink and page.staff_space:
            ink, boxes = page.ink.sums, page.page.boxes_xyxy
            described = symbol_shapes.features(ink, boxes, page.staff_space)
            for label in np.unique(page.page.labels).tolist():
                symbols[dataset.names[label]].append(described[page.page.labels == label])
    return {name: np.concatenate(parts) for name, parts in symbols.items()}


def _ink_shares(folder: Path) -> dict[str, float]:
    """Return the share of the ink in staves that the boxes of each class contain."""
    dataset = open_dataset(folder)
    n_classes = len(dataset.names)
    counts = np.zeros(n_classes + 1, np.int64)
    for page in lint_pages(dataset):
        counts += ink_shares.ink_of_classes(page, n_classes)
    shares = (counts / max(1, counts.sum())).round(4).tolist()
    return {name: share for name, share in zip(dataset.names, shares, strict=False) if share}


def _size(sides: NDArray[np.float64]) -> dict[str, Any]:
    """Return the quantiles of sides in staff spaces, shape ``(N, 2)``."""
    columns = {"width": sides[:, 0], "height": sides[:, 1], "aspect": sides[:, 0] / sides[:, 1]}
    keys = ("low", "median", "high")
    quantiles = {
        name: dict(zip(keys, np.quantile(values, QUANTILES).round(3).tolist(), strict=True))
        for name, values in columns.items()
    }
    return {"n": len(sides), **quantiles}


def _is_glyph(described: NDArray[np.float64]) -> bool:
    low, high = np.quantile(described[:, -2:], (0.01, 0.99), axis=0)
    return len(described) >= MIN_SYMBOLS and float((high - low).max()) <= np.log2(MAX_SPREAD)


def _shape(described: NDArray[np.float64]) -> dict[str, Any]:
    """Return the typical shapes of features ``(N, F)``, and how far symbols are from them."""
    cv2.setRNGSeed(0)
    trained = described[:: max(1, len(described) // N_TRAINED)].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
    _, _, centres = cv2.kmeans(trained, N_SHAPES, np.empty(0), stop, 5, cv2.KMEANS_PP_CENTERS)
    shapes = centres.astype(np.float64).round(2)
    near, far = (
        np.quantile(symbol_shapes.distances(described, shapes), (0.9, 0.995)).round(3).tolist()
    )
    return {"shapes": sorted(shapes.tolist()), "near": near, "far": far}


def _write(table: Mapping[str, Any], file: Path) -> None:
    """Write a table with one line per class."""
    lines = [f"{json.dumps(name)}: {json.dumps(table[name])}" for name in sorted(table)]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
