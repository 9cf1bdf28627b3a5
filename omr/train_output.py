"""Printed results of ``omr train``."""

from collections.abc import Mapping
from pathlib import Path

from class_maps import short_list
from omr.console import note, say, table
from omr.lr_plot import write_lr_plot
from training.data.label_files import LabelCounts
from training.lr_finder import PLOT_FILE, RESULT_FILE, RangeTest
from training.trainer import TrainResult

MOST_NAMES = 8
"""Most names that a line lists."""


def show_result(result: TrainResult) -> None:
    """Print the symbols seen and dropped in augmentation, the label counts and the weights file."""
    rows = [(name, n["seen"], n["dropped"]) for name, n in result.augmented.items() if n["seen"]]
    table("Symbols in augmentation", ("class", "seen", "dropped"), rows)
    say("Dropped: shifted out of the image in one of the epochs; the data set still contains them.")
    _show_counts(result.labels)
    for folder, labels in result.sources.items():
        if result.sources.keys() != {folder}:
            _show_counts(labels, f"{folder}, ")
        if unlabelled := result.unlabelled[folder]:
            say(
                f"{folder}: does not label {len(unlabelled)} classes: "
                f"{short_list(unlabelled, MOST_NAMES)}"
            )
    say(f"{result.epochs} epochs in {result.precision}, {result.seconds:.0f} s -> {result.best}")


def _show_counts(labels: Mapping[str, LabelCounts], prefix: str = "") -> None:
    for split, counts in labels.items():
        say(
            f"{prefix}{split}: {counts.images} images, {counts.symbols} symbols, "
            f"{counts.without_labels} images without symbols, {counts.duplicates} duplicate rows "
            "skipped"
        )


def show_range_test(result: RangeTest, out: Path) -> None:
    """Draw the loss over the learning rate, and print the rate that a range test suggests.

    Args:
        result: Range test.
        out: Folder with its figures and its plot.
    """
    write_lr_plot(result, out / PLOT_FILE)
    say(f"{len(result.rates)} steps, up to a learning rate of {result.rates[-1]:.2g}")
    if result.suggestion is None:
        note("the loss never decreased; check the data with omr show")
    else:
        say(
            f"the loss decreases fastest at {result.steepest:.2g}; "
            f"a tenth of the rate with the lowest loss is {result.tenth_of_lowest:.2g}"
        )
    say(f"figures: {out / RESULT_FILE}, plot: {out / PLOT_FILE}")
    if result.suggestion is not None:
        say(f"continue with --lr {result.suggestion:g} and another --out")
