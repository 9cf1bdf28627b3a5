"""Printed results of ``omr train``."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from class_maps import short_list
from eval.html.number_format import counted
from omr.console import note, paragraph, say
from omr.lr_plot import write_lr_plot
from settings.activations import counts_text
from training.data.class_balance import ClassDraws
from training.data.label_files import LabelCounts
from training.lr_finder import PLOT_FILE, RESULT_FILE, RangeTest
from training.runs.checkpoint_files import REPORT_FILE
from training.trainer import TrainResult

MOST_NAMES = 8
"""Maximum number of names per line."""


def show_result(result: TrainResult, data: Path, *, to: Console) -> None:
    """Print the label counts, the symbols dropped in augmentation, and the command to run next.

    Args:
        result: Result of the training run.
        data: First of the data sets trained on.
        to: Console to print on.
    """
    _show_counts(result.labels, to=to)
    for folder, labels in result.sources.items():
        if result.sources.keys() != {folder}:
            _show_counts(labels, f"{folder}, ", to=to)
        if unlabelled := result.unlabelled[folder]:
            paragraph(
                f"{folder}: does not label {counted(len(unlabelled), 'class', 'classes')}: "
                f"{short_list(unlabelled, MOST_NAMES)}",
                to=to,
            )
    _show_rarest(result.rarest, to=to)
    _show_dropped(result.augmented, to=to)
    paragraph(f"activations of the weights: {counts_text(result.activations)}", to=to)
    epochs = counted(result.epochs, "epoch", "epochs")
    say(f"{epochs} in {result.precision}, {result.seconds:.0f} s", to=to)
    say(f"next: {shlex.join(['omr', 'eval', str(result.best), str(data)])}", to=to)


def _show_counts(labels: Mapping[str, LabelCounts], prefix: str = "", *, to: Console) -> None:
    for split, counts in labels.items():
        images, empty = (
            counted(n, "image", "images") for n in (counts.images, counts.without_labels)
        )
        parts = [images, counted(counts.symbols, "symbol", "symbols")]
        if counts.without_labels:
            parts.append(f"{empty} without symbols")
        if counts.duplicates:
            rows = counted(counts.duplicates, "duplicate row", "duplicate rows")
            parts.append(f"{rows} skipped")
        paragraph(f"{prefix}{split}: {', '.join(parts)}", to=to)


def _show_rarest(rarest: Mapping[str, ClassDraws], *, to: Console) -> None:
    """Print how often the images of the rarest classes are drawn."""
    if rarest:
        texts = [
            f"{name} {draws.per_epoch:g} ({counted(draws.images, 'image', 'images')})"
            for name, draws in rarest.items()
        ]
        paragraph(f"rarest classes, draws per epoch: {', '.join(texts)}", to=to)


def _show_dropped(augmented: Mapping[str, Mapping[str, int]], *, to: Console) -> None:
    """Print the classes with symbols that augmentation shifted out of an image, worst first."""
    dropped = {name: n["dropped"] / n["seen"] for name, n in augmented.items() if n["dropped"]}
    if dropped:
        worst = sorted(dropped, key=lambda name: -dropped[name])
        shares = [f"{name} {dropped[name]:.1%}" for name in worst]
        paragraph(
            "dropped in an epoch, because augmentation shifted them out of the image: "
            f"{short_list(shares, MOST_NAMES)}; {REPORT_FILE} counts all classes",
            to=to,
        )


def show_range_test(result: RangeTest, out: Path, *, to: Console) -> None:
    """Draw the loss over the learning rate, and print the rate that a range test suggests.

    Args:
        result: Range test.
        out: Folder with the figures and the plot of the test.
        to: Console to print on.
    """
    write_lr_plot(result, out / PLOT_FILE)
    steps = counted(len(result.rates), "step", "steps")
    say(f"{steps}, up to a learning rate of {result.rates[-1]:.2g}", to=to)
    if result.suggestion is None:
        note("the loss never decreased; check the data with omr show")
    else:
        paragraph(
            f"the loss decreases fastest at {result.steepest:.2g}; "
            f"a tenth of the rate with the lowest loss is {result.tenth_of_lowest:.2g}",
            to=to,
        )
    say(f"figures: {out / RESULT_FILE}, plot: {out / PLOT_FILE}", to=to)
    if result.suggestion is not None:
        say(f"continue with --lr {result.suggestion:g} and another --out", to=to)
