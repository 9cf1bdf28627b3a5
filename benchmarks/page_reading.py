"""Accuracy of weights on whole pages: F1 and AP50 by class, on several sets of pages.

    python -m benchmarks.page_reading WEIGHTS [--val plain_val scan_val] --test plain scan lilypond
        [--without barlineSingle,barlineDouble,barlineFinal] [--out FILE.md]

Every set is a folder that ``omr convert --classes MAP`` wrote with whole pages in their own size,
the class map that the weights were trained with. The confidence thresholds, one per class, are
chosen on all pages of the sets given with --val, and never on those given with --test. Without
--val, those of the weights count.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from eval.metrics.f1 import joined
from eval.reports.detection import FREQUENT
from omr.prediction import PredictOptions, open_network, reading_options
from omr.scoring.page_reading import SetResult, read_set
from reading.network import Network
from settings.published import weights_path

Thresholds: TypeAlias = NDArray[np.float64]
LOW = 0.01
"""Threshold of the predictions that are compared; higher ones are applied afterwards."""


def thresholds_of(network: Network, folders: Sequence[Path], options: PredictOptions) -> Thresholds:
    """Return the threshold of each class, chosen on sets of pages, or else those of the weights."""
    if folders:
        sets = [read_set(folder, network, options).matches for folder in folders]
        return joined(sets).class_thresholds()
    recorded = reading_options(network, PredictOptions(weights=options.weights))
    return np.array(recorded.class_thresholds or [recorded.score_thresh] * len(network.names))


def tables(results: Sequence[SetResult], thresholds: Thresholds) -> str:
    """Format one table of the sets, and one of the classes with at least 30 symbols in a set."""
    lines = [
        "| pages | number | symbols | F1 | precision | recall | AP50 by instances | "
        f"AP50, classes with {FREQUENT}+ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        score = result.matches.score(thresholds)
        n_kept, n_truths = score.n_found + score.n_false, score.n_found + score.n_missed
        cells = [
            result.name,
            f"{result.n_pages}",
            f"{n_truths:,}",
            f"{score.f1:.4f}",
            f"{score.n_found / max(n_kept, 1):.4f}",
            f"{score.n_found / max(n_truths, 1):.4f}",
            _text(result.report.instance_weighted.ap50),
            _text(result.report.frequent_macro.ap50),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    names = [result.name for result in results]
    lines += ["", f"F1 / AP50 of classes with at least {FREQUENT} symbols in a set:", ""]
    lines += [f"| class | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for label, row in enumerate(results[0].report.classes):
        cells = [_class_cell(result, label, thresholds) for result in results]
        if any(cells):
            lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _class_cell(result: SetResult, label: int, thresholds: Thresholds) -> str:
    if result.matches.n_truths[label] < FREQUENT:
        return ""
    score = result.matches.only([label]).score(thresholds)
    return f"{score.f1:.3f} / {_text(result.report.classes[label].ap50)}"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main() -> None:
    """Read the sets, choose the threshold, and print or write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("weights", type=weights_path)
    parser.add_argument("--val", type=Path, nargs="+", default=[], help="sets for the thresholds")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="sets for the table")
    parser.add_argument("--without", default="", help="classes that do not count, comma-separated")
    parser.add_argument("--device", default="")
    parser.add_argument("--out", type=Path, help="Markdown file")
    options = parser.parse_args()
    network = open_network(options.weights, device=options.device)
    how = PredictOptions(weights=options.weights, conf=LOW)
    without = [name for name in options.without.split(",") if name]
    thresholds = thresholds_of(network, options.val, how)
    results = [read_set(folder, network, how, without) for folder in options.test]
    text = tables(results, thresholds)
    print(text)
    if options.out:
        options.out.write_text(f"    {' '.join(sys.orig_argv[1:])}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
