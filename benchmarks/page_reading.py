"""Accuracy of weights on whole pages: F1 and AP50 by class, on several sets of pages.

    python -m benchmarks.page_reading WEIGHTS --val plain_val scan_val --test plain scan lilypond
        [--without barlineSingle,barlineDouble,barlineFinal] [--out FILE.md]

Every set is a folder that ``omr convert --classes MAP`` wrote with whole pages in their own size,
the class map that the weights were trained with. The confidence threshold is chosen on all pages
of the sets given with --val, and never on those given with --test.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from class_maps import ConfigError
from converters.formats.yolo_dataset import open_dataset
from converters.page import Page
from eval.metrics.coco import evaluate
from eval.metrics.f1 import Matches, match
from eval.reports.detection import FREQUENT, DetectionReport
from omr.prediction import PredictOptions, open_network, reading_options
from reading.network import Network
from reading.page_images import PageFile
from reading.page_stream import read_pages

LOW = 0.01
"""Threshold of the predictions that are compared; higher ones are applied afterwards."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SetResult:
    """Predictions on one set of pages, compared with the ground truth."""

    name: str
    n_pages: int
    matches: Matches
    report: DetectionReport


def read_set(
    folder: Path, network: Network, options: PredictOptions, without: Sequence[str]
) -> SetResult:
    """Read the pages of all splits of a data set, and compare them with their labels.

    Args:
        folder: Data set of whole pages.
        network: Trained network.
        options: Options of the prediction.
        without: Classes that do not count, because the set does not label them.

    Raises:
        ConfigError: The data set has other classes than the weights.
    """
    dataset = open_dataset(folder)
    if tuple(dataset.names) != network.names:
        raise ConfigError(f"{folder}: has other classes than the weights")
    kept = [label for label, name in enumerate(network.names) if name not in without]
    truths, predictions = [], []
    for images, split in {path: name for name, path in dataset.splits.items()}.items():
        of_split = [_only(page, kept) for page in dataset.pages(split)]
        files = [
            PageFile(name=PurePosixPath(page.image), path=images / page.image) for page in of_split
        ]
        for reading in read_pages(files, network, reading_options(network, options)):
            if reading.page is None:
                sys.exit(f"{reading.file.where}: {reading.error}")
            predictions.append(_only(reading.page, kept))
        truths += of_split
    return SetResult(
        name=folder.name,
        n_pages=len(truths),
        matches=match(truths, predictions, len(network.names)),
        report=evaluate(truths, predictions, network.names),
    )


def _only(page: Page, labels: Sequence[int]) -> Page:

    return page.only(np.isin(page.labels, labels))


def threshold_of(results: Sequence[SetResult]) -> float:
    """Choose the threshold with the highest F1 over the pages of several sets."""
    every = [result.matches for result in results]
    scores = np.concatenate([matches.scores for matches in every])
    order = np.argsort(-scores, kind="stable")
    together = Matches(
        scores=scores[order],
        labels=np.concatenate([matches.labels for matches in every])[order],
        is_found=np.concatenate([matches.is_found for matches in every])[order],
        n_truths=np.sum([matches.n_truths for matches in every], axis=0),
    )
    return together.best_threshold()


def tables(results: Sequence[SetResult], threshold: float) -> str:
    """Format one table of the sets, and one of the classes with at least 30 symbols in a set."""
    lines = [
        f"Confidence threshold {threshold:.3f}, chosen on the validation pages.",
        "",
        "| pages | number | symbols | F1 | precision | recall | AP50 by instances | "
        f"AP50, classes with {FREQUENT}+ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        score = result.matches.score(threshold)
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
        cells = [_class_cell(result, label, threshold) for result in results]
        if any(cells):
            lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _class_cell(result: SetResult, label: int, threshold: float) -> str:
    if result.matches.n_truths[label] < FREQUENT:
        return ""
    score = result.matches.only([label]).score(threshold)
    return f"{score.f1:.3f} / {_text(result.report.classes[label].ap50)}"


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def main() -> None:
    """Read the sets, choose the threshold, and print or write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("--val", type=Path, nargs="+", required=True, help="sets for the threshold")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="sets for the table")
    parser.add_argument("--without", default="", help="classes that do not count, comma-separated")
    parser.add_argument("--device", default="")
    parser.add_argument("--out", type=Path, help="Markdown file")
    options = parser.parse_args()
    network = open_network(options.weights, device=options.device)
    how = PredictOptions(weights=options.weights, conf=LOW)
    without = [name for name in options.without.split(",") if name]
    threshold = threshold_of([read_set(folder, network, how, ()) for folder in options.val])
    results = [read_set(folder, network, how, without) for folder in options.test]
    text = tables(results, threshold)
    print(text)
    if options.out:
        options.out.write_text(f"    {' '.join(sys.orig_argv[1:])}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
