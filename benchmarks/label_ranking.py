"""Rankings of ``omr lint --weights`` on engraved pages with planted label bugs.

    PYTHONPATH=tests/helpers python -m benchmarks.label_ranking [--pages 24]

Each kind of bug is planted alone: 10% of the labels removed, 5% moved by half a staff space in a
random direction, 5% with the class of another label of the page. The pieces are not those of the
training of harmony-tiny.

Shapes: N labels of a page, P predictions.
"""

import argparse
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from planted_labels import with_rows

import class_maps
from benchmarks.reading_sets import FIRST_SEED
from converters.conversion import ConversionOptions, convert
from converters.engraving.dataset import EngravingOptions, engrave
from converters.engraving.pages import PageOptions
from converters.formats.datasets import open_dataset
from converters.page import Page
from eval.lint.label_scores import LabelScores, label_scores
from eval.lint.pages import LintPage, lint_pages
from eval.lint.rules import default_settings
from omr.label_predictions import LabelPredictor
from settings.published import DEFAULT_WEIGHTS, weights_path

REMOVED, OTHERS = 0.1, 0.05
"""Shares of the labels with a bug."""
SHIFT = 0.5
"""Shift of moved labels in staff spaces."""
MOST_BOXES = 3000
Ranking = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Scores, and whether each belongs to a planted bug."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A bug, and the rule that should find it."""

    name: str
    rule: str
    planted: Callable[[LintPage, np.random.Generator], Ranking]


def _scores(page: LintPage) -> LabelScores:
    if page.label_scores is None:
        raise SystemExit(f"{page.path}: no staves")
    return page.label_scores


def removed(page: LintPage, rng: np.random.Generator) -> Ranking:
    """Remove labels; a prediction is right if a label explained it before."""
    kept = rng.random(len(page.rows)) >= REMOVED
    scores = _scores(with_rows(page, page.rows[kept])).overlooked
    is_planted = np.isfinite(scores) & np.isnan(_scores(page).overlooked)
    return np.nan_to_num(scores, nan=1.0), is_planted


def moved(page: LintPage, rng: np.random.Generator) -> Ranking:
    """Move labels by half a staff space."""
    chosen = rng.random(len(page.rows)) < OTHERS
    angles = rng.random(len(page.rows)) * 2 * np.pi
    distance = SHIFT * float(page.staff_space or 0) * chosen
    rows = page.rows.copy()
    rows[:, 1] += distance * np.cos(angles) / page.page.width
    rows[:, 2] += distance * np.sin(angles) / page.page.height
    return _scores(with_rows(page, rows)).badly_placed, chosen


def swapped(page: LintPage, rng: np.random.Generator) -> Ranking:
    """Give labels the class of another label of the page."""
    chosen = rng.random(len(page.rows)) < OTHERS
    rows = page.rows.copy()
    rows[chosen, 0] = rng.permutation(page.rows[:, 0])[chosen]
    return _scores(with_rows(page, rows)).swapped, rows[:, 0] != page.rows[:, 0]


KINDS = (
    Kind(name="removed", rule="overlooked-label", planted=removed),
    Kind(name="moved by half a staff space", rule="badly-placed-label", planted=moved),
    Kind(name="swapped", rule="swapped-label", planted=swapped),
)


def auroc(scores: NDArray[np.float64], is_planted: NDArray[np.bool_]) -> float:
    """Return the probability that a planted label has a lower score than another label."""
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    n = int(is_planted.sum())
    above = float(ranks[is_planted].sum()) - n * (n + 1) / 2
    return 1 - above / (n * (len(scores) - n))


def precision_at_n(scores: NDArray[np.float64], is_planted: NDArray[np.bool_]) -> float:
    """Return the share of planted labels among the N lowest scores, for N planted labels."""
    lowest = np.argsort(scores, kind="stable")[: int(is_planted.sum())]
    return float(is_planted[lowest].mean())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=24)
    arguments = parser.parse_args()
    print(f"`{' '.join(['python -m benchmarks.label_ranking', *sys.argv[1:]])}`\n")
    with tempfile.TemporaryDirectory() as folder:
        pages = [*_pages(Path(folder), arguments.pages)]
        _print_clean(pages)
        _print_planted(pages)
        _print_large(pages)


def _pages(folder: Path, n_pages: int) -> Iterator[LintPage]:
    """Engrave pages, and predict each."""
    page = PageOptions(style="mixed", seed=FIRST_SEED)
    engrave(folder / "pages", EngravingOptions(pages=n_pages, page=page))
    options = ConversionOptions(class_map=class_maps.load("harmony"))
    convert(folder / "pages", folder / "data", options)
    dataset = open_dataset(folder / "data")
    predictor = LabelPredictor(weights_path(DEFAULT_WEIGHTS), dataset, device="cpu")
    for lint_page in predictor.added_to(lint_pages(dataset)):
        if lint_page.predictions is not None:
            yield lint_page


def _max_score(rule: str) -> float:
    return default_settings()[rule].thresholds["max_score"]


def _print_clean(pages: Sequence[LintPage]) -> None:
    n = sum(len(page.rows) for page in pages)
    start = time.process_time()
    scores = [_scores(page) for page in pages]
    seconds = time.process_time() - start
    of_rule = {
        "overlooked-label": np.concatenate([s.overlooked for s in scores]),
        "badly-placed-label": np.concatenate([s.badly_placed for s in scores]),
        "swapped-label": np.concatenate([s.swapped for s in scores]),
    }
    print(
        f"{len(pages)} pages with {n:,} correct labels; {seconds / len(pages):.2f} CPU s per page\n"
    )
    print("| rule | reported | share of the labels |\n|---|---|---|")
    for rule, values in of_rule.items():
        reported = int((values < _max_score(rule)).sum())
        print(f"| `{rule}` | {reported} | {reported / n:.2%} |")


def _print_planted(pages: Sequence[LintPage]) -> None:
    print("\n| planted | rule | labels | reported | planted among them | precision at N | AUROC |")
    print("|---|---|---|---|---|---|---|")
    for kind in KINDS:
        rng = np.random.default_rng(0)
        rankings = [kind.planted(page, rng) for page in pages]
        scores, is_planted = (np.concatenate(part) for part in zip(*rankings, strict=True))
        reported = scores < _max_score(kind.rule)
        print(
            f"| {kind.name} | `{kind.rule}` | {is_planted.sum():,} | {reported.sum():,} | "
            f"{(reported & is_planted).sum():,} | {precision_at_n(scores, is_planted):.3f} | "
            f"{auroc(scores, is_planted):.4f} |"
        )


def _print_large(pages: Sequence[LintPage]) -> None:
    """Print time and memory of a page with many labels, which repeats the predictions of one."""
    predictions = pages[0].predictions
    if predictions is None:
        return
    repeated = np.resize(np.arange(len(predictions.labels)), MOST_BOXES)
    many = type(predictions)(
        boxes_xyxy=predictions.boxes_xyxy[repeated],
        labels=predictions.labels[repeated],
        confidences=predictions.confidences[repeated],
        is_known=predictions.is_known,
        staff_space=predictions.staff_space,
    )
    first = pages[0].page
    page = Page(
        image=first.image,
        width=first.width,
        height=first.height,
        boxes_xyxy=many.boxes_xyxy,
        labels=many.labels,
    )
    start = time.process_time()
    label_scores(page, many)
    seconds = time.process_time() - start
    tracemalloc.start()
    label_scores(page, many)
    _, peak = tracemalloc.get_traced_memory()
    print(
        f"\n{MOST_BOXES:,} labels and {MOST_BOXES:,} predictions on one page: {seconds:.1f} CPU s, "
        f"{peak / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
